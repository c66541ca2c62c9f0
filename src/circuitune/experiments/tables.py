"""From finished jobs to the tidy tables of a run: ``tables/*.csv``, readable without us."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations
from pathlib import Path
from typing import TypedDict, TypeVar

from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core import chance_records as chance
from circuitune.core.atomic import remove_partial_files
from circuitune.core.csvio import read_rows, write_rows, writing
from circuitune.core.records import (
    AccuracyRow,
    ChangeRow,
    CircuitRow,
    CriticalRow,
    FaithfulnessRow,
    KeptRow,
    LayerRow,
    MethodRow,
    RankPlanRecord,
    RateRow,
    Record,
    TextRow,
    TrainedRecord,
    TransitionRow,
    read_record,
)
from circuitune.dynamics.change import change_rows, compare, cumulative_rate, stepwise, transition_rows
from circuitune.dynamics.layers import critical_rows, layer_importance, layer_rows
from circuitune.dynamics.measures import Overlap, overlap
from circuitune.dynamics.nulls import null_rows, seed_nulls
from circuitune.experiments import comparisons
from circuitune.experiments.artefacts import PLAN, TEXT, TRAINED, OnDisk, by_step, row_label, step_of
from circuitune.experiments.inputs import critical_count
from circuitune.experiments.plan import Plan
from circuitune.experiments.specs import Arm, DiscoverSpec, JobSpec, RankSpec, TrainSpec
from circuitune.experiments.store import Run

CRITICAL_RULES = ("released", "normalised")

R = TypeVar("R", bound=Record)


def write_tables(run: Run, plan: Plan) -> None:
    """Write every table of a run whose jobs are complete; equal jobs give equal bytes."""
    tables = run.folder / "tables"
    remove_partial_files(tables)
    remove_partial_files(run.folder, below=False)
    write_rows(tables / "accuracy.csv", accuracy(run, plan), AccuracyRow)
    write_rows(tables / "faithfulness.csv", faithfulness(run, plan), FaithfulnessRow)
    write_rows(tables / "critical_layers.csv", critical(run, plan), CriticalRow)
    write_rows(tables / "methods.csv", methods(run, plan), MethodRow)
    write_rows(tables / "circuits.csv", circuits(run, plan), CircuitRow)
    _write_asked(tables / "rates.csv", rates(run, plan), RateRow)
    _write_asked(tables / "kept.csv", kept(run, plan), KeptRow)
    _write_asked(tables / "text.csv", texts(run, plan), TextRow)
    if plan.tuning:
        write_change(run, plan)
        write_finer(run, plan)
        write_analyses(run, plan)
        write_generality(run, plan)


def _write_asked(path: Path, rows: Iterable[Record], model: type[Record]) -> None:
    """A table that only some recipes ask for; one of an earlier recipe goes."""
    rows = iter(rows)
    if (first := next(rows, None)) is not None:
        write_rows(path, chain([first], rows), model)
    else:
        path.unlink(missing_ok=True)


ANALYSES: Mapping[str, type[Record]] = {
    "verdicts": chance.VerdictRow,
    "edges": chance.EdgeRow,
    "changed": chance.ChangedRow,
    "stability": chance.StabilityRow,
    "layer_frequency": chance.LayerFrequencyRow,
    "causal": chance.TunedCausalRow,
    "roles": chance.TunedRoleRow,
}
"""Tables that every analysis writes, and that a run joins."""


def write_finer(run: Run, plan: Plan) -> None:
    """Tables from the maps of the tuning: how alike, where, how fast, by which rule."""
    tables, share = run.folder / "tables", run.recipe.discovery.share
    series = [_series(run, job) for job in plan.tuning_circuits]
    count = critical_count(run.recipe.critical_layers, series[0].scores[0].graph.layers)
    overlaps = _write_compared(tables, series, share)
    write_rows(tables / "speed.csv", comparisons.speed(series, share), chance.SpeedRow)
    write_rows(tables / "rules.csv", comparisons.rules(series, count), chance.RuleRow)
    write_rows(tables / "found.csv", comparisons.found(series, count), chance.FoundRow)
    nulls = comparisons.between_seeds([one.seed for one in series], overlaps)
    rows = _rows(run, plan.analyses, "chance", chance.ChanceRow)
    write_rows(tables / "chance.csv", chain(rows, nulls), chance.ChanceRow)
    _write_asked(tables / "nodes.csv", comparisons.nodes(_nodes(run, plan), series), chance.NodeRow)


def _write_compared(tables: Path, series: Sequence[comparisons.Series], share: float) -> list[Overlap]:
    """The tables with rows for every two seeds, in one reading of their maps; returns the counts of every two."""
    overlaps: list[Overlap] = []
    with (
        writing(tables / "similarity.csv", chance.SimilarityRow) as alike,
        writing(tables / "kinds.csv", chance.KindRow) as kinds,
    ):
        for pair in comparisons.compared(series):
            before, after = pair.before.top(share), pair.after.top(share)
            alike(comparisons.similarity(pair, share))
            kinds(comparisons.kinds(pair, before, after))
            if pair.role == "null":
                overlaps.append(overlap(before, after))
    return overlaps


def write_analyses(run: Run, plan: Plan) -> None:
    """What the analyses of all fine-tunings wrote, joined."""
    for name, model in ANALYSES.items():
        write_rows(run.folder / "tables" / f"{name}.csv", _rows(run, plan.analyses, name, model), model)


def write_generality(run: Run, plan: Plan) -> None:
    """What the jobs on noise and on composition wrote, joined; no table where the recipe has none of them."""
    tables: tuple[tuple[Sequence[JobSpec], str, type[Record]], ...] = (
        (plan.robustness, "robustness", chance.RobustnessRow),
        (plan.compositions, "composition", chance.TunedCompositionRow),
        (plan.compositions, "composition_overlap", chance.TunedTopOverlapRow),
    )
    for jobs, name, model in tables:
        _write_asked(run.folder / "tables" / f"{name}.csv", _rows(run, jobs, name, model), model)


def _nodes(run: Run, plan: Plan) -> Iterator[chance.NodeRow]:
    """Rows of nodes.csv; analyses of earlier versions have none."""
    jobs = [job for job in plan.analyses if (run.job(job).folder / "nodes.csv").is_file()]
    return _rows(run, jobs, "nodes", chance.NodeRow)


def _rows(run: Run, jobs: Sequence[JobSpec], name: str, model: type[R]) -> Iterator[R]:
    """One table of several jobs; those of one job are held at a time."""
    return (row for job in jobs for row in read_rows(run.job(job).folder / f"{name}.csv", model))


def _series(run: Run, job: DiscoverSpec) -> comparisons.Series:
    paths = _paths(run, job, "scores")
    return comparisons.Series(row_label(job), job.seed, tuple(map(step_of, paths)), OnDisk(paths, EdgeScores.load))


def accuracy(run: Run, plan: Plan) -> Iterator[AccuracyRow]:
    """Accuracy of every fine-tuning at its checkpoints: on test, for phase 1 and tried rates on validation."""
    jobs = (*plan.tuning, *plan.phase1, *plan.tried, *plan.methods)
    return (row for job in jobs for row in _accuracy(run, job))


def faithfulness(run: Run, plan: Plan) -> Iterator[FaithfulnessRow]:
    """Faithfulness of every circuit by size."""
    return _rows(run, (*plan.tuning_circuits, *plan.phase1_circuits), "faithfulness", FaithfulnessRow)


def write_change(run: Run, plan: Plan) -> None:
    """Before against after for each seed of the tuning, and the null: the final circuits of every two seeds."""
    tables = run.folder / "tables"
    with (
        writing(tables / "change.csv", ChangeRow) as changes,
        writing(tables / "transitions.csv", TransitionRow) as steps,
        writing(tables / "layers.csv", LayerRow) as layers,
    ):
        circuits_by_seed: dict[int, Sequence[Circuit]] = {}
        labels: dict[int, str] = {}
        for job in plan.tuning_circuits:
            paths = _paths(run, job, "circuits")
            series = OnDisk(paths, Circuit.load)
            numbers = [step_of(path) for path in paths]
            name = row_label(job)
            change = compare(series[0], series[-1])
            comparison = f"{name}, before against after"
            circuits_by_seed[job.seed], labels[job.seed] = series, f"{name} step {numbers[-1]}"
            changes(
                change_rows(
                    change,
                    comparison=comparison,
                    role="change",
                    before=f"{name} step {numbers[0]}",
                    after=labels[job.seed],
                    cumulative=cumulative_rate(series),
                )
            )
            layers(layer_rows(change.layers, comparison=comparison, role="change"))
            steps(transition_rows(stepwise(series), label=name, seed=job.seed, steps=numbers))
        for two in combinations(sorted(circuits_by_seed), 2):  # a comparison holds names: not those of all at a time
            nulls = seed_nulls({seed: circuits_by_seed[seed][-1] for seed in two})
            null_changes, null_layers = null_rows(
                nulls, comparison="after tuning", labels=labels, series=circuits_by_seed
            )
            changes(null_changes)
            layers(null_layers)


def critical(run: Run, plan: Plan) -> Iterator[CriticalRow]:
    """Importance of every layer by both rules, from the circuits around each seed's phase 1."""
    contest = run.recipe.contest
    tried = contest.tried_seeds if contest else ()  # phase 1 of these served to choose learning rates
    jobs = [job for job in plan.phase1_circuits if job.seed not in tried]
    return (row for job in jobs for row in _critical(run, job, plan.methods[0].ranks))


def _critical(run: Run, job: DiscoverSpec, ranks: RankSpec) -> list[CriticalRow]:
    paths = _paths(run, job, "scores")
    before, after = EdgeScores.load(paths[0]), EdgeScores.load(paths[-1])
    count = critical_count(ranks.critical_layers, before.graph.layers)
    rules = ((rule, layer_importance(before, after, rule)) for rule in CRITICAL_RULES)
    return [row for rule, importance in rules for row in critical_rows(rule, importance, count, seed=job.seed)]


def methods(run: Run, plan: Plan) -> Iterator[MethodRow]:
    """Every way to allocate rank at its last checkpoint."""
    return (method_row(run, job) for job in plan.methods)


def circuits(run: Run, plan: Plan) -> Iterator[CircuitRow]:
    """Every circuit of the run and where it lies."""
    for job in (*plan.tuning_circuits, *plan.phase1_circuits):
        scores = _paths(run, job, "scores")
        for path, score_path in zip(_paths(run, job, "circuits"), scores, strict=True):
            circuit = Circuit.load(path)
            yield CircuitRow(
                label=row_label(job),
                role=job.arm,
                seed=job.seed,
                step=step_of(path),
                share=job.discovery.share,
                nodes=len(circuit.nodes),
                edges=len(circuit.edges),
                scores=score_path.relative_to(run.folder).as_posix(),
                circuit=path.relative_to(run.folder).as_posix(),
            )


def method_row(run: Run, job: TrainSpec) -> MethodRow:
    """What one fine-tuning of a contest came to."""
    trained = read_record(run.job(job).folder / TRAINED, TrainedRecord)
    own = [row for row in _accuracy(run, job) if row.split == "test"]
    last = own[-1]
    return MethodRow(
        arm=job.arm,
        draw=job.ranks.draw,
        seed=job.seed,
        **_planned(run.job(job).folder / PLAN, trained),
        parameters=trained.saved,
        peak=trained.parameters,
        learning_rate=trained.learning_rate,
        steps=trained.steps,
        allocation_flops=trained.allocation_flops,
        training_flops=trained.training_flops,
        before=own[0].accuracy,
        examples=last.examples,
        accuracy=last.accuracy,
        low=last.low,
        high=last.high,
        loss=last.loss,
    )


class _Planned(TypedDict):
    layers: str
    rank: int
    critical_rank: int
    planned: int


def _planned(path: Path, trained: TrainedRecord) -> _Planned:
    """What the rank plan said; a method that decides its ranks itself has none."""
    if not path.is_file():
        return _Planned(layers="", rank=0, critical_rank=0, planned=trained.parameters)
    plan = read_record(path, RankPlanRecord)
    return _Planned(
        layers=" ".join(map(str, plan.critical_layers)),
        rank=plan.rank if plan.rank is not None else min(plan.ranks.values()),
        critical_rank=plan.critical_rank if plan.critical_rank is not None else max(plan.ranks.values()),
        planned=plan.parameters,
    )


def rates(run: Run, plan: Plan) -> list[RateRow]:
    """Every learning rate that was tried, and which its arm took."""
    taken: dict[Arm, float] = {}
    for job in plan.methods:
        taken[job.arm] = read_record(run.job(job).folder / TRAINED, TrainedRecord).learning_rate
    rows: list[RateRow] = []
    for job in plan.tried:
        last, rate = _accuracy(run, job)[-1], job.training.learning_rate
        rows.append(
            RateRow(
                arm=job.arm,
                learning_rate=rate,
                seed=job.seed,
                examples=last.examples,
                accuracy=last.accuracy,
                chosen=rate == taken[job.arm],
            )
        )
    return rows


def kept(run: Run, plan: Plan) -> Iterator[KeptRow]:
    """Accuracy on other tasks before and after every fine-tuning of the contest."""
    return (row for job in plan.methods for row in _kept(run, job))


def _kept(run: Run, job: TrainSpec) -> list[KeptRow]:
    rows = _accuracy(run, job)
    found: list[KeptRow] = []
    for name in job.kept:
        own = [row for row in rows if row.split == name]
        found.append(
            KeptRow(
                arm=job.arm,
                draw=job.ranks.draw,
                seed=job.seed,
                task=name,
                examples=own[0].examples,
                before=own[0].accuracy,
                after=own[-1].accuracy,
            )
        )
    return found


def texts(run: Run, plan: Plan) -> Iterator[TextRow]:
    """Loss on held-out text before and after every fine-tuning of the contest."""
    return (row for job in plan.methods if job.text for row in read_rows(run.job(job).folder / TEXT, TextRow))


def _accuracy(run: Run, job: TrainSpec) -> list[AccuracyRow]:
    return read_rows(run.job(job).folder / "accuracy.csv", AccuracyRow)


def _paths(run: Run, job: TrainSpec | DiscoverSpec, kind: str) -> list[Path]:
    """The job's checkpoints, scores or circuits by step."""
    return by_step(run.job(job).folder / kind)
