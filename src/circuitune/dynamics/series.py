"""Change along training: which checkpoints to compare, and how fast circuits change between them.

The cumulative rate grows with the number of checkpoints and with where they lie. So compare series on the same
schedule, and look at the rate per optimizer step, on an even schedule and on one that is even in log steps.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from circuitune.circuits.scores import Circuit
from circuitune.core.errors import InputError
from circuitune.dynamics.measures import Counts, overlap

Spacing = Literal["even", "log"]


class TransitionRate(NamedTuple):
    """Change from one checkpoint to the next.

    ``edges`` and ``nodes`` are counts. The rates are relative to the *first* circuit of the series, per
    transition and per optimizer step; None where it is empty.
    """

    step_from: int
    step_to: int
    edges: Counts
    nodes: Counts
    edge_rate: float | None
    node_rate: float | None
    edge_rate_per_step: float | None
    node_rate_per_step: float | None


def schedule(steps: Sequence[int], count: int, spacing: Spacing = "even") -> tuple[int, ...]:
    """Positions in `steps` of up to `count` checkpoints, first and last among them.

    Args:
        steps: optimizer steps of the checkpoints there are, increasing.
        count: checkpoints wanted, 2 or more. Where two wanted steps are nearest to the same checkpoint it is
            taken once, so fewer can come back.
        spacing: "even" in steps, or "log": the first, then evenly in log(1 + step - first step).

    Raises:
        InputError: fewer than two checkpoints or wanted, or steps that do not increase.
    """
    require_steps(steps)
    if count < 2:
        raise InputError(f"A schedule needs at least two checkpoints; {count} were asked for.")
    span = steps[-1] - steps[0]
    ways = [place / (count - 1) for place in range(count)]
    wanted = [way * span if spacing == "even" else math.expm1(way * math.log1p(span)) for way in ways]
    return tuple(sorted({_nearest(steps, steps[0] + step) for step in wanted}))


def transition_rates(circuits: Sequence[Circuit], steps: Sequence[int]) -> tuple[TransitionRate, ...]:
    """How much and how fast circuits change between neighbouring checkpoints.

    Raises:
        InputError: fewer than two, steps that do not increase or are not as many, circuits of different graphs.
    """
    require_steps(steps)
    if len(circuits) != len(steps):
        raise InputError(f"{len(circuits)} circuits at {len(steps)} steps: give the step of every circuit.")
    start = overlap(circuits[0], circuits[0])
    rates: list[TransitionRate] = []
    for (old, new), (first, last) in zip(pairwise(circuits), pairwise(steps), strict=True):
        both = overlap(old, new)
        edge_rate = _over(both.edges.changed, start.edges.before)
        node_rate = _over(both.nodes.changed, start.nodes.before)
        per_step = (_over(rate, last - first) for rate in (edge_rate, node_rate))
        rates.append(TransitionRate(first, last, both.edges, both.nodes, edge_rate, node_rate, *per_step))
    return tuple(rates)


def require_steps(steps: Sequence[int]) -> None:
    """InputError unless there are two or more steps and they increase."""
    if len(steps) < 2 or any(one >= other for one, other in pairwise(steps)):
        raise InputError(f"A series needs two or more checkpoints at increasing steps; got {list(steps)}.")


def _nearest(steps: Sequence[int], wanted: float) -> int:
    """Position of the step nearest to the wanted one; of two as near, the earlier."""
    after = min(bisect_left(steps, wanted), len(steps) - 1)
    before = max(after - 1, 0)
    return before if wanted - steps[before] <= steps[after] - wanted else after


def _over(value: float | None, whole: int) -> float | None:
    return value / whole if value is not None and whole else None
