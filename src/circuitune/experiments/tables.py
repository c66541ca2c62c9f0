"""From finished jobs to the tidy tables of a run: ``tables/*.csv``, readable without us."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from safetensors.numpy import load_file  # pyright: ignore[reportUnknownVariableType]

from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core import chance_records as chance
from circuitune.core.csvio import read_rows, write_rows
from circuitune.core.records import (
    AccuracyRow,
    ChangeRow,
    CircuitRow,
    CriticalRow,
    FaithfulnessRow,
    LayerRow,
    MethodRow,
    RankPlanRecord,
    Record,
    TransitionRow,
    read_record,
)
from circuitune.dynamics.change import change_rows, compare, cumulative_rate, transition_rows, transitions
from circuitune.dynamics.layers import critical_rows, layer_importance, layer_rows
from circuitune.dynamics.nulls import null_rows, seed_nulls
from circuitune.experiments import comparisons
from circuitune.experiments.artefacts import PLAN, by_step, row_label, step_of
from circuitune.experiments.inputs import critical_count
from circuitune.experiments.plan import Plan
from circuitune.experiments.specs import DiscoverSpec, JobSpec, RankSpec, TrainSpec
from circuitune.experiments.store import Run

CRITICAL_RULES = ("released", "normalised")

R = TypeVar("R", bound=Record)


def write_tables(run: Run, plan: Plan) -> None:
    """Write every table of a run whose jobs are complete; equal jobs give equal bytes."""
    tables = run.folder / "tables"
    change, transition, layer = change_tables(run, plan)
    write_rows(tables / "accuracy.csv", accuracy(run, plan), AccuracyRow)
    write_rows(tables / "faithfulness.csv", faithfulness(run, plan), FaithfulnessRow)
    write_rows(tables / "change.csv", change, ChangeRow)
    write_rows(tables / "transitions.csv", transition, TransitionRow)
    write_rows(tables / "layers.csv", layer, LayerRow)
    write_rows(tables / "critical_layers.csv", critical(run, plan), CriticalRow)
    write_rows(tables / "methods.csv", methods(run, plan), MethodRow)
    write_rows(tables / "circuits.csv", circuits(run, plan), CircuitRow)
    write_finer(run, plan)
    write_analyses(run, plan)
    write_generality(run, plan)


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
    pairs = comparisons.compared(series)
    count = critical_count(run.recipe.critical_layers, series[0].scores[0].graph.layers)
    write_rows(tables / "similarity.csv", comparisons.similarity(pairs, share), chance.SimilarityRow)
    write_rows(tables / "kinds.csv", comparisons.kinds(pairs, share), chance.KindRow)
    write_rows(tables / "speed.csv", comparisons.speed(series, share), chance.SpeedRow)
    write_rows(tables / "rules.csv", comparisons.rules(series, count), chance.RuleRow)
    write_rows(tables / "found.csv", comparisons.found(series, count), chance.FoundRow)
    nulls = comparisons.between_seeds(series, share)
    rows = _joined(run, plan, "chance", chance.ChanceRow)
    write_rows(tables / "chance.csv", [*rows, *nulls], chance.ChanceRow)


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
        path = run.folder / "tables" / f"{name}.csv"
        if jobs:
            write_rows(path, _rows(run, jobs, name, model), model)
        else:
            path.unlink(missing_ok=True)  # of an earlier recipe


def _joined(run: Run, plan: Plan, name: str, model: type[R]) -> list[R]:
    return _rows(run, plan.analyses, name, model)


def _rows(run: Run, jobs: Sequence[JobSpec], name: str, model: type[R]) -> list[R]:
    """One table of several jobs."""
    return [row for job in jobs for row in read_rows(run.job(job).folder / f"{name}.csv", model)]


def _series(run: Run, job: DiscoverSpec) -> comparisons.Series:
    paths = _paths(run, job, "scores")
    return comparisons.Series(
        row_label(job), job.seed, tuple(map(step_of, paths)), tuple(EdgeScores.load(path) for path in paths)
    )


def accuracy(run: Run, plan: Plan) -> list[AccuracyRow]:
    """Accuracy of every fine-tuning at its checkpoints: on test, for phase 1 on validation."""
    jobs = (*plan.tuning, *plan.phase1, *plan.methods)
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
    circuits_by_seed: dict[int, list[Circuit]] = {}
    labels: dict[int, str] = {}
    for job in plan.tuning_circuits:
        paths = _paths(run, job, "circuits")
        series = [Circuit.load(path) for path in paths]
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
        steps += transition_rows(transitions(series), label=name, seed=job.seed, steps=numbers)
    if len(circuits_by_seed) > 1:
        nulls = seed_nulls({seed: series[-1] for seed, series in circuits_by_seed.items()})
        null_changes, null_layers = null_rows(
            nulls, comparison="after tuning", labels=labels, series=circuits_by_seed
        )
        changes, layers = changes + null_changes, layers + null_layers
    return changes, steps, layers


def critical(run: Run, plan: Plan) -> list[CriticalRow]:
    """Importance of every layer by both rules, from the circuits around each seed's phase 1."""
    return [row for job in plan.phase1_circuits for row in _critical(run, job, plan.methods[0].ranks)]


def _critical(run: Run, job: DiscoverSpec, ranks: RankSpec) -> list[CriticalRow]:
    paths = _paths(run, job, "scores")
    before, after = EdgeScores.load(paths[0]), EdgeScores.load(paths[-1])
    count = critical_count(ranks.critical_layers, before.graph.layers)
    rules = ((rule, layer_importance(before, after, rule)) for rule in CRITICAL_RULES)
    return [row for rule, importance in rules for row in critical_rows(rule, importance, count, seed=job.seed)]


def methods(run: Run, plan: Plan) -> list[MethodRow]:
    """Every way to allocate rank at its last checkpoint."""
    return [_method(run, job) for job in plan.methods]


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


def _method(run: Run, job: TrainSpec) -> MethodRow:
    folder = run.job(job).folder
    plan = read_record(folder / PLAN, RankPlanRecord)
    last = _accuracy(run, job)[-1]
    return MethodRow(
        arm=job.arm,
        draw=job.ranks.draw,
        seed=job.seed,
        layers=" ".join(map(str, plan.critical_layers)),
        rank=plan.rank if plan.rank is not None else min(plan.ranks.values()),
        critical_rank=plan.critical_rank if plan.critical_rank is not None else max(plan.ranks.values()),
        parameters=_trained(_paths(run, job, "checkpoints")[-1] / "adapter_model.safetensors"),
        planned=plan.parameters,
        steps=last.steps,
        examples=last.examples,
        accuracy=last.accuracy,
        low=last.low,
        high=last.high,
        loss=last.loss,
    )


def _accuracy(run: Run, job: TrainSpec) -> list[AccuracyRow]:
    return read_rows(run.job(job).folder / "accuracy.csv", AccuracyRow)


def _paths(run: Run, job: TrainSpec | DiscoverSpec, kind: str) -> list[Path]:
    """The job's checkpoints, scores or circuits by step."""
    return by_step(run.job(job).folder / kind)


def _trained(path: Path) -> int:
    """How many numbers an adapter's file holds."""
    return sum(array.size for array in load_file(path).values())
