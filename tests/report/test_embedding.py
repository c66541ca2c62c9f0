import base64
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.core import tensors
from circuitune.core.errors import InputError
from circuitune.report.embedding import pack

GRAPH = Graph(2, 4, 2, parallel=False)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Path, torch.Tensor, torch.Tensor]:
    """Scores and circuit as the engine saves them, and what is in them."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(len(GRAPH.sources), len(GRAPH.destinations), generator=generator) * GRAPH.edge_mask
    scores = EdgeScores(values, GRAPH, None, None, {})
    circuit = scores.top(0.3)
    scores.save(tmp_path / "scores.safetensors")
    circuit.save(tmp_path / "circuit.safetensors")
    return tmp_path / "scores.safetensors", tmp_path / "circuit.safetensors", values, circuit.mask


def test_what_is_packed_unpacks_to_the_saved_scores_and_edges(
    saved: tuple[Path, Path, torch.Tensor, torch.Tensor],
) -> None:
    scores, circuit, values, mask = saved
    packed = pack(scores, circuit)

    data = zlib.decompress(base64.b64decode(packed.data))
    relative = np.frombuffer(data[: 2 * GRAPH.edges], "<f2").astype(np.float64)
    bits = np.frombuffer(data[2 * GRAPH.edges :], np.uint8)
    inside = np.unpackbits(bits, bitorder="little", count=GRAPH.edges)
    edges = [
        (source, destination)
        for destination in range(len(GRAPH.destinations))
        for source in range(len(GRAPH.sources))
        if GRAPH.edge_mask[source, destination]
    ]
    expected = [values[edge].item() for edge in edges]
    np.testing.assert_allclose(relative * packed.scale, expected, rtol=5e-4, atol=1e-7)
    assert [bool(bit) for bit in inside] == [bool(mask[edge]) for edge in edges]


def test_scores_far_below_float16_survive(tmp_path: Path) -> None:
    values = torch.full((len(GRAPH.sources), len(GRAPH.destinations)), 1e-10) * GRAPH.edge_mask
    scores = EdgeScores(values, GRAPH, None, None, {})
    scores.save(tmp_path / "s")
    scores.top(10).save(tmp_path / "c")

    packed = pack(tmp_path / "s", tmp_path / "c")

    assert packed.scale == pytest.approx(1e-10)
    data = zlib.decompress(base64.b64decode(packed.data))
    assert set(np.frombuffer(data[: 2 * GRAPH.edges], "<f2").tolist()) == {1.0}


def test_a_damaged_file_is_noticed(saved: tuple[Path, Path, torch.Tensor, torch.Tensor]) -> None:
    scores, circuit, *_ = saved
    data = bytearray(scores.read_bytes())
    data[-3] ^= 0x10
    scores.write_bytes(data)
    with pytest.raises(InputError, match=r"scores\.safetensors is damaged"):
        pack(scores, circuit)


def test_a_missing_or_foreign_file_is_named(saved: tuple[Path, Path, torch.Tensor, torch.Tensor]) -> None:
    scores, circuit, *_ = saved
    with pytest.raises(InputError, match=r"other\.safetensors is missing or was not written by circuitune"):
        pack(scores.with_name("other.safetensors"), circuit)
    circuit.write_bytes(b"no tensors at all")
    with pytest.raises(InputError, match=r"circuit\.safetensors is missing or was not written"):
        pack(scores, circuit)


def test_scores_and_circuit_of_different_models_are_refused(
    saved: tuple[Path, Path, torch.Tensor, torch.Tensor],
) -> None:
    scores, circuit, *_ = saved
    graph = Graph(1, 2, 2, parallel=False)
    mask = graph.edge_mask
    tensors.save(circuit, {"mask": mask}, {"kind": "circuit", "graph": graph.to_record()})
    with pytest.raises(InputError, match="different models"):
        pack(scores, circuit)


def test_a_tensor_that_does_not_fit_its_graph_is_refused(
    saved: tuple[Path, Path, torch.Tensor, torch.Tensor],
) -> None:
    scores, circuit, values, _ = saved
    tensors.save(scores, {"values": values[:-1]}, {"kind": "scores", "graph": GRAPH.to_record()})
    with pytest.raises(InputError, match="not its graph's"):
        pack(scores, circuit)


def test_scores_that_are_not_finite_are_refused(saved: tuple[Path, Path, torch.Tensor, torch.Tensor]) -> None:
    scores, circuit, values, _ = saved
    values = values.clone()
    values[0, 0] = float("nan")
    tensors.save(scores, {"values": values}, {"kind": "scores", "graph": GRAPH.to_record()})
    with pytest.raises(InputError, match="not finite"):
        pack(scores, circuit)
