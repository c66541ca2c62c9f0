"""How alike two circuits or two score maps are, in the numbers one compares with a null (paper, section 5).

Scores grow 48–65 times in fine-tuning, so every measure of scores here is of maps scaled to unit L1, or of ranks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from scipy import stats
from torch import Tensor

from circuitune.circuits.graph import Graph, require_same_graph
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.circuits.selection import edge_count, strongest
from circuitune.core.errors import InputError
from circuitune.dynamics.change import Change, compare
from circuitune.dynamics.layers import STUDY_SHARE, unit

LARGEST_TOP = 1000
"""Largest k of `top_overlap`: the study's."""


class Counts(NamedTuple):
    """How many there were, how many there are now, and how many stayed."""

    before: int
    after: int
    kept: int

    @property
    def changed(self) -> int:
        """Size of the symmetric difference."""
        return self.before + self.after - 2 * self.kept

    @property
    def jaccard(self) -> float:
        """Kept over all that were in either; 1 for two empty sets."""
        union = self.before + self.after - self.kept
        return self.kept / union if union else 1.0

    @property
    def rate(self) -> float | None:
        """Changed over those before; None where nothing was there before."""
        return self.changed / self.before if self.before else None


class Overlap(NamedTuple):
    """Edges and nodes of one circuit against another: `change.Change` without names, fast enough to resample."""

    edges: Counts
    nodes: Counts

    @property
    def ratio(self) -> float | None:
        """Edge change rate over node change rate; None where no node changed or a circuit before is empty."""
        edges, nodes = self.edges.rate, self.nodes.rate
        return edges / nodes if edges is not None and nodes else None


MEASURES: Mapping[str, Callable[[Overlap], float | None]] = {
    "edge_rate": lambda overlap: overlap.edges.rate,
    "node_rate": lambda overlap: overlap.nodes.rate,
    "edge_jaccard": lambda overlap: overlap.edges.jaccard,
    "node_jaccard": lambda overlap: overlap.nodes.jaccard,
    "ratio": lambda overlap: overlap.ratio,
}
"""What intervals and nulls are taken of, by name."""


def overlap(before: Circuit, after: Circuit) -> Overlap:
    """Count the edges and nodes of two circuits.

    Raises:
        InputError: the two belong to different graphs.
    """
    require_same_graph(before.graph, after.graph)
    old, new = frozenset(before.nodes), frozenset(after.nodes)
    return Overlap(
        Counts(len(before), len(after), int((before.mask & after.mask).sum())),
        Counts(len(old), len(new), len(old & new)),
    )


def weighted_jaccard(before: EdgeScores, after: EdgeScores) -> float:
    """Score mass two maps share over the mass of either, each scaled to unit L1 first; 1 for two maps of zeros.

    Sum of min(|a|, |b|) where the signs agree, over the sum of max(|a|, |b|) there and |a| + |b| elsewhere: the
    weighted Jaccard similarity of the positive and negative parts. No circuit is cut, so no threshold is involved.

    Raises:
        InputError: scores of different graphs.
    """
    shared = _shared_mass(before, after)
    whole = float(unit(before).abs().sum() + unit(after).abs().sum()) - shared
    return min(1.0, shared / whole) if whole else 1.0  # rounding can pass 1 for equal maps


def node_shares(scores: EdgeScores) -> Float[Tensor, " S"]:
    """Share of all scores that leaves each source: sum of |score| of its edges over that of all, float64."""
    return unit(scores).abs().sum(1)


def rank_correlation(
    before: EdgeScores,
    after: EdgeScores,
    over: Literal["union", "all"] = "union",
    *,
    size: int | float = STUDY_SHARE,
    absolute: bool = True,
) -> float | None:
    """Spearman's rho of two maps' scores; None where one of them is constant or fewer than two edges are left.

    Args:
        before: scores of one model.
        after: scores of the other.
        over: "union" ranks the edges in either circuit of `size`, "all" every edge of the graph. The union has
            a selection effect of its own (an edge is there because it is strong in one map): two unrelated
            maps correlate negatively over it.
        size: as in `EdgeScores.top`.
        absolute: rank magnitudes, as circuits are cut; otherwise signed scores.

    Raises:
        InputError: scores of different graphs.
    """
    require_same_graph(before.graph, after.graph)
    chosen = before.graph.edge_mask if over == "all" else (before.top(size) | after.top(size)).mask
    first, second = (_magnitude(scores.values[chosen], absolute) for scores in (before, after))
    if first.numel() < 2 or any(bool((values == values[0]).all()) for values in (first, second)):
        return None
    return float(stats.spearmanr(first.numpy(), second.numpy()).statistic)


class TopOverlap(NamedTuple):
    """Edges among the k strongest of both maps; ``share`` is ``shared`` / k."""

    k: int
    shared: int
    share: float


def top_sizes(graph: Graph) -> tuple[int, ...]:
    """Ten even steps up to 1,000 edges, or up to 5 % of a graph's edges where that is fewer.

    Graphs of 20,000 edges or more get the study's k = 100, 200, ..., 1000; nano (6,573 edges) 32, 65, ..., 328.
    """
    largest = min(LARGEST_TOP, edge_count(STUDY_SHARE, graph))
    return tuple(sorted({max(1, largest * step // 10) for step in range(1, 11)}))


def top_overlap(before: EdgeScores, after: EdgeScores, sizes: Sequence[int] | None = None) -> tuple[TopOverlap, ...]:
    """Overlap of the k strongest edges by magnitude, not pruned, for every k of `sizes` (default `top_sizes`).

    Raises:
        InputError: scores of different graphs, or a size that is not between 1 and the number of edges.
    """
    graph = before.graph
    require_same_graph(graph, after.graph)
    chosen = top_sizes(graph) if sizes is None else tuple(sizes)
    for k in chosen:
        if not 1 <= k <= graph.edges:
            raise InputError(f"The {k} strongest edges of {graph.edges}: choose a number from 1 to {graph.edges}.")
    masks = ((k, *(strongest(scores.values, graph, k) for scores in (before, after))) for k in chosen)
    counts = [(k, int((first & second).sum())) for k, first, second in masks]
    return tuple(TopOverlap(k, count, count / k) for k, count in counts)


class MassChange(NamedTuple):
    """Score mass that changed hands, as shares of maps scaled to unit L1.

    ``lost``: of the map before, what lay on edges that left the circuit. ``gained``: of the map after, what lies
    on edges that entered it. ``moved``: half the L1 distance of the two signed maps, over all edges; 0 equal,
    1 nothing shared. (Without circuits, mass lost and mass gained are the same number: both maps weigh one.)
    """

    lost: float
    gained: float
    moved: float


def mass_change(before: EdgeScores, after: EdgeScores, size: int | float = STUDY_SHARE) -> MassChange:
    """Score mass lost, gained and moved between two maps; circuits are cut at `size`.

    Raises:
        InputError: scores of different graphs.
    """
    require_same_graph(before.graph, after.graph)
    old, new = before.top(size).mask, after.top(size).mask
    first, second = unit(before), unit(after)
    return MassChange(
        lost=float(first.abs()[old & ~new].sum()),
        gained=float(second.abs()[new & ~old].sum()),
        moved=float((second - first).abs().sum()) / 2,
    )


@dataclass(frozen=True)
class KindChange:
    """Edges of one kind, before and after.

    Attributes: source: "input", "head" or "mlp". destination: "q", "k", "v" ("head" if collapsed), "mlp" or
    "logits". possible: how many the graph has. before, after, added, removed, kept: counts in the circuits.
    """

    source: str
    destination: str
    possible: int
    before: int
    after: int
    added: int
    removed: int
    kept: int


def kind_changes(before: Circuit, after: Circuit) -> tuple[KindChange, ...]:
    """Edges by the kind of both ends, kinds in the graph's order; only kinds the graph has.

    Raises:
        InputError: the two belong to different graphs.
    """
    graph = before.graph
    require_same_graph(graph, after.graph)
    kinds = [(source, end) for source in dict.fromkeys(graph.source_kind) for end in _ends(graph)]
    places = ((source, end, _of_kind(graph, source, end)) for source, end in kinds)
    return tuple(
        _kind_change(source, end, here, before.mask[here], after.mask[here])
        for source, end, here in places
        if bool(here.any())
    )


class Forms(NamedTuple):
    """One comparison in both forms; ``split`` (q, k and v apart) is None where the graph is collapsed already."""

    split: Change | None
    collapsed: Change


def both_forms(before: Circuit | EdgeScores, after: Circuit | EdgeScores, share: float = STUDY_SHARE) -> Forms:
    """Compare circuits with q, k and v apart, and merged (an edge is in if any of the three is).

    Raises:
        InputError: the two belong to different graphs.
    """
    old, new = (value if isinstance(value, Circuit) else value.top(share) for value in (before, after))
    split = None if old.graph.collapsed else compare(old, new)
    return Forms(split, compare(old.collapse(), new.collapse()))


def _shared_mass(before: EdgeScores, after: EdgeScores) -> float:
    require_same_graph(before.graph, after.graph)
    first, second = unit(before), unit(after)
    shared = torch.minimum(first.abs(), second.abs())
    return float(shared[first * second > 0].sum())


def _magnitude(values: Tensor, absolute: bool) -> Tensor:
    return values.abs() if absolute else values


def _ends(graph: Graph) -> list[str]:
    return list(dict.fromkeys(graph.destination_kind))


def _of_kind(graph: Graph, source: str, destination: str) -> Bool[Tensor, "S R"]:
    rows = torch.tensor([kind == source for kind in graph.source_kind])
    columns = torch.tensor([kind == destination for kind in graph.destination_kind])
    return graph.edge_mask & rows[:, None] & columns


def _kind_change(source: str, destination: str, here: Tensor, before: Tensor, after: Tensor) -> KindChange:
    return KindChange(
        source,
        destination,
        possible=int(here.sum()),
        before=int(before.sum()),
        after=int(after.sum()),
        added=int((after & ~before).sum()),
        removed=int((before & ~after).sum()),
        kept=int((before & after).sum()),
    )
