"""Round trips through every format, what is lost on the way, and the grouped-query rule."""

from pathlib import Path

import pytest
import torch

from circuits.golden import golden
from circuitune.circuits.graph import Graph
from circuitune.circuits.interchange import FORMATS, export_circuit, import_circuit
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.errors import InputError
from circuitune.models.anatomy import anatomy_of

GRAPHS = {
    "parallel": Graph(3, 4, 4, parallel=True),
    "serial": Graph(3, 4, 4, parallel=False),
    "grouped": Graph(3, 6, 2, parallel=False),
    "collapsed": Graph(3, 4, 4, parallel=True, collapsed=True),
}
NAMES = {
    "eap-ig-json": "x.json",
    "eap-ig-json-old": "x.json",
    "pt": "x.pt",
    "mib": "ioi_gpt2",
    "graphml": "x.graphml",
}
LISTS_ALL = ("eap-ig-json", "eap-ig-json-old", "pt")
SETTINGS = {"method": "eap-ig", "steps": 5, "quadrature": "midpoint", "model": 'a "name" <&> é', "size": 0.3}


def scores(graph: Graph, seed: int = 0) -> EdgeScores:
    values = torch.randn(graph.edge_mask.shape, generator=torch.Generator().manual_seed(seed))
    values[0, 0], values[0, 1], values[0, 2] = -0.0, 1e-42, 3e38  # the ends of float32
    values = values.where(graph.edge_mask, torch.tensor(0.0))
    return EdgeScores(values, graph, 0.0123, None, SETTINGS)


def sayable(format: str, graph: Graph) -> bool:
    return not graph.collapsed or format in ("eap-ig-json-old", "graphml")


def bits(values: torch.Tensor) -> torch.Tensor:
    return values.contiguous().view(torch.int32)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("graph", ["parallel", "serial", "collapsed"])
def test_scores_come_back_bit_for_bit_with_how_they_were_made(graph: str, format: str, tmp_path: Path):
    whole = scores(GRAPHS[graph])
    if not sayable(format, whole.graph):
        with pytest.raises(InputError, match="q, k and v apart"):
            export_circuit(whole, tmp_path / NAMES[format], format=format)
        return
    made = export_circuit(whole, tmp_path / NAMES[format], format=format)
    assert all(path.is_file() for path in made.files)
    found = import_circuit(tmp_path / NAMES[format])
    assert found.scores is not None
    assert found.circuit is None
    assert torch.equal(bits(found.scores.values), bits(whole.values))
    assert found.scores.graph == whole.graph
    assert found.scores.settings == whole.settings
    assert found.scores.completeness == whole.completeness
    assert found.notes == made.notes == ()


@pytest.mark.parametrize("format", LISTS_ALL)
@pytest.mark.parametrize("graph", ["parallel", "serial", "grouped"])
@pytest.mark.parametrize("size", [0, 0.3, 1.0])
def test_circuits_come_back_with_the_scores_they_were_cut_from(graph: str, format: str, size: float, tmp_path: Path):
    circuit = scores(GRAPHS[graph]).top(size)
    export_circuit(circuit, tmp_path / NAMES[format], format=format)
    found = import_circuit(tmp_path / NAMES[format])
    assert found.circuit == circuit
    assert found.circuits == (circuit,)
    assert found.circuit.settings == circuit.settings
    assert found.circuit.scores is found.scores
    assert found.scores is not None
    assert found.scores.settings == SETTINGS
    assert found.scores.completeness == 0.0123
    if graph != "grouped":
        assert circuit.scores is not None
        assert torch.equal(bits(found.scores.values), bits(circuit.scores.values))


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "mib"])
@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("size", [0, 0.3])
def test_circuits_without_scores_come_back_without(graph: str, format: str, size: float, tmp_path: Path):
    whole = scores(GRAPHS[graph])
    if not sayable(format, whole.graph):
        return
    circuit = Circuit(whole.top(size).mask, whole.graph, None, {"operation": "union"})
    export_circuit(circuit, tmp_path / NAMES[format], format=format)
    found = import_circuit(tmp_path / NAMES[format])
    assert found.circuit == circuit
    assert found.circuit.settings == circuit.settings
    assert found.scores is None
    assert found.circuit.scores is None
    assert found.notes == ()


@pytest.mark.parametrize(("graph", "format"), [("collapsed", "eap-ig-json-old"), ("parallel", "graphml")])
def test_where_a_circuit_lists_its_own_edges_alone_both_sides_say_so(graph: str, format: str, tmp_path: Path):
    circuit = scores(GRAPHS[graph]).top(0.3)
    made = export_circuit(circuit, tmp_path / NAMES[format], format=format)
    assert "scores of the other edges were left out" in made.notes[0]
    found = import_circuit(tmp_path / NAMES[format])
    assert found.circuit == circuit
    assert found.scores is not None
    assert circuit.scores is not None
    assert torch.equal(found.scores.values, circuit.scores.values * circuit.mask)
    assert f"lists {len(circuit)} of {circuit.graph.edges} edges" in found.notes[0]


@pytest.mark.parametrize("format", FORMATS)
def test_a_group_shares_its_scores_and_repeats_its_marks(format: str, tmp_path: Path):
    whole = scores(GRAPHS["grouped"])
    made = export_circuit(whole, tmp_path / NAMES[format], format=format)
    assert any("2 key/value heads are listed for all 6 query heads" in note for note in made.notes)
    found = import_circuit(tmp_path / NAMES[format])
    assert found.scores is not None
    assert found.scores.graph == whole.graph
    assert torch.allclose(found.scores.values, whole.values, rtol=1e-6, atol=0)
    per_head = import_circuit(_without_provenance(whole, tmp_path)).scores
    assert per_head is not None
    assert per_head.graph == Graph(3, 6, 6, parallel=False)
    assert float(per_head.values.double().sum()) == pytest.approx(float(whole.values.double().sum()))
    key = whole.values[0, whole.graph.destinations.index("a2.kv1<k>")]
    for head in (3, 4, 5):
        share = per_head.values[0, per_head.graph.destinations.index(f"a2.h{head}<k>")]
        assert float(share) == pytest.approx(float(key) / 3, rel=1e-6)
    query = whole.values[0, whole.graph.destinations.index("a2.h1<q>")]
    assert per_head.values[0, per_head.graph.destinations.index("a2.h1<q>")] == query


def test_a_foreign_file_is_grouped_when_told_the_key_value_heads(tmp_path: Path):
    per_head, grouped = Graph(3, 6, 6, parallel=False), GRAPHS["grouped"]
    mask = torch.zeros_like(per_head.edge_mask)
    mask[0, per_head.destinations.index("a1.h5<v>")] = True  # one head of the group is enough
    circuit = Circuit(mask, per_head, scores(per_head))
    found = import_circuit(_without_provenance(circuit, tmp_path), kv_heads=2)
    assert found.circuit is not None
    assert found.scores is not None
    assert found.circuit.graph == grouped
    assert found.circuit.edges == ("input->a1.kv1<v>",)
    columns = [per_head.destinations.index(f"a2.h{head}<k>") for head in (0, 1, 2)]
    assert circuit.scores is not None
    total = circuit.scores.values[0, columns].double().sum()
    assert float(found.scores.values[0, grouped.destinations.index("a2.kv0<k>")]) == pytest.approx(float(total))


def test_exact_scores_of_a_group_are_said_to_be_shares(tmp_path: Path):
    exact = EdgeScores(scores(GRAPHS["grouped"]).values, GRAPHS["grouped"], settings={"method": "exact"})
    notes = export_circuit(exact, tmp_path / "x.pt", format="pt").notes
    assert any("Exact scores do not add up" in note for note in notes)


@pytest.mark.parametrize("kv_heads", [0, 4, 7])
def test_key_value_heads_must_divide_the_heads(kv_heads: int, tmp_path: Path):
    path = _without_provenance(scores(Graph(3, 6, 6, parallel=False)), tmp_path)
    with pytest.raises(InputError, match=f"n_heads is 6, which {kv_heads} kv_heads do not divide"):
        import_circuit(path, kv_heads=kv_heads)


def test_key_value_heads_must_not_contradict_the_file(tmp_path: Path):
    export_circuit(scores(GRAPHS["grouped"]), tmp_path / "x.json", format="eap-ig-json")
    assert import_circuit(tmp_path / "x.json", kv_heads=2).scores is not None
    with pytest.raises(InputError, match=r"provenance\.graph\.kv_heads is 2, not 3"):
        import_circuit(tmp_path / "x.json", kv_heads=3)


@pytest.mark.parametrize("format", ["eap-ig-json", "eap-ig-json-old", "pt", "graphml"])
@pytest.mark.parametrize("name", ["gpt_neox", "gpt2", "llama_gqa"])
def test_what_the_reference_computed_comes_back_bit_for_bit(name: str, format: str, tmp_path: Path):
    facts = golden(name)
    model = Graph.of(anatomy_of(facts.model))
    graph = Graph(model.layers, model.heads, model.heads, model.parallel)  # the reference lists every query head
    for key in ("eap-ig.logit_diff", "eap-ig.kl", "eap.logit_diff", "exact.logit_diff"):
        whole = EdgeScores(facts.arrays[key], graph)
        export_circuit(whole, tmp_path / NAMES[format], format=format)
        found = import_circuit(tmp_path / NAMES[format]).scores
        assert found is not None
        assert torch.equal(bits(found.values), bits(whole.values))
        for share in ("0.02", "0.2", "1.0"):
            circuit = Circuit(facts.arrays[f"circuit.{share}"].bool(), graph, whole)
            export_circuit(circuit, tmp_path / NAMES[format], format=format)
            assert import_circuit(tmp_path / NAMES[format]).circuit == circuit


def test_the_same_export_gives_the_same_bytes(tmp_path: Path):
    for format in ("eap-ig-json", "pt", "graphml"):
        for name in ("a", "b"):
            export_circuit(scores(GRAPHS["serial"]), tmp_path / name, format=format)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_scores_per_example_are_said_to_be_left_out(tmp_path: Path):
    whole = scores(GRAPHS["parallel"])
    with_examples = EdgeScores(whole.values, whole.graph, None, whole.values[None], {})
    assert "per example" in export_circuit(with_examples, tmp_path / "x.pt", format="pt").notes[0]


@pytest.mark.parametrize("format", ["eap-ig-json", "pt", "mib"])
def test_node_scores_travel_and_a_missing_one_is_nan(format: str, tmp_path: Path):
    export_circuit(
        scores(GRAPHS["serial"]), tmp_path / NAMES[format], format=format, node_scores={"input": 0.5, "m1": -2.0}
    )
    found = import_circuit(tmp_path / NAMES[format]).node_scores
    assert list(found) == list(GRAPHS["serial"].sources)
    assert {name: score for name, score in found.items() if score == score} == {"input": 0.5, "m1": -2.0}


def test_what_cannot_be_exported_is_refused_in_a_sentence(tmp_path: Path):
    whole = scores(GRAPHS["parallel"])
    with pytest.raises(InputError, match="no source of this graph"):
        export_circuit(whole, tmp_path / "x.pt", format="pt", node_scores={"a9.h9": 1.0})
    with pytest.raises(InputError, match="infinity"):
        export_circuit(whole, tmp_path / "x.pt", format="pt", node_scores={"m0": float("inf")})
    with pytest.raises(InputError, match="no place for node scores"):
        export_circuit(whole, tmp_path / "x.graphml", format="graphml", node_scores={"m0": 1.0})
    with pytest.raises(InputError, match="one circuit in one file"):
        export_circuit([whole.top(0.1)], tmp_path / "x.pt", format="pt")
    with pytest.raises(InputError, match="not one circuit"):
        export_circuit(whole.top(0.1), tmp_path / "x", format="mib")
    with pytest.raises(InputError, match="is a folder"):
        export_circuit(whole, tmp_path, format="pt")
    with pytest.raises(InputError, match="what JSON cannot"):
        export_circuit(
            EdgeScores(whole.values, whole.graph, settings={"share": float("nan")}), tmp_path / "x.pt", format="pt"
        )
    spoilt = whole.values.clone()
    spoilt[0, 0] = float("nan")
    with pytest.raises(InputError, match="NaN or infinite"):
        export_circuit(EdgeScores(spoilt, whole.graph), tmp_path / "x.pt", format="pt")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_of_another_tool_is_refused_in_a_sentence(tmp_path: Path):
    scores(GRAPHS["parallel"]).save(tmp_path / "own.safetensors")
    with pytest.raises(InputError, match=r"EdgeScores\.load"):
        import_circuit(tmp_path / "own.safetensors")
    for name in ("none.json", "none.pt", "none.graphml"):
        with pytest.raises(InputError, match=f"{name} cannot be read"):
            import_circuit(tmp_path / name)
    with pytest.raises(InputError, match=r"ends in none of \.json"):
        import_circuit(tmp_path / "x.csv")


def _without_provenance(what: EdgeScores | Circuit, folder: Path) -> Path:
    """Our `.pt` as a tool without provenance would write it."""
    export_circuit(what, folder / "bare.pt", format="pt")
    file = torch.load(folder / "bare.pt", weights_only=True)
    del file["provenance"]
    torch.save(file, folder / "bare.pt")
    return folder / "bare.pt"
