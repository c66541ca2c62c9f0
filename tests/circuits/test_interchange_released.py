"""The study's released circuit files, against the counts that were published or counted beside us."""

from pathlib import Path

import pytest

from circuitune.circuits.graph import Graph
from circuitune.circuits.interchange import Imported, export_circuit, import_circuit
from circuitune.dynamics.change import compare
from circuitune.dynamics.layers import critical_layers, layer_importance

RELEASED = Path(__file__).resolve().parents[3] / "shared" / "reference" / "released"
BEFORE, AFTER = "two_step_pythia-1.4b_epoch0.json", "two_step_pythia-1.4b_r2_epoch4.json"


@pytest.fixture(scope="module")
def files() -> tuple[Imported, Imported]:
    if not RELEASED.is_dir():
        pytest.skip(f"no {RELEASED}")
    return import_circuit(RELEASED / BEFORE), import_circuit(RELEASED / AFTER)


def test_nodes_and_edges_are_all_there(files: tuple[Imported, Imported]):
    for found, edges, nodes in zip(files, (9_153, 8_397), (334, 316), strict=True):
        assert found.format == "eap-ig-json-old"
        assert found.circuit is not None
        assert found.circuit.graph == Graph(24, 16, 16, parallel=True, collapsed=True)
        assert len(found.circuit.graph.sources) + 1 == 410
        assert (len(found.circuit), len(found.circuit.nodes)) == (edges, nodes)
        assert len(found.notes) == 1  # the edges that are not listed; nodes and edges agree


def test_the_largest_edge_is_the_largest(files: tuple[Imported, Imported]):
    scores = files[0].scores
    assert scores is not None
    place = int(scores.values.abs().argmax())
    row, column = divmod(place, len(scores.graph.destinations))
    assert (scores.graph.sources[row], scores.graph.destinations[column]) == ("input", "m0")
    assert float(scores.values[row, column]) == pytest.approx(5.689e-08, rel=1e-4)


def test_changes_are_those_counted_from_the_files(files: tuple[Imported, Imported]):
    before, after = (found.circuit for found in files)
    assert before is not None
    assert after is not None
    change = compare(before, after)
    assert change.edges.jaccard == pytest.approx(0.4103, abs=5e-5)
    assert change.nodes.jaccard == pytest.approx(0.7857, abs=5e-5)
    assert (len(change.edges.added), len(change.edges.removed)) == (3_291, 4_047)


@pytest.mark.parametrize(
    ("rule", "layers"),
    [("released", (0, 11, 3, 5, 4)), ("destination", (11, 0, 23, 10, 13)), ("before", (0, 4, 5, 6, 3))],
)
def test_critical_layers_are_those_counted_from_the_files(files, rule: str, layers: tuple[int, ...]):
    before, after = (found.scores for found in files)
    assert critical_layers(layer_importance(before, after, rule).tolist(), 5) == layers


def test_the_strongest_edges_overlap_as_counted(files: tuple[Imported, Imported]):
    strongest = [
        found.scores.values.abs().flatten().argsort(descending=True)[:100] for found in files if found.scores
    ]
    assert len(set(strongest[0].tolist()) & set(strongest[1].tolist())) == 44


def test_a_released_file_survives_our_export(files: tuple[Imported, Imported], tmp_path: Path):
    circuit = files[0].circuit
    assert circuit is not None
    assert export_circuit(circuit, tmp_path / "again.json", format="eap-ig-json-old").notes == ()
    again = import_circuit(tmp_path / "again.json")
    assert again.circuit == circuit
    assert again.scores is not None
    assert files[0].scores is not None
    assert again.scores.values.equal(files[0].scores.values)
