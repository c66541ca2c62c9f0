"""What a circuit file says, whatever its format, and the way from and to `EdgeScores` and `Circuit`.

Other tools list the k and v inputs of every query head. With grouped-query attention ours belong to a key/value
head: on import the scores of a group are summed and its marks or-ed, on export every query head gets
score / group size and the group's mark. Sums are kept; without grouping nothing changes, to the bit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitune.circuits.graph import Graph
from circuitune.circuits.interchange.provenance import Provenance, provenance_of
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.errors import InputError


@dataclass(frozen=True, eq=False)
class Contents:
    """A circuit file as data.

    Attributes:
        graph: the file's own graph: k and v per query head, or collapsed.
        mask: bool [sources, destinations], the edges marked as part of the circuit.
        scores: float32 [sources, destinations], 0 where the file has none; None if it has no scores at all.
        nodes: names of the marked nodes without ``logits``; None where the format does not mark nodes.
        node_scores: score by node name, NaN where a node was not scored; empty if the file has none.
        provenance: how it was made, if circuitune wrote it.
        notes: sentences about what was left out or is unusual.
    """

    graph: Graph
    mask: Bool[Tensor, "S R"]
    scores: Float[Tensor, "S R"] | None
    nodes: frozenset[str] | None = None
    node_scores: Mapping[str, float] = field(default_factory=dict)
    provenance: Provenance | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Imported:
    """What was read from another tool's file.

    Attributes:
        scores: scores of all edges, or None if the file has none.
        circuit: the marked edges (`graph.collapsed` says whether q, k and v are one), or None if none are marked
            or the file is a folder of several circuits.
        circuits: every circuit of the file, smallest first: nine for a folder of the benchmark's binary circuits.
        node_scores: score by node name, NaN where a node was not scored; empty if the file has none.
        format: the format's name.
        notes: sentences about what was left out, or is unusual.
    """

    scores: EdgeScores | None
    circuit: Circuit | None
    circuits: tuple[Circuit, ...]
    node_scores: Mapping[str, float]
    format: str
    notes: tuple[str, ...]


def contents_of(what: EdgeScores | Circuit, node_scores: Mapping[str, float] | None = None) -> Contents:
    """The file contents that stand for scores or a circuit, per query head unless collapsed.

    Raises:
        InputError: a name in ``node_scores`` is no source of the graph, or a score is infinite.
    """
    graph = what.graph
    for name in node_scores or {}:
        if name not in graph.sources:
            raise InputError(f"node_scores has {name!r}, which is no source of this graph; remove it.")
    if any(math.isinf(score) for score in (node_scores or {}).values()):
        raise InputError("node_scores holds infinity; give numbers, or NaN where a node was not scored.")
    columns = head_columns(graph)
    edge_scores = what if isinstance(what, EdgeScores) else what.scores
    if edge_scores is not None and not bool(edge_scores.values.isfinite().all()):
        raise InputError("Some scores are NaN or infinite, which no other tool reads; score the edges again.")
    mask = what.mask[:, columns] if isinstance(what, Circuit) else torch.zeros_like(ungrouped(graph).edge_mask)
    return Contents(
        graph=ungrouped(graph),
        mask=mask,
        scores=None if edge_scores is None else _shared(edge_scores.values, columns),
        nodes=frozenset(what.nodes) - {"logits"} if isinstance(what, Circuit) else frozenset[str](),
        node_scores=dict(node_scores or {}),
        provenance=provenance_of(what),
        notes=_losses(what),
    )


def imported(contents: Contents, path: Path, kind: str, kv_heads: int | None = None) -> Imported:
    """Scores and circuit from what a file says, key/value heads grouped where the model has fewer of them.

    Args:
        contents: what the file says.
        path: the file, for messages and settings.
        kind: the format's name.
        kv_heads: key/value heads per block; None takes what the provenance says, else as many as query heads.

    Raises:
        InputError: ``kv_heads`` contradicts the provenance or does not divide the heads.
    """
    graph, made = _grouped_graph(contents, path, kv_heads), contents.provenance
    columns = head_columns(graph)
    mask = _any(contents.mask, columns, graph)
    foreign: dict[str, Any] = {"imported": kind, "file": path.name}
    notes = [*contents.notes]
    scores = None
    if made is not None and made.scores_settings is not None:
        values = _sum(_promised(contents, path), columns, graph)
        scores = EdgeScores(values, graph, made.completeness, None, made.scores_settings)
    elif contents.scores is not None and made is None:
        if bool(contents.scores.any()):
            scores = EdgeScores(_sum(contents.scores, columns, graph), graph, None, None, foreign)
        else:
            notes.append(f"{path.name} gives every edge the score 0: it has no edge scores.")
    marked = contents.nodes or frozenset()
    is_circuit = made is not None and made.kind == "circuit"
    if made is None and marked and not bool(mask.any()):
        mask = _between(marked, graph)
        notes.append(f"{path.name} marks nodes but no edges: the circuit has every edge between marked nodes.")
    circuit = None
    if is_circuit or bool(mask.any()) or (made is None and scores is None and not contents.node_scores):
        circuit = Circuit(mask, graph, scores, foreign if made is None else made.settings)
        notes += _disagreement(contents.nodes, circuit, path)
    circuits = () if circuit is None else (circuit,)
    return Imported(scores, circuit, circuits, contents.node_scores, kind, tuple(notes))


def ungrouped(graph: Graph) -> Graph:
    """The graph as other tools list it: every query head has its own k and v; collapsed graphs as they are."""
    if graph.collapsed or graph.kv_heads == graph.heads:
        return graph
    return Graph(graph.layers, graph.heads, graph.heads, graph.parallel)


def head_columns(graph: Graph) -> Int[Tensor, "R_heads"]:
    """For every destination of `ungrouped(graph)`, its column in ``graph``."""
    every = torch.arange(len(graph.destinations))
    if graph.collapsed or graph.kv_heads == graph.heads:
        return every
    group = graph.heads // graph.kv_heads
    parts: list[Tensor] = []
    for layer in range(graph.layers):
        mlp = graph.mlp_destination(layer)
        parts += [
            every[graph.query_destinations(layer)],
            every[graph.key_destinations(layer)].repeat_interleave(group),
            every[graph.value_destinations(layer)].repeat_interleave(group),
            every[mlp : mlp + 1],
        ]
    return torch.cat([*parts, every[-1:]])


def _shared(values: Float[Tensor, "S R"], columns: Int[Tensor, "R_heads"]) -> Float[Tensor, "S R_heads"]:
    return (values[:, columns].double() / columns.bincount()[columns]).float()


def _sum(values: Float[Tensor, "S R_heads"], columns: Int[Tensor, "R_heads"], graph: Graph) -> Float[Tensor, "S R"]:
    if len(columns) == len(graph.destinations):  # an addition would lose the sign of -0.0
        return values
    total = torch.zeros(graph.edge_mask.shape, dtype=torch.float64)
    return total.index_add_(1, columns, values.double()).float()


def _any(mask: Bool[Tensor, "S R_heads"], columns: Int[Tensor, "R_heads"], graph: Graph) -> Bool[Tensor, "S R"]:
    count = torch.zeros(graph.edge_mask.shape, dtype=torch.int32)
    return count.index_add_(1, columns, mask.int()) > 0


def _promised(contents: Contents, path: Path) -> Float[Tensor, "S R_heads"]:
    """The scores of a file whose provenance says that it has them; an empty listing stands for zeros."""
    if contents.scores is not None:
        return contents.scores
    if bool(contents.mask.any()):
        raise InputError(f"{path}: field edges has no scores, but provenance tells of some; export the file again.")
    return torch.zeros(contents.mask.shape)


def _grouped_graph(contents: Contents, path: Path, kv_heads: int | None) -> Graph:
    own, made = contents.graph, contents.provenance
    if made is not None:
        if kv_heads is not None and kv_heads != made.graph.kv_heads:
            raise InputError(
                f"{path}: field provenance.graph.kv_heads is {made.graph.kv_heads}, not {kv_heads}; "
                "leave kv_heads out."
            )
        kv_heads = made.graph.kv_heads
    kv_heads = own.heads if kv_heads is None else kv_heads
    if kv_heads < 1 or own.heads % kv_heads:
        raise InputError(f"{path}: field cfg.n_heads is {own.heads}, which {kv_heads} kv_heads do not divide.")
    return Graph(own.layers, own.heads, kv_heads, own.parallel, own.collapsed)


def _between(marked: frozenset[str], graph: Graph) -> Bool[Tensor, "S R"]:
    """Every edge from a marked node to the logits or to an input of a marked node."""
    sources = torch.tensor([name in marked for name in graph.sources])
    entered = graph.feeds.float() @ sources.float() > 0
    entered[graph.logits_destination] = True
    return graph.edge_mask & sources[:, None] & entered[None, :]


def _disagreement(marked: frozenset[str] | None, circuit: Circuit, path: Path) -> Sequence[str]:
    joined = frozenset(circuit.nodes) - {"logits"}
    if marked is None or marked == joined:
        return ()
    return (
        f"{path.name} marks {len(marked)} nodes, but its marked edges join {len(joined)}: the circuit "
        "follows the edges.",
    )


def is_sparse(contents: Contents) -> bool:
    """Whether a format that may leave out edges lists only the marked ones: it does so for circuits."""
    return contents.provenance is not None and contents.provenance.kind == "circuit"


def _losses(what: EdgeScores | Circuit) -> tuple[str, ...]:
    """What the other side will not see."""
    notes: list[str] = []
    edge_scores = what if isinstance(what, EdgeScores) else what.scores
    if edge_scores is not None and edge_scores.examples is not None:
        notes.append("Scores per example have no place in the file and were left out.")
    graph = what.graph
    if graph.kv_heads != graph.heads and not graph.collapsed:
        notes.append(
            f"The k and v inputs of {graph.kv_heads} key/value heads are listed for all {graph.heads} query heads: "
            "scores divided by the group's size, marks repeated."
        )
        if edge_scores is not None and edge_scores.settings.get("method") == "exact":
            notes.append("Exact scores do not add up over a group: the divided ones are shares, not effects.")
    return tuple(notes)
