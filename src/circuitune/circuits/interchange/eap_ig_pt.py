"""The tensors of EAP-IG (``.pt``): scores and marks as matrices, with the names of rows and columns.

The new form (version 2, the benchmark) has ``edges_scores`` and ``nodes_in_graph``, the old one (0.2) ``edges``
and a dict of sources. Nothing is unpickled but tensors and plain values.
"""

import io
import json
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitune.circuits.graph import Graph
from circuitune.circuits.interchange.contents import Contents
from circuitune.circuits.interchange.listing import model_graph, short
from circuitune.circuits.interchange.provenance import read_provenance
from circuitune.core.atomic import write_bytes
from circuitune.core.errors import InputError

NEW, OLD = "pt", "pt-old"


def read(path: Path) -> tuple[Contents, str]:
    """The contents of a file of either form, and the form's name.

    Raises:
        InputError: the file is not readable, holds more than tensors and plain values, or is not a graph.
    """
    file = _load(path)
    old = "edges" in file and "edges_scores" not in file
    scores = _field(file, "edges" if old else "edges_scores", path)
    entries = scores.numel() if isinstance(scores, Tensor) and _is_ordinary(scores) else 0
    graph = model_graph(_field(file, "cfg", path), path, listed=entries)
    sources = _field(file, "src_nodes", path)
    _require_names("src_nodes", sources, graph.sources, path)
    _require_names("dst_nodes", _field(file, "dst_nodes", path), graph.destinations, path)
    mask, notes = _marks(file, graph, path)
    marked = _old_marks(sources, path) if old else _flags(file, "nodes_in_graph", (len(graph.sources),), path)
    made, more = read_provenance(file.get("provenance"), path, graph)
    neurons = any(name.startswith("neurons") for name in file)
    contents = Contents(
        graph=graph,
        mask=mask,
        scores=_scores(file, "edges" if old else "edges_scores", graph, path),
        nodes=frozenset(name for name, mark in zip(graph.sources, marked.tolist(), strict=True) if mark),
        node_scores=_node_scores(file, graph, path),
        provenance=made,
        notes=(*notes, *more, *([f"Neurons in {path.name} were ignored."] if neurons else ())),
    )
    return contents, OLD if old else NEW


def write(contents: Contents, path: Path, *, width: int | None = None) -> None:
    """Write the new form; ``width`` is the model's, for its ``cfg`` (readers need it for neurons alone).

    Edges without scores get 1 in the circuit and 0 outside, because readers require numbers. Collapsed graphs are
    beyond this form.
    """
    graph = contents.graph
    shape = {"n_layers": graph.layers, "n_heads": graph.heads, "parallel_attn_mlp": graph.parallel}
    file: dict[str, Any] = {
        "cfg": {**shape, "d_model": width or 0},
        "src_nodes": list(graph.sources),
        "dst_nodes": list(graph.destinations),
        "edges_scores": (contents.mask.float() if contents.scores is None else contents.scores).contiguous(),
        "edges_in_graph": contents.mask.contiguous(),
        "nodes_in_graph": torch.tensor([name in (contents.nodes or ()) for name in graph.sources]),
    }
    if contents.node_scores:
        file["nodes_scores"] = torch.tensor([contents.node_scores.get(name, torch.nan) for name in graph.sources])
    if contents.provenance is not None:
        file["provenance"] = json.dumps(contents.provenance.model_dump(mode="json"))
    buffer = io.BytesIO()
    torch.save(file, buffer)
    write_bytes(path, buffer.getvalue())


def _load(path: Path) -> Mapping[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    try:
        _require_stored(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how the file was written, which its reader cannot change
            value = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch fail in any of a dozen ways
        raise InputError(
            f"{path} is no whole PyTorch file of tensors and plain values, and nothing else is unpickled; export or "
            "download it again, or convert it to JSON."
        ) from error
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise InputError(f"{path} holds no fields by name; expected cfg, src_nodes and dst_nodes as EAP-IG has.")
    return cast(Mapping[str, Any], value)


def _require_stored(data: bytes) -> None:
    """ValueError where a zip holds more than its own bytes: PyTorch never packs what it puts there."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            members = file.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("packed members")
        if sum(member.file_size for member in members) > len(data):
            raise ValueError("members that overlap")


def _field(file: Mapping[str, Any], name: str, path: Path) -> Any:
    if name not in file:
        raise InputError(f"{path}: field {name} is missing; expected a graph as EAP-IG writes it.")
    return file[name]


def _require_names(field: str, found: Any, expected: Sequence[str], path: Path) -> None:
    """InputError unless a list (or the keys of a dict) has these names in this order."""
    if not isinstance(found, list | tuple | dict):
        raise InputError(f"{path}: field {field} is {short(found)}; expected the names of {len(expected)} nodes.")
    if len(found) != len(expected):
        raise InputError(f"{path}: field {field} has {len(found)} names; cfg describes {len(expected)}.")
    for place, (name, wanted) in enumerate(zip(found, expected, strict=True)):
        if name != wanted:
            raise InputError(f"{path}: field {field} has {short(name)} at place {place}; expected {wanted}.")


def _tensor(file: Mapping[str, Any], name: str, shape: tuple[int, ...], path: Path) -> Tensor:
    value = _field(file, name, path)
    if not isinstance(value, Tensor) or not _is_ordinary(value):
        raise InputError(f"{path}: field {name} is no ordinary tensor of numbers; expected shape {list(shape)}.")
    if tuple(value.shape) != shape:
        raise InputError(f"{path}: field {name} has shape {list(value.shape)}; cfg describes {list(shape)}.")
    return value.detach()


def _scores(file: Mapping[str, Any], name: str, graph: Graph, path: Path) -> Float[Tensor, "S R"]:
    values = _tensor(file, name, tuple(graph.edge_mask.shape), path).float().contiguous()
    wrong = (~values.isfinite() & graph.edge_mask).nonzero()
    if len(wrong):
        row, column = wrong[0].tolist()
        edge = f"{graph.sources[row]}->{graph.destinations[column]}"
        raise InputError(f"{path}: field {name} has {float(values[row, column])} for {edge}, not a finite number.")
    if bool((values[~graph.edge_mask] != 0).any()):
        raise InputError(f"{path}: field {name} has scores where cfg has no edge; check cfg.parallel_attn_mlp.")
    return values


def _marks(file: Mapping[str, Any], graph: Graph, path: Path) -> tuple[Bool[Tensor, "S R"], Sequence[str]]:
    """Marked edges; node-level circuits of EAP-IG mark whole rows, entries that are no edges among them."""
    marks = _flags(file, "edges_in_graph", tuple(graph.edge_mask.shape), path)
    beyond = int((marks & ~graph.edge_mask).sum())
    notes = [f"{beyond} marked entries of {path.name} are no edges and were dropped."] if beyond else []
    return marks & graph.edge_mask, notes


def _flags(file: Mapping[str, Any], name: str, shape: tuple[int, ...], path: Path) -> Tensor:
    """A tensor of true and false, which some writers store as numbers."""
    marks = _tensor(file, name, shape, path)
    if bool(((marks != 0) & (marks != 1)).any()):
        raise InputError(f"{path}: field {name} has values other than 0 and 1; expected true or false.")
    return marks.bool()


def _old_marks(sources: Any, path: Path) -> Tensor:
    marks = list(sources.values()) if isinstance(sources, dict) else [None]
    if any(mark is not True and mark is not False for mark in marks):
        raise InputError(
            f"{path}: field src_nodes does not give true or false for every node; export the file again."
        )
    return torch.tensor(marks)


def _node_scores(file: Mapping[str, Any], graph: Graph, path: Path) -> dict[str, float]:
    if "nodes_scores" not in file:
        return {}
    scores = _tensor(file, "nodes_scores", (len(graph.sources),), path).double()
    if bool(scores.isinf().any()):
        raise InputError(f"{path}: field nodes_scores holds infinity; expected numbers, or NaN where not scored.")
    return dict(zip(graph.sources, scores.tolist(), strict=True))


def _is_ordinary(value: Tensor) -> bool:
    """Whether it holds numbers that can be compared: not sparse, complex, quantised, without data or repeating it.

    A tensor of strides 0 has any shape on a storage of one number.
    """
    if value.layout != torch.strided or value.is_complex() or value.is_quantized or value.is_meta:
        return False
    return value.untyped_storage().nbytes() >= value.numel() * value.element_size()
