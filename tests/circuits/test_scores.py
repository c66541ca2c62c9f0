"""Scores and circuits as values: sizes, names, set operations, the collapsed form, files."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.errors import InputError

GRAPH = Graph(3, 4, 4, parallel=True)
GROUPED = Graph(3, 4, 2, parallel=False)


def scores(graph: Graph = GRAPH, seed: int = 0) -> EdgeScores:
    values = torch.randn(graph.edge_mask.shape, generator=torch.Generator().manual_seed(seed)) * graph.edge_mask
    examples = torch.stack([values - 1, values + 1])
    return EdgeScores(values, graph, 0.01, examples, {"method": "eap-ig", "steps": 5})


def test_nodes_and_edges_are_named_in_order():
    mask = torch.zeros_like(GRAPH.edge_mask)
    mask[0, GRAPH.destinations.index("a1.h2<k>")] = True
    mask[GRAPH.sources.index("a1.h2"), GRAPH.destinations.index("logits")] = True
    circuit = Circuit(mask, GRAPH)
    assert circuit.edges == ("input->a1.h2<k>", "a1.h2->logits")
    assert circuit.nodes == ("input", "a1.h2", "logits")
    assert len(circuit) == 2


def test_an_empty_circuit_has_no_nodes():
    empty = scores().top(0)
    assert empty.nodes == ()
    assert empty.edges == ()
    assert empty.jaccard(empty) == 1


@pytest.mark.parametrize("graph", [GRAPH, GROUPED])
def test_nodes_of_a_pruned_circuit_are_entered_and_left(graph):
    circuit = scores(graph).top(0.3)
    left = {edge.split("->")[0] for edge in circuit.edges}
    assert set(circuit.nodes) == left | {"logits"}
    assert {"input", "logits"} <= set(circuit.nodes)


def test_a_selection_remembers_how_it_was_made():
    circuit = scores().top(0.1)
    assert circuit.settings["selection"] == "top"
    assert circuit.settings["size"] == 0.1
    assert circuit.settings["method"] == "eap-ig"
    assert len(scores().threshold(0.5)) > 0


def test_set_operations_are_those_of_edges():
    one, other = scores(seed=1).top(0.2), scores(seed=2).top(0.2)
    a, b = set(one.edges), set(other.edges)
    assert set((one | other).edges) == a | b
    assert set((one & other).edges) == a & b
    assert set((one ^ other).edges) == a ^ b
    assert one.jaccard(other) == pytest.approx(len(a & b) / len(a | b))
    assert one == Circuit(one.mask.clone(), GRAPH)
    assert one != other
    assert len({one, Circuit(one.mask.clone(), GRAPH)}) == 1


def test_circuits_of_different_graphs_do_not_mix():
    with pytest.raises(InputError, match="different graphs"):
        scores().top(0.2).jaccard(scores(GROUPED).top(0.2))


@pytest.mark.parametrize("graph", [GRAPH, GROUPED])
def test_the_collapsed_circuit_has_an_edge_where_any_letter_has(graph):
    circuit = scores(graph).top(0.3)
    group = graph.heads // graph.kv_heads
    expected = set()
    for edge in circuit.edges:
        source, destination = edge.split("->")
        layer, _, reader = destination.partition(".")
        if reader.startswith("kv"):
            number = int(reader[2:].split("<")[0])
            heads = range(number * group, (number + 1) * group)
            expected |= {f"{source}->{layer}.h{head}" for head in heads}
        else:
            expected.add(f"{source}->{destination.split('<')[0]}")
    assert set(circuit.collapse().edges) == expected
    assert circuit.collapse().collapse() == circuit.collapse()


def test_collapsed_scores_sum_or_keep_the_largest():
    whole = scores()
    head = [GRAPH.destinations.index(f"a2.h1<{letter}>") for letter in "qkv"]
    parts = whole.values[3, head]
    column = GRAPH.collapse().destinations.index("a2.h1")
    assert whole.collapse("sum").values[3, column] == pytest.approx(float(parts.sum()))
    assert whole.collapse("l1").values[3, column] == pytest.approx(float(parts.abs().sum()))
    assert whole.collapse("max").values[3, column] == float(parts[parts.abs().argmax()])
    assert torch.equal(whole.collapse("sum").values[:, -1], whole.values[:, -1])


def test_files_give_back_what_was_saved(tmp_path: Path):
    whole = scores(GROUPED)
    whole.save(tmp_path / "scores.safetensors")
    loaded = EdgeScores.load(tmp_path / "scores.safetensors")
    assert torch.equal(loaded.values, whole.values)
    assert loaded.examples is not None
    assert whole.examples is not None
    assert torch.equal(loaded.examples, whole.examples)
    assert (loaded.graph, loaded.completeness, loaded.settings) == (whole.graph, whole.completeness, whole.settings)
    circuit = whole.top(0.2)
    circuit.save(tmp_path / "circuit.safetensors")
    again = Circuit.load(tmp_path / "circuit.safetensors")
    assert again == circuit
    assert again.settings == circuit.settings
    assert again.scores is not None
    assert torch.equal(again.scores.values, whole.values)


def test_a_circuit_keeps_the_means_and_not_the_scores_of_every_pair():
    whole = scores()
    assert whole.examples is not None
    for circuit in (whole.top(0.2), whole.threshold(0.5), whole.greedy(0.2), whole.top_nodes(2)):
        assert circuit.scores is not None
        assert circuit.scores.examples is None
        assert torch.equal(circuit.scores.values, whole.values)
        assert circuit.scores.settings == whole.settings


def test_groups_of_examples_are_saved_and_must_fit(tmp_path: Path):
    whole = scores()
    assert whole.examples is not None
    grouped = replace(whole, groups=torch.arange(len(whole.examples)) // 2)
    grouped.save(tmp_path / "scores.safetensors")
    loaded = EdgeScores.load(tmp_path / "scores.safetensors")
    assert loaded.groups is not None
    assert torch.equal(loaded.groups, torch.arange(len(whole.examples)) // 2)
    whole.save(tmp_path / "without.safetensors")
    assert EdgeScores.load(tmp_path / "without.safetensors").groups is None
    with pytest.raises(InputError, match="one per example"):
        replace(whole, groups=torch.zeros(len(whole.examples) + 1, dtype=torch.int64))


def test_saving_twice_gives_the_same_bytes(tmp_path: Path):
    for name in ("a", "b"):
        scores().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_of_the_other_kind_is_refused(tmp_path: Path):
    scores().save(tmp_path / "scores.safetensors")
    with pytest.raises(InputError, match="expected a circuit file"):
        Circuit.load(tmp_path / "scores.safetensors")


def test_shapes_and_impossible_edges_are_refused():
    with pytest.raises(InputError, match="shape"):
        EdgeScores(torch.zeros(2, 3), GRAPH)
    with pytest.raises(InputError, match="no edge"):
        Circuit(torch.ones_like(GRAPH.edge_mask), GRAPH)
    with pytest.raises(InputError, match="mask is bool"):
        Circuit(GRAPH.edge_mask.float(), GRAPH)
