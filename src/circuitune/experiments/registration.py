"""The registration of a study: what it expects and how it will judge, written down before any run.

Its sha256 is part of every job's spec: whoever changes the registration later does every job again.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, model_validator

from circuitune.core.errors import InputError
from circuitune.core.manifest import sha256_bytes
from circuitune.core.placement import Dtype
from circuitune.core.records import Record
from circuitune.experiments.recipe import (
    CompositionRecipe,
    ContestRecipe,
    DataRecipe,
    DiscoveryRecipe,
    Entrant,
    Name,
    Recipe,
    TrainingRecipe,
    TuningRecipe,
    anchored,
    parsed,
    read_text,
    validated,
)

Measure = Literal["faithfulness", "released", "ratio", "edge_rate", "slowing", "composition", "accuracy"]


class Hypothesis(Record):
    """One claim as a number per seed and what it is held against.

    ``primary`` hypotheses get a verdict, ``exploratory`` ones an interval alone. Effect and null of a measure are
    those of `experiments.verdicts`; ``effect`` and ``against`` say them in words. ``bar``: the null of
    faithfulness (of ours, and by the released formula).
    ``arm`` and ``rival``: of a contest, whose accuracy is held against whose.
    ``smallest``: a difference below it is too small to matter.
    """

    claim: int
    role: Literal["primary", "exploratory"]
    measure: Measure
    hypothesis: str
    effect: str
    against: str
    smallest: float = Field(ge=0)
    bar: float | None = None
    arm: Entrant | None = None
    rival: Entrant | None = None

    @model_validator(mode="after")
    def _bar(self) -> "Hypothesis":
        if (self.bar is None) == (self.measure in ("faithfulness", "released")):
            raise ValueError("bar is the null of the measure faithfulness (or released), and of no other")
        if (self.measure == "accuracy") != (self.arm is not None and self.rival is not None):
            raise ValueError("arm and rival belong to the measure accuracy, which needs both")
        return self


class Rule(Record):
    """When a claim is supported, in numbers.

    ``level`` of the intervals; from ``seeds`` on there are intervals by bootstrap (``resamples``) and p values, and
    verdicts; a task speaks for the claim where its interval lies above 0 and p after Holm is below ``alpha``;
    ``tasks`` that many decide (all of them, where a hypothesis speaks of fewer).
    """

    level: float = Field(gt=0.5, lt=1)
    alpha: float = Field(gt=0, lt=0.5)
    seeds: int = Field(ge=6)
    tasks: int = Field(ge=1)
    resamples: int = Field(ge=1000)


class TaskPlan(Record):
    """How one task is made and trained on, what it is composed of, and who takes part in its contest.

    ``tuning``: its own, in place of the registration's.
    """

    data: DataRecipe
    training: TrainingRecipe
    composition: CompositionRecipe | None = None
    contest: ContestRecipe | None = None
    tuning: TuningRecipe | None = None


class Registration(Record):
    """registration.yaml.

    ``model``: its name, or several by short names; then each has a study of its own, named STUDY-SHORT.
    """

    format: Literal[1] = 1
    study: Name
    question: str
    model: str | dict[Name, str]
    revision: str | None = None
    dtype: Dtype | None = None
    tuning: TuningRecipe | None = None
    discovery: DiscoveryRecipe
    tasks: Annotated[dict[Name, TaskPlan], Field(min_length=1)]
    hypotheses: Annotated[dict[str, Hypothesis], Field(min_length=1)]
    rule: Rule
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _enough_tasks(self) -> "Registration":
        if self.rule.tasks > len(self.tasks):
            raise ValueError(f"rule.tasks is {self.rule.tasks}, and there are {len(self.tasks)} tasks")
        for name, hypothesis in self.hypotheses.items():
            if not self.tasks_of(hypothesis):
                raise ValueError(f"hypothesis {name} is of {hypothesis.measure}, and no task has what that needs")
        return self

    @property
    def studies(self) -> dict[str, str]:
        """The models by the names of their studies."""
        if isinstance(self.model, str):
            return {self.study: self.model}
        return {f"{self.study}-{short}": model for short, model in self.model.items()}

    def tuning_of(self, task: str) -> TuningRecipe | None:
        """The registered tuning of a task."""
        return self.tasks[task].tuning or self.tuning

    def seeds_of(self, task: str, measure: Measure) -> tuple[int, ...]:
        """The registered seeds of a task: for the measure accuracy those of its contest, else of its tuning."""
        return _seeds(self.tasks[task].contest if measure == "accuracy" else self.tuning_of(task))

    def tasks_of(self, hypothesis: Hypothesis) -> tuple[str, ...]:
        """The tasks that a hypothesis speaks of: those that are composed, or have both rivals; else all."""
        if hypothesis.measure == "composition":
            return tuple(name for name, plan in self.tasks.items() if plan.composition is not None)
        if hypothesis.measure == "accuracy":
            wanted = {hypothesis.arm, hypothesis.rival}
            return tuple(
                name for name, plan in self.tasks.items() if plan.contest and wanted <= {*plan.contest.entrants}
            )
        return tuple(self.tasks)


def load_registration(path: Path) -> tuple[Registration, str]:
    """The registration and the sha256 of its bytes.

    Raises:
        InputError: no such file, no YAML mapping, an unknown field, or a value out of range.
    """
    what = f"Registration {path}"
    text = read_text(path, what, "give the path of a YAML file, from the folder of the study")
    fields = _anchored(parsed(text, what), path.parent)
    return validated(Registration, fields, what), sha256_bytes(path.read_bytes())


def _anchored(fields: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Paths are meant from the registration's folder."""
    placed, tasks = anchored(fields, folder), fields.get("tasks")
    if isinstance(tasks, dict):
        entries = cast(dict[str, Any], tasks).items()
        placed["tasks"] = {
            name: anchored(cast(dict[str, Any], plan), folder) if isinstance(plan, dict) else plan
            for name, plan in entries
        }
    return placed


def require_registered(registration: Registration, study: str, name: str, recipe: Recipe, what: str) -> None:
    """InputError where a run of a study is not what was registered; it may have fewer of the seeds."""
    plan = registration.tasks.get(name)
    if plan is None:
        known = ", ".join(registration.tasks)
        raise InputError(f"{what}: run {name} is not registered; the registration has {known}.")
    for field, own, expected in (
        ("model", recipe.model, registration.studies[study]),
        ("revision", recipe.revision, registration.revision),
        ("dtype", recipe.dtype, registration.dtype),
        ("data", recipe.data, plan.data),
        ("training", recipe.training, plan.training),
        ("composition", recipe.composition, plan.composition),
        ("tuning", _without_seeds(recipe.tuning), _without_seeds(registration.tuning_of(name))),
        ("contest", _without_seeds(recipe.contest), _without_seeds(plan.contest)),
        ("discovery", recipe.discovery, registration.discovery),
    ):
        if own != expected:
            raise InputError(f"{what}: {field} of run {name} is not as registered ({_differing(own, expected)}).")
    for own, expected in ((recipe.tuning, registration.tuning_of(name)), (recipe.contest, plan.contest)):
        if more := sorted({*_seeds(own)} - {*_seeds(expected)}):
            raise InputError(
                f"{what}: seed {more[0]} of run {name} is not registered; take seeds of the registration."
            )


def _seeds(part: TuningRecipe | ContestRecipe | None) -> tuple[int, ...]:
    return part.seeds if part else ()


def _without_seeds(part: TuningRecipe | ContestRecipe | None) -> Record | None:
    """The settings that a run may not change; its seeds may be fewer."""
    return None if part is None else part.model_copy(update={"seeds": ()})


def _differing(own: object, expected: object) -> str:
    """The first setting that differs, in words."""
    if not isinstance(own, Record) or not isinstance(expected, Record):
        return f"{own} instead of {expected}"
    found, wanted = own.model_dump(), expected.model_dump()
    key = next(key for key in found if found[key] != wanted[key])
    return f"{key} is {found[key]} instead of {wanted[key]}"
