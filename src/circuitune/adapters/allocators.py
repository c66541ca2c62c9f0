"""Allocators: importance, cost and budget in, LoRA ranks out.

Pure functions of lists with one entry per module. All of them spend at most the budget, and leave less than one rank
of the cheapest module that can take one more. What matters of an importance is its ratios, not its scale, and of two
modules of equal cost and equal full rank the more important one never gets the lower rank. Only `proportional` and
`water_filling` hold every module to its full rank: two levels keep the low rank that was asked for, and `even` looks
at no limit.

Literature: ranks by a module's share of a total are in the manner of GoRA (He et al. 2025, arXiv 2502.12171), which
also weighs shares by module size; water-filling is the classical allocation of power to parallel channels (Cover and
Thomas, Elements of Information Theory, section 9.4).
"""

import heapq
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from circuitune.core.errors import InputError

Allocator = Callable[[Sequence[float], Sequence[int], Sequence[int], int], list[int]]
"""(importance >= 0, parameters of one rank, largest rank, budget in parameters) -> rank, each per module."""


def even(costs: Sequence[int], budget: int) -> list[int]:
    """The largest rank that fits everywhere, then one extra rank module by module, as long as any still fits.

    Raises:
        InputError: the budget is below one rank of the cheapest module.
    """
    base, left = divmod(budget, sum(costs))
    ranks = [base] * len(costs)
    _fill(ranks, costs, [budget] * len(costs), left, range(len(costs)))
    if not any(ranks):
        raise InputError(
            f"A budget of {budget} parameters is below one rank of the cheapest module ({min(costs)}); raise it."
        )
    return ranks


def by_importance(importance: Sequence[float]) -> list[int]:
    """Indices by falling importance; ties go to the earlier."""
    return sorted(range(len(importance)), key=lambda index: (-importance[index], index))


def levels(importance: Sequence[float], *, rank: int, critical_rank: int, count: int) -> list[int]:
    """`critical_rank` for the `count` most important modules, `rank` for the others; ties go to the earlier."""
    critical = by_importance(importance)[:count]
    return [critical_rank if index in critical else rank for index in range(len(importance))]


def two_level(
    importance: Sequence[float], costs: Sequence[int], limits: Sequence[int], budget: int, *, rank: int, count: int
) -> list[int]:
    """`rank` everywhere, and all that the budget leaves, evenly, for the `count` most important modules.

    Ties go to the earlier module. What is left in the end goes rank by rank to the most important ones it fits.

    Raises:
        InputError: the budget is below `rank` everywhere, or above full rank everywhere.
    """
    left = budget - rank * sum(costs)
    if left < 0:
        raise InputError(
            f"A budget of {budget} parameters is below rank {rank} for every module ({rank * sum(costs)}); raise the "
            "budget or lower the rank."
        )
    _require_budget(costs, limits, budget)
    order = by_importance(importance)
    extra = left // sum(costs[index] for index in order[:count])
    ranks = [rank] * len(costs)
    for index in order[:count]:
        ranks[index] = max(rank, min(rank + extra, limits[index]))
        left -= (ranks[index] - rank) * costs[index]
    left = _fill(ranks, costs, limits, left, order[:count])
    _fill(ranks, costs, limits, left, order)
    return ranks


def proportional(importance: Sequence[float], costs: Sequence[int], limits: Sequence[int], budget: int) -> list[int]:
    """Ranks in proportion to importance, rounded by largest remainder; none above its limit.

    Raises:
        InputError: an importance is negative, all are 0, or the budget is below one rank of the cheapest module or
            above the full rank of all.
    """
    shares = [Fraction(value) for value in _normalised(importance)]
    _require_budget(costs, limits, budget)
    exact = _level(shares, costs, limits, budget)
    ranks = [math.floor(value) for value in exact]
    left = budget - sum(rank * cost for rank, cost in zip(ranks, costs, strict=True))
    by_remainder = sorted(range(len(ranks)), key=lambda index: (ranks[index] - exact[index], -shares[index], index))
    for index in by_remainder:
        if ranks[index] < limits[index] and costs[index] <= left:
            ranks[index] += 1
            left -= costs[index]
    _fill(ranks, costs, limits, left, by_importance(importance))
    return ranks


def water_filling(importance: Sequence[float], costs: Sequence[int], limits: Sequence[int], budget: int) -> list[int]:
    """Maximise the sum of importance x log(1 + rank): each rank goes where it gains most per parameter.

    The logarithm makes every further rank of a module worth less than the one before, and its continuous solution is
    the textbook's water level: 1 + rank = level x importance / cost, or rank 0 where that is below 1. So, unlike in
    `proportional`, modules below the level get nothing. Taking the largest marginal gain per parameter is optimal
    for any concave gain where modules cost the same; otherwise it misses less than the gain of one rank.

    Raises:
        InputError: as `proportional`.
    """
    shares = _normalised(importance)
    _require_budget(costs, limits, budget)
    ranks, left = [0] * len(costs), budget

    def entry(index: int) -> tuple[float, int, int]:
        gain = shares[index] * math.log1p(1 / (1 + ranks[index]))
        return -gain / costs[index], ranks[index], index

    heap = [entry(index) for index, limit in enumerate(limits) if limit > 0]
    heapq.heapify(heap)
    while heap:
        index = heapq.heappop(heap)[2]
        if costs[index] > left:
            continue  # what is left only shrinks: this module gets no more
        ranks[index] += 1
        left -= costs[index]
        if ranks[index] < limits[index]:
            heapq.heappush(heap, entry(index))
    return ranks


ALLOCATORS: dict[str, Allocator] = {"proportional": proportional, "water-filling": water_filling}
"""The allocators that need nothing but an importance and a budget, by name."""


def _normalised(importance: Sequence[float]) -> list[float]:
    """Importance relative to the largest, to 12 digits: the last bits of a rescaled importance must not matter."""
    top = max(importance)
    if min(importance) < 0 or top <= 0:
        raise InputError(
            "Ranks follow the size of an importance only where none is negative and one is positive; "
            f"got {min(importance)} to {top}."
        )
    return [float(f"{value / top:.12e}") for value in importance]


def _require_budget(costs: Sequence[int], limits: Sequence[int], budget: int) -> None:
    full = sum(cost * limit for cost, limit in zip(costs, limits, strict=True))
    if not min(costs) <= budget <= full:
        raise InputError(
            f"A budget of {budget} parameters is not between one rank of the cheapest module ({min(costs)}) and "
            f"full rank of every module ({full}); choose one that is."
        )


def _level(shares: Sequence[Fraction], costs: Sequence[int], limits: Sequence[int], budget: int) -> list[Fraction]:
    """Ranks t x share, at most the limits, that cost the budget exactly (less where only shares of 0 are left)."""
    capped: set[int] = set()
    while True:
        free = [index for index, share in enumerate(shares) if share > 0 and index not in capped]
        left = budget - sum(costs[index] * limits[index] for index in capped)
        weight = sum((costs[index] * shares[index] for index in free), Fraction(0))
        level = left / weight if free else Fraction(0)
        over = [index for index in free if level * shares[index] > limits[index]]
        if not over:
            return [
                Fraction(limits[index]) if index in capped else level * share for index, share in enumerate(shares)
            ]
        capped.update(over)


def _fill(ranks: list[int], costs: Sequence[int], limits: Sequence[int], left: int, order: Sequence[int]) -> int:
    """Add ranks in place, one module after another in this order, until none fits; returns what is left."""
    while fitting := [index for index in order if ranks[index] < limits[index] and costs[index] <= left]:
        for index in fitting:
            if costs[index] <= left:
                ranks[index] += 1
                left -= costs[index]
    return left
