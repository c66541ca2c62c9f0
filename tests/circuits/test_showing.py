"""Scores and circuits in notebooks: short HTML, frames that hold everything, drawings of their own edges."""

from dataclasses import replace

import pytest
import torch
from matplotlib.patches import PathPatch

from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.errors import InputError

GRAPH = Graph(3, 4, 2, parallel=False)


def scores(seed: int = 0, graph: Graph = GRAPH) -> EdgeScores:
    values = torch.randn(graph.edge_mask.shape, generator=torch.Generator().manual_seed(seed)) * graph.edge_mask
    return EdgeScores(values, graph, 0.01, None, {"method": "eap-ig", "steps": 5, "model": "<b>mine</b>"})


def drawn(figure) -> int:
    return sum(type(patch) is PathPatch for axes in figure.axes for patch in axes.patches)


def test_a_frame_of_scores_holds_every_edge_and_gives_the_map_back():
    given = scores()
    found = given.to_pandas()
    assert len(found) == GRAPH.edges
    back = torch.zeros_like(given.values)
    for row in found.itertuples():
        back[GRAPH.sources.index(row.source), GRAPH.destinations.index(row.destination)] = row.score
    assert torch.equal(back, given.values)
    assert set(found["into"]) == {"q", "k", "v", "mlp", "logits"}
    assert found["source_layer"].min() == -1


def test_a_frame_of_a_circuit_holds_its_edges_with_their_scores():
    circuit = scores().top(0.2)
    found = circuit.to_pandas()
    assert tuple(found["source"] + "->" + found["destination"]) == circuit.edges
    assert found["score"].abs().min() == pytest.approx(scores().values[circuit.mask].abs().min().item())
    assert "score" not in (circuit & circuit).to_pandas()


def test_html_is_short_escaped_and_names_the_strongest_edges():
    shown = scores()._repr_html_()
    assert len(shown) < 1500
    assert "<b>" not in shown
    assert f"{GRAPH.edges} edges of 3 layers of 4 heads (2 key/value heads)" in shown
    strongest = scores().to_pandas().sort_values("score", key=abs, ascending=False).iloc[0]
    assert f"{strongest['source']} → {strongest['destination']}".replace("<", "&lt;").replace(">", "&gt;") in shown
    circuit = scores().top(0.2)
    assert f"{len(circuit)} of {GRAPH.edges} edges" in circuit._repr_html_()
    assert "<table>" not in (circuit & circuit)._repr_html_()


def test_html_of_an_empty_circuit():
    assert "0 of" in scores().top(0)._repr_html_()


def test_a_circuit_draws_its_edges_and_another_one_beside_it():
    one, other = scores(1).top(20), scores(2).top(20)
    heads = GRAPH.heads // GRAPH.kv_heads
    curves = sum(heads if destination.endswith(("k>", "v>")) else 1 for destination in one.to_pandas()["destination"])
    assert drawn(one.plot()) == curves
    assert [axes.get_title(loc="left") for axes in one.plot(other).axes[:2]] == ["Before", "After"]


def test_without_scores_no_edge_is_left_out_as_weaker():
    graph = Graph(4, 8, 8, parallel=True)
    every = Circuit(graph.edge_mask, graph)
    assert drawn(every.plot()) == graph.edges
    scored = scores(0, graph).top(graph.edges)
    assert drawn(scored.plot()) == 150


def test_circuits_of_different_graphs_are_not_drawn_together():
    with pytest.raises(InputError, match="different graphs"):
        scores().top(5).plot(scores(0, Graph(2, 4, 2, parallel=False)).top(5))


def test_all_scores_as_a_map():
    image = scores().plot().axes[0].images[0].get_array()
    assert image.shape == GRAPH.edge_mask.shape
    assert (~image.mask).sum() == GRAPH.edges


def test_collapsed_scores_show_themselves_too():
    merged = replace(scores(), settings={}).collapse()
    assert "q/k/v merged" in merged._repr_html_()
    assert set(merged.to_pandas()["into"]) == {"head", "mlp", "logits"}
    assert drawn(merged.top(5).plot()) == len(merged.top(5))
