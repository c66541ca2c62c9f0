"""About ten sentences in plain words, each computed from the tables: they can say "no larger than the null"."""

from collections.abc import Sequence
from math import hypot
from statistics import fmean

from circuitune.core.atomic import write_json
from circuitune.core.csvio import read_rows
from circuitune.core.records import (
    AccuracyRow,
    ChangeRow,
    CriticalRow,
    FaithfulnessRow,
    Kind,
    MethodRow,
    PairsRecord,
    SummaryRecord,
    read_record,
)
from circuitune.core.statistics import Interval, t_interval
from circuitune.experiments.plan import Plan
from circuitune.experiments.store import Run

ENOUGH_SEEDS = 8
"""From here on seeds can carry a test (design, section 6)."""


def write_summary(run: Run, plan: Plan) -> None:
    """Write ``summary.json`` from the tables of a run."""
    write_json(run.folder / "summary.json", summarise(run, plan))


def summarise(run: Run, plan: Plan) -> SummaryRecord:
    """The summary of a run whose tables are there."""
    tables = run.folder / "tables"
    accuracy = read_rows(tables / "accuracy.csv", AccuracyRow)
    change = read_rows(tables / "change.csv", ChangeRow)
    method = read_rows(tables / "methods.csv", MethodRow)
    pairs = read_record(run.job(plan.pairs).folder / "pairs.json", PairsRecord)
    recipe = run.recipe
    sentences = [
        _data(pairs, plan.pairs.model.name),
        _learning(accuracy),
        _faithful(read_rows(tables / "faithfulness.csv", FaithfulnessRow), recipe.discovery.share),
        _change(change, "edge"),
        _change(change, "node"),
        _ratio(change),
        _critical(read_rows(tables / "critical_layers.csv", CriticalRow)),
        _against_uniform(method),
        _against_random(method),
        _caution(method),
    ]
    title = f"{plan.pairs.model.name}, fine-tuned on {pairs.name}"
    return SummaryRecord(title=title, sentences=sentences, notes=_notes(run, plan, pairs))


def verdict(changes: Sequence[float], nulls: Sequence[float]) -> str:
    """How changes stand to nulls: above all of them, below all of them, or among them."""
    if min(changes) > max(nulls):
        return "larger than the null"
    return "no larger than the null" if max(changes) <= min(nulls) else "not clearly larger than the null"


def _data(pairs: PairsRecord, model: str) -> str:
    rows = sum(pairs.parts.values())
    out = f"{_count(len(pairs.left_out), 'row')} that broke a rule left out" if pairs.left_out else "no row left out"
    source = {
        "given": "wrong answers come with the data",
        "computed": "wrong answers were computed from the corrupted prompts",
        "model": "missing wrong answers are the model's own on the corrupted prompt",
        "none": "there are no wrong answers",
    }[pairs.wrong]
    return f"{model} was fine-tuned on {pairs.name}: {rows} pairs, {out}; {source}; the metric is {pairs.metric}."


def _learning(rows: Sequence[AccuracyRow]) -> str:
    own = [row for row in rows if row.arm == "tune"]
    first, last = _ends(own)
    split = own[0].split
    return f"Accuracy on the {split} split went from {_range(first)} to {_range(last)} ({_seeds(own)})."


def _ends(rows: Sequence[AccuracyRow]) -> tuple[list[float], list[float]]:
    last = max(row.step for row in rows)
    return [row.accuracy for row in rows if row.step == 0], [row.accuracy for row in rows if row.step == last]


def _faithful(rows: Sequence[FaithfulnessRow], share: float) -> str:
    own = [row for row in rows if row.arm == "tune" and row.share == share]
    if not own:
        return f"Faithfulness was not measured at {share:.0%} of the edges."
    before, after = (_known(own, step) for step in (0, max(row.step for row in own)))
    start = f"{before} before the tuning" if before else "an undefined share before the tuning"
    end = f"{after} after it" if after else "an undefined share after it"
    said = f"The circuit of {share:.0%} of the edges reproduces {start} and {end}, on held-out pairs."
    if before:
        return said
    return f"{said} Undefined: the untuned model does not tell clean prompts from corrupted ones."


def _known(rows: Sequence[FaithfulnessRow], step: int) -> str | None:
    """Range of the faithfulness at a step; None where any of it is undefined."""
    values = [row.normalized for row in rows if row.step == step]
    known = [value for value in values if value is not None]
    return f"{_range(known)} of the model's effect" if known and len(known) == len(values) else None


def _rates(rows: Sequence[ChangeRow], kind: Kind, role: str) -> list[float]:
    return [row.rate for row in rows if row.kind == kind and row.role == role and row.rate is not None]


def _change(rows: Sequence[ChangeRow], kind: Kind) -> str:
    name = {"edge": "Edges", "node": "Nodes"}[kind]
    changes, nulls = _rates(rows, kind, "change"), _rates(rows, kind, "null")
    if not changes:
        return f"{name}: no change can be computed, because the circuit before is empty."
    said = f"{name}: fine-tuning changed {_range(changes)} of the circuit"
    if not nulls:
        return f"{said}; with one seed there is no null to hold that against."
    return f"{said}, two seeds of the same tuning differ by {_range(nulls)}: the change is {verdict(changes, nulls)}."


def _ratio(rows: Sequence[ChangeRow]) -> str:
    changes, nulls = _ratios(rows, "change"), _ratios(rows, "null")
    if not changes:
        return "No node changed, so edges cannot be compared with nodes."
    said = f"Edges changed {_times(changes)} times as much as nodes"
    if not nulls:
        return f"{said}."
    said = f"{said}; between seeds, where nothing but chance differs, the ratio is {_times(nulls)}"
    found = verdict(changes, nulls)
    mark = ", so it is no mark of learning" if found.startswith("no larger") else ""
    return f"{said}: {found}{mark}."


def _ratios(rows: Sequence[ChangeRow], role: str) -> list[float]:
    """Edge rate over node rate of each comparison in which a node changed."""
    own = [row for row in rows if row.role == role and row.rate is not None]
    nodes = {(row.before, row.after): row.rate for row in own if row.kind == "node"}
    edges = {(row.before, row.after): row.rate for row in own if row.kind == "edge"}
    return [(edges[pair] or 0.0) / rate for pair, rate in nodes.items() if rate and pair in edges]


def _times(ratios: Sequence[float]) -> str:
    low, high = f"{min(ratios):.1f}", f"{max(ratios):.1f}"
    return low if low == high else f"{low}–{high}"


def _critical(rows: Sequence[CriticalRow]) -> str:
    chosen = {rule: _chosen(rows, rule) for rule in dict.fromkeys(row.rule for row in rows)}
    said = "; ".join(f"by the {rule} rule {', '.join(map(str, layers))}" for rule, layers in chosen.items())
    agree = len({frozenset(layers) for layers in chosen.values()}) == 1
    rules = "the rules agree" if agree else "the rules disagree"
    return f"Layers whose edges changed most in phase 1 of the first seed: {said}; {rules}."


def _chosen(rows: Sequence[CriticalRow], rule: str) -> list[int]:
    return [row.layer for row in sorted(rows, key=lambda row: row.place) if row.rule == rule and row.chosen]


def _against_uniform(rows: Sequence[MethodRow]) -> str:
    ours, rival = _arm(rows, "circuitlora"), _arm(rows, "uniform")
    a, b = fmean(row.accuracy for row in ours), fmean(row.accuracy for row in rival)
    same = {row.parameters for row in ours} == {row.parameters for row in rival}
    budget = "the same" if same else "nearly the same"
    count = f"{budget} number of parameters ({ours[0].parameters:,})"
    said = f"CircuitLoRA reached {a:.1%} and uniform LoRA {b:.1%} with {count}"
    return f"{said}, a difference of {100 * (a - b):+.1f} points{_beyond_noise(ours, rival)}."


def _beyond_noise(ours: Sequence[MethodRow], rival: Sequence[MethodRow]) -> str:
    """What the difference is worth: over test rows for one seed, over seeds for more, a verdict from eight on."""
    if len(ours) == 1:
        low, high = _difference(ours[0], rival[0])
        return f": {_better(low, high)} uniform here"
    by_seed = {row.seed: row.accuracy for row in rival}
    interval = t_interval([row.accuracy - by_seed[row.seed] for row in ours])
    assert isinstance(interval, Interval)
    low, high = f"{100 * interval.low:+.1f}", f"{100 * interval.high:+.1f}"
    said = f" (95 % interval over {_count(len(ours), 'seed')}: {low} to {high})"
    return f"{said}: {_better(interval.low, interval.high)} uniform" if len(ours) >= ENOUGH_SEEDS else said


def _better(low: float, high: float) -> str:
    return "better than" if low > 0 else "worse than" if high < 0 else "no better than"


def _difference(ours: MethodRow, rival: MethodRow) -> tuple[float, float]:
    """Newcombe's interval of a difference of two accuracies, from their Wilson intervals: over test rows only."""
    d = ours.accuracy - rival.accuracy
    down = hypot(ours.accuracy - ours.low, rival.high - rival.accuracy)
    return d - down, d + hypot(ours.high - ours.accuracy, rival.accuracy - rival.low)


def _against_random(rows: Sequence[MethodRow]) -> str:
    ours = fmean(row.accuracy for row in _arm(rows, "circuitlora"))
    random = _arm(rows, "random")
    draws = [fmean(row.accuracy for row in random if row.draw == n) for n in sorted({row.draw for row in random})]
    below = sum(value < ours for value in draws)
    return (
        f"With the same number of layers drawn at random it was {fmean(draws):.1%} on average ({_range(draws)}): "
        f"CircuitLoRA is above {below} of {_count(len(draws), 'draw')}."
    )


def _caution(rows: Sequence[MethodRow]) -> str:
    seeds = len({row.seed for row in rows})
    if seeds >= ENOUGH_SEEDS:
        return f"The comparison of methods rests on {seeds} seeds."
    return f"The comparison of methods rests on {_count(seeds, 'seed')}: it is an illustration, not a test."


def _arm(rows: Sequence[MethodRow], arm: str) -> list[MethodRow]:
    return [row for row in rows if row.arm == arm]


def _notes(run: Run, plan: Plan, pairs: PairsRecord) -> list[str]:
    discovery = run.recipe.discovery
    phase1 = plan.phase1[0]
    notes = [
        f"Circuits: {discovery.method}, {discovery.steps} steps ({discovery.quadrature}), metric {pairs.metric}, "
        f"at most {discovery.pairs} pairs of the circuit split ({pairs.parts['circuit']} rows).",
        f"Faithfulness: at most {discovery.evaluation_pairs} pairs of the {discovery.part} split "
        f"({pairs.parts[discovery.part]} rows; phase 1 always on validation), interchange ablation.",
        f"Phase 1: LoRA of rank {phase1.ranks.rank}, {_count(phase1.training.epochs, 'epoch')}, measured on "
        "validation; what chooses the layers never sees the test split.",
        "The null compares two fine-tunings of one recipe that differ by their seed: with few seeds a yardstick, "
        "not a test.",
        "Intervals of accuracy are Wilson's at 95 %; that of a difference is Newcombe's, over test rows, not seeds.",
    ]
    if pairs.metric == "logit_diff" and pairs.wrong == "model":
        notes.append("Pairs whose own answer on the corrupted prompt is the right answer are not used for circuits.")
    return notes + [
        f"Left out: row {row.row if row.row is not None else '?'}: {row.reason}" for row in pairs.left_out[:20]
    ]


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.1%}", f"{max(values):.1%}"
    return low if low == high else "\N{EN DASH}".join((low.removesuffix("%"), high))


def _seeds(rows: Sequence[AccuracyRow]) -> str:
    return _count(len({row.seed for row in rows}), "seed")


def _count(number: int, word: str) -> str:
    names = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return f"{names[number] if number < len(names) else number} {word}{'' if number == 1 else 's'}"
