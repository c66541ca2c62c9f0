"""Score maps and circuits as compact text for the page.

Only possible edges are kept, destination by destination and, within one, in the order of the sources.
Scores are divided by the map's largest absolute value and stored as float16 (relative error below 0.05 %), then
the circuit's mask as one bit per edge, least significant first; the whole is zlib-compressed, in base64.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from circuitune.core.errors import InputError
from circuitune.report.wiring import Wiring, wiring_of_record


class _SafeTensors(Protocol):
    """The part of safetensors' untyped reader that is used here."""

    def metadata(self) -> Mapping[str, str] | None: ...
    def get_tensor(self, name: str, /) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Packed:
    """One circuit of the run: base64 ``data``, and ``scale``, the largest absolute score (0: all are zero)."""

    wiring: Wiring
    scale: float
    data: str


def pack(scores: Path, circuit: Path) -> Packed:
    """Read a scores file and a circuit file of the same graph; InputError where they do not fit."""
    values, wiring = _read(scores, "values")
    mask, other = _read(circuit, "mask")
    if other != wiring:
        raise InputError(f"{circuit} and {scores} are of different models.")
    if not np.isfinite(values).all():
        raise InputError(f"{scores} holds a score that is not finite.")
    possible = np.arange(len(wiring.sources))[None, :] < np.array(wiring.readable)[:, None]
    edges = values.T[possible].astype(np.float64)
    scale = float(np.abs(edges).max(initial=0.0))
    relative = (edges / scale if scale else edges).astype("<f2")
    inside = np.packbits(mask.T[possible] != 0, bitorder="little")
    data = zlib.compress(relative.tobytes() + inside.tobytes(), 9)
    return Packed(wiring, scale, base64.b64encode(data).decode("ascii"))


def _read(path: Path, name: str) -> tuple[NDArray[Any], Wiring]:
    """Tensor ``name`` [sources, destinations] of a safetensors file and the graph its metadata names."""
    try:
        with cast(AbstractContextManager[_SafeTensors], safe_open(path, framework="numpy")) as file:
            described = (file.metadata() or {}).get("circuitune", "{}")
            tensor = file.get_tensor(name)
        metadata = cast(object, json.loads(described))
    except (OSError, SafetensorError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read ({reason}).") from error
    graph = cast(Mapping[str, object], metadata).get("graph") if isinstance(metadata, dict) else None
    if not isinstance(graph, dict):
        raise InputError(f"{path} does not say which graph it belongs to.")
    wiring = wiring_of_record(cast(Mapping[str, object], graph))
    if tensor.shape != (len(wiring.sources), len(wiring.destinations)):
        raise InputError(f"{path} has a tensor of shape {tensor.shape}, which is not its graph's.")
    return tensor, wiring
