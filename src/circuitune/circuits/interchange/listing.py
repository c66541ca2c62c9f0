"""Edges that a file lists one by one, by name, and the checks that all such files share."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import Repr
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitune.circuits.graph import Graph
from circuitune.core.errors import InputError

LARGEST_FLOAT32 = torch.finfo(torch.float32).max
LARGEST_GRAPH = 2**28
"""Most entries (sources x destinations) of a graph whose file lists only some; 126 layers of 128 heads, merged."""

_SHORT = Repr()
"""Looks at the beginning of a value alone: unpickled lists of lists can stand for more than any memory holds."""
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, 58, 58


@dataclass(frozen=True, eq=False)
class Listing:
    """Edges as arrays: marks, scores (None if no edge has one), which are listed, how many have no score."""

    mask: Bool[Tensor, "S R"]
    scores: Float[Tensor, "S R"] | None
    listed: Bool[Tensor, "S R"]
    unscored: int


def gather(entries: Iterable[tuple[str, Any, Any]], graph: Graph, path: Path) -> Listing:
    """Arrays of edges given as name, score (a number or None) and whether it is in the circuit.

    Raises:
        InputError: a name is no edge of the graph or comes twice, a score is not a finite float32, a mark is not
            true or false.
    """
    rows = {name: row for row, name in enumerate(graph.sources)}
    columns = {name: column for column, name in enumerate(graph.destinations)}
    width, names = len(columns), list[str]()
    places, scores, members, unscored = list[int](), list[float](), list[bool](), 0
    for name, score, member in entries:
        source, _, destination = name.partition("->")
        row, column = rows.get(source), columns.get(destination)
        if row is None or column is None:
            missing = source if row is None else destination
            raise InputError(f"{path}: field edges has {short(name)}, but {short(missing)} is no node of its graph.")
        if score is None:
            unscored += 1
        elif type(score) not in (float, int) or not abs(score) <= LARGEST_FLOAT32:
            raise InputError(f"{path}: field edges.{name}.score is {short(score)}, not a finite number.")
        if member not in (True, False):
            raise InputError(f"{path}: field edges.{name}.in_graph is {short(member)}; expected true or false.")
        names.append(name)
        places.append(row * width + column)
        scores.append(0.0 if score is None else float(score))
        members.append(bool(member))
    where = torch.tensor(places, dtype=torch.long)
    _require_edges(where, names, graph, path)
    return Listing(
        mask=_placed(torch.tensor(members, dtype=torch.bool), where, graph),
        scores=None if unscored == len(names) else _placed(torch.tensor(scores, dtype=torch.float32), where, graph),
        listed=_placed(torch.ones(len(names), dtype=torch.bool), where, graph),
        unscored=unscored,
    )


def require_all(listing: Listing, graph: Graph, path: Path) -> None:
    """InputError if an edge of the graph is not listed."""
    missing = (graph.edge_mask & ~listing.listed).nonzero()
    if len(missing):
        row, column = missing[0].tolist()
        raise InputError(
            f"{path}: field edges lists {graph.edges - len(missing)} of {graph.edges} edges; the first that is "
            f"missing is {graph.sources[row]}->{graph.destinations[column]}; export the whole graph again."
        )


def gaps(listing: Listing, graph: Graph, path: Path) -> Sequence[str]:
    """Notes about edges of a file with scores that are not listed or have none."""
    if listing.scores is None:
        return ()
    notes: list[str] = []
    count = int(listing.listed.sum())
    if count < graph.edges:
        notes.append(f"{path.name} lists {count} of {graph.edges} edges; the others are out and count as score 0.")
    if listing.unscored:
        notes.append(f"{listing.unscored} edges of {path.name} have no score and count as score 0.")
    return notes


def model_graph(cfg: object, path: Path, *, collapsed: bool = False, listed: int | None = None) -> Graph:
    """The graph that a file's ``cfg`` describes: n_layers, n_heads, parallel_attn_mlp.

    Args:
        cfg: the field's value.
        path: the file, for messages.
        collapsed: whether q, k and v of a head are one.
        listed: how many edges the file lists, if it must list them all.

    Raises:
        InputError: a value is missing or of the wrong kind, or the graph is out of all proportion to the file.
    """
    if not isinstance(cfg, Mapping):
        raise InputError(f"{path}: field cfg is {short(cfg)}; expected n_layers, n_heads and parallel_attn_mlp.")
    for name in ("n_layers", "n_heads"):
        if type(cfg.get(name)) is not int or cfg[name] < 1:
            raise InputError(f"{path}: field cfg.{name} is {short(cfg.get(name))}; expected a whole number above 0.")
    parallel = cfg.get("parallel_attn_mlp")
    if not isinstance(parallel, bool):
        raise InputError(f"{path}: field cfg.parallel_attn_mlp is {short(parallel)}; expected true or false.")
    layers, heads = cfg["n_layers"], cfg["n_heads"]
    entries = (1 + layers * (heads + 1)) * (1 + layers * ((1 if collapsed else 3) * heads + 1))
    if entries > (LARGEST_GRAPH if listed is None else 1000 + 8 * listed):  # about half of all entries are edges
        described = f"{short(layers)} layers of {short(heads)} heads"
        raise InputError(f"{path}: field cfg describes {described}, far more than the file has edges for.")
    return Graph(layers, heads, heads, parallel, collapsed)


def listed_edges(mask: Bool[Tensor, "S R"], graph: Graph) -> Iterator[tuple[str, str]]:
    """Source and destination of every edge in a mask, by (source, destination) index."""
    destinations = graph.destinations
    for source, row in zip(graph.sources, mask, strict=True):
        for column in row.nonzero().flatten().tolist():
            yield source, destinations[column]


def short(value: object) -> str:
    """A value for a message: at most 60 characters."""
    if value is None:
        return "missing"
    if isinstance(value, int) and abs(value) >= 10**60:  # Python refuses to print very long ones
        return "a number beyond all bounds"
    text = " ".join(_SHORT.repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _require_edges(where: Tensor, names: Sequence[str], graph: Graph, path: Path) -> None:
    """InputError if a place is no edge, or comes twice."""
    wrong = (~graph.edge_mask.flatten()[where]).nonzero()
    if len(wrong):
        raise InputError(f"{path}: field edges has {names[int(wrong[0])]}, which is no edge of its graph.")
    values, counts = where.unique(return_counts=True)
    if bool((counts > 1).any()):
        twice = names[where.tolist().index(int(values[counts > 1][0]))]
        raise InputError(f"{path}: field edges lists {twice} twice; export the file again.")


def _placed(values: Tensor, where: Tensor, graph: Graph) -> Tensor:
    placed = torch.zeros(graph.edge_mask.numel(), dtype=values.dtype)
    placed[where] = values
    return placed.view(graph.edge_mask.shape)
