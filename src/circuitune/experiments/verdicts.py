"""From the tables of a study's runs to a verdict on each registered claim; no verdict is written by hand.

Every measure gives each seed an effect and a null. Over seeds their difference gets an interval and a p value per
task, and the registered rule counts tasks:

- supported: the interval lies above 0 on at least ``rule.tasks`` tasks after Holm (on all, where a hypothesis
  speaks of fewer), and below 0 on none;
- not supported: its upper end lies below the smallest effect stated beforehand on at least as many;
- else undecided.

**Nulls between seeds.** A comparison of two seeds belongs to both, so that the means of every seed's comparisons are
not independent: they vary half as much as the mean over all comparisons says. The null of a seed is therefore its
jackknife pseudo-value n R - (n - 1) R(without the seed), R over all comparisons, whose mean and variance over seeds
are those of R (Arvesen 1969, on U statistics).
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Literal, TypeVar

import numpy as np
from scipy import stats

from circuitune.core.chance_records import TunedCompositionRow
from circuitune.core.csvio import read_rows
from circuitune.core.records import ChangeRow, FaithfulnessRow, MethodRow, Record, TransitionRow
from circuitune.core.statistics import Floats, Interval, t_interval
from circuitune.core.study_records import ClaimRow, EffectRow, Finding, Outcome, TaskEffectRow
from circuitune.experiments.registration import Hypothesis, Measure, Registration, Rule

FLIPS = 9999
"""Sign flips of a permutation test; where there are no more than that (13 seeds), all of them are taken."""

_CHANGE = re.compile(r"tune seed (\d+), before against after")
_NULL = re.compile(r"after tuning, seed (\d+) against seed (\d+)")

R = TypeVar("R", bound=Record)

Value = float | str
"""A number, or the reason why there is none."""


@dataclass(frozen=True)
class Tables:
    """The rows of one run that measures are taken from; ``share`` is the size of its circuits."""

    share: float
    faithfulness: Sequence[FaithfulnessRow] = ()
    change: Sequence[ChangeRow] = ()
    transitions: Sequence[TransitionRow] = ()
    composition: Sequence[TunedCompositionRow] = ()
    methods: Sequence[MethodRow] = ()


@dataclass(frozen=True)
class Verdicts:
    """What a study has shown so far."""

    effects: tuple[EffectRow, ...]
    tasks: tuple[TaskEffectRow, ...]
    claims: tuple[ClaimRow, ...]


def read_tables(folder: Path, share: float) -> Tables:
    """The tables of a run from the folder that holds them; some are there only where the recipe asks."""
    return Tables(
        share,
        _read(folder / "faithfulness.csv", FaithfulnessRow),
        _read(folder / "change.csv", ChangeRow),
        _read(folder / "transitions.csv", TransitionRow),
        _read(folder / "composition.csv", TunedCompositionRow),
        _read(folder / "methods.csv", MethodRow),
    )


def _read(path: Path, model: type[R]) -> Sequence[R]:
    return read_rows(path, model) if path.is_file() else ()


def judge(registration: Registration, tables: Mapping[str, Tables]) -> Verdicts:
    """Apply the registered rule to the tables of the runs that there are, by task."""
    effects: list[EffectRow] = []
    tasks: list[TaskEffectRow] = []
    claims: list[ClaimRow] = []
    for name, hypothesis in registration.hypotheses.items():
        measured = {
            task: effect_rows(name, hypothesis, task, tables[task])
            for task in registration.tasks_of(hypothesis)
            if task in tables
        }
        rows = task_rows(name, hypothesis, registration, measured)
        effects += [row for found in measured.values() for row in found]
        tasks += rows
        claims.append(claim_row(name, hypothesis, registration, rows))
    return Verdicts(tuple(effects), tuple(tasks), tuple(claims))


# ---- one effect per seed ----


def effect_rows(name: str, hypothesis: Hypothesis, task: str, tables: Tables) -> list[EffectRow]:
    """Effect and null of every seed of one run, in the order of seeds."""
    effects, nulls = _MEASURES[hypothesis.measure](tables, hypothesis)
    return [
        _effect_row(name, hypothesis.claim, task, seed, effects[seed], nulls.get(seed, "there is no null"))
        for seed in sorted(effects)
    ]


def _effect_row(name: str, claim: int, task: str, seed: int, effect: Value, null: Value) -> EffectRow:
    own, chance = (value if isinstance(value, float) else None for value in (effect, null))
    return EffectRow(
        hypothesis=name,
        claim=claim,
        task=task,
        seed=seed,
        effect=own,
        null=chance,
        difference=None if own is None or chance is None else own - chance,
        reason="; ".join(value for value in (effect, null) if isinstance(value, str)),
    )


Measured = tuple[Mapping[int, Value], Mapping[int, Value]]
"""Effects and nulls by seed."""


def _faithfulness(tables: Tables, hypothesis: Hypothesis) -> Measured:
    """Normalised faithfulness of the circuit after the tuning, against the registered bar."""
    assert hypothesis.bar is not None
    after = {row.seed: row.reason if row.normalized is None else row.normalized for row in _after_tuning(tables)}
    return after, dict.fromkeys(after, hypothesis.bar)


def _released(tables: Tables, hypothesis: Hypothesis) -> Measured:
    """The same by the released formula."""
    assert hypothesis.bar is not None
    after: dict[int, Value] = {
        row.seed: "the model does not move" if row.percent_released is None else row.percent_released / 100
        for row in _after_tuning(tables)
    }
    return after, dict.fromkeys(after, hypothesis.bar)


def _after_tuning(tables: Tables) -> list[FaithfulnessRow]:
    """Every seed's row of the circuit after the tuning."""
    own = [row for row in tables.faithfulness if row.arm == "tune" and row.share == tables.share]
    last = max((row.step for row in own), default=0)
    return [row for row in own if row.step == last]


def _ratio(tables: Tables, hypothesis: Hypothesis) -> Measured:
    """Edge rate over node rate before against after; the null is the ratio of both means between seeds."""
    return _against_seeds(tables, lambda edges, nodes: _over(fmean(edges), fmean(nodes)))


def _edge_rate(tables: Tables, hypothesis: Hypothesis) -> Measured:
    """Edge rate before against after; the null is its mean between seeds."""
    return _against_seeds(tables, lambda edges, nodes: fmean(edges))


def _over(edges: float, nodes: float) -> Value:
    return edges / nodes if nodes else "no node changed"


Rates = tuple[float, float]
"""Edge rate and node rate of one comparison."""
Statistic = Callable[[Sequence[float], Sequence[float]], Value]
"""Of edge rates and node rates of the same comparisons."""


def _against_seeds(tables: Tables, statistic: Statistic) -> Measured:
    rates = _rates(tables.change)
    changes = {int(found[1]): pair for name, pair in rates.items() if (found := _CHANGE.fullmatch(name))}
    between = {
        (int(found[1]), int(found[2])): pair for name, pair in rates.items() if (found := _NULL.fullmatch(name))
    }
    effects = {seed: statistic([edge], [node]) for seed, (edge, node) in changes.items()}
    return effects, pseudo_values(sorted(changes), between, statistic)


def _rates(rows: Sequence[ChangeRow]) -> dict[str, Rates]:
    """Edge and node rate by comparison, where both circuits have edges."""
    edges, nodes = (
        {row.comparison: row.rate for row in rows if row.kind == kind and row.rate is not None}
        for kind in ("edge", "node")
    )
    return {name: (edges[name], nodes[name]) for name in edges if name in nodes}


def pseudo_values(
    seeds: Sequence[int], between: Mapping[tuple[int, int], Rates], statistic: Statistic
) -> dict[int, Value]:
    """Every seed's part in a statistic of the comparisons of all seeds; with fewer than three seeds the whole."""
    missing = [couple for couple in combinations(seeds, 2) if couple not in between]
    if missing:
        return dict.fromkeys(seeds, f"seeds {missing[0][0]} and {missing[0][1]} were not compared")
    if len(seeds) < 2:
        return dict.fromkeys(seeds, "one seed has no null")
    whole = _statistic(list(between.values()), statistic)
    if len(seeds) == 2 or isinstance(whole, str):
        return dict.fromkeys(seeds, whole)
    values: dict[int, Value] = {}
    for seed in seeds:
        rest = _statistic([pair for couple, pair in between.items() if seed not in couple], statistic)
        values[seed] = rest if isinstance(rest, str) else len(seeds) * whole - (len(seeds) - 1) * rest
    return values


def _statistic(pairs: Sequence[Rates], statistic: Statistic) -> Value:
    edges, nodes = zip(*pairs, strict=True)
    return statistic(edges, nodes)


def _slowing(tables: Tables, hypothesis: Hypothesis) -> Measured:
    """Mean edge rate from checkpoint to checkpoint, first half of the transitions against the second.

    Of an odd number the middle one is left out.
    """
    first: dict[int, Value] = {}
    second: dict[int, Value] = {}
    for seed in dict.fromkeys(row.seed for row in tables.transitions):
        own = sorted(
            (row for row in tables.transitions if row.seed == seed and row.kind == "edge"),
            key=lambda row: row.step_from,
        )
        rates = [row.rate for row in own if row.rate is not None]
        half = len(rates) // 2
        known = half > 0 and len(rates) == len(own)
        first[seed] = fmean(rates[:half]) if known else "fewer than two transitions"
        second[seed] = fmean(rates[-half:]) if known else "fewer than two transitions"
    return first, second


CONTROLS = ("part", "unrelated")
"""Kinds of circuits that stand for themselves beside a union; random draws are averaged."""


def _composition(tables: Tables, hypothesis: Hypothesis) -> Measured:
    """Faithfulness of the size-matched union on the composed task; the null is the best control's, of equal size."""
    own = [row for row in tables.composition if row.share == tables.share]
    effects: dict[int, Value] = {}
    nulls: dict[int, Value] = {}
    for union in (row for row in own if row.kind == "union"):
        rows = [row for row in own if row.seed == union.seed]
        single = [row.normalized for row in rows if row.kind in CONTROLS]
        drawn = [row.normalized for row in rows if row.kind == "random"]
        known = [value for value in (*single, *drawn) if value is not None]
        effects[union.seed] = union.reason if union.normalized is None else union.normalized
        complete = len(known) == len(single) + len(drawn) and drawn
        nulls[union.seed] = (
            max(*known[: len(single)], fmean(known[len(single) :])) if complete else "a control is undefined"
        )
    return effects, nulls


def _accuracy(tables: Tables, hypothesis: Hypothesis) -> Measured:
    """Accuracy on the test split of one arm of the contest, and of its rival; random draws are averaged."""
    return _accuracies(tables, hypothesis.arm), _accuracies(tables, hypothesis.rival)


def _accuracies(tables: Tables, arm: str | None) -> dict[int, Value]:
    own: dict[int, list[float]] = defaultdict(list)
    for row in tables.methods:
        if row.arm == arm:
            own[row.seed].append(row.accuracy)
    return {seed: fmean(values) for seed, values in own.items()}


_MEASURES: Mapping[Measure, Callable[[Tables, Hypothesis], Measured]] = {
    "faithfulness": _faithfulness,
    "released": _released,
    "ratio": _ratio,
    "edge_rate": _edge_rate,
    "slowing": _slowing,
    "composition": _composition,
    "accuracy": _accuracy,
}


# ---- one finding per task ----


def task_rows(
    name: str, hypothesis: Hypothesis, registration: Registration, measured: Mapping[str, Sequence[EffectRow]]
) -> list[TaskEffectRow]:
    """What every registered task says; one that is not there yet has no seeds."""
    rule = registration.rule
    tasks = registration.tasks_of(hypothesis)
    rows = [_summary(name, hypothesis, rule, task, measured.get(task, ())) for task in tasks]
    adjusted = holm([row.p for row in rows])
    return [_found(row, p, hypothesis, rule) for row, p in zip(rows, adjusted, strict=True)]


def _summary(name: str, hypothesis: Hypothesis, rule: Rule, task: str, rows: Sequence[EffectRow]) -> TaskEffectRow:
    defined = [row for row in rows if row.difference is not None]
    values = np.array([row.difference for row in defined], dtype=np.float64)
    kind, interval = _interval(values, rule)
    tested = kind == "BCa" and hypothesis.role == "primary"
    return TaskEffectRow(
        hypothesis=name,
        claim=hypothesis.claim,
        task=task,
        seeds=len(rows),
        defined=len(defined),
        effect=_mean([row.effect for row in defined]),
        null=_mean([row.null for row in defined]),
        difference=_mean([row.difference for row in defined]),
        interval=kind,
        low=interval and interval.low,
        high=interval and interval.high,
        p=sign_flip(values) if tested else None,
        p_holm=None,
        finding="open",
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _interval(values: Floats, rule: Rule) -> tuple[Literal["BCa", "t", "none"], Interval | None]:
    if len(values) < 2:
        return "none", None
    if len(values) < rule.seeds:
        found = t_interval(values, rule.level)
        return "t", found if isinstance(found, Interval) else None
    return "BCa", bca(values, rule.level, rule.resamples)


def bca(values: Floats, level: float, resamples: int) -> Interval:
    """Bias-corrected accelerated bootstrap interval of the mean (Efron 1987) of ``values`` [n], seeded."""
    mean = float(values.mean())
    if np.ptp(values) <= 1e-12 * max(1.0, abs(mean)):  # all equal: nothing to draw, and no acceleration
        return Interval(mean, mean, mean)
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        confidence_level=level,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))


def sign_flip(values: Floats) -> float:
    """Two-sided p of the mean of ``values`` [n] where the sign of each is as likely as the other."""
    found = stats.permutation_test(
        (values,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=FLIPS,
        alternative="two-sided",
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjustment (1979) over all of them; a missing one counts as 1 and stays missing."""
    order = sorted(range(len(values)), key=lambda place: _or_one(values[place]))
    adjusted: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * _or_one(values[place])))
        adjusted[place] = None if values[place] is None else highest
    return adjusted


def _or_one(value: float | None) -> float:
    return 1.0 if value is None else value


def _found(row: TaskEffectRow, p: float | None, hypothesis: Hypothesis, rule: Rule) -> TaskEffectRow:
    return row.model_copy(update={"p_holm": p, "finding": _finding(row, p, hypothesis.smallest, rule.alpha)})


def _finding(row: TaskEffectRow, p: float | None, smallest: float, alpha: float) -> Finding:
    if row.interval != "BCa" or row.low is None or row.high is None or p is None:
        return "open"
    if row.high < 0:
        return "below"
    if row.low > 0 and p < alpha:
        return "above"
    return "too small" if row.high < smallest else "open"


# ---- the verdict ----


def claim_row(
    name: str, hypothesis: Hypothesis, registration: Registration, rows: Sequence[TaskEffectRow]
) -> ClaimRow:
    """The registered rule on the tasks of one hypothesis."""
    needed = min(registration.rule.tasks, len(rows))
    registered = {row.task: len(registration.seeds_of(row.task, hypothesis.measure)) for row in rows}
    seeds = max(registered.values())
    final = all(row.seeds == registered[row.task] for row in rows)
    closed = [row.task for row in rows if row.finding == "below" and row.seeds == registered[row.task]]
    above, below = (sum(row.finding == finding for row in rows) for finding in ("above", "below"))
    small = sum(
        row.interval == "BCa" and row.p is not None and row.high is not None and row.high < hypothesis.smallest
        for row in rows
    )
    outcome: Outcome = "undecided"
    if hypothesis.role == "exploratory":
        outcome = "exploratory"
    elif above >= needed and not below:
        outcome = "supported"
    elif small >= needed:
        outcome = "not supported"
    judged = any(row.interval == "BCa" for row in rows)
    if judged or outcome == "exploratory":
        said = _verdict(outcome, above, below, small, len(rows), hypothesis)
    else:
        said = f"undecided; a verdict needs {registration.rule.seeds} seeds."
    there = "" if final else f" {_there(rows, seeds)}{_closed(closed)}"
    return ClaimRow(
        hypothesis=name,
        claim=hypothesis.claim,
        outcome=outcome,
        final=final,
        above=above,
        below=below,
        small=small,
        sentence=f"{_title(name, hypothesis)}: {said}{there} {_numbers(rows)}",
    )


def _title(name: str, hypothesis: Hypothesis) -> str:
    return f"Claim {hypothesis.claim}, {name}"


def _verdict(outcome: Outcome, above: int, below: int, small: int, tasks: int, hypothesis: Hypothesis) -> str:
    if outcome == "exploratory":
        return "exploratory, intervals without a verdict."
    if outcome == "supported":
        minor = f", though smaller than {hypothesis.smallest:g} on {small} of them" if small else ""
        return f"supported; the effect exceeds its null on {above} of {_tasks(tasks)}{minor}."
    if outcome == "not supported":
        worse = f", and on {below} the effect lies below its null" if below else ""
        return (
            f"not supported; on {small} of {_tasks(tasks)} any advantage is smaller than the {hypothesis.smallest:g} "
            f"that was stated beforehand{worse}."
        )
    return (
        f"undecided; of {_tasks(tasks)} {above} above the null, {below} below it, and {small} below the "
        f"smallest effect of {hypothesis.smallest:g}."
    )


def _tasks(number: int) -> str:
    return f"{number} {'task' if number == 1 else 'tasks'}"


def _there(rows: Sequence[TaskEffectRow], seeds: int) -> str:
    """What is missing of a study that is not finished."""
    counts = sorted({row.seeds for row in rows})
    if len(counts) == 1:
        there = "1 seed" if counts[0] == 1 else f"{counts[0]} seeds"
        return f"This is provisional: {there} of {seeds} {'is' if counts[0] == 1 else 'are'} there."
    said = ", ".join(f"{row.task} {row.seeds}" for row in rows)
    return f"This is provisional: of {seeds} seeds there are {said}."


def _closed(tasks: Sequence[str]) -> str:
    """What the tasks that are finished and below their null have decided already."""
    verb = "is" if len(tasks) == 1 else "are"
    return f" Supported it can be no more: {', '.join(tasks)} {verb} finished, and below." if tasks else ""


def _numbers(rows: Sequence[TaskEffectRow]) -> str:
    said = "; ".join(_number(row) for row in rows if row.seeds)
    return f"Effect less null: {said}." if said else "No number is there yet."


def _number(row: TaskEffectRow) -> str:
    if row.difference is None:
        return f"{row.task} undefined"
    few = f" ({row.defined} of {row.seeds} seeds define it)" if row.defined < row.seeds else ""
    if row.low is None or row.high is None:
        return f"{row.task} {row.difference:+.3g}{few}"
    kind = "" if row.interval == "BCa" else ", Student's t"
    return f"{row.task} {row.difference:+.3g} [{row.low:+.3g}, {row.high:+.3g}{kind}]{few}"
