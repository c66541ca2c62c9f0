"""From a recipe to its jobs, in an order in which every job comes after its inputs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from circuitune.experiments.recipe import ContestRecipe, DataRecipe, Recipe
from circuitune.experiments.specs import (
    AnalyseSpec,
    Arm,
    ComposeSpec,
    DiscoverSpec,
    JobSpec,
    ModelRef,
    PairsSpec,
    RankSpec,
    RobustnessSpec,
    TrainSpec,
    folder_name,
    pairs_role,
)
from circuitune.training.methods import MethodName


@dataclass(frozen=True)
class Plan:
    """All jobs of a run, by what they are for; ``jobs`` lists them so that inputs come first."""

    pairs: PairsSpec
    tuning: tuple[TrainSpec, ...]
    tuning_circuits: tuple[DiscoverSpec, ...]
    analyses: tuple[AnalyseSpec, ...]
    robustness: tuple[RobustnessSpec, ...]
    other_pairs: tuple[PairsSpec, ...]
    compositions: tuple[ComposeSpec, ...]
    phase1: tuple[TrainSpec, ...]
    phase1_circuits: tuple[DiscoverSpec, ...]
    methods: tuple[TrainSpec, ...]

    @property
    def jobs(self) -> tuple[JobSpec, ...]:
        """Phase 1 first: five methods wait for it, and only the circuits wait for the tuning."""
        return (
            self.pairs,
            *self.other_pairs,
            *self.phase1,
            *self.tuning,
            *self.phase1_circuits,
            *self.methods,
            *self.tuning_circuits,
            *self.analyses,
            *self.robustness,
            *self.compositions,
        )


def plan(recipe: Recipe, model: ModelRef) -> Plan:
    """All jobs of a recipe for a model; the same recipe and model always give the same folder names."""
    training = recipe.training
    pairs = _pairs(recipe, model, "pairs", recipe.data, rows=training.rows, test_rows=training.test_rows)
    rank, own_rate = recipe.tuning.rank, recipe.tuning.learning_rate
    tuned = recipe if own_rate is None else _with_rate(recipe, own_rate)
    uniform = RankSpec(kind="none", rank=0) if rank is None else RankSpec(kind="uniform", rank=rank)
    tuning = tuple(
        _train(tuned, model, pairs, "tune", seed, uniform, method=recipe.tuning.method)
        for seed in recipe.tuning.seeds
    )
    contest = recipe.contest
    phase1 = tuple(_phase1(recipe, model, pairs, contest)) if contest else ()
    phase1_circuits = tuple(_discover(recipe, model, pairs, job) for job in phase1)
    methods = tuple(
        _train(recipe, model, pairs, arm, job.seed, ranks, circuits)
        for job, circuits in zip(phase1, phase1_circuits, strict=True)
        for arm, ranks in (_arms(contest) if contest else ())
    )
    circuits = tuple(_discover(recipe, model, pairs, job) for job in tuning)
    analyses = tuple(_analyse(recipe, model, pairs, job) for job in tuning)
    others = {name: _pairs(recipe, model, f"pairs-{name}", data) for name, data in recipe.other_data.items()}
    return Plan(
        pairs=pairs,
        tuning=tuning,
        tuning_circuits=circuits,
        analyses=analyses,
        robustness=tuple(_robustness(recipe, model, pairs, tuning)),
        other_pairs=tuple(others.values()),
        compositions=tuple(_compositions(recipe, model, pairs, others, circuits)),
        phase1=phase1,
        phase1_circuits=phase1_circuits,
        methods=methods,
    )


def _with_rate(recipe: Recipe, rate: float) -> Recipe:
    training = recipe.training.model_copy(update={"learning_rate": rate})
    return recipe.model_copy(update={"training": training})


def _pairs(
    recipe: Recipe,
    model: ModelRef,
    label: str,
    data: DataRecipe,
    *,
    rows: int | None = None,
    test_rows: int | None = None,
) -> PairsSpec:
    return PairsSpec(
        label=label,
        stage="report",
        model=model,
        data=data,
        metric=recipe.discovery.metric,
        rows=rows,
        test_rows=test_rows,
        registration=recipe.registration,
    )


def _phase1(recipe: Recipe, model: ModelRef, pairs: PairsSpec, contest: ContestRecipe) -> Iterator[TrainSpec]:
    """The short fine-tunings whose circuits choose the layers, one per seed of the contest."""
    ranks = RankSpec(kind="uniform", rank=contest.phase1_rank)
    training = recipe.training.model_copy(update={"epochs": contest.phase1_epochs})
    short = recipe.model_copy(update={"training": training})
    return (_train(short, model, pairs, "phase1", seed, ranks) for seed in contest.seeds)


def _arms(contest: ContestRecipe) -> list[tuple[Arm, RankSpec]]:
    """CircuitLoRA, its uniform rival of equal size, and the random draws."""
    circuit = RankSpec(
        kind="circuit",
        rank=contest.rank,
        critical_rank=contest.critical_rank,
        critical_layers=contest.critical_layers,
        rule=contest.rule,
    )
    draws = [circuit.model_copy(update={"kind": "random", "draw": n}) for n in range(contest.random_draws)]
    matched = circuit.model_copy(update={"kind": "matched"})
    return [("circuitlora", circuit), ("uniform", matched), *(("random", draw) for draw in draws)]


def _train(
    recipe: Recipe,
    model: ModelRef,
    pairs: PairsSpec,
    arm: Arm,
    seed: int,
    ranks: RankSpec,
    circuits: DiscoverSpec | None = None,
    method: MethodName = "lora",
) -> TrainSpec:
    training = recipe.training
    if arm != "tune":
        training = training.model_copy(update={"checkpoints": 1})
    inputs = {"pairs": folder_name(pairs)}
    if circuits is not None and ranks.kind in ("circuit", "matched"):
        inputs["circuits"] = folder_name(circuits)
    name = f"random{ranks.draw}" if arm == "random" else arm
    return TrainSpec(
        label=f"train-{name}-seed{seed}",
        stage="tune" if arm == "phase1" else "report",
        inputs=inputs,
        model=model,
        arm=arm,
        seed=seed,
        method=method,
        ranks=ranks,
        training=training,
        registration=recipe.registration,
    )


def _discover(recipe: Recipe, model: ModelRef, pairs: PairsSpec, training: TrainSpec) -> DiscoverSpec:
    stage = training.stage
    discovery = recipe.discovery
    if stage == "tune":  # what chooses the layers never sees the test split
        discovery = discovery.model_copy(update={"part": "validation"})
    return DiscoverSpec(
        label=training.label.replace("train-", "circuits-"),
        stage=stage,
        inputs={"pairs": folder_name(pairs), "training": folder_name(training)},
        model=model,
        arm=training.arm,
        seed=training.seed,
        discovery=discovery,
        registration=recipe.registration,
    )


def _about(recipe: Recipe, model: ModelRef, tuned: TrainSpec | DiscoverSpec, what: str) -> dict[str, Any]:
    """The fields that every job on a fine-tuning shares but its inputs; ``what`` replaces the kind in its label."""
    return {
        "label": f"{what}-{tuned.label.partition('-')[2]}",
        "stage": tuned.stage,
        "model": model,
        "arm": tuned.arm,
        "seed": tuned.seed,
        "discovery": recipe.discovery,
        "registration": recipe.registration,
    }


def _analyse(recipe: Recipe, model: ModelRef, pairs: PairsSpec, training: TrainSpec) -> AnalyseSpec:
    return AnalyseSpec(
        **_about(recipe, model, training, "chance"),
        inputs={"pairs": folder_name(pairs), "training": folder_name(training)},
        analysis=recipe.analysis,
        critical_layers=recipe.critical_layers,
    )


def _robustness(
    recipe: Recipe, model: ModelRef, pairs: PairsSpec, trainings: Sequence[TrainSpec]
) -> Iterator[RobustnessSpec]:
    if recipe.robustness is None:
        return
    for training in trainings:
        yield RobustnessSpec(
            **_about(recipe, model, training, "robustness"),
            inputs={"pairs": folder_name(pairs), "training": folder_name(training)},
            robustness=recipe.robustness,
        )


def _compositions(
    recipe: Recipe,
    model: ModelRef,
    pairs: PairsSpec,
    others: Mapping[str, PairsSpec],
    circuits: Sequence[DiscoverSpec],
) -> Iterator[ComposeSpec]:
    if recipe.composition is None:
        return
    named = {pairs_role(name): folder_name(spec) for name, spec in others.items()}
    for job in circuits:
        own = {"pairs": folder_name(pairs), "training": job.inputs["training"], "circuits": folder_name(job)}
        yield ComposeSpec(
            **_about(recipe, model, job, "composition"),
            inputs={**own, **named},
            parts=tuple(recipe.composition.parts),
            unrelated=tuple(recipe.composition.unrelated),
            draws=recipe.composition.draws,
        )
