"""Folders of the Mechanistic Interpretability Benchmark: one file of scores, or nine circuits of given sizes."""

import json
from pathlib import Path

import pytest
import torch

from circuits import foreign
from circuitune.circuits.graph import Graph
from circuitune.circuits.interchange import export_circuit, import_circuit, mib_circuits
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
GRAPHS = {"full": Graph(6, 6, 6, parallel=False), "grouped": Graph(6, 6, 2, parallel=False)}


def scores(graph: Graph) -> EdgeScores:
    values = torch.randn(graph.edge_mask.shape, generator=torch.Generator().manual_seed(0)) * graph.edge_mask
    return EdgeScores(values, graph, None, None, {"method": "eap"})


@pytest.mark.parametrize("graph", GRAPHS)
def test_nine_circuits_fit_their_shares_and_come_back(graph: str, tmp_path: Path):
    whole = scores(GRAPHS[graph])
    circuits = mib_circuits(whole)
    made = export_circuit(circuits, tmp_path / "ioi_gpt2", format="mib")
    edges = Graph(6, 6, 6, parallel=False).edges
    assert len(made.files) == len(SHARES)
    for path, share in zip(made.files, SHARES, strict=True):
        marks = torch.load(path, weights_only=True)["edges_in_graph"]
        assert int(marks.sum()) <= int(share * edges)
    found = import_circuit(tmp_path / "ioi_gpt2")
    assert found.format == "mib"
    assert found.circuit is None
    assert found.scores is None
    assert found.circuits == tuple(circuits)
    assert found.notes == ()


def test_circuits_of_an_ungrouped_model_are_the_top_ones_as_the_benchmark_counts():
    whole = scores(GRAPHS["full"])
    assert mib_circuits(whole) == [whole.top(int(share * whole.graph.edges)) for share in SHARES]


def test_circuits_of_a_grouped_model_take_as_many_edges_as_fit():
    whole = scores(GRAPHS["grouped"])
    weight = torch.tensor([3 if kind in "kv" else 1 for kind in whole.graph.destination_kind])
    edges = GRAPHS["full"].edges
    for circuit, share in zip(mib_circuits(whole), SHARES, strict=True):
        count = circuit.settings["size"]
        for size, fits in ((count, True), (count + 1, False)):
            order = whole.values[whole.graph.edge_mask].abs().argsort(descending=True, stable=True)[:size]
            used = int(weight.expand(whole.values.shape)[whole.graph.edge_mask][order].sum())
            assert (used <= int(share * edges)) == fits


def test_scores_are_one_file_under_the_benchmark_s_own_name(tmp_path: Path):
    made = export_circuit(scores(GRAPHS["full"]), tmp_path / "arc-easy_llama3", format="mib")
    assert [path.name for path in made.files] == ["importances.json"]
    assert made.notes == ()
    found = import_circuit(tmp_path / "arc-easy_llama3")
    assert found.scores is not None
    assert torch.equal(found.scores.values, scores(GRAPHS["full"]).values)


@pytest.mark.parametrize("name", ["ioi", "ioi_gpt3", "arc_easy_llama3", "_gpt2"])
def test_a_folder_with_another_name_is_noted(name: str, tmp_path: Path):
    made = export_circuit(scores(GRAPHS["full"]), tmp_path / name, format="mib")
    assert (
        f"such as ioi_gpt2 or arc-easy_llama3 (models: gpt2, qwen2.5, gemma2, llama3, interpbench); {name}"
        in (made.notes[-1])
    )


def test_a_folder_of_foreign_files_is_read_smallest_first(tmp_path: Path):
    for number, share in enumerate((0.5, 0.0, 0.0, 0.1, 0.0, 0.2, 0.0, 0.05, 0.0)):
        file = foreign.new_json(4, 4, share=share, seed=number)
        foreign.save_json(tmp_path / f"{number}.json", file)
    (tmp_path / "README.md").write_text("about")
    found = import_circuit(tmp_path)
    sizes = [len(circuit) for circuit in found.circuits]
    assert sizes == sorted(sizes)
    assert len(sizes) == 9
    assert sum("more than the" in note for note in found.notes) > 0  # the shares above are none of the benchmark's


def test_node_scores_of_a_folder_are_read(tmp_path: Path):
    file = foreign.new_pt(share=0)
    file["edges_scores"].zero_()
    foreign.save_pt(tmp_path / "importances.pt", {**file, "nodes_scores": torch.arange(7).float()})
    found = import_circuit(tmp_path)
    assert found.scores is None
    assert found.circuit is None
    assert found.node_scores["a0.h1"] == 2.0


def test_what_is_no_submission_is_refused_in_a_sentence(tmp_path: Path):
    with pytest.raises(InputError, match="holds 0 files"):
        import_circuit(tmp_path)
    (tmp_path / "ioi_gpt2").mkdir()
    with pytest.raises(InputError, match=r"import one of its folders \(ioi_gpt2\)"):
        import_circuit(tmp_path)
    for number in range(8):
        foreign.save_json(tmp_path / f"{number}.json", foreign.new_json())
    with pytest.raises(InputError, match="holds 8 files"):
        import_circuit(tmp_path)
    foreign.save_json(tmp_path / "8.json", foreign.new_json(3))
    with pytest.raises(InputError, match=r"8\.json: field cfg differs"):
        import_circuit(tmp_path)
    (tmp_path / "8.json").write_text(json.dumps({"cfg": {}}))
    with pytest.raises(InputError, match=r"8\.json: field nodes is missing"):
        import_circuit(tmp_path)
    for number in range(9):
        foreign.save_json(tmp_path / f"{number}.json", foreign.new_json(share=0))
    with pytest.raises(InputError, match="9 files that mark no edges"):
        import_circuit(tmp_path)


def test_what_the_benchmark_would_not_take_is_not_written(tmp_path: Path):
    circuits = mib_circuits(scores(GRAPHS["full"]))
    with pytest.raises(InputError, match="got 8"):
        export_circuit(circuits[:8], tmp_path / "ioi_gpt2", format="mib")
    with pytest.raises(InputError, match=r"for 0\.1 % has \d+ edges, more than"):
        export_circuit(circuits[::-1], tmp_path / "ioi_gpt2", format="mib")
    with pytest.raises(InputError, match="different graphs"):
        export_circuit(
            [*circuits[:8], mib_circuits(scores(Graph(6, 6, 6, parallel=True)))[8]],
            tmp_path / "ioi_gpt2",
            format="mib",
        )
    with pytest.raises(InputError, match="they are merged"):
        mib_circuits(scores(GRAPHS["full"]).collapse())
    assert list(tmp_path.iterdir()) == []
    export_circuit(circuits, tmp_path / "ioi_gpt2", format="mib")
    with pytest.raises(InputError, match=r"already holds circuit-0\.1-percent\.pt"):
        export_circuit(scores(GRAPHS["full"]), tmp_path / "ioi_gpt2", format="mib")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is a file"):
        export_circuit(circuits, tmp_path / "file", format="mib")
