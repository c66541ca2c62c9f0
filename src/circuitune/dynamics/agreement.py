"""Do the rules agree on the critical layers, do tasks share them, and how early in training are they found?"""

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from scipy import stats
from torch import Tensor

from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError
from circuitune.dynamics.layers import RULES, critical_layers, layer_importance


@dataclass(frozen=True)
class Agreement:
    """How far several importances of the same layers agree.

    Attributes:
        names: of the importances, in the order of rows and columns.
        kendall: Kendall's tau-b of every two; None where one of them is the same for all layers.
        jaccard: Jaccard similarity of their top-K sets.
        expected: Jaccard similarity that two random sets of K layers have on average.
    """

    names: tuple[str, ...]
    kendall: tuple[tuple[float | None, ...], ...]
    jaccard: tuple[tuple[float, ...], ...]
    expected: float


def importances(before: EdgeScores, after: EdgeScores) -> dict[str, Float[Tensor, "L"]]:
    """Importance of every layer by every rule of `layers.RULES`.

    Raises:
        InputError: scores of different graphs.
    """
    return {rule: layer_importance(before, after, rule) for rule in RULES}


def agreement(values: Mapping[str, Float[Tensor, "L"]] | Mapping[str, Sequence[float]], k: int) -> Agreement:
    """Compare importances by several rules on one task, or by one rule on several tasks.

    Args:
        values: importance of every layer, by rule or task.
        k: number of critical layers.

    Raises:
        InputError: nothing to compare, different numbers of layers, or an impossible `k`.
    """
    table = {name: [float(value) for value in row] for name, row in values.items()}
    lengths = {len(row) for row in table.values()}
    if len(lengths) != 1:
        raise InputError(f"Importances to compare must be of the same layers; got {sorted(lengths)} layers.")
    (layers,) = lengths
    rows = list(table.values())
    overlap = set_overlap({name: critical_layers(row, k) for name, row in table.items()})
    return Agreement(
        names=tuple(table),
        kendall=tuple(tuple(_kendall(one, other) for other in rows) for one in rows),
        jaccard=overlap,
        expected=expected_jaccard(layers, k),
    )


def set_overlap(
    sets: Mapping[str, Sequence[int]] | Mapping[str, AbstractSet[int]],
) -> tuple[tuple[float, ...], ...]:
    """Jaccard similarity of every two sets of layers, such as the critical ones of several tasks."""
    members = [frozenset(chosen) for chosen in sets.values()]
    return tuple(tuple(_jaccard(one, other) for other in members) for one in members)


def expected_jaccard(layers: int, k: int) -> float:
    """Mean Jaccard similarity of two independent uniform sets of `k` of `layers` (hypergeometric overlap)."""
    law = stats.hypergeom(layers, k, k)
    return math.fsum(float(law.pmf(shared)) * shared / (2 * k - shared) for shared in range(k + 1))


class Found(NamedTuple):
    """When the final critical layers are found.

    ``at`` is the position of the first checkpoint from which on every top-K set equals the last one's;
    ``jaccards`` compares the set of every checkpoint with the last one's.
    """

    at: int
    jaccards: tuple[float, ...]


def found_at(sets: Sequence[Sequence[int]] | Sequence[AbstractSet[int]]) -> Found:
    """Compare the critical layers at each checkpoint with the last one's; order inside a set does not count.

    Raises:
        InputError: no checkpoint.
    """
    if not sets:
        raise InputError("There is no checkpoint at which critical layers could be found.")
    members = [frozenset(chosen) for chosen in sets]
    differs = [place for place, chosen in enumerate(members) if chosen != members[-1]]
    at = differs[-1] + 1 if differs else 0
    return Found(at, tuple(_jaccard(chosen, members[-1]) for chosen in members))


def _kendall(one: Sequence[float], other: Sequence[float]) -> float | None:
    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    return float(stats.kendalltau(one, other).statistic)


def _jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    union = one | other
    return len(one & other) / len(union) if union else 1.0
