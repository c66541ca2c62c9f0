"""What one circuit gains and loses against another, and along a series of checkpoints (paper, section 5)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from circuitune.circuits.graph import require_same_graph
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.errors import InputError
from circuitune.core.notebook import frame, line
from circuitune.core.records import ChangeRow, ComparisonRole, Kind, TransitionRow
from circuitune.dynamics import showing
from circuitune.dynamics.layers import (
    STUDY_SHARE,
    LayerChange,
    layer_changes,
    sources_among,
)

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingTypeStubs]

    from circuitune.figures.style import Drawing


@dataclass(frozen=True)
class SetChange:
    """Names of nodes or edges that one circuit gains, loses and keeps against another, in graph order."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]

    @classmethod
    def between(cls, before: Sequence[str], after: Sequence[str]) -> "SetChange":
        """Change from one collection of distinct names to another."""
        old, new = frozenset(before), frozenset(after)
        return cls(
            added=tuple(name for name in after if name not in old),
            removed=tuple(name for name in before if name not in new),
            kept=tuple(name for name in before if name in new),
        )

    @property
    def before(self) -> int:
        """How many there were."""
        return len(self.removed) + len(self.kept)

    @property
    def after(self) -> int:
        """How many there are now."""
        return len(self.added) + len(self.kept)

    @property
    def changed(self) -> int:
        """Size of the symmetric difference."""
        return len(self.added) + len(self.removed)

    @property
    def jaccard(self) -> float:
        """Kept over all that were in either; 1 for two empty circuits."""
        union = self.changed + len(self.kept)
        return len(self.kept) / union if union else 1.0

    @property
    def rate(self) -> float | None:
        """End-to-end change rate |A symmetric-difference B| / |A|; None where nothing was there before."""
        return self.changed / self.before if self.before else None


@dataclass(frozen=True)
class Change:
    """One circuit against another of the same graph.

    Attributes: edges: edges added, removed, kept. nodes: the same for nodes, ``input`` and ``logits`` among
    them. layers: the same counts by layer (see `layers.LayerChange`). edges_at_changed_nodes: how many of
    the changed edges leave or enter a changed node. The rest changed between nodes that stayed; that is the
    direct count behind the claim that edges change more than nodes explain (the ratio of the two rates
    alone shows nothing: noise has a larger one).
    """

    edges: SetChange
    nodes: SetChange
    layers: tuple[LayerChange, ...]
    edges_at_changed_nodes: int

    def __repr__(self) -> str:
        return line("Change", showing.change_facts(self))

    def _repr_html_(self) -> str:
        return showing.change_html(self)

    def to_pandas(self) -> "DataFrame":
        """A frame of every edge and node that is in either circuit: kind, name, status (added, removed or kept)."""
        return frame(showing.change_columns(self))

    def plot(self) -> "Drawing":
        """What each layer gains and loses, as a matplotlib figure; ``before.plot(after)`` draws the circuits."""
        return showing.draw_change(self)


class Transition(NamedTuple):
    """Change from one checkpoint to the next; rates are relative to the *first* checkpoint of the series."""

    nodes: SetChange
    edges: SetChange
    node_rate: float | None
    edge_rate: float | None


class CumulativeRate(NamedTuple):
    """Delta_S over a series of circuits; None where the first one is empty."""

    nodes: float | None
    edges: float | None


def compare(before: Circuit | EdgeScores, after: Circuit | EdgeScores, share: float = STUDY_SHARE) -> Change:
    """Compare two circuits; scores are first cut to their top ``share`` of all edges.

    Raises:
        InputError: the two belong to different graphs.
    """
    old, new = _circuit(before, share), _circuit(after, share)
    require_same_graph(old.graph, new.graph)
    nodes = SetChange.between(old.nodes, new.nodes)
    return Change(
        edges=SetChange.between(old.edges, new.edges),
        nodes=nodes,
        layers=layer_changes(old, new),
        edges_at_changed_nodes=_edges_at(old ^ new, frozenset(nodes.added + nodes.removed)),
    )


def transitions(circuits: Sequence[Circuit]) -> tuple[Transition, ...]:
    """Changes between neighbours in a series of checkpoints' circuits.

    Raises:
        InputError: fewer than two circuits, or circuits of different graphs.
    """
    return tuple(stepwise(circuits))


def stepwise(circuits: Sequence[Circuit]) -> Iterator[Transition]:
    """The same one after the other; no more than three circuits are held, so they may be read as they are asked for.

    Raises:
        InputError: fewer than two circuits, or circuits of different graphs.
    """
    if len(circuits) < 2:
        raise InputError(f"A series of changes needs at least two circuits; got {len(circuits)}.")
    first = circuits[0]
    for old, new in pairwise(circuits):
        require_same_graph(first.graph, new.graph)
        nodes = SetChange.between(old.nodes, new.nodes)
        edges = SetChange.between(old.edges, new.edges)
        node_rate, edge_rate = _over(nodes.changed, len(first.nodes)), _over(edges.changed, len(first))
        yield Transition(nodes, edges, node_rate, edge_rate)


def cumulative_rate(circuits: Sequence[Circuit]) -> CumulativeRate:
    """Delta_S = (1 / |S_0|) sum over t of |S_(t+1) symmetric-difference S_t|, for nodes and for edges (section 5).

    It grows with the number of checkpoints: show ``SetChange.rate`` and ``jaccard`` of first against last
    beside it.

    Raises:
        InputError: fewer than two circuits, or circuits of different graphs.
    """
    return _cumulated(circuits[0], ((step.nodes.changed, step.edges.changed) for step in stepwise(circuits)))


def cumulative_between(first: Sequence[Circuit], second: Sequence[Circuit]) -> CumulativeRate:
    """The null of `cumulative_rate`: as many terms, between two fine-tunings at the same checkpoints.

    (1 / |S_0|) sum over t >= 1 of |S_t(first) symmetric-difference S_t(second)|; both start from the same S_0.

    Raises:
        InputError: circuits of different graphs.
    """
    pairs = (compare(one, other) for one, other in zip(first[1:], second[1:], strict=True))
    return _cumulated(first[0], ((pair.nodes.changed, pair.edges.changed) for pair in pairs))


def _cumulated(start: Circuit, changed: Iterable[tuple[int, int]]) -> CumulativeRate:
    """Sums of changed nodes and edges, relative to the first circuit."""
    nodes = edges = 0
    for more_nodes, more_edges in changed:
        nodes, edges = nodes + more_nodes, edges + more_edges
    return CumulativeRate(nodes=_over(nodes, len(start.nodes)), edges=_over(edges, len(start)))


def change_rows(
    change: Change,
    *,
    comparison: str,
    role: ComparisonRole,
    before: str,
    after: str,
    cumulative: CumulativeRate | None = None,
) -> list[ChangeRow]:
    """The two rows of change.csv, nodes first; ``before`` and ``after`` are labels."""
    rates = cumulative or CumulativeRate(None, None)
    parts: list[tuple[Kind, SetChange, float | None]] = [
        ("node", change.nodes, rates.nodes),
        ("edge", change.edges, rates.edges),
    ]
    return [
        ChangeRow(
            comparison=comparison,
            role=role,
            kind=kind,
            before=before,
            after=after,
            before_count=part.before,
            after_count=part.after,
            added=len(part.added),
            removed=len(part.removed),
            kept=len(part.kept),
            jaccard=part.jaccard,
            rate=part.rate,
            cumulative=rate,
        )
        for kind, part, rate in parts
    ]


def transition_rows(
    series: Iterable[Transition], *, label: str, seed: int, steps: Sequence[int]
) -> list[TransitionRow]:
    """Rows of transitions.csv; ``steps`` are the optimizer steps of the checkpoints, one more than transitions."""
    rows: list[TransitionRow] = []
    for transition, (start, end) in zip(series, pairwise(steps), strict=True):
        parts: list[tuple[Kind, SetChange, float | None]] = [
            ("node", transition.nodes, transition.node_rate),
            ("edge", transition.edges, transition.edge_rate),
        ]
        rows += [
            TransitionRow(
                label=label,
                seed=seed,
                step_from=start,
                step_to=end,
                kind=kind,
                added=len(part.added),
                removed=len(part.removed),
                rate=rate,
            )
            for kind, part, rate in parts
        ]
    return rows


def _circuit(value: Circuit | EdgeScores, share: float) -> Circuit:
    return value if isinstance(value, Circuit) else value.top(share)


def _over(count: int, whole: int) -> float | None:
    return count / whole if whole else None


def _edges_at(changed: Circuit, nodes: frozenset[str]) -> int:
    """How many edges of ``changed`` leave one of ``nodes``, or enter an input of one."""
    graph = changed.graph
    leaves = sources_among(nodes, graph)
    enters = (graph.feeds & leaves).any(1)
    enters[graph.logits_destination] = "logits" in nodes
    return int((changed.mask & (leaves[:, None] | enters)).sum())
