"""What the tables of a run show, in sentences: every verdict is reached here, once, for the command and for the page.

A sentence is computed from rows alone, so that a run whose change is no larger than chance says so.
"""

from collections.abc import Mapping, Sequence
from math import hypot
from statistics import fmean
from typing import Literal

from circuitune.core.arms import TITLES
from circuitune.core.chance_records import LayerFrequencyRow, RuleRow, StabilityRow
from circuitune.core.records import (
    AccuracyRow,
    ChangeRow,
    ComparisonRole,
    CriticalRow,
    FaithfulnessRow,
    Kind,
    MethodRow,
)
from circuitune.core.statistics import Interval, t_interval

ENOUGH_SEEDS = 8
"""From here on seeds can carry a test (design, section 6)."""

NEAR = 0.9
"""A layer left out is told of where it has this share of the importance of the last one chosen."""

_ROLES: tuple[ComparisonRole, ComparisonRole] = ("change", "null")
Verdict = Literal["larger", "barely larger", "not larger", "overlapping"]
_AMONG = "but by no more than the fine-tunings differ among themselves"


def verdict(changes: Sequence[float], nulls: Sequence[float]) -> Verdict:
    """How changes stand to nulls: above all of them, below all of them, or among them; neither may be empty.

    ``barely larger``: above, by no more than what the changes, or the nulls, differ among themselves.
    """
    gap = min(changes) - max(nulls)
    if gap > 0:
        return "larger" if gap > max(_spread(changes), _spread(nulls)) else "barely larger"
    return "not larger" if max(changes) <= min(nulls) else "overlapping"


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values)


# ---- training ----


def learning(rows: Sequence[AccuracyRow]) -> str:
    """Accuracy of the tuning at its first and last checkpoint."""
    own = [row for row in rows if row.arm == "tune"]
    last = max(row.step for row in own)
    before, after = ([row.accuracy for row in own if row.step == step] for step in (0, last))
    seeds = count(len({row.seed for row in own}), "seed")
    return f"Accuracy on the {own[0].split} split went from {span(before)} to {span(after)} ({seeds})."


def faithful(rows: Sequence[FaithfulnessRow], share: float, whole: Sequence[float] = ()) -> str:
    """How much of the model's effect the tuning's circuits of one size reproduce, and how often they are right.

    ``whole``: accuracies of the tuned models themselves on the same pairs, where they are known.
    """
    own = _circuits(rows, share)
    if not own:
        return f"Faithfulness was not measured at {share:.0%} of the edges."
    last = max(row.step for row in own)
    before, after = (_known(own, step) for step in (0, last))
    alone = f"alone it answers {span([row.accuracy for row in own if row.step == last])} of them correctly"
    model = f" (the whole model: {span(whole)})" if whole else ""
    circuit = f"The circuit of {share:.0%} of the edges"
    if not after:
        return (
            f"{circuit}: how much it reproduces cannot be measured, because the tuned model treats right and "
            f"corrupted prompts alike on the held-out pairs; {alone}{model}."
        )
    when = f"{before} before the tuning and {after} after it" if before else f"{after} after the tuning"
    said = f"{circuit} reproduces {when}, on held-out pairs; {alone}{model}."
    if before:
        return said
    return f"{said} Before the tuning this cannot be measured: the model treats right and corrupted prompts alike."


def _circuits(rows: Sequence[FaithfulnessRow], share: float) -> list[FaithfulnessRow]:
    return [row for row in rows if row.arm == "tune" and row.share == share]


def _known(rows: Sequence[FaithfulnessRow], step: int) -> str | None:
    """Range of the faithfulness at a step; None where any of it is undefined."""
    values = [row.normalized for row in rows if row.step == step]
    known = [value for value in values if value is not None]
    return f"{span(known)} of the model's effect" if known and len(known) == len(values) else None


# ---- changes ----


def change(rows: Sequence[ChangeRow], kind: Kind) -> str:
    """The end-to-end change of nodes or edges against its null, and whether Jaccard similarity agrees."""
    name = {"edge": "Edges", "node": "Nodes"}[kind]
    changes, nulls = rates(rows, kind, "change"), rates(rows, kind, "null")
    if not changes:
        return f"{name}: no change can be computed, because the circuit before is empty."
    said = f"{name}: those that fine-tuning added or removed are {span(changes)} of the circuit before"
    if not nulls:
        return f"{said}; with one seed there is no null to hold that against."
    found = verdict(changes, nulls)
    said = f"{said}, those in which two seeds of the same tuning differ {span(nulls)}"
    against = f"{_against(found, changes, nulls)}.{disagreement(rows, kind)}"
    return f"{said}: held against another seed alone, the change is {against}"


def _against(found: Verdict, changes: Sequence[float], nulls: Sequence[float]) -> str:
    if not _is_larger(found):
        return {
            "not larger": "no larger than the null, another seed alone changes as much",
            "overlapping": "not clearly larger than the null, their ranges overlap",
        }[found]
    return f"larger than the null{_by_how_much(min(changes), max(nulls))}{'' if found == 'larger' else f', {_AMONG}'}"


def _by_how_much(least: float, most: float) -> str:
    """The least change beside the most that two seeds differ; a factor that would read 1.00 tells nothing."""
    if most <= 0:
        return ""
    if (times := f"{least / most:.2f}") == "1.00":
        return " (by less than 1 %: the smallest change is hardly above the largest difference of two seeds)"
    return f" (the smallest change is {times} times the largest difference of two seeds)"


def disagreement(rows: Sequence[ChangeRow], kind: Kind) -> str:
    """A warning where Jaccard distance orders changes and nulls otherwise than their rates do."""
    changes, nulls = rates(rows, kind, "change"), rates(rows, kind, "null")
    if not nulls:
        return ""
    far, near = ([1 - row.jaccard for row in rows if row.kind == kind and row.role == role] for role in _ROLES)
    other = _is_larger(verdict(far, near))
    if other == _is_larger(verdict(changes, nulls)):
        return ""
    words = "larger" if other else "not larger"
    return f" By Jaccard distance it is {words}: the two measures disagree."


def _is_larger(found: Verdict) -> bool:
    return found in ("larger", "barely larger")


def rates(rows: Sequence[ChangeRow], kind: Kind, role: ComparisonRole) -> list[float]:
    """End-to-end changes of one kind that are defined."""
    return [row.rate for row in rows if row.kind == kind and row.role == role and row.rate is not None]


def ratio(rows: Sequence[ChangeRow]) -> str:
    """Edge change per node change, of the fine-tunings and of the nulls."""
    changes, nulls = ratios(rows, "change"), ratios(rows, "null")
    if not changes:
        return "No node changed, so edges cannot be compared with nodes."
    said = f"Edges changed {times(changes)} times as much as nodes"
    if not nulls:
        return f"{said}."
    found = verdict(changes, nulls)
    judged = {
        "larger": "larger than the null",
        "barely larger": f"larger than the null, {_AMONG}",
        "not larger": "no larger than the null, so it is no mark of learning",
        "overlapping": "not clearly larger than the null",
    }[found]
    return f"{said}; between seeds, where nothing but chance differs, the ratio is {times(nulls)}: {judged}."


def ratios(rows: Sequence[ChangeRow], role: ComparisonRole) -> list[float]:
    """Edge rate over node rate of each comparison in which a node changed."""
    own = [row for row in rows if row.role == role and row.rate is not None]
    edges = {row.comparison: row.rate or 0.0 for row in own if row.kind == "edge"}
    nodes = {row.comparison: row.rate for row in own if row.kind == "node"}
    return [edges[name] / rate for name, rate in nodes.items() if rate and name in edges]


def times(ratios: Sequence[float]) -> str:
    """Ratios: one number, or the lowest and the highest."""
    low, high = f"{min(ratios):.1f}", f"{max(ratios):.1f}"
    return low if low == high else f"{low}–{high}"


def null_caution(rows: Sequence[ChangeRow]) -> str:
    """How far the null carries."""
    nulls = len({row.comparison for row in rows if row.role == "null"})
    if not nulls:
        return "Without a second seed nobody can say how much of the change chance alone would do."
    said = f"What another seed makes is known from {count(nulls, 'comparison')} of seeds"
    return f"{said}." if nulls >= ENOUGH_SEEDS else f"{said}: a yardstick, not a test."


def start_caution(rows: Sequence[FaithfulnessRow], share: float) -> str | None:
    """A warning where the model before fine-tuning has no effect of its own that a circuit could explain."""
    own = [row for row in _circuits(rows, share) if row.step == 0 and row.normalized is None]
    if not own:
        return None
    return (
        f"Before fine-tuning the model's {own[0].metric} cannot be told from that of the corrupted prompts: the "
        "circuit before is poorly determined, and part of the change may be noise."
    )


# ---- where ----


def critical(
    rows: Sequence[CriticalRow], followed: Sequence[LayerFrequencyRow] = (), stability: Sequence[StabilityRow] = ()
) -> str:
    """Which layers each rule chooses for the first seed, near ties, whether rules and seeds agree.

    ``followed``, ``stability``: the choices that the fine-tunings whose circuits were followed would have made, and
    whether they depend on the pairs.
    """
    seeds, rules = (list(dict.fromkeys(names)) for names in zip(*((row.seed, row.rule) for row in rows), strict=True))
    chosen = {rule: _chosen(rows, seeds[0], rule) for rule in rules}
    said = "; ".join(f"by the {rule} rule {_layers(layers)}" for rule, layers in chosen.items())
    shared = set[int](chosen[rules[0]]).intersection(*chosen.values())
    others = _elsewhere(followed, {rule: set(layers) for rule, layers in chosen.items()})
    if all(set(layers) == shared for layers in chosen.values()):
        agree = "there the rules agree" if others else "the rules agree"
    else:
        agree = f"the rules disagree and share {f'only {_layers(sorted(shared))}' if shared else 'none'}"
    first = f"Layers whose edges changed most in phase 1 of seed {seeds[0]}, most important first: {said}; {agree}."
    ties = "".join(_near_tie(rows, seeds[0], rule) for rule in rules)
    return f"{first}{ties}{_other_seeds(rows, seeds, rules[0])}{others}{_shaky(stability)}"


def _near_tie(rows: Sequence[CriticalRow], seed: int, rule: str) -> str:
    """A warning where the first layer left out is nearly as important as the last one chosen."""
    own = sorted((row for row in rows if row.seed == seed and row.rule == rule), key=lambda row: row.place)
    last, *out = [row for row in own if row.chosen][-1:] + [row for row in own if not row.chosen][:1]
    if not out or out[0].importance < NEAR * last.importance:
        return ""
    share = out[0].importance / last.importance
    return (
        f" A near tie: by the {rule} rule layer {out[0].layer}, left out, has {share:.0%} of the importance of layer "
        f"{last.layer}, chosen."
    )


def _elsewhere(rows: Sequence[LayerFrequencyRow], chosen: Mapping[str, set[int]]) -> str:
    """The choices of the fine-tunings that were followed, where a rule chooses otherwise than in phase 1."""
    kinds = dict.fromkeys((row.label, row.rule) for row in rows if row.rule in chosen)
    sets = {kind: {row.layer for row in rows if (row.label, row.rule) == kind and row.chosen} for kind in kinds}
    other = [
        f"in {label} the {rule} rule chooses {_layers(sorted(layers))}"
        for (label, rule), layers in sets.items()
        if layers != chosen[rule]
    ]
    return f" Other fine-tunings choose otherwise: {'; '.join(other)}." if other else ""


def _shaky(rows: Sequence[StabilityRow]) -> str:
    """Sets of critical layers that other pairs would have changed."""
    shaky = [
        f"{row.what}, {row.label} (likeness {row.jaccard:.2f})"
        for row in rows
        if row.unstable and row.what.startswith("critical layers")
    ]
    return f" Another choice of pairs often changes them: {'; '.join(shaky)}." if shaky else ""


def rules(rows: Sequence[RuleRow]) -> str:
    """How far the rules that can choose critical layers agree, over all fine-tunings that were followed."""
    names = dict.fromkeys(name for row in rows for name in (row.first, row.second))
    likeness = [row.jaccard for row in rows]
    return (
        f"Of {count(len(names), 'rule')} that could choose the layers ({', '.join(names)}), two share from "
        f"{min(likeness):.2f} to {max(likeness):.2f} of theirs (Jaccard); two random choices share "
        f"{fmean(row.expected for row in rows):.2f}."
    )


def _other_seeds(rows: Sequence[CriticalRow], seeds: Sequence[int], rule: str) -> str:
    """What the first rule chooses for every further seed."""
    if len(seeds) < 2:
        return ""
    chosen = {seed: _chosen(rows, seed, rule) for seed in seeds}
    if len({frozenset(layers) for layers in chosen.values()}) == 1:
        return f" By the {rule} rule all {len(seeds)} seeds choose the same."
    others = "; ".join(f"seed {seed} {_layers(chosen[seed])}" for seed in seeds[1:])
    return f" By the {rule} rule other seeds choose otherwise: {others}."


def _chosen(rows: Sequence[CriticalRow], seed: int, rule: str) -> list[int]:
    own = [row for row in rows if row.seed == seed and row.rule == rule and row.chosen]
    return [row.layer for row in sorted(own, key=lambda row: row.place)]


def _layers(layers: Sequence[int]) -> str:
    return ", ".join(map(str, layers))


# ---- contest ----


def against_uniform(rows: Sequence[MethodRow]) -> str:
    """CircuitLoRA beside uniform LoRA of the same size."""
    ours, rival = arm_rows(rows, "circuitlora"), arm_rows(rows, "uniform")
    a, b = fmean(row.accuracy for row in ours), fmean(row.accuracy for row in rival)
    sizes = sorted({row.parameters for row in (*ours, *rival)})
    if len(sizes) == 1:
        budget = f"with the same number of parameters ({sizes[0]:,})"
    else:
        budget = f"with different numbers of parameters ({sizes[0]:,} to {sizes[-1]:,})"
    said = f"CircuitLoRA reached {a:.1%} and uniform LoRA {b:.1%} {budget}"
    return f"{said}, a difference of {100 * (a - b):+.1f} points {_beyond_noise(ours, rival)}."


def _beyond_noise(ours: Sequence[MethodRow], rival: Sequence[MethodRow]) -> str:
    """What the difference is worth: over test rows for one seed, over seeds for more, a verdict from eight on."""
    low, high, over = advantage(ours, rival)
    said = f"(95 % interval over {over}: {points(low, high)})"
    if len(ours) == 1:
        if low <= 0 <= high:
            return f"{said}: no better than uniform, the test rows cannot tell the two apart"
        return f"{said}: {_better(low, high)} uniform here; another seed may say otherwise"
    return f"{said}: {_better(low, high)} uniform" if len(ours) >= ENOUGH_SEEDS else said


def advantage(ours: Sequence[MethodRow], rival: Sequence[MethodRow]) -> tuple[float, float, str]:
    """The interval of a difference of accuracies, and over what it is: test rows for one seed, seeds for more."""
    if len(ours) == 1:
        return *difference(ours[0], rival[0]), "the test rows"
    interval = t_interval(gaps(ours, rival))
    assert isinstance(interval, Interval)
    return interval.low, interval.high, count(len(ours), "seed")


def gaps(ours: Sequence[MethodRow], rival: Sequence[MethodRow]) -> list[float]:
    """Differences of accuracy, paired by seed."""
    by_seed = {row.seed: row.accuracy for row in rival}
    return [row.accuracy - by_seed[row.seed] for row in ours]


def _better(low: float, high: float) -> str:
    return "better than" if low > 0 else "worse than" if high < 0 else "no better than"


def points(low: float, high: float) -> str:
    """An interval of a difference of accuracies, in points."""
    return f"{100 * low:+.1f} to {100 * high:+.1f}"


def difference(ours: MethodRow, rival: MethodRow) -> tuple[float, float]:
    """Newcombe's interval of a difference of two accuracies, from their Wilson intervals: over test rows only."""
    d = ours.accuracy - rival.accuracy
    down = hypot(ours.accuracy - ours.low, rival.high - rival.accuracy)
    return d - down, d + hypot(ours.high - ours.accuracy, rival.accuracy - rival.low)


def against_random(rows: Sequence[MethodRow]) -> str:
    """CircuitLoRA beside layers drawn at random."""
    ours = fmean(row.accuracy for row in arm_rows(rows, "circuitlora"))
    random = arm_rows(rows, "random")
    draws = [fmean(row.accuracy for row in random if row.draw == n) for n in sorted({row.draw for row in random})]
    below = sum(value < ours for value in draws)
    return (
        f"With the same number of layers drawn at random it was {fmean(draws):.1%} on average ({span(draws)}): "
        f"CircuitLoRA is above {below} of the {len(draws)}."
    )


def rivals(rows: Sequence[MethodRow]) -> str | None:
    """Every further arm beside uniform LoRA, best first; None where there is none."""
    uniform = arm_rows(rows, "uniform")
    others = [
        arm for arm in dict.fromkeys(row.arm for row in rows) if arm not in ("circuitlora", "uniform", "random")
    ]
    said: list[tuple[float, str]] = []
    for arm in others:
        differences = gaps(arm_rows(rows, arm), uniform)
        interval = t_interval(differences)
        span = f" ({points(interval.low, interval.high)})" if isinstance(interval, Interval) else ""
        said.append((fmean(differences), f"{TITLES[arm]} {100 * fmean(differences):+.1f}{span}"))
    if not said:
        return None
    ordered = "; ".join(text for _, text in sorted(said, key=lambda item: -item[0]))
    return f"Beside uniform LoRA, in points (95 % interval over seeds): {ordered}."


def seed_caution(rows: Sequence[MethodRow]) -> str:
    """How many seeds the comparison of methods has, and how far that carries."""
    seeds = len({row.seed for row in rows})
    if seeds >= ENOUGH_SEEDS:
        return f"The comparison of methods rests on {seeds} seeds."
    return f"The comparison of methods rests on {count(seeds, 'seed')}: it is an illustration, not a test."


def arm_rows(rows: Sequence[MethodRow], arm: str) -> list[MethodRow]:
    """The rows of one arm."""
    return [row for row in rows if row.arm == arm]


# ---- words ----


def span(values: Sequence[float]) -> str:
    """Shares in per cent: one number, or the lowest and the highest."""
    low, high = f"{min(values):.1%}", f"{max(values):.1%}"
    return low if low == high else "\N{EN DASH}".join((low.removesuffix("%"), high))


def count(number: int, word: str) -> str:
    """``one seed``, ``two seeds``, ``12 seeds``."""
    names = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return f"{names[number] if number < len(names) else number} {word}{'' if number == 1 else 's'}"
