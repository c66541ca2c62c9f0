"""Does the gain of fine-tuning pass through the edges that changed? (A change of scores alone does not say so.)

    check = causal_check(tuned, inputs, before, after)     # a PeftModel: its base is the same with the adapter off
    print(check.sentence)

Two runs on the same prompts (`circuits.transplant` has the mathematics):

- removal: the tuned model with the base model's activations on the changed edges. How much of the gain is lost?
- insertion: the base model with the tuned model's activations on them. How much of the gain is won?

Beside them the same with as many unchanged edges: random ones, and the strongest. With F the metric of a run,

    share = (F(receiver) - F(run)) / (F(receiver) - F(donor)),

a ratio of means over pairs with a paired bootstrap interval over them. It does not include the chance of the draws,
which is large (a random set may hold the one edge that matters): the verdict counts the draws that the changed edges
surpass, each by its own interval.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from circuitune.circuits.faithfulness import Run
from circuitune.circuits.graph import require_same_graph
from circuitune.circuits.memory import BUDGET
from circuitune.circuits.metrics import Loss, resolve
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.circuits.selection import strongest
from circuitune.circuits.transplant import Transplanted, transplant
from circuitune.core.errors import InputError
from circuitune.core.mechanism_records import CausalRow, Direction, SwappedEdges
from circuitune.core.seeding import generator
from circuitune.core.statistics import Floats, Interval, Undefined, bootstrap_ratio
from circuitune.dynamics.layers import STUDY_SHARE, unit
from circuitune.models.encoding import EncodedPairs
from circuitune.models.versions import before_and_after

ACCURACY = "accuracy"
"""The second measure of every check."""

CONTRASTS: Mapping[SwappedEdges, SwappedEdges] = {
    "changed less random": "random unchanged",
    "changed less strongest": "strongest unchanged",
}
"""Rows that are differences -> the controls subtracted."""

MEASURES = {
    "logit_diff": "the logit difference",
    "nll": "the negative log-likelihood",
    "prob_diff": "the probability",
}
"""How sentences call a metric."""


class Swap(NamedTuple):
    """Edges on which a run of the receiver carries the donor's activations; ``draw`` numbers random sets."""

    swapped: SwappedEdges
    draw: int
    edges: int
    run: Run


@dataclass(frozen=True, eq=False)
class Swaps:
    """One direction.

    Attributes:
        direction: "removal" (the tuned model receives) or "insertion" (the base model does).
        receiver, donor: the two models as they are.
        swaps: the receiver with the donor's activations on the changed edges, then on unchanged ones and on all.
    """

    direction: Direction
    receiver: Run
    donor: Run
    swaps: tuple[Swap, ...]

    @property
    def changed(self) -> Swap:
        """The changed edges."""
        return self.swaps[0]

    def of(self, swapped: SwappedEdges) -> tuple[Run, ...]:
        """The runs with these edges swapped: one per draw of random ones."""
        return tuple(swap.run for swap in self.swaps if swap.swapped == swapped)

    def share(self, run: Run, measure: str) -> Interval | Undefined:
        """Part of the gain that is lost (removal) or won (insertion) in `run`."""
        return self._ratio(_values(self.receiver, measure) - _values(run, measure), measure)

    def above(self, controls: SwappedEdges, measure: str) -> Interval | Undefined:
        """Share of the changed edges less the mean share of the controls, paired over examples."""
        difference = self._controls(controls, measure) - _values(self.changed.run, measure)
        return self._ratio(difference, measure)

    def surpassed(self, measure: str) -> int:
        """How many of the random draws carry less than the changed edges, by paired intervals over examples."""
        changed = _values(self.changed.run, measure)
        differences = [self._ratio(_values(run, measure) - changed, measure) for run in self.of("random unchanged")]
        return sum(isinstance(one, Interval) and one.low > 0 for one in differences)

    def rows(self, measure: str) -> list[CausalRow]:
        """Rows of causal.csv on one measure."""
        rows = [
            self._row(swapped, draw, edges, measure, _values(run, measure), self.share(run, measure))
            for swapped, draw, edges, run in self.swaps
        ]
        for swapped, controls in CONTRASTS.items():
            if self.of(controls):
                values = _values(self.changed.run, measure) - self._controls(controls, measure)
                share = self.above(controls, measure)
                rows.append(self._row(swapped, 0, self.changed.edges, measure, values, share))
        return rows

    def _row(
        self, swapped: SwappedEdges, draw: int, edges: int, measure: str, values: Floats, share: Interval | Undefined
    ) -> CausalRow:
        ends = [float(_values(run, measure).mean()) for run in (self.receiver, self.donor)]
        base, tuned = ends if self.direction == "insertion" else ends[::-1]
        defined = share if isinstance(share, Interval) else None
        return CausalRow(
            direction=self.direction,
            swapped=swapped,
            draw=draw,
            edges=edges,
            measure=measure,
            base=base,
            tuned=tuned,
            value=float(values.mean()),
            share=defined and defined.estimate,
            low=defined and defined.low,
            high=defined and defined.high,
            reason=share.reason if isinstance(share, Undefined) else "",
        )

    def _controls(self, controls: SwappedEdges, measure: str) -> Floats:
        """Per example, the mean over the draws."""
        return np.stack([_values(run, measure) for run in self.of(controls)]).mean(0)

    def _ratio(self, part: Floats, measure: str) -> Interval | Undefined:
        """A part of the gain, over the gain."""
        gain = _values(self.receiver, measure) - _values(self.donor, measure)
        return bootstrap_ratio(part, gain, groups=self.receiver.groups)


@dataclass(frozen=True, eq=False)
class CausalCheck:
    """Both directions of one check.

    Attributes:
        removal, insertion: see the module.
        metric: name of the metric, measured beside accuracy.
    """

    removal: Swaps
    insertion: Swaps
    metric: str

    @cached_property
    def rows(self) -> list[CausalRow]:
        """Rows of causal.csv: both directions, the metric and accuracy."""
        directions, measures = (self.removal, self.insertion), (self.metric, ACCURACY)
        return [row for swaps in directions for measure in measures for row in swaps.rows(measure)]

    @cached_property
    def sentence(self) -> str:
        """What the rows show of the metric, with the verdict that their intervals give."""
        base, tuned = (float(run.metric.double().mean()) for run in (self.removal.donor, self.removal.receiver))
        start = f"Fine-tuning takes {MEASURES.get(self.metric, self.metric)} from {base:.2f} to {tuned:.2f}"
        share = self.removal.share(self.removal.changed.run, self.metric)
        if isinstance(share, Undefined):
            return f"{start}, no gain large enough to follow through the edges ({share.reason})."
        lost, won = (
            _percent(swaps.share(swaps.changed.run, self.metric)) for swaps in (self.removal, self.insertion)
        )
        return (
            f"{start}: that is the gain. With the base model's activations on the {self.removal.changed.edges:,} "
            f"changed edges the tuned model loses {lost} of it.{self._beside(self.removal)} With the tuned model's "
            f"activations on them the base model wins {won} of it.{self._beside(self.insertion)} {self._verdict()}"
            f"{self._of_accuracy()}"
        )

    def _beside(self, swaps: Swaps) -> str:
        """What as many unchanged edges do; nothing where there are none."""
        controls = (*swaps.of("strongest unchanged"), *swaps.of("random unchanged"))
        if not controls:
            return ""
        shares = [swaps.share(run, self.metric) for run in controls]
        top, *random = [share.estimate for share in shares if isinstance(share, Interval)]
        mean, low, high = (_rounded(one) for one in (sum(random) / len(random), min(random), max(random)))
        return f" On as many unchanged edges: {_rounded(top)}, the strongest; {mean}, random ones ({low} to {high})."

    def _verdict(self) -> str:
        both = (self.removal, self.insertion)
        draws = len(self.removal.of("random unchanged"))
        if not draws:
            return "No edge is unchanged, so there is nothing to compare with."
        won = [swaps.surpassed(self.metric) for swaps in both]
        top = [swaps.above("strongest unchanged", self.metric) for swaps in both]
        intervals = [interval for interval in top if isinstance(interval, Interval)]
        word = "less" if all(one.high < 0 for one in intervals) else "not clearly more"
        word = "more" if all(one.low > 0 for one in intervals) else word
        return (
            f"Of {draws} random sets, the changed edges clearly beat {won[0]} in what is lost and {won[1]} in what "
            f"is won. They carry {word} than the strongest unchanged edges."
        )

    def _of_accuracy(self) -> str:
        base, tuned = (run.accuracy for run in (self.removal.donor, self.removal.receiver))
        shares = [swaps.share(swaps.changed.run, ACCURACY) for swaps in (self.removal, self.insertion)]
        defined = [_percent(share) for share in shares if isinstance(share, Interval)]
        gain = f" Accuracy, from {base:.0%} to {tuned:.0%}: "
        return gain + f"{defined[0]} of that gain is lost, {defined[1]} is won." if defined else ""


def causal_check(
    tuned: nn.Module,
    inputs: EncodedPairs,
    before: EdgeScores,
    after: EdgeScores,
    *,
    base: nn.Module | None = None,
    changed: Circuit | None = None,
    share: float = STUDY_SHARE,
    draws: int = 10,
    metric: str | Loss = "logit_diff",
    seed: int = 0,
    batch_size: int | None = None,
    memory: int = BUDGET,
) -> CausalCheck:
    """Swap activations on the changed edges between a base and a tuned model, both ways, and on unchanged edges.

    Args:
        tuned: the fine-tuned model; left as it was.
        inputs: the encoded pairs, not those the circuits were found on.
        before, after: scores of the base and of the tuned model.
        base: the base model; by default the tuned one with its adapter off.
        changed: the changed edges; by default those in only one of the two circuits of `share`.
        share: size of those circuits.
        draws: random sets of unchanged edges, each as large as `changed` (or all unchanged ones, if they are fewer).
        metric: ``logit_diff``, ``nll``, ``prob_diff`` or a function, as in `evaluate`.
        seed: of the draws.
        batch_size, memory: as in `evaluate`.

    Raises:
        InputError: no changed edge; models, scores or circuits of different shapes; no base model to be had.
        MachineError: a logit is not finite.
    """
    graph = before.graph
    require_same_graph(graph, after.graph)
    if changed is None:
        changed = before.top(share) ^ after.top(share)
    require_same_graph(graph, changed.graph)
    if not len(changed) or draws < 1:
        what = "No edge changed between the two circuits" if draws >= 1 else "There is no random draw"
        raise InputError(f"{what}; nothing can be compared: give changed edges (changed=) and draws of at least 1.")
    sets: list[tuple[SwappedEdges, int, Circuit]] = [("changed", 0, changed)]
    rest = graph.edge_mask & ~changed.mask
    if bool(rest.any()):
        sets += _controls(before, after, rest, len(changed), draws, seed)
    old, new = before_and_after(tuned, base)
    circuits, name = [circuit for _, _, circuit in sets], resolve(metric, inputs).name
    out, into = (
        transplant(receiver, donor, inputs, circuits, metric=metric, batch_size=batch_size, memory=memory)
        for receiver, donor in ((new, old), (old, new))
    )

    def swaps(direction: Direction, result: Transplanted, donor: Run) -> Swaps:
        runs = [
            Swap(swapped, draw, len(cut), run) for (swapped, draw, cut), run in zip(sets, result.swapped, strict=True)
        ]
        return Swaps(direction, result.own, donor, (*runs, Swap("all", 0, graph.edges, result.all)))

    return CausalCheck(swaps("removal", out, into.own), swaps("insertion", into, out.own), name)


def _controls(
    before: EdgeScores, after: EdgeScores, rest: Bool[Tensor, "S R"], count: int, draws: int, seed: int
) -> list[tuple[SwappedEdges, int, Circuit]]:
    """The strongest edges of `rest` by the mass of both maps, each scaled to unit mass, and random ones."""
    graph, count = before.graph, min(count, int(rest.sum()))

    def largest(values: Float[Tensor, "S R"]) -> Circuit:
        return Circuit(strongest(torch.where(rest, values, -1.0), graph, count, absolute=False), graph)

    drawn = generator(seed, "causal check")
    random = [largest(torch.rand(rest.shape, generator=drawn)) for _ in range(draws)]
    top = largest(unit(before).abs() + unit(after).abs())
    return [("strongest unchanged", 0, top), *(("random unchanged", place, cut) for place, cut in enumerate(random))]


def _values(run: Run, measure: str) -> Floats:
    """One number per example."""
    return (run.correct if measure == ACCURACY else run.metric).double().numpy()


def _percent(share: Interval | Undefined) -> str:
    if isinstance(share, Undefined):
        return "an unknown share"
    return f"{_rounded(share.estimate)} [{_rounded(share.low)}, {_rounded(share.high)}]"


def _rounded(share: float) -> str:
    return f"{round(share, 2) + 0.0:.0%}"  # + 0.0: never "-0%"
