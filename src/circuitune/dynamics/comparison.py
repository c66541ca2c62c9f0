"""Two models, or two circuits, compared with all that chance can do: one call, one result.

    found = compare_with_chance(before, after)             # scores with their examples
    print("\\n".join(found.sentences))                     # the verdict first
    json.dumps(found.to_record())

`change.compare` counts. This adds, where the scores of single pairs are there, error bars, the null of disjoint
splits, tests of single edges and the stability of both circuits, and says what is missing where they are not. The
null of rewired circuits needs no pairs.

The split null is between halves of the pairs, drawn twenty times, of the model before and of the model after. Halves
are as near as disjoint parts come to the whole; fifths are noisier and hid more of what was planted. Both models,
since where one circuit is hardly determined, splitting the other alone would call the difference more than chance.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.errors import InputError
from circuitune.core.notebook import frame, line
from circuitune.core.statistics import Interval, Undefined
from circuitune.dynamics import showing
from circuitune.dynamics.bootstrap import (
    LEAST_RESAMPLES,
    STABLE,
    ChangeIntervals,
    Stability,
    bootstrap_change,
    circuit_stability,
)
from circuitune.dynamics.change import Change, SetChange, compare
from circuitune.dynamics.edge_tests import EdgeTests, edge_tests
from circuitune.dynamics.fairness import TAIL, Verdict, node_estimate, verdict
from circuitune.dynamics.layers import STUDY_SHARE
from circuitune.dynamics.measures import MEASURES, Overlap, overlap
from circuitune.dynamics.nulls import Null, halves, null
from circuitune.dynamics.resampling import RESAMPLES, cluster_count, clustered, same_pairs
from circuitune.dynamics.rewiring import rewired_overlaps

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingTypeStubs]

    from circuitune.figures.style import Drawing

QUESTIONS: Mapping[str, str] = {
    "edge_rate": "Do the sets of edges differ?",
    "node_rate": "Do the sets of nodes differ?",
    "ratio": "Do edges differ more than nodes do?",
}
"""What a verdict on each of these measures answers."""

HALVINGS = 20
"""How often each model's pairs are halved: forty comparisons, of which the bound leaves out one."""

LEAST_PAIRS = 6
"""Independent pairs that a split null takes: they halve in ten ways, the fewest comparisons that a verdict takes."""

REWIRINGS = 100
"""Rewired pairs of circuits: enough for the one in forty that a bound leaves out."""

OTHER_SEEDS = "Another seed of a fine-tuning is another kind of chance; two models alone say nothing of it."

REMEDY = "make them with `circuitune discover --per-example`, or in Python with attribute(..., per_example=True)"


@dataclass(frozen=True, eq=False)
class Chance:
    """What the scores of single pairs tell about a change.

    Attributes:
        intervals: of every measure.
        splits: null of every measure between halves of the pairs, of the model before and of the one after; empty
            where there are too few pairs.
        tests: of single edges; None where the two are not known to be of the same pairs.
        before, after: how much each circuit depends on which pairs it was found on.
    """

    intervals: ChangeIntervals
    splits: Mapping[str, Null]
    tests: EdgeTests | None
    before: Stability
    after: Stability


@dataclass(frozen=True, eq=False)
class Comparison:
    """A change beside what chance alone gives.

    Attributes:
        change: what is added, removed and kept, by name.
        overlap: the same as counts.
        rewired: null of "edge_rate" and "edge_jaccard" between the two circuits rewired with all degrees kept.
        chance: what the scores of single pairs tell; None without them.
        missing: one sentence for each thing that could not be had, with the way to get it.
    """

    change: Change
    overlap: Overlap
    rewired: Mapping[str, Null]
    chance: Chance | None
    missing: tuple[str, ...]

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """By measure, the answer to each of `QUESTIONS` (the rule is that of `judged`)."""
        return {measure: self._verdict(measure) for measure in QUESTIONS}

    def _verdict(self, measure: str) -> Verdict:
        splits = self.chance.splits.get(measure) if self.chance else None
        observed = self.chance.intervals.measures[measure] if self.chance else Undefined("no scores of single pairs")
        return judged(measure, self.overlap, observed, [] if splits is None else [splits])

    @property
    def sentences(self) -> tuple[str, ...]:
        """All of it in words: the verdicts first, what is missing last."""
        sets, *others = (f"{QUESTIONS[measure]} {found.sentence}" for measure, found in self.verdicts.items())
        counted = self.change.edges.changed and self.change.nodes.before
        touched = (node_estimate(self.change).sentence,) if counted else ()
        seeds = (OTHER_SEEDS,) if self.chance and self.chance.splits else ()
        first = (sets, *self._single_edges(), *others, *seeds, *touched)
        return (*first, self._degrees(), *self._stability(), *self.missing)

    def _single_edges(self) -> tuple[str, ...]:
        """The answer of the tests, and how it goes together with a verdict on sets that says otherwise."""
        tests = self.chance.tests if self.chance else None
        if tests is None:
            return ()
        answer = (
            f"Do single edges differ? {'Yes' if tests.tested_count else 'No'}: of {tests.raw_count:,} edges in one "
            f"circuit only, {tests.tested_count:,} changed by more than the pairs explain (q < {tests.level})."
        )
        if tests.tested_count and self.verdicts["edge_rate"].outcome != "more than chance":
            answer += " The models differ there, though other pairs alone could move as many edges in and out."
        return (answer,)

    def _degrees(self) -> str:
        observed, rewired = self.change.edges.jaccard, self.rewired["edge_jaccard"]
        bound = rewired.quantile(TAIL)
        more = bound is not None and observed > bound
        return (
            f"The circuits share {'more' if more else 'no more'} edges than their degrees alone explain: Jaccard "
            f"{observed:.3g} against {rewired.mean:.3g} (at most {bound:.3g} in 97.5 % of {len(rewired.values)} "
            "rewirings)."
        )

    def _stability(self) -> tuple[str, ...]:
        if self.chance is None:
            return ()
        sides = {"before": self.chance.before, "after": self.chance.after}
        return tuple(
            f"The circuit {side} is {'unstable' if found.unstable else 'stable'}: from resampled pairs its "
            f"mean Jaccard with itself is {found.mean:.3g} (unstable is below {STABLE})."
            for side, found in sides.items()
        )

    def __repr__(self) -> str:
        return line(
            "Comparison", showing.change_facts(self.change) + [verdict.sentence for verdict in self.verdicts.values()]
        )

    def _repr_html_(self) -> str:
        return showing.comparison_html(self)

    def to_pandas(self) -> "DataFrame":
        """A frame of the measures: estimate, interval, mean and bound of each null, verdict; None where none is."""
        return frame(showing.comparison_columns(self))

    def plot(self) -> "Drawing":
        """Every measure with its interval over its nulls, as a matplotlib figure."""
        return showing.draw_comparison(self)

    def to_record(self) -> dict[str, Any]:
        """All of it as plain values for JSON, with the names of what changed."""
        chance = self.chance
        return {
            "verdicts": {
                measure: {"question": QUESTIONS[measure], "outcome": found.outcome, "sentence": found.sentence}
                for measure, found in self.verdicts.items()
            },
            "sentences": list(self.sentences),
            "missing": list(self.missing),
            "measures": self.measures,
            "tests": _tests_record(chance.tests) if chance and chance.tests else None,
            "stability": {side: _stability_record(getattr(chance, side)) for side in ("before", "after")}
            if chance
            else None,
            "nodes": _set_record(self.change.nodes),
            "edges": _set_record(self.change.edges),
            "edges_at_changed_nodes": self.change.edges_at_changed_nodes,
        }

    @property
    def measures(self) -> dict[str, dict[str, Any]]:
        """Every measure: estimate, ends of its interval (None without one), and of each null its mean and bound.

        A bound is what chance exceeds in 2.5 % of comparisons, on the side of more change.
        """
        return {measure: self._measure(measure) for measure in MEASURES}

    def _measure(self, measure: str) -> dict[str, Any]:
        interval = self.chance.intervals.measures[measure] if self.chance else None
        known = isinstance(interval, Interval)
        nulls = {
            "split": self.chance.splits.get(measure) if self.chance else None,
            "rewired": self.rewired.get(measure),
        }
        return {
            "estimate": MEASURES[measure](self.overlap),
            "low": interval.low if known else None,
            "high": interval.high if known else None,
            "nulls": {kind: _null_record(found) for kind, found in nulls.items() if found is not None},
        }


def judged(measure: str, counts: Overlap, observed: Interval | Undefined, nulls: Sequence[Null]) -> Verdict:
    """The rule of `fairness.verdict`, after what needs no rule: nothing is there, or nothing changed.

    Args:
        measure: one of `QUESTIONS`.
        counts: of the two circuits.
        observed: interval of the measure.
        nulls: of the measure.
    """
    nodes = measure == "node_rate"
    part, kind = (counts.nodes, "nodes") if nodes else (counts.edges, "edges")
    if not counts.edges.before or not counts.edges.after:
        return Verdict("not enough to say", "Not enough to say: a circuit of this size is empty once it is pruned.")
    if not part.changed:
        return Verdict("no more than chance", f"No change: both circuits have the same {part.before:,} {kind}.")
    return verdict(observed, nulls)


def compare_with_chance(
    before: Circuit | EdgeScores,
    after: Circuit | EdgeScores,
    *,
    size: int | float = STUDY_SHARE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two circuits or scores; with the scores of single pairs (``per_example=True``), beside chance.

    Args:
        before: a circuit, or scores, which are cut to `size`.
        after: the same, of the same pairs where single edges are to be tested.
        size: of the circuits, as in `EdgeScores.top`.
        resamples: of the pairs, 200 or more.
        seed: of resamples, splits and rewirings.

    Raises:
        InputError: the two belong to different graphs, or too few resamples.
    """
    if resamples < LEAST_RESAMPLES:
        raise InputError(f"An interval needs {LEAST_RESAMPLES} resamples or more; got {resamples}.")
    old, new = (value if isinstance(value, Circuit) else value.top(size) for value in (before, after))
    change, counts = compare(old, new), overlap(old, new)
    draws = rewired_overlaps(old, new, REWIRINGS, seed=seed)
    rewired = {measure: null("rewired", draws, measure) for measure in ("edge_rate", "edge_jaccard")}
    lacking = _lacking(before, after)
    if lacking or isinstance(before, Circuit) or isinstance(after, Circuit):
        return Comparison(change, counts, rewired, None, (lacking,))
    chance, missing = _chance(before, after, size, resamples, seed)
    return Comparison(change, counts, rewired, chance, missing)


def _chance(
    before: EdgeScores, after: EdgeScores, size: int | float, resamples: int, seed: int
) -> tuple[Chance, tuple[str, ...]]:
    """What the pairs tell, and what they are too few or too different for."""
    before, after = clustered([before, after])
    missing = _made_otherwise(before, after)
    overlaps = split_overlaps(before, after, size, seed=seed)
    if not overlaps:
        pairs = min(cluster_count(before), cluster_count(after))
        missing.append(
            f"No split null: it needs {LEAST_PAIRS} independent pairs or more, and there are {pairs}; add more."
        )
    if not same_pairs(before, after):
        missing.append(
            "No tests of single edges: the two are not known to be of the same pairs; score both on the same ones."
        )
    chance = Chance(
        intervals=bootstrap_change(before, after, size=size, resamples=resamples, seed=seed),
        splits={measure: null("split", overlaps, measure) for measure in MEASURES} if overlaps else {},
        tests=edge_tests(before, after, size) if same_pairs(before, after) else None,
        before=circuit_stability(before, size, resamples=resamples, seed=seed),
        after=circuit_stability(after, size, resamples=resamples, seed=seed),
    )
    return chance, tuple(missing)


def split_overlaps(
    before: EdgeScores, after: EdgeScores, size: int | float, *, halvings: int = HALVINGS, seed: int = 0
) -> tuple[Overlap, ...]:
    """The split null: the circuits of every two of `split_halves`, compared.

    Args:
        before: scores with their examples.
        after: the same.
        size: of the circuits, as in `EdgeScores.top`.
        halvings: of the pairs of each model.
        seed: of the halvings.

    Raises:
        InputError: scores without examples, or of fewer than two independent pairs.
    """
    pairs = split_halves(before, after, halvings=halvings, seed=seed)
    return tuple(overlap(one.top(size), other.top(size)) for one, other in pairs)


def split_halves(
    before: EdgeScores, after: EdgeScores, *, halvings: int = HALVINGS, seed: int = 0
) -> Iterator[tuple[EdgeScores, EdgeScores]]:
    """Halves of the pairs of the model before, then of the one after; none with fewer than 6 independent pairs.

    Raises:
        InputError: scores without examples, or of fewer than two independent pairs.
    """
    if min(cluster_count(before), cluster_count(after)) >= LEAST_PAIRS:
        for side in (before, after):
            yield from halves(side, halvings, seed=seed)


def _made_otherwise(before: EdgeScores, after: EdgeScores) -> list[str]:
    """A warning where the two maps are known to be made in different ways: that difference is not of the models."""
    ways = [
        f"{name} {before.settings[name]} and {after.settings[name]}"
        for name in ("method", "steps", "quadrature", "metric", "ablation")
        if name in before.settings and name in after.settings and before.settings[name] != after.settings[name]
    ]
    if not ways:
        return []
    return [
        f"The two maps were made in different ways ({', '.join(ways)}), so what differs need not be the models; "
        "score both in one way."
    ]


def _lacking(before: Circuit | EdgeScores, after: Circuit | EdgeScores) -> str:
    """Why nothing can be said about chance between pairs, or nothing."""
    sides = {"before": before, "after": after}
    scores = {side: value for side, value in sides.items() if isinstance(value, EdgeScores)}
    means = [side for side in sides if side not in scores or scores[side].examples is None]
    if means:
        return (
            "No error bars, split null or tests of edges: they need the scores of every pair, and there are none "
            f"{' or '.join(means)}; {REMEDY}."
        )
    for side, value in scores.items():
        try:
            cluster_count(value)
        except InputError as error:
            return f"No error bars, split null or tests of edges ({side}): {error}"
    return ""


def _tests_record(tests: EdgeTests) -> dict[str, Any]:
    return {
        "level": tests.level,
        "raw": tests.raw_count,
        "tested": tests.tested_count,
        "significant": tests.significant_count,
        "added": list(tests.added.edges),
        "removed": list(tests.removed.edges),
    }


def _stability_record(found: Stability) -> dict[str, Any]:
    return {"jaccard": found.mean, "unstable": found.unstable}


def _set_record(part: SetChange) -> dict[str, Any]:
    return {
        "before": part.before,
        "after": part.after,
        "added": len(part.added),
        "removed": len(part.removed),
        "kept": len(part.kept),
        "jaccard": part.jaccard,
        "rate": part.rate,
        "names": {"added": list(part.added), "removed": list(part.removed)},
    }


def _null_record(found: Null) -> dict[str, Any]:
    bound = found.quantile(1 - TAIL if found.measure.endswith("jaccard") else TAIL)
    finite = bound if bound is not None and math.isfinite(bound) else None
    return {"mean": found.mean, "bound": finite, "comparisons": len(found.values) + found.undefined}
