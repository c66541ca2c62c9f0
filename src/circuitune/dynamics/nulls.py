"""The same comparison where nothing but chance differs, to show beside every change.

Two fine-tunings of one task that differ by their seed alone share far from all edges; a change from before
to after says something only in so far as it is larger. `Null` puts every kind of chance into one table:

    pairwise = between([circuit of each seed])             # or of each split, or of each random model
    nulls = [null("seed", pairwise, "edge_rate"), null("rewired", rewired_overlaps(before, after), "edge_rate")]
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.errors import InputError
from circuitune.core.records import ChangeRow, LayerRow
from circuitune.core.seeding import derived_seed, numpy_generator
from circuitune.dynamics.change import Change, change_rows, compare, cumulative_between
from circuitune.dynamics.layers import STUDY_SHARE, layer_rows
from circuitune.dynamics.measures import MEASURES, Overlap, overlap
from circuitune.dynamics.resampling import cluster_count, clusters, require_examples

NullKind = Literal["split", "seed", "random-init", "rewired", "random"]
"""Where a null comes from: disjoint splits of the pairs, another seed of the fine-tuning, models of random weights,
circuits rewired with their degrees kept, or random circuits of their size."""


@dataclass(frozen=True)
class Null:
    """One measure of change where nothing but chance differs.

    A comparison that does not define the measure (no node changed, so edges changed infinitely more) counts as
    infinitely large.

    Attributes:
        kind: what differs.
        measure: a name in `measures.MEASURES`.
        values: the measure in every comparison that defines it.
        undefined: how many comparisons do not (a ratio where no node changed).
    """

    kind: NullKind
    measure: str
    values: tuple[float, ...]
    undefined: int = 0

    @property
    def mean(self) -> float | None:
        """Mean over all comparisons; None without any, and where `undefined` says that some have no value."""
        return float(np.mean(self.values)) if self.values and not self.undefined else None

    def quantile(self, level: float) -> float | None:
        """The smallest value that this share of all comparisons does not exceed (or infinity); None without any."""
        values = [*self.values, *[math.inf] * self.undefined]
        return float(np.quantile(values, level, method="inverted_cdf")) if values else None


def null(kind: NullKind, overlaps: Iterable[Overlap], measure: str) -> Null:
    """Take one measure of every comparison.

    Raises:
        InputError: unknown measure.
    """
    if measure not in MEASURES:
        raise InputError(f"{measure!r} is no measure of change; choose one of {', '.join(MEASURES)}.")
    values = [MEASURES[measure](counts) for counts in overlaps]
    defined = tuple(value for value in values if value is not None)
    return Null(kind, measure, defined, len(values) - len(defined))


def between(circuits: Sequence[Circuit] | Sequence[EdgeScores], share: float = STUDY_SHARE) -> tuple[Overlap, ...]:
    """Compare every two circuits (or scores, cut to `share`) that differ by chance alone, in the order given.

    Scores of disjoint splits of the pairs, of several seeds of one fine-tuning, or of random models.

    Raises:
        InputError: fewer than two, circuits of different graphs.
    """
    if len(circuits) < 2:
        raise InputError(f"A null compares at least two circuits; got {len(circuits)}.")
    cut = [value if isinstance(value, Circuit) else value.top(share) for value in circuits]
    return tuple(overlap(first, second) for first, second in combinations(cut, 2))


def disjoint_splits(scores: EdgeScores, parts: int, *, seed: int = 0) -> tuple[EdgeScores, ...]:
    """Scores of disjoint random parts of the pairs, as attributing each part alone would give them.

    Pairs of one cluster (`EncodedPairs.groups`) stay together: two parts that share them would agree by that alone.
    Each part has n // parts of the n clusters (a rest is left out), so it is noisier than the whole: a null from it
    is larger than that of two sets as large as the whole, which errs on the side of chance.

    Args:
        scores: with their examples.
        parts: how many, 2 or more.
        seed: of the split.

    Raises:
        InputError: scores without examples, or fewer than two parts or than one cluster of pairs each.
    """
    count = cluster_count(scores)
    size = count // parts if parts >= 2 else 0
    if size < 1:
        raise InputError(f"{count} independent pairs cannot be split into {parts} parts; choose 2 to {count}.")
    order = numpy_generator(seed, "disjoint splits").permutation(count)
    return tuple(
        _part(scores, torch.as_tensor(order[n * size : (n + 1) * size]), n, parts, seed) for n in range(parts)
    )


def halves(scores: EdgeScores, draws: int = 20, *, seed: int = 0) -> Iterator[tuple[EdgeScores, EdgeScores]]:
    """Halve the pairs at random `draws` times; one halving is held at a time.

    Halves are as near as disjoint parts come to the whole, so a null of them is the least noisy that splits give.

    Raises:
        InputError: scores without examples, or of fewer than two clusters of pairs.
    """
    for draw in range(draws):
        one, other = disjoint_splits(scores, 2, seed=derived_seed(seed, "halves", draw))
        yield one, other


def between_halves(
    scores: EdgeScores, size: int | float = STUDY_SHARE, draws: int = 20, *, seed: int = 0
) -> tuple[Overlap, ...]:
    """Compare the circuits of the two halves of the pairs, of `draws` halvings (`halves`).

    Args:
        scores: with their examples.
        size: of the circuits, as in `EdgeScores.top`.
        draws: how many halvings.
        seed: of the halvings.

    Raises:
        InputError: scores without examples, or of fewer than two clusters of pairs.
    """
    return tuple(overlap(one.top(size), other.top(size)) for one, other in halves(scores, draws, seed=seed))


@dataclass(frozen=True)
class SeedNull:
    """One fine-tuning against another that differs by its seed only."""

    first: int
    second: int
    change: Change


def seed_nulls(
    circuits: Mapping[int, Circuit] | Mapping[int, EdgeScores], share: float = STUDY_SHARE
) -> tuple[SeedNull, ...]:
    """Compare the circuits (or scores, cut to ``share``) of every two seeds, the lower seed as before.

    Raises:
        InputError: fewer than two seeds, or circuits of different graphs.
    """
    if len(circuits) < 2:
        raise InputError(f"A null between seeds needs at least two seeds; got {len(circuits)}.")
    return tuple(
        SeedNull(first, second, compare(circuits[first], circuits[second], share))
        for first, second in combinations(sorted(circuits), 2)
    )


def null_rows(
    nulls: tuple[SeedNull, ...],
    *,
    comparison: str,
    labels: Mapping[int, str],
    series: Mapping[int, Sequence[Circuit]],
) -> tuple[list[ChangeRow], list[LayerRow]]:
    """Rows of change.csv and layers.csv with role "null"; ``labels`` names the circuit of each seed.

    ``series`` holds the circuits of each seed at the checkpoints, for the null of the cumulative rate.

    ``comparison`` gets the two seeds appended ("seed 0 against seed 1"), so that each null is a comparison
    of its own.
    """
    changes: list[ChangeRow] = []
    layers: list[LayerRow] = []
    for null in nulls:
        name = f"{comparison}, seed {null.first} against seed {null.second}"
        before, after = labels[null.first], labels[null.second]
        rate = cumulative_between(series[null.first], series[null.second])
        changes += change_rows(null.change, comparison=name, role="null", before=before, after=after, cumulative=rate)
        layers += layer_rows(null.change.layers, comparison=name, role="null")
    return changes, layers


def _part(scores: EdgeScores, chosen: Tensor, number: int, parts: int, seed: int) -> EdgeScores:
    rows = torch.isin(clusters(scores), chosen)
    examples, groups = require_examples(scores)[rows], None if scores.groups is None else scores.groups[rows]
    settings = {**scores.settings, "pairs": len(examples)}
    if (whole := settings.get("pairs_digest")) is not None:  # parts of unknown pairs are unknown pairs
        settings["pairs_digest"] = f"{whole}, part {number + 1} of {parts}, seed {seed}"
    values = examples.mean(0, dtype=torch.float64).float()
    return replace(scores, values=values, completeness=None, examples=examples, groups=groups, settings=settings)
