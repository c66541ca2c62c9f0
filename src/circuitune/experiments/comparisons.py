"""Finer tables of change, from the saved maps of a run: how alike, where, how fast, and by which rule."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from math import comb
from typing import Literal, NamedTuple

import torch

from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.chance_records import (
    ChanceRow,
    Form,
    FoundRow,
    KindRow,
    NodeRow,
    RuleRow,
    SimilarityRow,
    SpeedRow,
)
from circuitune.core.records import Kind
from circuitune.dynamics.agreement import agreement, found_at, importances
from circuitune.dynamics.layers import critical_layers, layer_importance
from circuitune.dynamics.measures import (
    MEASURES,
    Overlap,
    both_forms,
    kind_changes,
    mass_change,
    node_shares,
    rank_correlation,
    top_overlap,
    weighted_jaccard,
)
from circuitune.dynamics.nodes import pairwise_bounds
from circuitune.dynamics.nulls import null
from circuitune.dynamics.series import Spacing, TransitionRate, schedule, transition_rates
from circuitune.experiments.analysis import null_row

SCHEDULE = 5
"""Checkpoints of a schedule on which speeds are compared."""

FORMS: tuple[Form, Form] = ("split", "collapsed")

FOUND_BY = "released"
"""Rule by which it is told when the critical layers are found: the study's."""


class Series(NamedTuple):
    """One fine-tuning: its label and seed, and its maps at every checkpoint, read as they are asked for."""

    label: str
    seed: int
    steps: tuple[int, ...]
    scores: Sequence[EdgeScores]


class Compared(NamedTuple):
    """Two maps: before and after one fine-tuning, or after two that differ by their seed."""

    name: str
    role: Literal["change", "null"]
    before: EdgeScores
    after: EdgeScores


def compared(series: Sequence[Series]) -> Iterator[Compared]:
    """Before against after of every fine-tuning, then the ends of every two, the lower seed as before.

    One comparison is held at a time.
    """
    for one in series:
        yield Compared(f"{one.label}, before against after", "change", one.scores[0], one.scores[-1])
    ordered = sorted(series, key=lambda one: one.seed)
    for place, one in enumerate(ordered[:-1]):
        end = one.scores[-1]
        for two in ordered[place + 1 :]:
            name = f"after tuning, seed {one.seed} against seed {two.seed}"
            yield Compared(name, "null", end, two.scores[-1])


def similarity(pair: Compared, share: float) -> list[SimilarityRow]:
    """How alike two maps are, q, k and v apart and merged."""
    before, after = pair.before, pair.after
    forms = both_forms(before, after, share)
    mass = mass_change(before, after, share)
    split: dict[str, float | None] = {
        "weighted_jaccard": weighted_jaccard(before, after),
        "rank_union": rank_correlation(before, after, "union", size=share),
        "rank_all": rank_correlation(before, after, "all", size=share),
        "mass_lost": mass.lost,
        "mass_gained": mass.gained,
        "mass_moved": mass.moved,
    }
    rows = [_row(pair, "split", measure, value) for measure, value in split.items()]
    rows += [_row(pair, "split", "top_overlap", one.share, one.k) for one in top_overlap(before, after)]
    for form, change in zip(FORMS, forms, strict=True):
        if change is not None:
            rows.append(_row(pair, form, "edge_jaccard", change.edges.jaccard))
            rows.append(_row(pair, form, "node_jaccard", change.nodes.jaccard))
    return rows


def _row(pair: Compared, form: Form, measure: str, value: float | None, k: int | None = None) -> SimilarityRow:
    return SimilarityRow(comparison=pair.name, role=pair.role, form=form, measure=measure, k=k, value=value)


def kinds(pair: Compared, before: Circuit, after: Circuit) -> list[KindRow]:
    """Edges of the circuits of two maps, added, removed and kept, by the kind of both ends."""
    return [
        KindRow(
            comparison=pair.name,
            role=pair.role,
            source=kind.source,
            destination=kind.destination,
            possible=kind.possible,
            before=kind.before,
            after=kind.after,
            added=kind.added,
            removed=kind.removed,
            kept=kind.kept,
        )
        for kind in kind_changes(before, after)
    ]


def speed(series: Iterable[Series], share: float) -> list[SpeedRow]:
    """How fast circuits change, on a schedule even in steps and on one even in their logarithm."""
    spacings: tuple[Spacing, ...] = ("even", "log")
    return [row for one in series for spacing in spacings for row in _speed(one, spacing, share)]


def _speed(one: Series, spacing: Spacing, share: float) -> list[SpeedRow]:
    if len(one.steps) < 2:
        return []
    places = schedule(one.steps, SCHEDULE, spacing)
    circuits = [one.scores[place].top(share) for place in places]
    rates = transition_rates(circuits, [one.steps[place] for place in places])
    edges = (_speed_row(one, spacing, "edge", rate, rate.edge_rate, rate.edge_rate_per_step) for rate in rates)
    nodes = (_speed_row(one, spacing, "node", rate, rate.node_rate, rate.node_rate_per_step) for rate in rates)
    return [*edges, *nodes]


def _speed_row(
    one: Series, spacing: Spacing, kind: Kind, rate: TransitionRate, value: float | None, per_step: float | None
) -> SpeedRow:
    return SpeedRow(
        label=one.label,
        seed=one.seed,
        spacing=spacing,
        kind=kind,
        step_from=rate.step_from,
        step_to=rate.step_to,
        rate=value,
        rate_per_step=per_step,
    )


def rules(series: Iterable[Series], count: int) -> list[RuleRow]:
    """Agreement of every two rules of layer importance, before against after."""
    return [row for one in series for row in _rules(one, count)]


def _rules(one: Series, count: int) -> list[RuleRow]:
    found = agreement(importances(one.scores[0], one.scores[-1]), count)
    return [
        RuleRow(
            label=one.label,
            seed=one.seed,
            first=found.names[i],
            second=found.names[j],
            kendall=found.kendall[i][j],
            jaccard=found.jaccard[i][j],
            expected=found.expected,
        )
        for i, j in combinations(range(len(found.names)), 2)
    ]


def found(series: Iterable[Series], count: int) -> list[FoundRow]:
    """After how much training the critical layers are what they are in the end."""
    rows: list[FoundRow] = []
    for one in series:
        start = one.scores[0]
        sets = [critical_layers(layer_importance(start, after, FOUND_BY), count) for after in one.scores[1:]]
        at, jaccards = found_at(sets)
        rows += [
            FoundRow(
                label=one.label,
                seed=one.seed,
                rule=FOUND_BY,
                step=step,
                layers=" ".join(map(str, sorted(chosen))),
                jaccard=jaccard,
                found=place >= at,
            )
            for place, (step, chosen, jaccard) in enumerate(zip(one.steps[1:], sets, jaccards, strict=True))
        ]
    return rows


def between_seeds(seeds: Sequence[int], overlaps: Sequence[Overlap]) -> list[ChanceRow]:
    """The null of chance.csv that needs several fine-tunings: ``overlaps`` are of the ends of every two."""
    if not overlaps:
        return []
    label = f"seeds {' '.join(map(str, sorted(seeds)))}"
    return [null_row(label, min(seeds), null("seed", overlaps, measure)) for measure in MEASURES]


def nodes(rows: Iterable[NodeRow], series: Sequence[Series]) -> Iterable[NodeRow]:
    """Rows of nodes.csv with what a node's share differs by between the ends of two fine-tunings."""
    bounds = pairwise_bounds(torch.stack([node_shares(one.scores[-1]) for one in series]))  # one map is held
    if bounds is None:
        return rows
    known = dict(zip(series[0].scores[0].graph.sources, map(float, bounds), strict=True))
    return (_beside_seeds(row, known[row.node], comb(len(series), 2)) for row in rows)


def _beside_seeds(row: NodeRow, bound: float, comparisons: int) -> NodeRow:
    most = f"in 97.5 % of {comparisons} comparisons" if comparisons > 1 else "in the one comparison there is"
    said = f"Two seeds, after fine-tuning, differ by at most {100 * bound:.2g} points {most}."
    return row.model_copy(
        update={"seeds": bound, "seed_comparisons": comparisons, "sentence": f"{row.sentence} {said}"}
    )
