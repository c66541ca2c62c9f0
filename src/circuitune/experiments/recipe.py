"""The recipe: one YAML file that says everything a run does.

A recipe may start with ``extends: default`` (or ``quick``, ``full``, or the name of a YAML file beside it) and then
holds only what differs.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, cast, get_args

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from circuitune.core.errors import InputError
from circuitune.core.parsing import one_line, parse_yaml
from circuitune.core.placement import Device, Dtype
from circuitune.core.records import Record
from circuitune.tasks.splits import Part
from circuitune.training.methods import LEARNING_RATES, PLANNED, RANKED, MethodName

BUILT_IN = ("default", "quick", "full")
YAML = (".yaml", ".yml")
RECIPE = "recipe.yaml"
"""Its file in a run folder."""
Parameter = bool | int | float | str
Share = Annotated[float, Field(gt=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("a seed comes twice, and would be no second draw")
    return seeds


Seeds = Annotated[tuple[int, ...], Field(min_length=1), AfterValidator(_distinct)]

Rate = Annotated[float, Field(gt=0)]
Rival = Literal[
    "compute",
    "base",
    "after",
    "bottom",
    "first",
    "gradient",
    "weights",
    "mlp",
    "modules",
    "warm",
    "faster",
    "adalora",
    "eva",
    "truncated",
    "full",
    "union",
    "transfer",
    "alphas",
    "base_modules",
    "data",
    "eva_compute",
    "data_compute",
    "eva_even",
]
"""Ways to fine-tune that a contest may add; `arms` says what each is."""
Entrant = Literal["circuitlora", "uniform", "random"] | Rival
"""Who takes part in a contest: three always do."""

R = TypeVar("R", bound=Record)


class DataRecipe(Record):
    """Which pairs: a task of ours with its parameters, or a file (path relative to the recipe)."""

    task: str | None = None
    parameters: dict[str, Parameter] = Field(default_factory=dict[str, Parameter])
    file: str | None = None
    answer_prefix: str | None = None
    strict: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> "DataRecipe":
        if (self.task is None) == (self.file is None):
            raise ValueError("name either a task or a file")
        if self.file is not None and self.parameters:
            raise ValueError("parameters belong to a task, not to a file")
        if self.file is None and self.answer_prefix is not None:
            raise ValueError("answer_prefix belongs to a file, not to a task")
        return self


class TrainingRecipe(Record):
    """How every fine-tuning of the run is done; ``rows`` and ``test_rows`` bound the splits (None: all)."""

    epochs: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(gt=0)
    accumulation: int = Field(default=1, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_steps: int = Field(default=0, ge=0)
    checkpoints: int = Field(default=10, gt=0)
    spacing: Literal["even", "log"] = "even"
    rows: int | None = Field(default=None, gt=0)
    test_rows: int | None = Field(default=None, gt=0)


class TuningRecipe(Record):
    """The fine-tunings whose circuits are followed, once per seed.

    ``method`` as in `training.catalogue`; full fine-tuning and IA3 have no ``rank``, the others have one for all
    modules. ``learning_rate``: its own, in place of that of the recipe's training; a method for which LoRA's is wrong
    needs one.
    """

    method: MethodName = "lora"
    rank: int | None = Field(gt=0)
    learning_rate: float | None = Field(default=None, gt=0)
    seeds: Seeds

    @model_validator(mode="after")
    def _ranks(self) -> "TuningRecipe":
        if (self.rank is None) == (self.method in (*PLANNED, *RANKED)):
            said = "needs a rank" if self.rank is None else "has no rank: say rank: null"
            raise ValueError(f"method {self.method} {said}")
        if self.method in LEARNING_RATES and self.learning_rate is None:
            usual = LEARNING_RATES[self.method]
            raise ValueError(f"method {self.method} needs a learning_rate of its own ({usual:g} is usual)")
        return self


class DiscoveryRecipe(Record):
    """How a circuit is found, and on which held-out pairs its faithfulness is measured.

    ``metric`` auto means the logit difference where wrong answers are known, else kl. ``share`` of the edges
    makes the circuit; ``shares`` are the sizes of the faithfulness curve.
    """

    method: Literal["eap", "eap-ig"] = "eap-ig"
    steps: int = Field(default=5, gt=0)
    quadrature: Literal["midpoint", "left", "right", "gauss"] = "midpoint"
    metric: Literal["auto", "logit_diff", "kl", "nll"] = "auto"
    pairs: int = Field(default=200, gt=0)
    share: Share = 0.05
    part: Literal["validation", "test"] = "validation"
    evaluation_pairs: int = Field(default=200, gt=0)
    shares: tuple[Share, ...] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)

    @property
    def sizes(self) -> tuple[float, ...]:
        """Shares of the faithfulness curve, that of the circuit itself among them."""
        return tuple(sorted({*self.shares, self.share}))


class AnalysisRecipe(Record):
    """How the change of every fine-tuning is held against chance.

    ``resamples`` of the pairs make the intervals; the pairs are halved ``halvings`` times, for the model before and
    for the one after; ``random_models`` are compared two by two; both circuits are rewired and drawn at random
    ``rewirings`` times.
    ``draws`` random sets of unchanged edges stand beside the changed ones in the causal check.
    """

    resamples: int = Field(default=200, ge=200)
    halvings: int = Field(default=20, ge=1)
    random_models: int = Field(default=5, ge=2)
    rewirings: int = Field(default=40, ge=1)
    draws: int = Field(default=10, ge=1)
    heads: int = Field(default=10, ge=1)


class RobustnessRecipe(Record):
    """How the circuits before, after and of a random model hold when other pairs of the task are taken.

    ``noise``: shares of the pairs that are resampled, each ``draws`` times (empty: none, for data of one's own, which
    does not say how it is resampled). ``parts``: the circuit split is divided into so many.
    """

    noise: tuple[Share, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    draws: int = Field(default=3, ge=1)
    parts: int = Field(default=5, ge=2)


class CompositionRecipe(Record):
    """Tasks that the run's task is composed of, and ``unrelated`` ones as a control; ``draws`` of random edges."""

    parts: Annotated[dict[Name, DataRecipe], Field(min_length=2)]
    unrelated: dict[Name, DataRecipe] = Field(default_factory=dict[str, DataRecipe])
    draws: int = Field(default=5, ge=1)

    @model_validator(mode="after")
    def _different(self) -> "CompositionRecipe":
        if twice := self.parts.keys() & self.unrelated.keys():
            raise ValueError(f"{min(twice)} is both a part and unrelated")
        return self


class TextRecipe(Record):
    """Text that a model should still expect after fine-tuning: a UTF-8 file with one passage per line."""

    file: str


class ContestRecipe(Record):
    """CircuitLoRA beside its rivals of equal size: uniform ranks, critical layers drawn at random, and ``rivals``.

    ``critical_layers`` None takes the study's five of 24 layers in proportion, at least one. Phase 1 is a
    LoRA of rank ``phase1_rank``, tuned for ``phase1_epochs``.

    Every arm takes the one of ``rates`` (or of its own in ``own_rates``) at which its mean accuracy over
    ``rate_seeds`` is highest on the validation split; without rates all have the learning rate of the recipe's
    training. Accuracy on ``kept`` tasks and the loss on ``text`` are measured before and after: what fine-tuning
    makes the model forget. ``transfer`` names the kept task whose critical layers the rival of that name takes.
    """

    seeds: Seeds
    rivals: tuple[Rival, ...] = ()
    rates: tuple[Rate, ...] = ()
    own_rates: dict[Rival, tuple[Rate, ...]] = Field(default_factory=dict[Rival, tuple[Rate, ...]])
    rate_seeds: Seeds = (1000, 1001)
    kept: dict[Name, DataRecipe] = Field(default_factory=dict[str, DataRecipe])
    kept_pairs: int = Field(default=200, gt=0)
    text: TextRecipe | None = None
    transfer: str | None = None
    rank: int = Field(gt=0)
    critical_rank: int = Field(gt=0)
    critical_layers: int | None = Field(default=None, gt=0)
    rule: Literal["released", "normalised"] = "released"
    random_draws: int = Field(gt=0)
    phase1_rank: int = Field(default=2, gt=0)
    phase1_epochs: int = Field(default=1, gt=0)

    @model_validator(mode="after")
    def _two_levels(self) -> "ContestRecipe":
        if self.critical_rank <= self.rank:
            raise ValueError("critical_rank must be larger than rank")
        return self

    @model_validator(mode="after")
    def _choices(self) -> "ContestRecipe":
        if len(set(self.rivals)) < len(self.rivals):
            raise ValueError("a rival comes twice")
        if self.own_rates and not self.rates:
            raise ValueError("own_rates are for some rivals what rates are for all; give rates too")
        if odd := self.own_rates.keys() - set(self.rivals):
            raise ValueError(f"own_rates names {min(odd)}, which is not among the rivals")
        if "warm" in self.rivals and self.phase1_rank > self.rank:
            raise ValueError("warm goes on from phase 1, so phase1_rank must not be larger than rank")
        for rival in ("eva", "data"):
            if (
                f"{rival}_compute" in self.rivals
                and rival not in self.rivals[: self.rivals.index(f"{rival}_compute")]
            ):
                raise ValueError(f"{rival}_compute spends as much as {rival}, which must stand before it")
        if split := self.kept.keys() & {*get_args(Part)}:
            raise ValueError(f"{min(split)} is a part of the run's own pairs; give the kept task another name")
        if ("transfer" in self.rivals) != (self.transfer is not None):
            raise ValueError("the rival transfer and the kept task that transfer names need each other")
        if self.transfer is not None and self.transfer not in self.kept:
            raise ValueError(f"transfer names {self.transfer}, which is not among the kept tasks")
        if self.rates and set(self.rate_seeds) & set(self.seeds):
            raise ValueError("rate_seeds must be other seeds than the contest's")
        return self

    @property
    def entrants(self) -> tuple[Entrant, ...]:
        """Who takes part; random layers once for every draw."""
        draws: list[Entrant] = ["random"] * self.random_draws
        return ("circuitlora", "uniform", *draws, *self.rivals)

    @property
    def tried_seeds(self) -> tuple[int, ...]:
        """Seeds of which the learning rates are chosen; none where no arm has a choice."""
        choice = any(len(rates) > 1 for rates in (self.rates, *self.own_rates.values()))
        return self.rate_seeds if choice else ()


class Recipe(Record):
    """Everything a run does; two runs of equal recipes make equal artefacts.

    ``registration`` is the sha256 of the file in which a study said beforehand what it expects; ``contest`` None
    leaves out phase 1 and the comparison of methods, ``tuning`` None the fine-tunings whose circuits are followed,
    ``robustness`` and ``composition`` None these two questions. ``device`` auto is the first GPU of this machine, if
    it has one, but the CPU for nano and for jobs elsewhere; a run folder says which it was, and keeps to it.
    ``dtype`` None: as stored, but float32 on the CPU.
    """

    format: Literal[1] = 1
    name: Name
    registration: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    model: str
    revision: str | None = None
    device: Device = "auto"
    dtype: Dtype | None = None
    data: DataRecipe
    training: TrainingRecipe
    tuning: TuningRecipe | None
    discovery: DiscoveryRecipe
    analysis: AnalysisRecipe = AnalysisRecipe()
    robustness: RobustnessRecipe | None = None
    composition: CompositionRecipe | None = None
    contest: ContestRecipe | None = None

    @model_validator(mode="after")
    def _something(self) -> "Recipe":
        if self.tuning is None:
            if self.contest is None:
                raise ValueError("tuning and contest are both left out: there is nothing to do")
            if self.robustness is not None or (self.composition is not None and not self.united):
                raise ValueError("robustness and composition look at the tuning, and there is none")
        if self.contest is not None and "union" in self.contest.rivals and self.composition is None:
            raise ValueError("the rival union needs to know what the task is composed of; add composition")
        if twice := self.composed.keys() & self.kept.keys():
            raise ValueError(f"{min(twice)} is named in composition and in contest.kept; give it two names")
        return self

    @property
    def composed(self) -> dict[str, DataRecipe]:
        """The data of the tasks that circuits are united of, by name."""
        composition = self.composition
        return {**composition.parts, **composition.unrelated} if composition else {}

    @property
    def united(self) -> tuple[str, ...]:
        """Names of the parts that the contest fine-tunes on, for the circuits that the arm ``union`` unites."""
        wanted = self.composition is not None and self.contest is not None and "union" in self.contest.rivals
        return tuple(self.composition.parts) if wanted and self.composition else ()

    @property
    def studied(self) -> tuple[str, ...]:
        """Names of the other tasks that the contest has a phase 1 on: for ``union`` and for ``transfer``."""
        return (*self.united, *([self.lender] if self.lender else []))

    @property
    def lender(self) -> str:
        """The other task whose critical layers ``transfer`` takes; empty where it takes no part."""
        return (self.contest.transfer or "") if self.contest else ""

    @property
    def text(self) -> TextRecipe | None:
        """The text on which forgetting is measured."""
        return self.contest.text if self.contest else None

    @property
    def kept(self) -> dict[str, DataRecipe]:
        """The data of the tasks on which forgetting is measured, by name."""
        return self.contest.kept if self.contest else {}

    @property
    def other_data(self) -> dict[str, DataRecipe]:
        """The data of all tasks beside the run's own, by name."""
        return {**self.composed, **self.kept}

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are named, each once."""
        named = [data.file for data in (self.data, *self.other_data.values()) if data.file is not None]
        return tuple(dict.fromkeys([*named, *([self.text.file] if self.text else [])]))

    @property
    def critical_layers(self) -> int | None:
        """How many layers are critical; None: the study's share of them."""
        return self.contest.critical_layers if self.contest else None


def load_recipe(source: str | Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe by built-in name or path, resolve ``extends``, and apply nested ``changes``.

    Raises:
        InputError: no such file, no YAML mapping, an unknown field, or a value out of range.
    """
    return validated(Recipe, merge(_read(source), changes or {}), f"Recipe {source}")


def validated(schema: type[R], fields: Mapping[str, Any], what: str) -> R:
    """The fields as a record; InputError says of ``what`` which field is wrong and how."""
    try:
        return schema.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        place = f", field {'.'.join(map(str, first['loc']))}" if first["loc"] else ""
        message = first["msg"].removeprefix("Value error, ").removesuffix(".")
        raise InputError(f"{what}{place}: {message}.") from error


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML, complete, in the order of its fields."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read(source: str | Path) -> dict[str, Any]:
    if source in BUILT_IN:
        text = (files("circuitune.experiments") / "recipes" / f"{source}.yaml").read_text(encoding="utf-8")
        return extended(parsed(text, f"Recipe {source}"), f"Recipe {source}")
    hint = f"give a YAML file, or one of {', '.join(BUILT_IN)}"
    text = read_text(Path(source), f"Recipe {source}", hint)
    return extended(inherited(text, Path(source), f"Recipe {source}"), f"Recipe {source}")


def read_text(path: Path, what: str, hint: str) -> str:
    """The text of a file that a user wrote; InputError says why ``what`` cannot be read, and the hint."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{what} cannot be read ({_reason(error)}); {hint}.") from error


def parsed(text: str, what: str) -> dict[str, Any]:
    """The fields of a YAML mapping; InputError where ``what`` holds no such thing."""
    try:
        content = parse_yaml(text)
    except ValueError as error:
        raise InputError(f"{what} is not valid YAML ({error}).") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in cast(dict[Any, Any], content)):
        raise InputError(f"{what} must be a YAML mapping of field names to values.")
    return cast(dict[str, Any], content)


def inherited(text: str, path: Path, what: str, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The fields of a file over those of the files beside it that it extends; what is left to extend is built in.

    ``below`` are the files that extend this one.
    """
    fields = anchored(parsed(text, what), path.parent)
    parent = fields.get("extends")
    if not isinstance(parent, str) or not parent.endswith(YAML):
        return fields
    above = path.parent / parent
    if Path(parent).name != parent:
        raise InputError(f"{what} extends {parent}; a file that it extends must be in the same folder.")
    if above in (path, *below):
        raise InputError(f"{what} extends {parent}, and so in the end itself; leave one of them out.")
    own = {key: value for key, value in fields.items() if key != "extends"}
    hint = "give the name of a YAML file in the same folder"
    base = read_text(above, f"{above}, which {what[0].lower()}{what[1:]} extends,", hint)
    return merge(inherited(base, above, f"Recipe {above}", (path, *below)), own)


def extended(fields: Mapping[str, Any], what: str) -> dict[str, Any]:
    """The fields over those of the built-in recipe that they extend."""
    own = {key: value for key, value in fields.items() if key != "extends"}
    parent = fields.get("extends")
    if parent is None:
        return own
    if parent not in BUILT_IN:
        known = ", ".join(BUILT_IN)
        raise InputError(f"{what} extends {parent!r}; it can extend {known}, or a YAML file in the same folder.")
    return merge(_read(parent), own)


FILES: Final = (
    ("data",),
    ("composition", "parts", "*"),
    ("composition", "unrelated", "*"),
    ("contest", "kept", "*"),
    ("contest", "text"),
)
"""Where in a recipe a file may be named; ``*`` is any name."""


def anchored(fields: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The fields with paths as they are meant: from the folder of their file."""
    placed = dict(fields)
    model = fields.get("model")
    if isinstance(model, str) and (folder / model).is_dir():
        placed["model"] = str((folder / model).resolve())
    for place in FILES:
        _anchor(placed, place, folder)
    return placed


def _anchor(fields: dict[str, Any], place: Sequence[str], folder: Path) -> None:
    """Replace the path of the file at a place (`FILES`) in ``fields``, which are the caller's own."""
    if not place:
        if isinstance(fields.get("file"), str):
            fields["file"] = str((folder / fields["file"]).resolve())
        return
    first, *rest = place
    for name in fields if first == "*" else (first,):
        if isinstance(fields.get(name), dict):
            fields[name] = {**fields[name]}
            _anchor(fields[name], rest, folder)


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``changes`` over ``base``, mappings merged; ``data`` is replaced whole, since a file excludes a task."""
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        if key != "data" and isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = merge(cast(Mapping[str, Any], below), cast(Mapping[str, Any], value))
        else:
            merged[key] = value
    return merged


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or one_line(error)
