"""From finished jobs to the tidy tables of a run: ``tables/*.csv``, readable without us."""

from collections.abc import Mapping, Sequence
from itertools import chain, combinations
from pathlib import Path
from typing import TypedDict, TypeVar

from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core import chance_records as chance
from circuitune.core.csvio import read_rows, write_rows
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
    write_rows(tables / "accuracy.csv", accuracy(run, plan), AccuracyRow)
    write_rows(tables / "faithfulness.csv", faithfulness(run, plan), FaithfulnessRow)
    write_rows(tables / "critical_layers.csv", critical(run, plan), CriticalRow)
    write_rows(tables / "methods.csv", methods(run, plan), MethodRow)
    write_rows(tables / "circuits.csv", circuits(run, plan), CircuitRow)
    _write_asked(tables / "rates.csv", rates(run, plan), RateRow)
    _write_asked(tables / "kept.csv", kept(run, plan), KeptRow)
    _write_asked(tables / "text.csv", texts(run, plan), TextRow)
    if plan.tuning:
        change, transition, layer = change_tables(run, plan)
        write_rows(tables / "change.csv", change, ChangeRow)
        write_rows(tables / "transitions.csv", transition, TransitionRow)
        write_rows(tables / "layers.csv", layer, LayerRow)
        write_finer(run, plan)
        write_analyses(run, plan)
        write_generality(run, plan)


def _write_asked(path: Path, rows: Sequence[Record], model: type[Record]) -> None:
    """A table that only some recipes ask for; one of an earlier recipe goes."""
    if rows:
        write_rows(path, rows, model)
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
    write_rows(
        tables / "similarity.csv", comparisons.similarity(comparisons.compared(series), share), chance.SimilarityRow
    )
    write_rows(tables / "kinds.csv", comparisons.kinds(comparisons.compared(series), share), chance.KindRow)
    write_rows(tables / "speed.csv", comparisons.speed(series, share), chance.SpeedRow)
    write_rows(tables / "rules.csv", comparisons.rules(series, count), chance.RuleRow)
    write_rows(tables / "found.csv", comparisons.found(series, count), chance.FoundRow)
    nulls = comparisons.between_seeds(series, share)
    rows = _joined(run, plan, "chance", chance.ChanceRow)
    write_rows(tables / "chance.csv", [*rows, *nulls], chance.ChanceRow)
    _write_asked(tables / "nodes.csv", comparisons.nodes(_nodes(run, plan), series), chance.NodeRow)


def write_analyses(run: Run, plan: Plan) -> None:
    """What the analyses of all fine-tunings wrote, joined."""
    for name, model in ANALYSES.items():
        write_rows(run.folder / "tables" / f"{name}.csv", _joined(run, plan, name, model), model)


def write_generality(run: Run, plan: Plan) -> None:
    """What the jobs on noise and on composition wrote, joined; no table where the recipe has none of them."""
    tables: tuple[tuple[Sequence[JobSpec], str, type[Record]], ...] = (
        (plan.robustness, "robustness", chance.RobustnessRow),
        (plan.compositions, "composition", chance.TunedCompositionRow),
        (plan.compositions, "composition_overlap", chance.TunedTopOverlapRow),
    )
    for jobs, name, model in tables:
        _write_asked(run.folder / "tables" / f"{name}.csv", _rows(run, jobs, name, model), model)


def _nodes(run: Run, plan: Plan) -> list[chance.NodeRow]:
    """Rows of nodes.csv; analyses of earlier versions have none."""
    jobs = [job for job in plan.analyses if (run.job(job).folder / "nodes.csv").is_file()]
    return _rows(run, jobs, "nodes", chance.NodeRow)


def _joined(run: Run, plan: Plan, name: str, model: type[R]) -> list[R]:
    return _rows(run, plan.analyses, name, model)


def _rows(run: Run, jobs: Sequence[JobSpec], name: str, model: type[R]) -> list[R]:
    """One table of several jobs."""
    return [row for job in jobs for row in read_rows(run.job(job).folder / f"{name}.csv", model)]


def _series(run: Run, job: DiscoverSpec) -> comparisons.Series:
    paths = _paths(run, job, "scores")
    return comparisons.Series(row_label(job), job.seed, tuple(map(step_of, paths)), OnDisk(paths, EdgeScores.load))


def accuracy(run: Run, plan: Plan) -> list[AccuracyRow]:
    """Accuracy of every fine-tuning at its checkpoints: on test, for phase 1 and tried rates on validation."""
    jobs = (*plan.tuning, *plan.phase1, *plan.tried, *plan.methods)
    return list(chain.from_iterable(_accuracy(run, job) for job in jobs))


def faithfulness(run: Run, plan: Plan) -> list[FaithfulnessRow]:
    """Faithfulness of every circuit by size."""
    jobs = (*plan.tuning_circuits, *plan.phase1_circuits)
    return [row for job in jobs for row in read_rows(run.job(job).folder / "faithfulness.csv", FaithfulnessRow)]


def change_tables(run: Run, plan: Plan) -> tuple[list[ChangeRow], list[TransitionRow], list[LayerRow]]:
    """Before against after for each seed of the tuning, and the null: the final circuits of every two seeds."""
    changes: list[ChangeRow] = []
    steps: list[TransitionRow] = []
    layers: list[LayerRow] = []
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
        changes += change_rows(
            change,
            comparison=comparison,
            role="change",
            before=f"{name} step {numbers[0]}",
            after=labels[job.seed],
            cumulative=cumulative_rate(series),
        )
        layers += layer_rows(change.layers, comparison=comparison, role="change")
        steps += transition_rows(stepwise(series), label=name, seed=job.seed, steps=numbers)
    for two in combinations(sorted(circuits_by_seed), 2):  # a comparison holds names: not those of all at a time
        nulls = seed_nulls({seed: circuits_by_seed[seed][-1] for seed in two})
        null_changes, null_layers = null_rows(
            nulls, comparison="after tuning", labels=labels, series=circuits_by_seed
        )
        changes += null_changes
        layers += null_layers
    return changes, steps, layers


def critical(run: Run, plan: Plan) -> list[CriticalRow]:
    """Importance of every layer by both rules, from the circuits around each seed's phase 1."""
    contest = run.recipe.contest
    tried = contest.tried_seeds if contest else ()  # phase 1 of these served to choose learning rates
    jobs = [job for job in plan.phase1_circuits if job.seed not in tried]
    return [row for job in jobs for row in _critical(run, job, plan.methods[0].ranks)]


def _critical(run: Run, job: DiscoverSpec, ranks: RankSpec) -> list[CriticalRow]:
    paths = _paths(run, job, "scores")
    before, after = EdgeScores.load(paths[0]), EdgeScores.load(paths[-1])
    count = critical_count(ranks.critical_layers, before.graph.layers)
    rules = ((rule, layer_importance(before, after, rule)) for rule in CRITICAL_RULES)
    return [row for rule, importance in rules for row in critical_rows(rule, importance, count, seed=job.seed)]


def methods(run: Run, plan: Plan) -> list[MethodRow]:
    """Every way to allocate rank at its last checkpoint."""
    return [method_row(run, job) for job in plan.methods]


def circuits(run: Run, plan: Plan) -> list[CircuitRow]:
    """Every circuit of the run and where it lies."""
    rows: list[CircuitRow] = []
    for job in (*plan.tuning_circuits, *plan.phase1_circuits):
        scores = _paths(run, job, "scores")
        for path, score_path in zip(_paths(run, job, "circuits"), scores, strict=True):
            circuit = Circuit.load(path)
            rows.append(
                CircuitRow(
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
            )
    return rows


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


def kept(run: Run, plan: Plan) -> list[KeptRow]:
    """Accuracy on other tasks before and after every fine-tuning of the contest."""
    return [row for job in plan.methods for row in _kept(run, job)]


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


def texts(run: Run, plan: Plan) -> list[TextRow]:
    """Loss on held-out text before and after every fine-tuning of the contest."""
    return [row for job in plan.methods if job.text for row in read_rows(run.job(job).folder / TEXT, TextRow)]


def _accuracy(run: Run, job: TrainSpec) -> list[AccuracyRow]:
    return read_rows(run.job(job).folder / "accuracy.csv", AccuracyRow)


def _paths(run: Run, job: TrainSpec | DiscoverSpec, kind: str) -> list[Path]:
    """The job's checkpoints, scores or circuits by step."""
    return by_step(run.job(job).folder / kind)
