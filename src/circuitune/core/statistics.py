"""Intervals for proportions, means and ratios. Arrays in, small frozen results out; seeded, so equal everywhere."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from circuitune.core.errors import MachineError

Floats: TypeAlias = NDArray[np.float64]

_CHUNK = 4_000_000
"""Random indices held at once while resampling (32 MB)."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval, in the estimate's unit."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Undefined:
    """There is no such number here; ``reason`` says why, for the reader of a report."""

    reason: str


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson score interval of a proportion of ``n`` >= 1 trials (Wilson 1927)."""
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} successes in {n} trials")
    z = float(stats.norm.ppf((1 + level) / 2))
    p = successes / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(p, low, high)


def bootstrap_ratio(
    numerator: ArrayLike,
    denominator: ArrayLike,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    *,
    groups: ArrayLike | None = None,
) -> Interval | Undefined:
    """Ratio of means over the same n examples (both [n]), with a paired percentile bootstrap interval.

    The mean of ratios would explode where single denominators are near 0. Undefined where the denominator's
    own interval contains 0: the ratio then has no bounded interval. Examples with one number in ``groups`` [n]
    are not independent, so they are drawn together.

    Raises:
        MachineError: a value is not finite.
    """
    above, below = _finite(numerator), _finite(denominator)
    if above.shape != below.shape:
        raise ValueError(f"{above.shape} numerators, {below.shape} denominators")
    sums, counts = _by_group(np.stack([above, below]), groups)
    if len(counts) < 2:
        return Undefined("one independent example has no interval")
    above_means, below_means = _resampled_means(sums, counts, resamples, seed)
    scale = _percentile(float(below.mean()), below_means, level)
    if scale.low <= 0 <= scale.high:
        return Undefined(f"the denominator's {level:.0%} interval [{scale.low:.3g}, {scale.high:.3g}] contains 0")
    # Beyond the interval a resampled denominator can still be exactly 0: its ratio is then huge, not infinite.
    nonzero = np.where(below_means == 0, np.finfo(np.float64).eps * scale.estimate, below_means)
    return _percentile(float(above.mean() / below.mean()), above_means / nonzero, level)


def t_interval(values: ArrayLike, level: float = 0.95) -> Interval | Undefined:
    """Student's interval of the mean of ``values`` [n], such as one number per seed; Undefined for a single one.

    Raises:
        MachineError: a value is not finite.
    """
    array = _finite(values)
    if array.size < 2:
        return Undefined("one value has no interval")
    mean = float(array.mean())
    error = float(array.std(ddof=1)) / math.sqrt(array.size)
    half = float(stats.t.ppf((1 + level) / 2, array.size - 1)) * error
    return Interval(mean, mean - half, mean + half)


def _finite(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"values of shape {array.shape} instead of [n], n >= 1")
    if not np.isfinite(array).all():
        raise MachineError(f"{int((~np.isfinite(array)).sum())} of {array.size} measured values are not finite.")
    return array


def _by_group(columns: Floats, groups: ArrayLike | None) -> tuple[Floats, Floats]:
    """Sums of each row of ``columns`` [k, n] over every group, and the sizes of the groups: [k, g] and [g]."""
    if groups is None:
        return columns, np.ones(len(columns.T))
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.stack([np.bincount(place, weights=column) for column in columns]).astype(np.float64)
    return sums, np.bincount(place).astype(np.float64)


def _resampled_means(sums: Floats, counts: Floats, resamples: int, seed: int) -> Floats:
    """Means over the examples of resampled groups, the same for each row of ``sums`` [k, g]: [k, resamples]."""
    rng = np.random.default_rng(seed)
    size = len(counts)
    rows = max(1, _CHUNK // size)
    parts: list[Floats] = []
    for start in range(0, resamples, rows):
        chosen = rng.integers(size, size=(min(rows, resamples - start), size))
        weights = counts[chosen].sum(axis=1)
        parts.append(np.stack([column[chosen].sum(axis=1) / weights for column in sums]))
    return np.concatenate(parts, axis=1)


def _percentile(estimate: float, resampled: Floats, level: float) -> Interval:
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high))
