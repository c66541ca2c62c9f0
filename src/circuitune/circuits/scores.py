"""The two results everything else is made of: scores of all edges, and the circuit cut from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from circuitune.circuits import showing
from circuitune.circuits.graph import Graph, require_same_graph
from circuitune.circuits.greedy import greedy
from circuitune.circuits.selection import above, edge_count, prune, strongest
from circuitune.core import tensors
from circuitune.core.errors import InputError
from circuitune.core.notebook import frame, line

if TYPE_CHECKING:
    from pandas import DataFrame

    from circuitune.figures.style import Drawing

FORMAT = 1
"""Version of the two file formats; raised when a reader of the former version would misread a file."""


@dataclass(frozen=True, eq=False)
class EdgeScores:
    """One score per edge: how much the loss rises, to first order, when that edge alone is corrupted.

    Attributes:
        values: float32 [sources, destinations], mean over examples; 0 where there is no edge.
        graph: names of rows and columns, and which entries are edges.
        completeness: |sum over v of score(input -> v) - (loss(corrupted) - loss(clean))| divided by
            sum over v of |score(input -> v)|: the error of the path integral. None where it is not defined
            (methods other than eap-ig, ablations other than interchange).
        examples: float32 [n, sources, destinations], the same per example; None unless asked for.
        settings: how the scores were made (method, steps, quadrature, metric, ablation, number and digest of the
            pairs, model).
        groups: int64 [n], equal for examples that are not independent of each other (`EncodedPairs.groups`); None
            where all are, or without examples.
    """

    values: Tensor
    graph: Graph
    completeness: float | None = None
    examples: Tensor | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        shape = self.graph.shape
        if tuple(self.values.shape) != shape:
            raise InputError(f"Scores of this graph have shape {shape}; got {tuple(self.values.shape)}.")
        if self.examples is not None and self.groups is not None and self.groups.shape != self.examples.shape[:1]:
            raise InputError(
                f"{len(self.examples)} examples need as many groups, one per example; got {list(self.groups.shape)}."
            )

    def top(self, size: int | float, *, absolute: bool = True) -> "Circuit":
        """Circuit of the strongest edges, pruned.

        Args:
            size: a number of edges, or a share in (0, 1] of all edges (rounded down, at least one edge).
            absolute: rank by magnitude; otherwise by signed score.
        """
        count = edge_count(size, self.graph)
        mask = strongest(self.values, self.graph, count, absolute=absolute)
        return self._cut(mask, {"selection": "top", "size": size, "absolute": absolute})

    def threshold(self, threshold: float, *, absolute: bool = True) -> "Circuit":
        """Circuit of the edges whose score (magnitude if `absolute`) is at least `threshold`, pruned."""
        mask = above(self.values, self.graph, threshold, absolute=absolute)
        return self._cut(mask, {"selection": "threshold", "size": threshold, "absolute": absolute})

    def greedy(self, size: int | float, *, absolute: bool = True) -> "Circuit":
        """Circuit grown backwards from the logits by the best edge at hand, pruned (sizes as in `top`)."""
        mask = greedy(self.values, self.graph, edge_count(size, self.graph), absolute=absolute)
        return self._cut(mask, {"selection": "greedy", "size": size, "absolute": absolute})

    @property
    def nodes(self) -> dict[str, float]:
        """Score of every source: the sum of its edges' scores.

        For gradient methods this is the node-level score itself, (a_u - z_u) . dL/dz_u: what every destination reads
        changes by what the source writes, so the gradient at its output is the sum of theirs.
        """
        return dict(zip(self.graph.sources, self.values.double().sum(1).tolist(), strict=True))

    def top_nodes(self, count: int) -> "Circuit":
        """Circuit of all edges between the `count` sources of largest node score in magnitude, pruned."""
        strength = self.values.double().sum(1).abs()
        strength[0] = torch.inf  # the input is always there
        chosen = torch.zeros(len(strength), dtype=torch.bool)
        chosen[strength.argsort(descending=True, stable=True)[: count + 1]] = True
        read = self.graph.feeds.float() @ chosen.float() > 0
        read[self.graph.logits_destination] = True
        mask = self.graph.edge_mask & chosen[:, None] & read
        return self._cut(mask, {"selection": "top_nodes", "size": count})

    def _cut(self, mask: Tensor, selection: Mapping[str, Any]) -> "Circuit":
        means = replace(self, examples=None, groups=None)  # a circuit kept must not keep the scores of every pair
        return Circuit(prune(mask, self.graph), self.graph, means, {**self.settings, **selection})

    def collapse(self, how: Literal["sum", "max", "l1"] = "sum") -> "EdgeScores":
        """Merge the q, k and v edges into a head: signed sum (can cancel), largest magnitude, sum of magnitudes."""
        graph = self.graph.collapse()
        parts = torch.stack(_per_head(self.values, self.graph))
        if how == "sum":
            merged = parts.sum(0)
        elif how == "l1":
            merged = parts.abs().sum(0)
        else:
            merged = parts.gather(0, parts.abs().argmax(0, keepdim=True))[0]
        return EdgeScores(merged, graph, None, None, {**self.settings, "collapsed": how})

    def __repr__(self) -> str:
        return line("EdgeScores", showing.scores_facts(self))

    def _repr_html_(self) -> str:
        return showing.scores_html(self)

    def to_pandas(self) -> "DataFrame":
        """A frame of every possible edge: source, destination, their layers, ``into`` (kind of input), score."""
        return frame(showing.edge_columns(self.graph, self.graph.edge_mask, self.values))

    def plot(self) -> "Drawing":
        """All scores as a map, sources by destinations: a matplotlib figure."""
        return showing.draw_scores(self)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file: ``values``, ``examples`` and ``groups`` if any, and the rest as JSON metadata."""
        arrays = {"values": self.values}
        if self.examples is not None:
            arrays["examples"] = self.examples
            if self.groups is not None:
                arrays["groups"] = self.groups
        metadata = {
            "kind": "scores",
            "format": FORMAT,
            "graph": self.graph.to_record(),
            "completeness": self.completeness,
            "settings": dict(self.settings),
        }
        tensors.save(Path(path), arrays, metadata)

    @classmethod
    def load(cls, path: str | Path) -> "EdgeScores":
        """Read a file written by `save`.

        Raises:
            InputError: the file is missing, damaged, or not a scores file.
        """
        arrays, metadata, graph = _read(Path(path), "scores")
        made = metadata["completeness"], arrays.get("examples"), metadata["settings"], arrays.get("groups")
        return cls(arrays["values"], graph, *made)


@dataclass(frozen=True, eq=False)
class Circuit:
    """A set of edges.

    Attributes:
        mask: bool [sources, destinations].
        graph: names of rows and columns.
        scores: the mean scores it was cut from, or None (set operations, imported or planted circuits).
        settings: how it was made.
    """

    mask: Tensor
    graph: Graph
    scores: EdgeScores | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.graph.shape
        if self.mask.dtype != torch.bool or tuple(self.mask.shape) != shape:
            raise InputError(f"A circuit's mask is bool {shape}; got {self.mask.dtype} {tuple(self.mask.shape)}.")
        if bool((self.mask & ~self.graph.edge_mask).any()):
            raise InputError("A circuit's mask marks entries that are no edge of its graph.")

    @cached_property
    def edges(self) -> tuple[str, ...]:
        """Names ``source->destination``, by (source, destination) index."""
        sources, destinations = self.graph.sources, self.graph.destinations
        return tuple(f"{sources[s]}->{destinations[r]}" for s, r in self.mask.nonzero().tolist())

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes that an edge leaves or enters, ``input`` and ``logits`` among them.

        An input shared by several query heads (grouped-query attention) does not by itself make them nodes.
        """
        entered = self.mask.any(0)
        feeds = self.graph.feeds
        own = feeds & (feeds.sum(1, keepdim=True) == 1)
        inside = self.mask.any(1) | (entered.float() @ own.float() > 0)
        names = [name for name, present in zip(self.graph.sources, inside.tolist(), strict=True) if present]
        return (*names, "logits") if bool(entered[self.graph.logits_destination]) else tuple(names)

    def __len__(self) -> int:
        return int(self.mask.sum())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Circuit) and self.graph == other.graph and torch.equal(self.mask, other.mask)

    def __hash__(self) -> int:
        return hash((self.graph, self.mask.numpy().tobytes()))

    def __or__(self, other: "Circuit") -> "Circuit":
        return self._combine(other, self.mask | other.mask, "union")

    def __and__(self, other: "Circuit") -> "Circuit":
        return self._combine(other, self.mask & other.mask, "intersection")

    def __xor__(self, other: "Circuit") -> "Circuit":
        return self._combine(other, self.mask ^ other.mask, "symmetric difference")

    def _combine(self, other: "Circuit", mask: Tensor, operation: str) -> "Circuit":
        require_same_graph(self.graph, other.graph)
        return Circuit(mask, self.graph, None, {"operation": operation})

    def jaccard(self, other: "Circuit") -> float:
        """Edges in both divided by edges in either; 1 for two empty circuits."""
        require_same_graph(self.graph, other.graph)
        union = int((self.mask | other.mask).sum())
        return int((self.mask & other.mask).sum()) / union if union else 1.0

    def collapse(self) -> "Circuit":
        """The same circuit with the q, k and v edges into a head merged: an edge is in if any of the three is."""
        if self.graph.collapsed:
            return self
        merged = torch.stack(_per_head(self.mask, self.graph)).any(0)
        return Circuit(merged, self.graph.collapse(), None, {**self.settings, "collapsed": "any"})

    def __repr__(self) -> str:
        return line("Circuit", showing.circuit_facts(self))

    def _repr_html_(self) -> str:
        return showing.circuit_html(self)

    def to_pandas(self) -> "DataFrame":
        """A frame of its edges: source, destination, their layers, ``into`` (kind of input), score where known."""
        return frame(showing.edge_columns(self.graph, self.mask, self.scores.values if self.scores else None))

    def plot(self, after: "Circuit | None" = None) -> "Drawing":
        """Layers from bottom to top, nodes shaded by degree: a matplotlib figure.

        Args:
            after: another circuit of the same graph, drawn beside this one: what it adds, removes and keeps.
        """
        return showing.draw_circuit(self, after)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file: ``mask`` (and the score ``values`` if known), the rest as JSON metadata."""
        arrays = {"mask": self.mask}
        completeness = None
        if self.scores is not None:
            arrays["values"] = self.scores.values
            completeness = self.scores.completeness
        metadata = {
            "kind": "circuit",
            "format": FORMAT,
            "graph": self.graph.to_record(),
            "completeness": completeness,
            "settings": dict(self.settings),
            "scores_settings": dict(self.scores.settings) if self.scores is not None else None,
        }
        tensors.save(Path(path), arrays, metadata)

    @classmethod
    def load(cls, path: str | Path) -> "Circuit":
        """Read a file written by `save`.

        Raises:
            InputError: the file is missing, damaged, or not a circuit file.
        """
        arrays, metadata, graph = _read(Path(path), "circuit")
        scores = None
        if "values" in arrays:
            completeness, settings = metadata["completeness"], metadata["scores_settings"]
            scores = EdgeScores(arrays["values"], graph, completeness, None, settings)
        if bool((arrays["mask"] & ~graph.edge_mask).any()):
            raise InputError(f"{path} marks entries that are no edge of its graph; make it again.")
        return cls(arrays["mask"], graph, scores, metadata["settings"])


def _per_head(values: Tensor, graph: Graph) -> list[Tensor]:
    """The q, k and v columns of each query head, MLP and logits columns in the first: 3 x [sources, collapsed]."""
    collapsed = graph.collapse()
    parts = [values.new_zeros(len(graph.sources), len(collapsed.destinations)) for _ in range(3)]
    group = graph.heads // graph.kv_heads
    for layer in range(graph.layers):
        heads = collapsed.query_destinations(layer)
        parts[0][:, heads] = values[:, graph.query_destinations(layer)]
        parts[1][:, heads] = values[:, graph.key_destinations(layer)].repeat_interleave(group, 1)
        parts[2][:, heads] = values[:, graph.value_destinations(layer)].repeat_interleave(group, 1)
        parts[0][:, collapsed.mlp_destination(layer)] = values[:, graph.mlp_destination(layer)]
    parts[0][:, -1] = values[:, -1]
    return parts


def _read(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any], Graph]:
    """Tensors, metadata and graph of a file, which fit each other: a checksum does not say who made it."""
    arrays, metadata = tensors.load(path)
    if metadata.get("kind") != kind:
        raise InputError(f"{path} is a {metadata.get('kind', 'foreign')} file; expected a {kind} file.")
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path} has format {metadata.get('format')}; this version reads format {FORMAT}.")
    problem = _misfit(arrays, metadata, "mask" if kind == "circuit" else "values")
    if problem:
        raise InputError(f"{path} {problem}; make it again.")
    return arrays, metadata, Graph.from_record(metadata["graph"])


def _misfit(arrays: Mapping[str, Tensor], metadata: Mapping[str, Any], main: str) -> str:
    """What of a file does not fit the rest, in words; the graph is measured before anything of its size is made."""
    if not isinstance(metadata.get("graph"), Mapping) or main not in arrays:
        return f"has no {main} or no graph"
    try:
        shape = Graph.from_record(metadata["graph"]).shape
    except InputError as error:
        return f"describes no graph ({str(error).rstrip('.')})"
    count = len(arrays["examples"]) if "examples" in arrays and arrays["examples"].ndim else 0
    expected = {
        "mask": (torch.bool, shape),
        "values": (torch.float32, shape),
        "examples": (torch.float32, (count, *shape)),
        "groups": (torch.int64, (count,)),
    }
    for name, array in arrays.items():
        if name not in expected or (array.dtype, tuple(array.shape)) != expected[name]:
            return f"has {name} as {array.dtype} {list(array.shape)}, which its graph of {list(shape)} does not"
        if array.is_floating_point() and not bool(array.isfinite().all()):
            return f"has {name} that are not all finite"
    made = ("settings", "scores_settings") if main == "mask" and "values" in arrays else ("settings",)
    if not all(isinstance(metadata.get(name), dict) for name in made):
        return "does not say how it was made"
    known = type(metadata.get("completeness", "missing")) in (float, type(None))
    return "" if known else "has a completeness that is no number"
