"""The tables of a run -> its figures over training, against chance, by layer and by method, each with its caption.

Every function takes the rows of its table and returns a `Plate`, or a sentence that says why there is none. Nothing
is judged here: what is drawn is what the tables hold, and a caption says of how many seeds and by what interval.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Protocol, TypeVar

from circuitune.core.arms import arm_name
from circuitune.core.chance_records import ChanceRow, RobustnessRow, SimilarityRow, TunedTopOverlapRow
from circuitune.core.records import FaithfulnessRow, Kind, LayerRow, MethodRow, TransitionRow
from circuitune.core.statistics import Interval, t_interval
from circuitune.core.study_records import ClaimRow, TaskEffectRow
from circuitune.figures.forest import Difference, forest
from circuitune.figures.intervals import CHANGE, Estimate, change_and_chance
from circuitune.figures.layers import layer_drawing
from circuitune.figures.lines import Dash, Line, Panel, Point, line_panels
from circuitune.figures.style import INK, KEPT, SIZE, SIZE_PALE, Drawing, mixed, percent
from circuitune.figures.tables import Table, table

MINUS: Final = "\N{MINUS SIGN}"

SEVERAL: Final = 3
"""Fine-tunings from which on a mean over them is drawn, with Student's interval; of two it says nothing."""


MEANS: Final = " Lines are means over fine-tunings, bands Student's 95 % intervals of them."


@dataclass(frozen=True)
class Plate:
    """One figure of a run: its drawing, what it shows, and the numbers where it is a table."""

    title: str
    drawing: Drawing
    caption: str
    numbers: Table | None = None


class _Labelled(Protocol):
    @property
    def label(self) -> str: ...
    @property
    def seed(self) -> int: ...


Row = TypeVar("Row", bound=_Labelled)


def by_label(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of every fine-tuning, by its seed where seeds tell the fine-tunings apart, else by its label."""
    seeds = {(row.label, row.seed) for row in rows}
    apart = len({seed for _, seed in seeds}) == len(seeds)
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[f"seed {row.seed}" if apart else row.label].append(row)
    return dict(found)


def plural(count: int, word: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def faithfulness(rows: Sequence[FaithfulnessRow], share: float | None) -> Plate | str:
    """Faithfulness over training by circuit size; ``share`` is drawn wider. Several fine-tunings: their mean."""
    own = [row for row in rows if row.arm == "tune"] or list(rows)
    if not own:
        return "faithfulness.csv has no rows"
    defined = any(row.normalized is not None for row in own)
    shares = sorted({row.share for row in own})
    panels = [
        Panel(name, [_size(mine, one, shares, one == share, defined) for one in shares])
        for name, mine in _panels(own).items()
    ]
    values = [point.y for panel in panels for line in panel.lines for point in line.points if point.y is not None]
    bounds = (min([0.0, *values]) * 1.05, max([1.0 if defined else 0.0, *values]) * 1.05)
    y = "faithfulness" if defined else "KL(model || circuit), nats"
    drawn = line_panels(panels, x="optimizer step", y=y, legend="edges kept", bounds=bounds, shares=defined)
    if defined:
        what = (
            f"How much of the model's effect on {', '.join(sorted({row.metric for row in own}))} the circuit alone "
            "reproduces: 100 % is the whole model, 0 % the corrupted run."
        )
        bands = " Bands: 95 % bootstrap intervals over pairs."
    else:
        what = "KL divergence from the model's answer to the circuit's; 0 is the whole model."
        bands = ""
    what += MEANS if _several(own) else bands
    said = f"{what} Circuits by their share of all edges, over {_tunings(own)}.{_undefined(own, defined)}"
    return Plate("Faithfulness over training", drawn, said)


def _size(rows: Sequence[FaithfulnessRow], share: float, shares: Sequence[float], main: bool, defined: bool) -> Line:
    own = [row for row in rows if row.share == share]
    if defined:
        points = [Point(row.step, row.normalized, row.normalized_low, row.normalized_high) for row in own]
    else:
        points = [Point(row.step, row.kl) for row in own]
    points = _means(points) if _several(rows) else points
    depth = shares.index(share) / max(1, len(shares) - 1)
    return Line(percent(share), points, mixed(SIZE_PALE, SIZE, depth), weight=2.0 if main else 1.0)


def _undefined(rows: Sequence[FaithfulnessRow], defined: bool) -> str:
    missing = [row.reason for row in rows if row.normalized is None]
    if not missing:
        return ""
    where = f"for {len(missing)} of {plural(len(rows), 'circuit')}" if defined else "everywhere"
    return f" Normalised faithfulness is undefined {where}, for instance because {missing[0]}."


def _tunings(rows: Sequence[_Labelled]) -> str:
    labels, seeds = {row.label for row in rows}, {row.seed for row in rows}
    return f"{plural(len(labels), 'fine-tuning')} ({plural(len(seeds), 'seed')})"


_MODELS: Final = {"after": ("after", INK), "before": ("before", SIZE), "random": ("random weights", KEPT)}


def robustness(rows: Sequence[RobustnessRow]) -> Plate | str:
    """How alike the circuits stay when pairs are drawn again. Several fine-tunings: their mean."""
    noise = [row for row in rows if row.kind == "noise"]
    if not noise:
        return "robustness.csv has no rows of resampled pairs"
    panels = [
        Panel(name, [Line(said, _noise(mine, model), colour) for model, (said, colour) in _MODELS.items()])
        for name, mine in _panels(noise).items()
    ]
    drawn = line_panels(
        panels,
        x="pairs resampled, %",
        y="likeness of edges (Jaccard)",
        legend="model",
        bounds=(0, 1.03),
        ticks=sorted({100 * row.level for row in noise if row.level is not None}),
    )
    parts = [row for row in rows if row.kind == "parts"]
    draws = noise[0].comparisons
    bands = ", bands reach from the least to the most alike" if draws > 1 else ""
    lines = MEANS if _several(noise) else f" Lines are means over {plural(draws, 'draw')}{bands}."
    caption = (
        f"How alike a circuit stays when a share of its pairs is resampled (1: the same edges).{lines} "
        f"{_tunings(noise)}. Only what lies above the model with random weights is the task."
    )
    if parts:
        alike = {model: [row.edge_jaccard for row in parts if row.model == model] for model in _MODELS}
        apart = "; ".join(f"{_MODELS[model][0]} {fmean(own):.2f}" for model, own in alike.items() if own)
        caption += f" Between disjoint parts of {parts[0].pairs:,} pairs each, on average: {apart}."
    return Plate("The circuit with other pairs of the task", drawn, caption)


def _noise(rows: Sequence[RobustnessRow], model: str) -> list[Point]:
    points = [
        Point(100 * row.level, row.edge_jaccard, row.edge_low, row.edge_high)
        for row in rows
        if row.model == model and row.level is not None
    ]
    return _means(points) if _several(rows) else points


def _several(rows: Sequence[_Labelled]) -> bool:
    """Whether the rows are of as many fine-tunings as a mean is drawn of."""
    return len(by_label(rows)) >= SEVERAL


def _panels(rows: Sequence[Row]) -> dict[str, Sequence[Row]]:
    """The rows of every panel by its title: one for the mean of several fine-tunings, else one for each."""
    return {"": rows} if _several(rows) else {**by_label(rows)}


def _means(points: Sequence[Point]) -> list[Point]:
    """At every place the mean over fine-tunings with Student's interval; none where too few have a value."""
    means: list[Point] = []
    for place in sorted({point.x for point in points}):
        own = [point.y for point in points if point.x == place and point.y is not None]
        if len(own) > 1 and isinstance(found := t_interval(own), Interval):
            means.append(Point(place, found.estimate, found.low, found.high))
    return means


def transitions(rows: Sequence[TransitionRow]) -> Plate | str:
    """Nodes and edges exchanged from one checkpoint to the next."""
    if not any(row.rate is not None for row in rows):
        return "the first circuit is empty, so no rate of change is defined"
    kinds: list[tuple[Kind, str]] = [("edge", INK), ("node", SIZE)]
    labels = by_label(rows)
    lines = [line for kind, colour in kinds for line in _exchange(labels, kind, colour)]
    drawn = line_panels(
        [Panel("", lines)], x="optimizer step", y="changed between checkpoints", bounds=(0, None), shares=True
    )
    many = _several(rows)
    how = "Lines are means, bands Student's 95 % intervals over" if many else "One line for each of"
    caption = (
        "Nodes and edges added and removed from each checkpoint to the next, as a share of the first circuit's. "
        f"{how} {_tunings(rows)}{'' if many else '; too few for an interval'}."
    )
    return Plate("Change from checkpoint to checkpoint", drawn, caption)


def _exchange(labels: dict[str, list[TransitionRow]], kind: Kind, colour: str) -> list[Line]:
    """A line per fine-tuning; from several of them on their mean with its interval."""
    own = {name: [row for row in rows if row.kind == kind] for name, rows in labels.items()}
    if len(own) < SEVERAL:
        dashes: tuple[Dash, ...] = ("-", (0, (4, 2)))
        return [
            Line(f"{kind}s, {name}", [Point(row.step_to, row.rate) for row in rows], colour, dash)
            for (name, rows), dash in zip(own.items(), dashes, strict=False)
        ]
    means = _means([Point(row.step_to, row.rate) for rows in own.values() for row in rows])
    points = [point._replace(low=max(0.0, point.low or 0.0)) for point in means]
    return [Line(f"{kind}s", points, colour)]


def chance(rows: Sequence[ChanceRow]) -> Plate | str:
    """The change end to end, beside every comparison in which nothing but chance differs."""
    drawn = change_and_chance([Estimate(row.measure, row.role, row.estimate, row.low, row.high) for row in rows])
    if drawn is None:
        return "chance.csv holds no measure that is defined"
    tuned = [row for row in rows if row.role == CHANGE]
    pairs = max((row.comparisons for row in tuned), default=0)
    caption = (
        f"Added and removed from before fine-tuning to after it, one dot for each of {_tunings(tuned)}; lines are "
        f"95 % bootstrap intervals over pairs ({pairs} resamples). Bars: the same measure where nothing but chance "
        "differs, from the 2.5th to the 97.5th percentile of the comparisons, with their mean: the ends of two "
        "fine-tunings that differ by their seed, halves of the pairs, models with random weights, both circuits "
        "rewired with every node's degree kept, and random circuits of equal size. A change that is more than chance "
        "lies above the first two; the others say how far apart circuits are that share nothing but size or degrees "
        "(empty where nodes are the same by construction)."
    )
    return Plate("The change beside what chance alone makes", drawn, caption)


def layers(rows: Sequence[LayerRow]) -> Plate | str:
    """What every layer gains and loses, edges by either end and nodes."""
    changes, nulls = ([row for row in rows if row.role == role] for role in ("change", "null"))
    if not changes:
        return "layers.csv holds no comparison of before with after"
    count, other = (len({row.comparison for row in own}) for own in (changes, nulls))
    many = count > 1
    caption = (
        "Nodes and edges of the circuit that each layer gains (right) and loses (left) from before fine-tuning to "
        f"after it, {'the mean of' if many else 'for'} {plural(count, 'fine-tuning')}"
        f"{', thin lines from the least to the most' if many else ''}; counts, without intervals."
    )
    if nulls:
        caption += f" Grey strokes: the same between two seeds after it ({plural(other, 'comparison')}, mean)."
    return Plate("Change per layer", layer_drawing(changes, nulls), caption)


def top_overlap(rows: Sequence[SimilarityRow]) -> Plate | str:
    """How many of the strongest edges two maps share: before and after, and two seeds after."""
    own = [row for row in rows if row.measure == "top_overlap" and row.form == "split" and row.k is not None]
    sizes = sorted({row.k for row in own if row.k is not None})
    roles = {"change": "before and\nafter", "null": "two seeds,\nboth after"}
    kept = {role: name for role, name in roles.items() if any(row.role == role for row in own)}
    if not sizes:
        return "similarity.csv has no overlap of the strongest edges"
    lines = [
        [
            f"{size:,}",
            *(_mean_and_range([row.value for row in own if (row.k, row.role) == (size, role)]) for role in kept),
        ]
        for size in sizes
    ]
    content = Table(["strongest\nedges", *kept.values()], lines)
    counts = {role: len({row.comparison for row in own if row.role == role}) for role in kept}
    said = "; ".join(
        f"{' '.join(kept[role].split())}: {plural(count, 'comparison')}" for role, count in counts.items()
    )
    caption = (
        f"Share of the strongest edges that two maps have in common ({said}). Means, with the least and the most."
    )
    return Plate("Overlap of the strongest edges", table(content), caption, content)


def composition_overlap(rows: Sequence[TunedTopOverlapRow]) -> Plate | str:
    """How many of the strongest edges the circuits of several tasks share."""
    if not rows:
        return "composition_overlap.csv has no rows"
    sizes = sorted({row.size for row in rows})
    couples = list(dict.fromkeys((row.first, row.second) for row in rows))
    lines = [
        [
            f"{first} / {second}",
            *(
                _mean_and_range(
                    [row.share for row in rows if (row.first, row.second, row.size) == (first, second, size)]
                )
                for size in sizes
            ),
        ]
        for first, second in couples
    ]
    content = Table(["strongest edges", *(f"{size:,}" for size in sizes)], lines)
    caption = (
        "Share of the strongest edges that the circuits of two tasks have in common, for each number of them; "
        f"{_tunings(rows)}{', means with the least and the most' if len(by_label(rows)) > 1 else ''}."
    )
    return Plate("Overlap of the circuits of tasks", table(content), caption, content)


def _mean_and_range(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "none"
    mean, low, high = (f"{100 * value:.0f}" for value in (sum(known) / len(known), min(known), max(known)))
    return f"{mean} %" if low == high else f"{mean} % ({low}\N{EN DASH}{high})"


def methods(rows: Sequence[MethodRow]) -> Plate | str:
    """The contest: of one seed a row per arm and draw, of several one per arm."""
    if not rows:
        return "methods.csv has no rows"
    seeds = sorted({row.seed for row in rows})
    content = _one_seed(rows) if len(seeds) == 1 else _several_seeds(rows)
    test = f"Accuracy on the {rows[0].examples:,} rows of the test split at the end of training"
    if len(seeds) == 1:
        caption = f"{test}, one seed, with Wilson 95 % intervals over rows, which say nothing of another seed."
    else:
        caption = (
            f"{test}, means over {plural(len(seeds), 'seed')} with Student's 95 % intervals over seeds (draws of "
            "a seed are averaged first); the difference from uniform LoRA is paired by seed."
        )
    return Plate("The same number of parameters, placed differently", table(content), caption, content)


def _one_seed(rows: Sequence[MethodRow]) -> Table:
    header = ["method", "high-rank\nlayers", "rank", "high\nrank", "parameters", "accuracy", "95 % interval"]
    lines = [
        [
            f"{arm_name(row.arm)}, draw {row.draw}" if row.arm == "random" else arm_name(row.arm),
            ", ".join(row.layers.split()) or "none",
            str(row.rank),
            str(row.critical_rank) if row.layers else "",
            f"{row.parameters:,}",
            f"{100 * row.accuracy:.1f} %",
            f"{100 * row.low:.1f}\N{EN DASH}{100 * row.high:.1f}",
        ]
        for row in rows
    ]
    return Table(header, lines)


def _several_seeds(rows: Sequence[MethodRow]) -> Table:
    arms = {arm: _by_seed([row for row in rows if row.arm == arm]) for arm in dict.fromkeys(row.arm for row in rows)}
    uniform = arms.get("uniform")
    header = ["method", "seeds", "parameters", "accuracy", "95 % interval"]
    header += ["difference from\nuniform, points", "95 % interval"] if uniform else []
    lines: list[list[str]] = []
    for arm, values in arms.items():
        parameters = sorted({row.parameters for row in rows if row.arm == arm})
        count = f"{parameters[0]:,}" if len(parameters) == 1 else f"{parameters[0]:,}\N{EN DASH}{parameters[-1]:,}"
        cells = [arm_name(arm), str(len(values)), count, *_mean_and_interval(list(values.values()))]
        if uniform:
            paired = [value - uniform[seed] for seed, value in values.items() if seed in uniform]
            cells += ["", ""] if arm == "uniform" else _mean_and_interval(paired, signed=True)
        lines.append(cells)
    return Table(header, lines)


def _by_seed(rows: Sequence[MethodRow]) -> dict[int, float]:
    own: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        own[row.seed].append(row.accuracy)
    return {seed: sum(values) / len(values) for seed, values in own.items()}


def _mean_and_interval(values: Sequence[float], signed: bool = False) -> list[str]:
    if not values:
        return ["none", "none"]
    found = t_interval(values)
    kind, unit = ("+.1f", "") if signed else (".1f", " %")
    mean = format(100 * sum(values) / len(values), kind).replace("-", MINUS) + unit
    if not isinstance(found, Interval):
        return [mean, "none"]
    join = " to " if signed else "\N{EN DASH}"
    return [mean, join.join(format(100 * end, kind).replace("-", MINUS) for end in (found.low, found.high))]


def verdicts(tasks: Sequence[TaskEffectRow], claims: Sequence[ClaimRow]) -> Plate | str:
    """What every hypothesis of a study came to on every task: effect less null, with its interval."""
    panels: dict[str, Sequence[Difference]] = {
        f"{claim.hypothesis}: {claim.outcome}{'' if claim.final or claim.outcome == 'exploratory' else ' so far'}": [
            Difference(row.task, row.difference, row.low, row.high, row.finding in ("above", "below"))
            for row in tasks
            if row.hypothesis == claim.hypothesis
        ]
        for claim in claims
    }
    if not any(row.value is not None for rows in panels.values() for row in rows):
        return "no run of the study is finished"
    kinds = {row.interval for row in tasks} - {"none"}
    how = " and ".join({"BCa": "BCa bootstrap", "t": "Student's"}[kind] for kind in sorted(kinds))
    caption = (
        f"Effect less its null, mean over seeds, with {how} intervals at the registered level; full dots where the "
        "registered test finds one (exploratory hypotheses have none). "
        f"{' '.join(claim.sentence for claim in claims)}"
    )
    return Plate("What a study found", forest(panels, "effect less null"), caption)
