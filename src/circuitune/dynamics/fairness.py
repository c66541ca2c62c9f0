"""Do edges change more than nodes by more than chance? The study's claim 2, put to a test that could fail.

The study divides the edge change rate by the node change rate, and compares the edges that changed with an estimate
from the nodes that changed: changed nodes x E / N, E edges and N nodes of the circuit before. Observed over
estimate is then (changed edges / E) / (changed nodes / N), the very ratio of the rates: it is no second piece of
evidence. An edge has two ends, so a node carries 2 E / N of them; that estimate halves the ratio. And noise raises
the ratio too: two fine-tunings that differ by their seed have a larger one. So `verdict` asks whether the ratio from
before to after exceeds the same ratio between seeds and between splits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from circuitune.core.errors import InputError
from circuitune.core.statistics import Interval, Undefined
from circuitune.dynamics.change import Change
from circuitune.dynamics.measures import MEASURES
from circuitune.dynamics.nulls import Null, NullKind

LEAST_COMPARISONS = 10
"""Comparisons a null needs to say something: those of five seeds or splits."""

TAIL = 0.975
"""Quantile of the null's values that a change must exceed: one in forty comparisons by chance does."""

Outcome = Literal["more than chance", "no more than chance", "not enough to say"]

CHANCES: dict[NullKind, str] = {
    "split": "the chance of the pairs",
    "seed": "another seed",
    "random-init": "random weights",
    "rewired": "what degrees alone give",
    "random": "random circuits",
}
"""How sentences call what a verdict is held against: each null is one kind of chance, and says nothing of others."""


@dataclass(frozen=True)
class NodeEstimate:
    """How many edges the changed nodes would explain, by the study's formula, and how many changed edges they touch.

    Attributes:
        changed_edges: edges in one circuit only.
        changed_nodes: nodes in one circuit only.
        per_node: E / N of the circuit before, edges to nodes.
        touching: changed edges that leave or enter a changed node: counted, not estimated.
    """

    changed_edges: int
    changed_nodes: int
    per_node: float
    touching: int

    @property
    def estimate(self) -> float:
        """Changed nodes x E / N."""
        return self.changed_nodes * self.per_node

    @property
    def ratio(self) -> float | None:
        """Changed edges over the estimate. It restates edge rate / node rate. None where no node changed."""
        return self.changed_edges / self.estimate if self.estimate else None

    @property
    def two_ended_ratio(self) -> float | None:
        """Changed edges over changed nodes x 2 E / N, which counts both ends of an edge. Half of `ratio`."""
        return self.changed_edges / (2 * self.estimate) if self.estimate else None

    @property
    def sentence(self) -> str:
        """The count and both estimates, in words."""
        touching = f"{self.touching:,} of {self.changed_edges:,} changed edges touch a changed node"
        counted = f"{touching} (changed nodes: {self.changed_nodes:,})"
        if self.ratio is None:
            return f"{counted}; an estimate from changed nodes needs one of them, and edges before."
        return (
            f"{counted}. The changed edges are {self.ratio:.2f} times the study's estimate of changed nodes x E/N "
            f"({self.estimate:,.0f}), which only restates edge rate / node rate; with 2E/N, for the two ends of an "
            f"edge, they are {self.two_ended_ratio:.2f} times the estimate."
        )


def node_estimate(change: Change) -> NodeEstimate:
    """The study's estimate and the count that replaces it, for one comparison.

    Raises:
        InputError: the circuit before has no nodes.
    """
    if not change.nodes.before:
        raise InputError("The circuit before is empty, so its nodes have no mean number of edges.")
    return NodeEstimate(
        changed_edges=change.edges.changed,
        changed_nodes=change.nodes.changed,
        per_node=change.edges.before / change.nodes.before,
        touching=change.edges_at_changed_nodes,
    )


@dataclass(frozen=True)
class Verdict:
    """An outcome by the rule of `verdict`, and one sentence that gives its numbers."""

    outcome: Outcome
    sentence: str


def verdict(observed: Interval | Undefined, nulls: Sequence[Null]) -> Verdict:
    """Is a measure from before to after larger than where nothing but chance differs?

    The rule, in this order. A null's bound is the smallest value that 97.5 % of its comparisons do not exceed
    (`Null.quantile`); a value that is not defined (no node changed) counts as infinitely large. Resampling adds
    noise that moves edges, so intervals of a rate lie higher than its estimate, and may lie wholly above it, while
    a null's values are estimates themselves: a change must exceed the bounds as an estimate too.

    - *not enough to say*: the measure has no interval, there is no null, or a null has fewer than 10
      comparisons or so many undefined ones that its bound is infinite;
    - *more than chance*: the estimate and the whole interval lie above the bound of every null;
    - *no more than chance*: the estimate and the whole interval lie at or below the bound of some null;
    - *not enough to say*: otherwise.

    Args:
        observed: interval of the measure from before to after (`bootstrap.bootstrap_change`).
        nulls: of the same measure, one in which larger is more change: a rate or the ratio of the two.

    Raises:
        InputError: nulls of several measures, or of a Jaccard similarity.
    """
    names = {null.measure for null in nulls}
    if len(names) > 1 or not names <= MEASURES.keys() - {"edge_jaccard", "node_jaccard"}:
        raise InputError(f"A verdict is on one rate or ratio and its nulls; got nulls of {', '.join(sorted(names))}.")
    bounds = [math.inf if (bound := null.quantile(TAIL)) is None else bound for null in nulls]
    missing = _missing(observed, nulls, bounds)
    if missing or isinstance(observed, Undefined):
        return Verdict("not enough to say", f"Not enough to say: {missing}.")
    listed = ", ".join(f"{bound:.3g} ({null.kind})" for null, bound in zip(nulls, bounds, strict=True))
    numbers = (
        f"{observed.estimate:.3g} [{observed.low:.3g}, {observed.high:.3g}] against at most {listed} in 97.5 % of "
        "comparisons where that alone differs"
    )
    chances = " and ".join(CHANCES[null.kind] for null in nulls)
    if min(observed.low, observed.estimate) > max(bounds):
        return Verdict("more than chance", f"More than {chances}: {numbers}.")
    if max(observed.high, observed.estimate) <= max(bounds):
        return Verdict("no more than chance", f"No more than {chances}: {numbers}.")
    why = (
        "the estimate does not exceed every bound"
        if observed.low > max(bounds)
        else "the interval reaches over a bound"
    )
    return Verdict("not enough to say", f"Not enough to say: {why}, {numbers}.")


def _missing(observed: Interval | Undefined, nulls: Sequence[Null], bounds: Sequence[float]) -> str:
    """What the verdict lacks, or nothing."""
    if isinstance(observed, Undefined):
        return f"the measure has no interval ({observed.reason})"
    if not nulls:
        return "there is no null to compare with"
    for null, bound in zip(nulls, bounds, strict=True):
        comparisons = len(null.values) + null.undefined
        if comparisons < LEAST_COMPARISONS:
            return f"the {null.kind} null has {comparisons} comparisons, and {LEAST_COMPARISONS} are needed"
        if not math.isfinite(bound):
            return f"the {null.kind} null is not defined in {null.undefined} of {comparisons} comparisons"
    return ""
