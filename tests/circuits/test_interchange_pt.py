"""EAP-IG's `.pt`: both forms, node-level files, nothing unpickled, and every refusal."""

import math
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from circuits import foreign
from circuitune.circuits.graph import Graph
from circuitune.circuits.interchange import export_circuit, import_circuit
from circuitune.circuits.scores import Circuit
from circuitune.core.errors import InputError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "graph.pt"


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("form", ["pt", "pt-old"])
def test_tensors_are_read_as_they_are(form: str, parallel: bool, path: Path):
    file = (foreign.new_pt if form == "pt" else foreign.old_pt)(layers=3, heads=2, parallel=parallel)
    found = import_circuit(foreign.save_pt(path, file))
    assert found.format == form
    assert found.notes == ()
    assert found.scores is not None
    assert found.circuit is not None
    assert found.circuit.graph == Graph(3, 2, 2, parallel)
    assert torch.equal(found.scores.values, file["edges_scores" if form == "pt" else "edges"])
    assert torch.equal(found.circuit.mask, file["edges_in_graph"])


def test_a_json_and_a_pt_of_one_graph_are_equal(path: Path, tmp_path: Path):
    tensors = import_circuit(foreign.save_pt(path, foreign.new_pt()))
    text = import_circuit(foreign.save_json(tmp_path / "graph.json", foreign.new_json()))
    assert tensors.circuit == text.circuit
    assert tensors.scores is not None
    assert text.scores is not None
    assert torch.equal(tensors.scores.values, text.scores.values)


def test_what_we_write_has_the_fields_that_readers_require(path: Path):
    graph = Graph(2, 2, 2, parallel=False)
    export_circuit(Circuit(graph.edge_mask, graph), path, format="pt", width=8)
    file = torch.load(path, weights_only=True)
    assert file["cfg"] == {"n_layers": 2, "n_heads": 2, "parallel_attn_mlp": False, "d_model": 8}
    assert file["src_nodes"] == foreign.node_names(2, 2)[:-1]
    assert file["dst_nodes"] == foreign.destination_names(2, 2)
    assert torch.equal(file["edges_scores"], graph.edge_mask.float())
    assert torch.equal(file["edges_in_graph"], graph.edge_mask)
    assert file["nodes_in_graph"].dtype == torch.bool
    assert bool(file["nodes_in_graph"].all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_scores_of_other_precisions_become_float32(dtype: torch.dtype, path: Path):
    file = foreign.new_pt()
    file["edges_scores"] = file["edges_scores"].to(dtype)
    scores = import_circuit(foreign.save_pt(path, file)).scores
    assert scores is not None
    assert torch.equal(scores.values, file["edges_scores"].float())


def test_marks_beyond_the_edges_are_dropped_with_a_note(path: Path):
    """Node-level selection of the reference marks whole rows."""
    file = foreign.new_pt(share=0)
    file["edges_scores"].zero_()
    file["edges_in_graph"][0] = file["edges_in_graph"][1] = True
    file["nodes_in_graph"][:2] = True
    file["nodes_scores"] = torch.arange(7).float()
    file["nodes_scores"][3] = math.nan
    found = import_circuit(foreign.save_pt(path, file))
    assert found.circuit is not None
    graph = found.circuit.graph
    assert torch.equal(found.circuit.mask[:2], graph.edge_mask[:2])
    assert not bool(found.circuit.mask[2:].any())
    dropped = int((~graph.edge_mask[:2]).sum())
    assert f"{dropped} marked entries of graph.pt are no edges" in found.notes[0]
    assert found.scores is None
    assert found.node_scores["a0.h0"] == 1.0
    assert math.isnan(found.node_scores["m0"])


def test_neurons_are_ignored_with_a_note(path: Path):
    file = {**foreign.new_pt(), "neurons_in_graph": torch.ones(7, 8).bool(), "neurons_scores": torch.ones(7, 8)}
    assert import_circuit(foreign.save_pt(path, file)).notes == ("Neurons in graph.pt were ignored.",)


def test_nothing_else_is_unpickled(path: Path):
    torch.save({**foreign.new_pt(), "cfg": Trap()}, path)
    with pytest.raises(InputError, match="nothing else is unpickled"):
        import_circuit(path)
    assert not Trap.sprung


class Trap:
    sprung = False

    def __setstate__(self, state: Any) -> None:
        Trap.sprung = True

    def __getstate__(self) -> Any:
        return {"set": True}


MATRIX = (7, 15)
REFUSALS = {
    "no cfg": ("cfg", ..., "field cfg is missing"),
    "cfg is a list": ("cfg", [1], "field cfg is [1]"),
    "more heads": ("cfg", {"n_layers": 2, "n_heads": 3, "parallel_attn_mlp": True}, "field src_nodes has 7 names"),
    "beyond all models": (
        "cfg",
        {"n_layers": 9**9, "n_heads": 3, "parallel_attn_mlp": True},
        "far more than the file has edges for",
    ),
    "no scores": ("edges_scores", ..., "field edges_scores is missing"),
    "no marks": ("edges_in_graph", ..., "field edges_in_graph is missing"),
    "no node marks": ("nodes_in_graph", ..., "field nodes_in_graph is missing"),
    "no sources": ("src_nodes", ..., "field src_nodes is missing"),
    "sources are a number": ("src_nodes", 7, "field src_nodes is 7"),
    "other sources": ("src_nodes", ["input", "m0", "a0.h0", "a0.h1", "a1.h0", "a1.h1", "m1"], "'m0' at place 1"),
    "fewer destinations": ("dst_nodes", ["logits"], "field dst_nodes has 1 names; cfg describes 15"),
    "scores are a list": ("edges_scores", [1.0], "field edges_scores is no ordinary tensor"),
    "sparse scores": ("edges_scores", torch.ones(MATRIX).to_sparse(), "edges_scores is no ordinary tensor"),
    "complex scores": ("edges_scores", torch.ones(MATRIX) * 1j, "edges_scores is no ordinary tensor"),
    "scores without data": ("edges_scores", torch.ones(MATRIX, device="meta"), "edges_scores is no ordinary tensor"),
    "transposed": ("edges_scores", torch.zeros(15, 7), "edges_scores has shape [15, 7]; cfg describes [7, 15]"),
    "NaN": ("edges_scores", torch.full(MATRIX, math.nan), "has nan for input->a0.h0<q>"),
    "infinity": ("edges_scores", torch.full(MATRIX, -math.inf), "has -inf for input->a0.h0<q>"),
    "scores beyond the edges": ("edges_scores", torch.ones(MATRIX), "scores where cfg has no edge"),
    "marks are shares": ("edges_in_graph", torch.full(MATRIX, 0.5), "edges_in_graph has values other than 0 and 1"),
    "too few node marks": ("nodes_in_graph", torch.ones(6), "nodes_in_graph has shape [6]"),
    "infinite node score": ("nodes_scores", torch.full((7,), math.inf), "nodes_scores holds infinity"),
    "provenance": ("provenance", "{", "field provenance is not JSON"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_file_that_is_wrong_is_refused_with_its_name_and_the_field(case: str, path: Path):
    field, value, message = REFUSALS[case]
    file = {**foreign.new_pt(), field: value}
    if value is ...:
        del file[field]
    with pytest.raises(InputError) as refusal:
        import_circuit(foreign.save_pt(path, file))
    sentence = str(refusal.value)
    assert message in sentence
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence


@pytest.mark.parametrize("mark", [None, "yes", 0.5, torch.ones(2)])
def test_marks_of_the_old_form_are_true_or_false(mark: Any, path: Path):
    file = foreign.old_pt()
    file["src_nodes"]["m0"] = mark
    with pytest.raises(InputError, match="src_nodes does not give true or false"):
        import_circuit(foreign.save_pt(path, file))
    with pytest.raises(InputError, match="src_nodes does not give true or false"):
        import_circuit(foreign.save_pt(path, {**file, "src_nodes": list(file["src_nodes"])}))


@pytest.mark.parametrize("value", [torch.ones(3), [1, 2], 3, {1: 2}, OrderedDict()], ids=str)
def test_what_is_no_graph_is_refused(value: Any, path: Path):
    with pytest.raises(InputError, match=r"graph\.pt"):
        import_circuit(foreign.save_pt(path, value))


def test_a_truncated_file_is_refused(path: Path):
    data = foreign.save_pt(path, foreign.new_pt()).read_bytes()
    for length in (0, 1, 4, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match="no whole PyTorch file"):
            import_circuit(path)
