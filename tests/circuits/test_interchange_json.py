"""EAP-IG's JSON: both schemas, merged q/k/v, node-level files, and every refusal."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from circuits import foreign
from circuitune.circuits.graph import Graph
from circuitune.circuits.interchange import export_circuit, import_circuit
from circuitune.circuits.scores import Circuit
from circuitune.core.errors import InputError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "graph.json"


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("schema", ["new", "old"])
def test_every_edge_has_its_score_and_mark(schema: str, parallel: bool, path: Path):
    make = foreign.new_json if schema == "new" else foreign.old_json
    file = make(3, 2, parallel)
    found = import_circuit(foreign.save_json(path, file))
    assert found.format == ("eap-ig-json" if schema == "new" else "eap-ig-json-old")
    assert found.notes == ()
    assert found.node_scores == {}
    assert found.scores is not None
    assert found.circuit is not None
    assert found.scores.graph == found.circuit.graph == Graph(3, 2, 2, parallel)
    assert found.scores.settings == {"imported": found.format, "file": "graph.json"}
    assert set(found.circuit.edges) == {name for name, edge in file["edges"].items() if edge["in_graph"]}
    for name, edge in file["edges"].items():
        assert _score(found.scores, name) == pytest.approx(edge["score"], rel=1e-7)


def test_a_merged_file_gives_a_collapsed_circuit(path: Path):
    file = foreign.collapsed_json(3, 2)
    found = import_circuit(foreign.save_json(path, file))
    assert found.format == "eap-ig-json-old"
    assert found.circuit is not None
    assert found.scores is not None
    assert found.circuit.graph == Graph(3, 2, 2, parallel=True, collapsed=True)
    assert set(found.circuit.edges) == set(file["edges"])
    assert set(found.circuit.nodes) == set(file["nodes"])
    assert int((found.scores.values != 0).sum()) == len(file["edges"])
    assert f"lists {len(file['edges'])} of {found.circuit.graph.edges} edges" in found.notes[0]


def test_a_merged_file_is_written_as_it_was_read(path: Path, tmp_path: Path):
    file = foreign.collapsed_json(3, 2)
    found = import_circuit(foreign.save_json(path, file))
    assert found.circuit is not None
    made = export_circuit(found.circuit, tmp_path / "again.json", format="eap-ig-json-old")
    assert made.notes == ()
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["cfg"] == file["cfg"]
    assert set(again["edges"]) == set(file["edges"])
    assert {name for name, mark in again["nodes"].items() if mark} == set(file["nodes"])


def test_what_we_write_has_the_fields_that_readers_require(path: Path):
    graph = Graph(2, 2, 2, parallel=False)
    circuit = Circuit(graph.edge_mask, graph)
    export_circuit(circuit, path, format="eap-ig-json", width=8)
    file = json.loads(path.read_text())
    assert file["cfg"] == {"n_layers": 2, "n_heads": 2, "parallel_attn_mlp": False, "d_model": 8}
    assert list(file["nodes"]) == foreign.node_names(2, 2)
    assert all(node == {"in_graph": True} for node in file["nodes"].values())
    assert set(file["edges"]) == set(foreign.edge_names(2, 2, False))
    assert all(edge == {"score": 1.0, "in_graph": True} for edge in file["edges"].values())
    export_circuit(circuit, path, format="eap-ig-json-old")
    file = json.loads(path.read_text())
    assert file["cfg"] == {"n_layers": 2, "n_heads": 2, "parallel_attn_mlp": False}
    assert all(node is True for node in file["nodes"].values())
    assert all(edge == {"score": None, "in_graph": True} for edge in file["edges"].values())


def test_a_file_before_selection_has_scores_and_no_circuit(path: Path):
    found = import_circuit(foreign.save_json(path, foreign.new_json(share=0)))
    assert found.scores is not None
    assert found.circuit is None
    assert found.circuits == ()


def test_a_merged_file_is_no_way_to_fill_the_memory(path: Path):
    file = foreign.collapsed_json()
    file["cfg"].update(n_layers=10**6, n_heads=100)
    with pytest.raises(InputError, match="far more than the file has edges for"):
        import_circuit(foreign.save_json(path, file))


@pytest.mark.parametrize("score", [0.0, None, ...])
def test_a_binary_file_has_a_circuit_and_no_scores(score: Any, path: Path):
    file = foreign.new_json()
    for edge in file["edges"].values():
        edge["score"] = score
        if score is ...:
            del edge["score"]
    found = import_circuit(foreign.save_json(path, file))
    assert found.scores is None
    assert found.circuit is not None
    assert found.circuit.scores is None
    assert ("no edge scores" in " ".join(found.notes)) == (score == 0.0)


def test_edges_without_a_score_among_others_are_counted(path: Path):
    file = foreign.old_json()
    name = next(iter(file["edges"]))
    file["edges"][name]["score"] = None
    found = import_circuit(foreign.save_json(path, file))
    assert found.notes == ("1 edges of graph.json have no score and count as score 0.",)
    assert found.scores is not None
    assert _score(found.scores, name) == 0


def test_node_scores_are_returned_and_neurons_ignored(path: Path):
    file = foreign.new_json(share=0)
    file["nodes"]["input"]["score"] = 0.25
    file["nodes"]["m1"]["score"] = math.nan
    file["nodes"]["m0"]["neurons"] = [True] * 8
    file["nodes"]["m0"]["neurons_scores"] = [0.5] * 8
    found = import_circuit(foreign.save_json(path, file))
    assert list(found.node_scores) == foreign.node_names(2, 2)[:-1]
    assert found.node_scores["input"] == 0.25
    assert math.isnan(found.node_scores["m1"])
    assert math.isnan(found.node_scores["a0.h0"])
    assert any("Neurons" in note for note in found.notes)


def test_marked_nodes_alone_are_a_circuit_of_all_edges_between_them(path: Path):
    file = foreign.new_json(share=0)
    marked = {"input", "a0.h1", "m1"}
    for name in marked:
        file["nodes"][name]["in_graph"] = True
    for edge in file["edges"].values():
        edge["score"] = 0.0
    for listed in (file["edges"], {}):
        found = import_circuit(foreign.save_json(path, {**file, "edges": listed}))
        expected = {
            name
            for name in file["edges"]
            if name.split("->")[0] in marked and name.split("->")[1].split("<")[0] in {*marked, "logits"}
        }
        assert found.circuit is not None
        assert set(found.circuit.edges) == expected
        assert set(found.circuit.nodes) == {*marked, "logits"}
        assert any("marks nodes but no edges" in note for note in found.notes)


def test_marks_of_nodes_that_do_not_fit_the_edges_are_noted(path: Path):
    file = foreign.old_json()
    file["nodes"] = dict.fromkeys(file["nodes"], False)
    assert any("marks 0 nodes" in note for note in import_circuit(foreign.save_json(path, file)).notes)


def test_another_tool_s_provenance_is_ignored_with_a_note(path: Path):
    file = {**foreign.new_json(), "provenance": {"tool": "other", "settings": 3}}
    assert any("another tool" in note for note in import_circuit(foreign.save_json(path, file)).notes)


def set_in(*keys: str) -> Callable[[dict[str, Any], Any], None]:
    def change(file: dict[str, Any], value: Any) -> None:
        for key in keys[:-1]:
            file = file[key]
        if value is ...:
            del file[keys[-1]]
        else:
            file[keys[-1]] = value

    return change


EDGE = ("edges", "input->a0.h0<q>")
REFUSALS = {
    "no cfg": (set_in("cfg"), ..., "field cfg is missing"),
    "nodes are a list": (set_in("nodes"), [], "field nodes is a list"),
    "edges are a number": (set_in("edges"), 3, "field edges is a number"),
    "no layers": (set_in("cfg", "n_layers"), ..., "field cfg.n_layers is missing"),
    "layers are a text": (set_in("cfg", "n_layers"), "2", "field cfg.n_layers is '2'"),
    "no heads": (set_in("cfg", "n_heads"), 0, "field cfg.n_heads is 0"),
    "parallel is a number": (set_in("cfg", "parallel_attn_mlp"), 1, "field cfg.parallel_attn_mlp is 1"),
    "more layers than any model": (
        set_in("cfg", "n_layers"),
        10**9,
        "describes 1000000000 layers of 2 heads, far more than",
    ),
    "other heads": (set_in("cfg", "n_heads"), 1, "a0.h1"),
    "more heads": (set_in("cfg", "n_heads"), 3, "of 69 edges; the first that is missing is input->a0.h2<q>"),
    "other blocks": (set_in("cfg", "parallel_attn_mlp"), False, "the first that is missing is a0.h0->m0"),
    "a missing edge": (set_in(*EDGE), ..., "41 of 42 edges; the first that is missing is input->a0.h0<q>"),
    "no such source": (set_in("edges", "a7.h0->m1"), {"score": 1, "in_graph": True}, "'a7.h0' is no node"),
    "no such destination": (set_in("edges", "m0->x"), {"score": 1, "in_graph": True}, "'x' is no node"),
    "no arrow": (set_in("edges", "m0"), {"score": 1, "in_graph": True}, "'m0'"),
    "no edge": (set_in("edges", "m1->m0"), {"score": 1, "in_graph": True}, "m1->m0, which is no edge"),
    "merged among split": (
        set_in("edges", "input->a0.h0"),
        {"score": 1, "in_graph": True},
        "all apart or all merged",
    ),
    "edge is a number": (set_in(*EDGE), 3, "as a number"),
    "NaN score": (set_in(*EDGE, "score"), math.nan, "score is nan, not a finite number"),
    "infinite score": (set_in(*EDGE, "score"), math.inf, "score is inf"),
    "score beyond float32": (set_in(*EDGE, "score"), 1e39, "score is 1e+39"),
    "endless score": (set_in(*EDGE, "score"), 10**400, "a number beyond all bounds"),
    "score is a text": (set_in(*EDGE, "score"), "0.1", "score is '0.1'"),
    "score is a mark": (set_in(*EDGE, "score"), True, "score is True"),
    "no mark": (set_in(*EDGE, "in_graph"), ..., "in_graph is missing"),
    "mark is a text": (set_in(*EDGE, "in_graph"), "yes", "in_graph is 'yes'"),
    "no such node": (set_in("nodes", "a0.h9"), {"in_graph": True}, "'a0.h9', which is no node"),
    "node is a text": (set_in("nodes", "m0"), "in", "nodes.m0.in_graph is 'in'"),
    "infinite node score": (set_in("nodes", "m0", "score"), math.inf, "nodes.m0.score is inf"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_file_that_is_wrong_is_refused_with_its_name_and_the_field(case: str, path: Path):
    change, value, message = REFUSALS[case]
    file = foreign.new_json()
    change(file, value)
    with pytest.raises(InputError) as refusal:
        import_circuit(foreign.save_json(path, file))
    sentence = str(refusal.value)
    assert message in sentence
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    assert len(sentence) < len(str(path)) + 250


PROVENANCE = {
    "settings gone": (set_in("provenance", "settings"), ..., "field provenance.settings"),
    "no completeness": (set_in("provenance", "completeness"), "small", "field provenance.completeness"),
    "another graph": (set_in("provenance", "graph", "heads"), 8, "field provenance.graph contradicts"),
    "kv heads that do not fit": (set_in("provenance", "graph", "kv_heads"), 3, "kv_heads"),
    "scores without settings": (set_in("provenance", "scores_settings"), None, "provenance.scores_settings"),
    "a later format": (set_in("provenance", "format"), 2, "field provenance.format"),
}


@pytest.mark.parametrize("case", PROVENANCE)
def test_a_damaged_provenance_is_refused_with_the_field(case: str, path: Path):
    change, value, message = PROVENANCE[case]
    found = import_circuit(foreign.save_json(path, foreign.new_json()))
    assert found.scores is not None
    export_circuit(found.scores, path, format="eap-ig-json")
    file = json.loads(path.read_text())
    change(file, value)
    with pytest.raises(InputError, match="field") as refusal:
        import_circuit(foreign.save_json(path, file))
    assert message in str(refusal.value)


def test_a_file_that_lost_its_scores_is_refused(path: Path):
    found = import_circuit(foreign.save_json(path, foreign.new_json()))
    assert found.circuit is not None
    export_circuit(found.circuit, path, format="eap-ig-json-old")
    file = json.loads(path.read_text())
    for edge in file["edges"].values():
        edge["score"] = None
    with pytest.raises(InputError, match="has no scores, but provenance tells of some"):
        import_circuit(foreign.save_json(path, file))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"3",
        b"null",
        b'"text"',
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"cfg": 1' + b"0" * 5000 + b"}",
    ],
    ids=["empty", "open", "list", "number", "null", "text", "binary", "nested", "digits"],
)
def test_what_is_no_object_is_refused(data: bytes, path: Path):
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"graph\.json"):
        import_circuit(path)


def _score(scores: Any, name: str) -> float:
    source, destination = name.split("->")
    graph = scores.graph
    return float(scores.values[graph.sources.index(source), graph.destinations.index(destination)])
