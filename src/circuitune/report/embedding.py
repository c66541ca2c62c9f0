"""Score maps and circuits as compact text for the page.

Only possible edges are kept, destination by destination and, within one, in the order of the sources.
Scores are divided by the map's largest absolute value and stored as float16 (relative error below 0.05 %), then
the circuit's mask as one bit per edge, least significant first; the whole is zlib-compressed, in base64.
"""

import base64
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from circuitune.core.errors import InputError
from circuitune.core.manifest import canonical_json
from circuitune.core.parsing import parse_object
from circuitune.report.wiring import Wiring, wiring_of_record

MOST_HEADER: Final = 100_000_000
"""Bytes; what safetensors itself allows."""


@dataclass(frozen=True)
class Packed:
    """One circuit of the run: base64 ``data``, and ``scale``, the largest absolute score (0: all are zero)."""

    wiring: Wiring
    scale: float
    data: str


def pack(scores: Path, circuit: Path) -> Packed:
    """Read a scores file and a circuit file of the same graph; InputError where they do not fit."""
    values, mask, wiring = read_maps(scores, circuit)
    possible = np.arange(len(wiring.sources))[None, :] < np.array(wiring.readable)[:, None]
    edges = values.T[possible].astype(np.float64)
    scale = float(np.abs(edges).max(initial=0.0))
    relative = (edges / scale if scale else edges).astype("<f2")
    inside = np.packbits(mask.T[possible] != 0, bitorder="little")
    data = zlib.compress(relative.tobytes() + inside.tobytes(), 9)
    return Packed(wiring, scale, base64.b64encode(data).decode("ascii"))


def read_maps(scores: Path, circuit: Path) -> tuple[NDArray[Any], NDArray[Any], Wiring]:
    """Values and mask [sources, destinations] of a scores file and a circuit file, and the graph of both.

    Raises:
        InputError: a file is missing, damaged, of another kind, holds a score that is not finite, or the two are of
            different graphs.
    """
    values, wiring = _read(scores, "values")
    mask, other = _read(circuit, "mask")
    if other != wiring:
        raise InputError(f"{circuit.name} and {scores.name} are of different models.")
    return values, mask, wiring


def graph_of(path: Path) -> Wiring:
    """The graph of a scores or circuit file, by its header alone; InputError where it has none."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = parse_object(file.read(min(length, MOST_HEADER)))
        metadata = parse_object(header["__metadata__"]["circuitune"])["metadata"]
        graph, shape = metadata["graph"], tuple(header["values" if "values" in header else "mask"]["shape"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path.name} is missing or was not written by circuitune; discover it again.") from error
    return _wiring(path, graph, shape)


def _read(path: Path, name: str) -> tuple[NDArray[Any], Wiring]:
    """Tensor ``name`` [sources, destinations] of a file of ours and the graph its metadata names."""
    try:
        data = path.read_bytes()
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        header = parse_object(data[8 : 8 + length])
        text: str = header["__metadata__"]["circuitune"]
        metadata: dict[str, Any] = parse_object(text)["metadata"]
        graph, tensor = metadata["graph"], tensors[name]
        intact = text == _stored(metadata, tensors)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path.name} is missing or was not written by circuitune; discover it again.") from error
    if not intact:
        raise InputError(f"{path.name} is damaged: its content does not match its checksum; discover it again.")
    wiring = _wiring(path, graph, tensor.shape)
    if tensor.dtype.kind not in "fb" or not np.isfinite(tensor).all():
        raise InputError(f"{path.name} holds a score that is not finite, or no scores at all.")
    return tensor, wiring


def _wiring(path: Path, graph: object, shape: tuple[int, ...]) -> Wiring:
    try:
        return wiring_of_record(graph, shape)
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error


def _stored(metadata: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    """What ``core.tensors`` stores beside these tensors; it names types as torch does."""
    checksum = hashlib.sha256(canonical_json(metadata).encode("ascii"))
    for name in sorted(tensors):
        tensor = tensors[name]
        checksum.update(canonical_json([name, f"torch.{tensor.dtype}", list(tensor.shape)]).encode("ascii"))
        checksum.update(tensor.tobytes())
    return canonical_json({"metadata": metadata, "sha256": checksum.hexdigest()})
