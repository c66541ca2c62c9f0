"""What the tables of a run mean for its reader: one answer per question, each by a stated rule, never free text.

The rules are those of `findings` and `dynamics.fairness`; here they are put together:

- a measure changed by more than chance where it passes both comparisons: with another choice of pairs (the verdict of
  `dynamics.fairness`, of every fine-tuning) and with another seed (`findings.verdict`). The stricter decides;
- the gain passes through the changed edges where they carry more of it than as many random unchanged ones do on
  average, by the paired intervals, both when swapped out and when swapped in; in part where in one of the two;
- CircuitLoRA is recommended from `findings.ENOUGH_SEEDS` seeds on, where its interval lies above 0.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Literal

from circuitune.core.chance_records import ChanceRow, TunedCausalRow, VerdictRow
from circuitune.core.mechanism_records import Direction, SwappedEdges
from circuitune.core.records import AccuracyRow, ChangeRow, ComparisonRole, Kind, MethodRow
from circuitune.dynamics.causal import ACCURACY
from circuitune.experiments.chance_findings import means
from circuitune.experiments.findings import (
    ENOUGH_SEEDS,
    advantage,
    arm_rows,
    count,
    disagreement,
    gaps,
    points,
    rates,
    ratios,
    span,
    times,
    verdict,
)

Measure = Literal["edge_rate", "node_rate", "ratio"]
Held = Literal["more", "no more", "unclear"]
"""How a measure stands to one kind of chance."""

_WORDS: dict[Held, str] = {"more": "more than", "no more": "no more than", "unclear": "not clearly more than"}
_SUBJECTS: dict[Measure, tuple[str, str, str]] = {
    "edge_rate": ("Edges changed", "Edges changed no", "Edges are not shown to have changed"),
    "node_rate": ("Nodes changed", "Nodes changed no", "Nodes are not shown to have changed"),
    "ratio": (
        "The change of edges over that of nodes is",
        "The change of edges over that of nodes is no",
        "The change of edges over that of nodes is not shown to be",
    ),
}
PASSES = "Does the gain pass through the changed edges?"
MEASURES: tuple[Measure, ...] = ("edge_rate", "node_rate", "ratio")
KINDS: Mapping[Measure, Kind] = {"edge_rate": "edge", "node_rate": "node"}
RULE = (
    "More than chance: a change must exceed both what another choice of pairs makes (in every fine-tuning its whole "
    "interval lies above what 97.5 % of comparisons of two halves of the pairs reach) and what another seed makes "
    "(every fine-tuning lies above every comparison of seeds, by more than either differ among themselves). The "
    "stricter decides."
)


def changed(
    changes: Sequence[ChangeRow], chances: Sequence[ChanceRow], verdicts: Sequence[VerdictRow], measure: Measure
) -> str | None:
    """The one verdict on a measure of change, with both comparisons it rests on; None where it is not defined."""
    own, seeds = _values(changes, measure, "change"), _values(changes, measure, "null")
    if not own:
        return None
    pairs, seed = _by_pairs(verdicts, measure), _by_seeds(own, seeds)
    write = times if measure == "ratio" else span
    halves = [row for row in chances if row.measure == measure and row.role == "split"]
    said = [
        *([f"{_WORDS[pairs]} another choice of pairs makes{_bracket(means(halves))}"] if pairs else []),
        *([f"{_WORDS[seed]} another seed makes{_bracket(write(seeds))}"] if seed else []),
    ]
    joint = ", but " if (pairs == "more") != (seed == "more") else ", and "
    compared = f" That is {joint.join(said)}." if said else ""
    kind = KINDS.get(measure)
    other = disagreement(changes, kind) if kind else ""
    return f"{_answer((pairs, seed), measure)}: {_much(own, measure)}.{compared}{other}"


def _much(values: Sequence[float], measure: Measure) -> str:
    if measure == "ratio":
        return f"edges changed {times(values)} times as much as nodes"
    return f"fine-tuning added or removed {span(values)} of the circuit before"


def _bracket(text: str) -> str:
    return f" ({text})" if text else ""


def _values(rows: Sequence[ChangeRow], measure: Measure, role: ComparisonRole) -> list[float]:
    return rates(rows, KINDS[measure], role) if measure in KINDS else ratios(rows, role)


def _by_pairs(verdicts: Sequence[VerdictRow], measure: Measure) -> Held | None:
    """The verdicts of all fine-tunings in one: more only where each is."""
    outcomes = {row.outcome for row in verdicts if row.measure == measure}
    if not outcomes:
        return None
    if outcomes == {"more than chance"}:
        return "more"
    return "no more" if "no more than chance" in outcomes else "unclear"


def _by_seeds(changes: Sequence[float], nulls: Sequence[float]) -> Held | None:
    if not nulls:
        return None
    found = verdict(changes, nulls)
    if found == "larger":
        return "more"
    return "no more" if found == "not larger" else "unclear"


def _answer(held: tuple[Held | None, Held | None], measure: Measure) -> str:
    more, no_more, unclear = _SUBJECTS[measure]
    if all(one == "more" for one in held):
        return f"{more} more than chance explains"
    start = no_more if "no more" in held else unclear
    return f"{start} more than chance explains"


# ---- the gain ----


def passes(rows: Sequence[TunedCausalRow]) -> str:
    """Whether the gain passes through the changed edges."""
    own = [row for row in rows if row.measure != ACCURACY]
    lost, won = (_shares(own, direction, "changed") for direction in ("removal", "insertion"))
    if not lost or not won:
        return f"{PASSES} That cannot be said: no gain could be followed through them."
    out, into = (_more_than_random(own, direction) for direction in ("removal", "insertion"))
    answer = {2: "Yes", 1: "In part", 0: "This is not shown"}[out + into]
    return (
        f"{PASSES} {answer}. Set back to what the base model sends along them, they cost the tuned model "
        f"{span(lost)} of the gain.{_beside_random(own, 'removal', out)} Put alone into the base model, they bring "
        f"it {span(won)} of the gain.{_beside_random(own, 'insertion', into)}{_beside_strongest(own)}"
    )


def _shares(rows: Sequence[TunedCausalRow], direction: Direction, swapped: SwappedEdges) -> list[float]:
    """Share of the gain in every fine-tuning; of several draws their mean. Empty where one of them is undefined."""
    own = [row for row in rows if row.direction == direction and row.swapped == swapped]
    if any(row.share is None for row in own):
        return []
    labels = dict.fromkeys(row.label for row in own)
    return [fmean(row.share for row in own if row.label == label and row.share is not None) for label in labels]


def _more_than_random(rows: Sequence[TunedCausalRow], direction: Direction) -> bool:
    """Whether, in every fine-tuning, the changed edges carry more than random ones do on average."""
    less = [row.low for row in rows if row.direction == direction and row.swapped == "changed less random"]
    return bool(less) and all(low is not None and low > 0 for low in less)


def _beside_random(rows: Sequence[TunedCausalRow], direction: Direction, more: bool) -> str:
    random = _shares(rows, direction, "random unchanged")
    if not random:
        return " There are no unchanged edges to compare with."
    word = "more" if more else "not clearly more"
    less, draws = _below(rows, direction)
    return (
        f" That is {word} than as many random unchanged edges: they make {span(random)} on average, and less than "
        f"the changed ones in {less} of {draws} draws."
    )


def _below(rows: Sequence[TunedCausalRow], direction: Direction) -> tuple[int, int]:
    """In how many of all draws the random edges carry less than the changed ones: that chance is large."""
    own = [row for row in rows if row.direction == direction and row.share is not None]
    changed = {row.label: row.share or 0.0 for row in own if row.swapped == "changed"}
    random = [row for row in own if row.swapped == "random unchanged"]
    return sum((row.share or 0.0) < changed[row.label] for row in random), len(random)


def _beside_strongest(rows: Sequence[TunedCausalRow]) -> str:
    """Only where the strongest unchanged edges carry more in both directions."""
    ends = [row.high for row in rows if row.swapped == "changed less strongest"]
    if not ends or not all(high is not None and high < 0 for high in ends):
        return ""
    lost, won = (_shares(rows, direction, "strongest unchanged") for direction in ("removal", "insertion"))
    return f" As many of the strongest unchanged edges do more: they cost {span(lost)}, and bring {span(won)}."


# ---- what to do ----


def advice(rows: Sequence[MethodRow], accuracy: Sequence[AccuracyRow]) -> str:
    """What the contest says to do: CircuitLoRA or uniform ranks, on how many seeds, and whether more are needed."""
    ours, rival = arm_rows(rows, "circuitlora"), arm_rows(rows, "uniform")
    found = fmean(gaps(ours, rival))
    low, high, over = advantage(ours, rival)
    measured = (
        f"CircuitLoRA (more rank in the layers whose edges changed most) is {abs(100 * found):.1f} points "
        f"{'above' if found > 0 else 'below'} uniform LoRA (95 % interval over {over}: {points(low, high)})"
    )
    if len(ours) >= ENOUGH_SEEDS:
        return f"{'Use CircuitLoRA on this task' if low > 0 else 'Keep uniform ranks'}: {measured}."
    start = "CircuitLoRA is promising, not proven" if low > 0 else "On this evidence keep uniform ranks"
    single = " This is the finding of a single seed: another may turn it round." if len(ours) == 1 else ""
    return (
        f"{start}: {measured}.{single}{_noise(rows, accuracy)} Run more seeds: from {count(ENOUGH_SEEDS, 'seed')} on "
        "there is a verdict."
    )


def _noise(rows: Sequence[MethodRow], accuracy: Sequence[AccuracyRow]) -> str:
    """How much the seed alone, and the draw alone, move the accuracy."""
    tuned = [row for row in accuracy if row.arm == "tune" and row.step == row.steps]
    seeds = [row.accuracy for row in tuned]
    first = [row.accuracy for row in arm_rows(rows, "random") if row.seed == rows[0].seed]
    said = [
        *([f"between {count(len(seeds), 'seed')} of one fine-tuning {_gap(seeds)}"] if len(seeds) > 1 else []),
        *([f"between {count(len(first), 'random draw')} of layers {_gap(first)}"] if len(first) > 1 else []),
    ]
    return f" Chance moves the accuracy too: {', '.join(said)}." if said else ""


def _gap(values: Sequence[float]) -> str:
    return f"by {100 * (max(values) - min(values)):.1f} points"
