"""Tensors and their JSON metadata in one safetensors file that notices damage.

safetensors alone loads a file with flipped bits without a word. Here a SHA-256 over names, types, shapes
and bytes of all tensors and over the metadata is kept beside them. Equal content gives equal bytes; loading
never unpickles.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from circuitune.core.atomic import write_bytes
from circuitune.core.errors import InputError, MachineError
from circuitune.core.manifest import canonical_json
from circuitune.core.parsing import parse_object

KEY = "circuitune"
"""The one entry of the safetensors metadata."""


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, object]) -> None:
    """Write tensors (any shape, on any device) and JSON metadata atomically.

    Raises:
        MachineError: the metadata holds NaN or infinity, or the disk refuses.
    """
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    try:
        text = _text(dict(metadata), plain)
    except ValueError as error:
        raise MachineError(f"{path} would hold metadata that is not finite; nothing was written.") from error
    write_bytes(path, safetensors.torch.save(plain, metadata={KEY: text}))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file written by ``save``: tensors on the CPU, and the metadata.

    Raises:
        InputError: the file is missing, damaged, or was not written by circuitune.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    try:
        tensors = safetensors.torch.load(data)
        text = _stored_text(data)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(f"{path} is not a whole safetensors file; make it again.") from error
    if text is None:
        raise InputError(f"{path} was not written by circuitune; give a file saved by it.")
    try:
        metadata: dict[str, Any] = parse_object(text)["metadata"]
        intact = text == _text(metadata, tensors)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is damaged: its metadata cannot be read; make it again.") from error
    if not intact or type(metadata) is not dict:
        raise InputError(f"{path} is damaged: its content does not match its checksum; make it again.")
    return tensors, metadata


def _text(metadata: dict[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """The canonical text of the metadata and of the checksum over it and the tensors."""
    checksum = hashlib.sha256(canonical_json(metadata).encode("ascii"))
    for name in sorted(tensors):
        tensor = tensors[name]
        checksum.update(canonical_json([name, str(tensor.dtype), list(tensor.shape)]).encode("ascii"))
        checksum.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return canonical_json({"metadata": metadata, "sha256": checksum.hexdigest()})


def _stored_text(data: bytes) -> str | None:
    """Our entry of the header: 8 bytes of length (little-endian), then JSON with ``__metadata__``."""
    length = int.from_bytes(data[:8], "little")
    header = parse_object(data[8 : 8 + length])
    return header.get("__metadata__", {}).get(KEY)
