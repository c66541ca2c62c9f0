"""The same comparison where nothing but chance differs, to show beside every change.

Two fine-tunings of one task that differ by their seed alone share far from all edges; a change from before
to after says something only in so far as it is larger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.errors import InputError
from circuitune.core.records import ChangeRow, LayerRow
from circuitune.dynamics.change import Change, change_rows, compare, cumulative_between
from circuitune.dynamics.layers import STUDY_SHARE, layer_rows


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
