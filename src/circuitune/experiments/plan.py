"""From a recipe to its jobs, in an order in which every job comes after its inputs."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from circuitune.core.errors import InputError
from circuitune.experiments.arms import COUNTED, Entry, entries
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
    rate_role,
    union_role,
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
    parts: tuple[TrainSpec, ...]
    part_circuits: tuple[DiscoverSpec, ...]
    tried: tuple[TrainSpec, ...]
    methods: tuple[TrainSpec, ...]

    @property
    def jobs(self) -> tuple[JobSpec, ...]:
        """Phase 1 first: five methods wait for it, and only the circuits wait for the tuning."""
        return (
            self.pairs,
            *self.other_pairs,
            *self.phase1,
            *self.parts,
            *self.tuning,
            *self.phase1_circuits,
            *self.part_circuits,
            *self.tried,
            *self.methods,
            *self.tuning_circuits,
            *self.analyses,
            *self.robustness,
            *self.compositions,
        )

    def of_arm(self, arm: str, seeds: Collection[int] = ()) -> tuple[TrainSpec, ...]:
        """The fine-tunings of one arm of the contest that count, of these seeds or of all.

        Raises:
            InputError: the arm, or a seed, takes no part.
        """
        arms = dict.fromkeys(job.arm for job in self.methods)
        if arm not in arms:
            have = f"it has {', '.join(arms)}" if arms else "it has no contest"
            raise InputError(f"{arm} takes no part in this run; {have}.")
        own = [job for job in self.methods if job.arm == arm]
        if odd := set(seeds) - {job.seed for job in own}:
            known = ", ".join(map(str, dict.fromkeys(job.seed for job in own)))
            raise InputError(f"Seed {min(odd)} takes no part in this run; it has {known}.")
        return tuple(job for job in own if not seeds or job.seed in seeds)

    def needed(self, jobs: Sequence[JobSpec]) -> tuple[JobSpec, ...]:
        """These jobs and all that they depend on, inputs first."""
        wanted = {folder_name(job) for job in jobs}
        found: list[JobSpec] = []
        for job in reversed(self.jobs):
            if folder_name(job) in wanted:
                wanted.update(job.inputs.values())
                found.append(job)
        return tuple(reversed(found))


def plan(recipe: Recipe, model: ModelRef) -> Plan:
    """All jobs of a recipe for a model; the same recipe and model always give the same folder names."""
    training = recipe.training
    pairs = _pairs(recipe, model, "pairs", recipe.data, rows=training.rows, test_rows=training.test_rows)
    others = dict(_others(recipe, model))
    tuning = tuple(_tuning(recipe, model, pairs))
    circuits = tuple(_discover(recipe, model, pairs, job) for job in tuning)
    phase1 = tuple(_phase1(recipe, model, pairs))
    phase1_circuits = tuple(_discover(recipe, model, pairs, job) for job in phase1)
    parts = tuple(job for name in recipe.studied for job in _phase1(recipe, model, others[name], name))
    part_circuits = tuple(_discover(recipe, model, others[job.part], job) for job in parts)
    found = _found(phase1, phase1_circuits, part_circuits)
    tried, methods = _contest(recipe, model, pairs, others, found)
    return Plan(
        pairs=pairs,
        tuning=tuning,
        tuning_circuits=circuits,
        analyses=tuple(_analyse(recipe, model, pairs, job) for job in tuning),
        robustness=tuple(_robustness(recipe, model, pairs, tuning)),
        other_pairs=tuple(others.values()),
        compositions=tuple(_compositions(recipe, model, pairs, others, circuits)),
        phase1=phase1,
        phase1_circuits=phase1_circuits,
        parts=parts,
        part_circuits=part_circuits,
        tried=tried,
        methods=methods,
    )


@dataclass(frozen=True)
class _Found:
    """What one seed's ranks may come from: phase 1, the circuits around it, and those of other tasks by name."""

    phase1: TrainSpec
    circuits: DiscoverSpec
    parts: Mapping[str, DiscoverSpec]


def _found(
    phase1: Sequence[TrainSpec], circuits: Sequence[DiscoverSpec], parts: Sequence[DiscoverSpec]
) -> dict[int, _Found]:
    """All of these by seed."""
    return {
        job.seed: _Found(job, maps, {one.part: one for one in parts if one.seed == job.seed})
        for job, maps in zip(phase1, circuits, strict=True)
    }


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


def _others(recipe: Recipe, model: ModelRef) -> Iterator[tuple[str, PairsSpec]]:
    """The pairs of other tasks by name; those that are fine-tuned on have as many rows as the run's own task."""
    for name, data in recipe.other_data.items():
        rows = recipe.training.rows if name in recipe.studied else None
        yield name, _pairs(recipe, model, f"pairs-{name}", data, rows=rows)


def _tuning(recipe: Recipe, model: ModelRef, pairs: PairsSpec) -> Iterator[TrainSpec]:
    """The fine-tunings whose circuits are followed."""
    how = recipe.tuning
    if how is None:
        return
    own = recipe if how.learning_rate is None else _with_rate(recipe, how.learning_rate)
    ranks = RankSpec(kind="none", rank=0) if how.rank is None else RankSpec(kind="uniform", rank=how.rank)
    for seed in how.seeds:
        yield _train(own, model, {"pairs": folder_name(pairs)}, "tune", seed, ranks, method=how.method)


def _phase1(recipe: Recipe, model: ModelRef, pairs: PairsSpec, part: str = "") -> Iterator[TrainSpec]:
    """The short fine-tunings whose circuits choose the layers, one per seed of the contest; of a part by its name."""
    contest = recipe.contest
    if contest is None:
        return
    ranks = RankSpec(kind="uniform", rank=contest.phase1_rank)
    training = recipe.training.model_copy(update={"epochs": contest.phase1_epochs})
    short = recipe.model_copy(update={"training": training})
    name = f"phase1-{part}" if part else None
    for seed in (*contest.tried_seeds, *contest.seeds):
        job = _train(short, model, {"pairs": folder_name(pairs)}, "phase1", seed, ranks, name=name)
        yield job.model_copy(update={"part": part})


def _contest(
    recipe: Recipe,
    model: ModelRef,
    pairs: PairsSpec,
    others: Mapping[str, PairsSpec],
    found: Mapping[int, _Found],
) -> tuple[tuple[TrainSpec, ...], tuple[TrainSpec, ...]]:
    """The jobs that try learning rates, then those whose accuracy on the test split counts."""
    contest = recipe.contest
    if contest is None:
        return (), ()
    tried: list[TrainSpec] = []
    methods: list[TrainSpec] = []
    for entry in entries(contest):
        own = _tried(recipe, model, pairs, contest, entry, found, tried)
        rates = {rate_role(job.training.learning_rate, job.seed): folder_name(job) for job in own}
        named = {pairs_role(name): folder_name(others[name]) for name in contest.kept}
        for seed in contest.seeds:
            inputs = {**_inputs(recipe, pairs, entry, found[seed], methods), **rates, **named}
            job = _train(
                recipe, model, inputs, entry.arm, seed, entry.ranks, method=entry.way.method, name=entry.name
            )
            changes = {
                "twist": entry.way.twist,
                "rates": _rates(contest, entry.arm),
                "kept": tuple(contest.kept),
                "kept_pairs": contest.kept_pairs if contest.kept else 0,
                "text": contest.text.file if contest.text else "",
            }
            methods.append(job.model_copy(update=changes))
        if entry.ranks.draw == 0:
            tried += own
    return tuple(tried), tuple(methods)


def _rates(contest: ContestRecipe, arm: Arm) -> tuple[float, ...]:
    """The learning rates that an arm chooses from."""
    return next((rates for rival, rates in contest.own_rates.items() if rival == arm), contest.rates)


def _tried(
    recipe: Recipe,
    model: ModelRef,
    pairs: PairsSpec,
    contest: ContestRecipe,
    entry: Entry,
    found: Mapping[int, _Found],
    before: Sequence[TrainSpec],
) -> list[TrainSpec]:
    """Every learning rate with every seed that they are chosen by; all random draws share those of the first."""
    ranks = entry.ranks.model_copy(update={"draw": 0})
    jobs: list[TrainSpec] = []
    for rate in _rates(contest, entry.arm):
        for seed in contest.tried_seeds:
            inputs = _inputs(recipe, pairs, entry, found[seed], before)
            own = _with_rate(recipe, rate)
            job = _train(own, model, inputs, entry.arm, seed, ranks, method=entry.way.method)
            label = f"try-{entry.arm}-seed{seed}-rate{rate:g}"
            jobs.append(job.model_copy(update={"label": label, "stage": "tune", "twist": entry.way.twist}))
    return jobs


def _inputs(
    recipe: Recipe, pairs: PairsSpec, entry: Entry, found: _Found, before: Sequence[TrainSpec]
) -> dict[str, str]:
    """What an arm's training reads; ``before`` are the jobs of the arms before it."""
    inputs = {"pairs": folder_name(pairs)}
    if entry.way.source in COUNTED:
        inputs["circuits"] = folder_name(found.circuits)
    if entry.way.source == "weights" or entry.way.twist == "warm":
        inputs["phase1"] = folder_name(found.phase1)
    if entry.way.twist == "longer":
        rival = next(job for job in before if job.arm == entry.way.against and job.seed == found.phase1.seed)
        inputs["rival"] = folder_name(rival)
    if entry.way.source == "union":
        inputs |= {union_role(name): folder_name(found.parts[name]) for name in recipe.united}
    if entry.way.source == "transfer":
        inputs["circuits"] = folder_name(found.parts[recipe.lender])
    return inputs


def _train(
    recipe: Recipe,
    model: ModelRef,
    inputs: dict[str, str],
    arm: Arm,
    seed: int,
    ranks: RankSpec,
    *,
    method: MethodName = "lora",
    name: str | None = None,
) -> TrainSpec:
    training = recipe.training
    if arm != "tune":
        training = training.model_copy(update={"checkpoints": 1})
    return TrainSpec(
        label=f"train-{name or arm}-seed{seed}",
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
        part=training.part,
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
    named = {pairs_role(name): folder_name(others[name]) for name in recipe.composed}
    for job in circuits:
        own = {"pairs": folder_name(pairs), "training": job.inputs["training"], "circuits": folder_name(job)}
        yield ComposeSpec(
            **_about(recipe, model, job, "composition"),
            inputs={**own, **named},
            parts=tuple(recipe.composition.parts),
            unrelated=tuple(recipe.composition.unrelated),
            draws=recipe.composition.draws,
        )
