"""Do the circuits of sub-tasks make up the circuit of the task composed of them? (paper, claim 5)

    composed = compose(model, inputs, two_step, {"add_sub": one, "mul_div": other}, unrelated={"ioi": a, "lcm": b})
    print(composed.sentence)

A plain union has more edges than any of its parts and is more faithful for that alone. So unions are also cut to the
number of edges of the compositional task's own circuit: each map is scaled to unit mass (raw scores differ between
tasks by orders of magnitude), an edge's score in the union is the largest of its scores in the parts, in the
intersection the smallest, and the strongest edges are taken until pruning leaves as many. Every control is cut alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import nn

from circuitune.circuits.ablation import Ablation
from circuitune.circuits.faithfulness import Faithfulness, evaluate
from circuitune.circuits.graph import require_same_graph
from circuitune.circuits.memory import BUDGET
from circuitune.circuits.metrics import Loss
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.circuits.selection import prune
from circuitune.core.errors import InputError
from circuitune.core.mechanism_records import CircuitKind, CompositionRow, TopOverlapRow
from circuitune.core.seeding import generator
from circuitune.core.statistics import Interval, Undefined, bootstrap_ratio
from circuitune.dynamics.layers import STUDY_SHARE, unit
from circuitune.dynamics.measures import top_overlap
from circuitune.models.encoding import EncodedPairs

SHARES = (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1)
"""Sizes at which the study evaluates the union, as shares of all edges."""


def union(parts: Sequence[Circuit]) -> Circuit:
    """Edges in any of the circuits."""
    return reduce(lambda one, other: one | other, parts)


def intersection(parts: Sequence[Circuit]) -> Circuit:
    """Edges in all of the circuits, pruned: what they share need not lie on a path."""
    common = reduce(lambda one, other: one & other, parts)
    return Circuit(prune(common.mask, common.graph), common.graph, None, common.settings)


def union_scores(parts: Sequence[EdgeScores]) -> EdgeScores:
    """Per edge the largest magnitude in any of the maps, each scaled to unit mass."""
    return _merged(parts, "union")


def intersection_scores(parts: Sequence[EdgeScores]) -> EdgeScores:
    """Per edge the smallest magnitude in any of the maps, each scaled to unit mass."""
    return _merged(parts, "intersection")


def matched(scores: EdgeScores, edges: int) -> Circuit:
    """Circuit of the strongest edges, as many as leave at most `edges` after pruning.

    Pruning drops edges, so that two circuits of equally many strongest edges differ in size; this one is the largest
    `scores.top(n)` of at most `edges` edges.
    """
    graph = scores.graph
    places = graph.edge_mask.flatten().nonzero()[:, 0]
    # The order of `strongest`, made once: sorting anew for every n takes most of the time on large graphs.
    order = places[scores.values.abs().flatten()[places].argsort(descending=True, stable=True)]

    def left(n: int) -> int:
        mask = torch.zeros_like(graph.edge_mask)
        mask.view(-1)[order[:n]] = True
        return int(prune(mask, graph).sum())

    low, high = min(edges, graph.edges), graph.edges  # as many edges as asked for are never too many
    while low < high:  # a superset of edges leaves a superset after pruning, so sizes grow with n
        middle = (low + high + 1) // 2
        low, high = (middle, high) if left(middle) <= edges else (low, middle - 1)
    return scores.top(low)


class Member(NamedTuple):
    """One circuit of the comparison, at one share, and how it does."""

    kind: CircuitKind
    name: str
    draw: int
    share: float
    circuit: Circuit
    result: Faithfulness

    @property
    def label(self) -> str:
        """How sentences call it."""
        labels = {"whole": "the task's own circuit", "part": f"{self.name} alone", "random": "random edges"}
        return labels.get(self.kind, f"the {self.kind} {self.name}")


@dataclass(frozen=True, eq=False)
class Composition:
    """All circuits of one comparison, on the compositional task's pairs.

    Attributes:
        task: its name.
        members: the circuits of every share, see `CompositionRow` for their kinds.
        overlaps: how many of the strongest edges the union, the parts and the task have in common.
        at: the share that `sentence` speaks of.
    """

    task: str
    members: tuple[Member, ...]
    overlaps: tuple[TopOverlapRow, ...]
    at: float

    def of(self, kind: CircuitKind, share: float | None = None) -> tuple[Member, ...]:
        """The circuits of one kind and share (by default `at`): several for parts and random draws."""
        wanted = self.at if share is None else share
        return tuple(member for member in self.members if member.kind == kind and member.share == wanted)

    @cached_property
    def rows(self) -> list[CompositionRow]:
        """Rows of composition.csv."""
        own = {member.share: member.circuit for member in self.members if member.kind == "whole"}
        return [_row(self.task, member, own[member.share]) for member in self.members]

    def above(self, controls: Sequence[Member]) -> Interval | Undefined:
        """Normalised faithfulness of the size-matched union less the mean of the controls', paired over examples."""
        (one,) = self.of("union")
        control = np.stack([member.result.circuit.metric.double().numpy() for member in controls]).mean(0)
        whole = (one.result.model.metric - one.result.corrupted.metric).double().numpy()
        return bootstrap_ratio(
            one.result.circuit.metric.double().numpy() - control, whole, groups=one.result.model.groups
        )

    @cached_property
    def sentence(self) -> str:
        """What the rows show at one size, with the verdict that their intervals give."""
        (own,), (one,) = self.of("whole"), self.of("union")
        start = f"At {100 * self.at:g} % of all edges ({one.result.edges:,}) the union of {one.name}"
        controls = self._controls()
        if one.result.normalized is None:
            measured = [f"{_label(group)} {_mean_kl(group):.3g}" for group in ([own], *controls)]
            return (
                f"{start} has KL {one.result.kl:.3g} from the model on {self.task}; {', '.join(measured)}. "
                f"There is no share of the metric to give ({one.result.reason})."
            )
        interval = one.result.normalized
        measured = [f"{_label(group)} {_mean_share(group):.0%}" for group in ([own], *controls)]
        return (
            f"{start} does {interval.estimate:.0%} [{interval.low:.0%}, {interval.high:.0%}] of what the model does "
            f"on {self.task}; of the same size: {', '.join(measured)}. {self._verdict(controls)}"
        )

    def _controls(self) -> list[Sequence[Member]]:
        """Groups of controls of one size: each part alone, the unrelated union, the random draws together."""
        groups = [[member] for kind in PARTS for member in self.of(kind)]
        return [*groups, self.of("random")]

    def _verdict(self, controls: Sequence[Sequence[Member]]) -> str:
        found: dict[str, list[str]] = {"more": [], "not clearly more": [], "less": []}
        for group in controls:
            interval = self.above(group)
            if isinstance(interval, Interval):
                low = "less" if interval.high < 0 else "not clearly more"
                found["more" if interval.low > 0 else low].append(_label(group))
        parts = [f"{word} faithful than {', '.join(names)}" for word, names in found.items() if names]
        return f"It is {'; '.join(parts)}."


PARTS: tuple[CircuitKind, ...] = ("part", "unrelated")
"""Kinds of controls that stand for themselves; random draws are averaged."""


def compose(
    model: nn.Module,
    inputs: EncodedPairs,
    whole: EdgeScores,
    parts: Mapping[str, EdgeScores],
    *,
    task: str = "the task",
    unrelated: Mapping[str, EdgeScores] | None = None,
    shares: Sequence[float] = SHARES,
    at: float = STUDY_SHARE,
    sizes: Sequence[int] | None = None,
    draws: int = 5,
    metric: str | Loss = "logit_diff",
    ablation: Ablation = "interchange",
    seed: int = 0,
    batch_size: int | None = None,
    memory: int = BUDGET,
) -> Composition:
    """Evaluate unions of sub-task circuits, the compositional task's own and controls, in one call of `evaluate`.

    Args:
        model: the model that all scores are of.
        inputs: pairs of the compositional task, not those its circuit was found on.
        whole: scores on the compositional task.
        parts: scores on its sub-tasks, two or more, by name.
        task: name of the compositional task.
        unrelated: scores on as many other tasks, whose union is a control.
        shares: sizes, as shares of all edges; `at` among them is the one the sentence speaks of.
        sizes: numbers of strongest edges for the overlaps; by default `measures.top_sizes`.
        draws: random circuits per size.
        metric, ablation, batch_size, memory: as in `evaluate`.
        seed: of the random circuits.

    Raises:
        InputError: fewer than two parts; scores of another model shape; `at` not among the shares.
    """
    if len(parts) < 2 or at not in shares or draws < 1:
        raise InputError(
            f"A composition needs at least two parts, a random draw and at={at:g} among the shares; "
            f"got {len(parts)} parts, {draws} draws, shares {', '.join(f'{share:g}' for share in shares)}."
        )
    for scores in (*parts.values(), *(unrelated or {}).values()):
        require_same_graph(whole.graph, scores.graph)
    drawn = [_random(whole, seed, draw) for draw in range(draws)]
    planned = [entry for share in shares for entry in _planned(task, whole, parts, unrelated or {}, share, drawn)]
    results = evaluate(
        model,
        inputs,
        [circuit for *_, circuit in planned],
        metric=metric,
        ablation=ablation,
        batch_size=batch_size,
        memory=memory,
    )
    members = tuple(Member(*entry, result) for entry, result in zip(planned, results, strict=True))
    return Composition(task, members, tuple(_overlaps(task, whole, parts, unrelated or {}, sizes)), at)


Planned = tuple[CircuitKind, str, int, float, Circuit]


def _planned(
    task: str,
    whole: EdgeScores,
    parts: Mapping[str, EdgeScores],
    unrelated: Mapping[str, EdgeScores],
    share: float,
    drawn: Sequence[EdgeScores],
) -> list[Planned]:
    """The circuits of one share: kind, name, draw, share, circuit."""
    own, maps, name = whole.top(share), list(parts.values()), " + ".join(parts)
    cuts = [scores.top(share) for scores in maps]
    planned: list[Planned] = [
        ("whole", task, 0, share, own),
        ("union", name, 0, share, matched(union_scores(maps), len(own))),
        ("plain union", name, 0, share, union(cuts)),
        ("intersection", name, 0, share, matched(intersection_scores(maps), len(own))),
        ("plain intersection", name, 0, share, intersection(cuts)),
    ]
    for part, scores in parts.items():
        planned.append(("part", part, 0, share, matched(scores, len(own))))
    if unrelated:
        circuit = matched(union_scores(list(unrelated.values())), len(own))
        planned.append(("unrelated", " + ".join(unrelated), 0, share, circuit))
    random = (matched(scores, len(own)) for scores in drawn)
    return [*planned, *(("random", "", draw, share, circuit) for draw, circuit in enumerate(random))]


def _random(like: EdgeScores, seed: int, draw: int) -> EdgeScores:
    values = torch.rand(like.values.shape, generator=generator(seed, "composition", draw))
    return EdgeScores(values * like.graph.edge_mask, like.graph)


def _overlaps(
    task: str,
    whole: EdgeScores,
    parts: Mapping[str, EdgeScores],
    unrelated: Mapping[str, EdgeScores],
    sizes: Sequence[int] | None,
) -> list[TopOverlapRow]:
    maps = {" + ".join(parts): union_scores(list(parts.values())), **parts}
    if unrelated:
        maps[" + ".join(unrelated)] = union_scores(list(unrelated.values()))
    compared = [((name, scores), (task, whole)) for name, scores in maps.items()]
    compared += list(combinations(parts.items(), 2))
    return [
        TopOverlapRow(first=first, second=second, size=k, shared=shared, share=share)
        for (first, one), (second, other) in compared
        for k, shared, share in top_overlap(one, other, sizes)
    ]


def _row(task: str, member: Member, own: Circuit) -> CompositionRow:
    kind, name, draw, share, circuit, result = member
    interval = result.normalized
    return CompositionRow(
        task=task,
        kind=kind,
        name=name,
        draw=draw,
        share=share,
        edges=len(circuit),
        overlap=int((circuit.mask & own.mask).sum()) / len(circuit) if len(circuit) else None,
        jaccard=circuit.jaccard(own),
        metric=result.metric,
        value=float(result.circuit.metric.double().mean()),
        model=float(result.model.metric.double().mean()),
        corrupted=float(result.corrupted.metric.double().mean()),
        normalized=interval and interval.estimate,
        normalized_low=interval and interval.low,
        normalized_high=interval and interval.high,
        reason=result.reason or "",
        kl=result.kl,
        accuracy=result.accuracy,
    )


def _merged(parts: Sequence[EdgeScores], how: Literal["union", "intersection"]) -> EdgeScores:
    for scores in parts[1:]:
        require_same_graph(parts[0].graph, scores.graph)
    magnitudes = torch.stack([unit(scores).abs() for scores in parts])
    values = magnitudes.amax(0) if how == "union" else magnitudes.amin(0)
    return EdgeScores(values.float(), parts[0].graph, settings={"operation": how})


def _label(group: Sequence[Member]) -> str:
    return group[0].label


def _mean_kl(group: Sequence[Member]) -> float:
    return sum(member.result.kl for member in group) / len(group)


def _mean_share(group: Sequence[Member]) -> float:
    shares = [member.result.normalized.estimate for member in group if member.result.normalized]
    return sum(shares) / len(shares)
