"""What one job is asked to do: a frozen JSON spec whose hash is part of the job's folder name.

A spec holds everything that can change the job's artefacts and nothing else: no absolute path, no time, no
host. Inputs are named by folder, so their hashes are part of the spec and a change anywhere upstream gives
every job below it a new folder.
"""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from circuitune.core.arms import TITLES
from circuitune.core.manifest import digest
from circuitune.core.records import Record
from circuitune.experiments.recipe import (
    AnalysisRecipe,
    DataRecipe,
    DiscoveryRecipe,
    Entrant,
    RobustnessRecipe,
    TrainingRecipe,
)
from circuitune.training.methods import MethodName

NUMERICS = 3
"""Raised by hand whenever a change of the code changes any job's numbers: every job is then stale."""

Arm = Literal["tune", "phase1"] | Entrant
Source = Literal[
    "none",
    "uniform",
    "matched",
    "circuit",
    "random",
    "base",
    "after",
    "bottom",
    "first",
    "gradient",
    "weights",
    "mlp",
    "modules",
    "union",
    "transfer",
    "alphas",
    "base_modules",
    "data",
]
Twist = Literal["none", "longer", "warm", "faster", "even"]


class ModelRef(Record):
    """A model by content: the name as shown, and a fingerprint of its files (or its hub revision).

    ``device`` and ``dtype``: how it is loaded, which the last digits of a number depend on.
    """

    name: str
    fingerprint: str
    device: str = "cpu"
    dtype: str | None = None


class RankSpec(Record):
    """How the ranks are allocated.

    ``uniform``: ``rank`` everywhere. ``circuit``: ``critical_rank`` in the layers that the circuits before and after
    phase 1 choose by ``rule``, ``rank`` elsewhere. All others have as many parameters, or fewer by less than a rank
    step. By layer: ``random`` (drawn with ``draw``), ``base`` and ``after`` (one circuit alone), ``bottom`` (the
    least important), ``first`` (the lowest), ``gradient`` and ``weights`` (the largest gradient before, the largest
    change of weights in phase 1), ``union`` (by ``rule``, the united circuits of the parts of a composed task, before
    and after a phase 1 on each), ``transfer`` (as ``circuit``, on another task). By module: ``matched`` (uniform),
    ``alphas`` (uniform too; the alphas are those that ``circuit`` gives), ``mlp`` (those of the MLPs, evenly),
    ``modules`` and ``base_modules`` (from both circuits or that before alone, by water-filling), ``data`` (two levels
    from training rows, as `plan_for` makes them). ``none``: the method has no ranks.
    """

    kind: Source
    rank: int
    critical_rank: int | None = None
    critical_layers: int | None = None
    rule: Literal["released", "normalised"] = "released"
    draw: int = 0


class _Spec(Record):
    """Fields of every spec; ``inputs`` maps a role to the folder name of the job that made it.

    Whatever decides a setting has stage ``tune`` and can never read the test split (the store refuses);
    what is reported has stage ``report``. ``registration`` is the sha256 of what a study expected beforehand: jobs
    of a changed registration are other jobs.
    """

    format: Literal[1] = 1
    numerics: int = NUMERICS
    label: str
    stage: Literal["tune", "report"]
    inputs: dict[str, str] = Field(default_factory=dict[str, str])
    registration: str | None = None


class PairsSpec(_Spec):
    """Read or generate the pairs, check them against the tokenizer, split them, fill in wrong answers."""

    kind: Literal["pairs"] = "pairs"
    model: ModelRef
    data: DataRecipe
    metric: Literal["auto", "logit_diff", "kl", "nll"]
    rows: int | None = None
    test_rows: int | None = None


class TrainSpec(_Spec):
    """Fine-tune once. Inputs: ``pairs``; ``circuits``, ``phase1`` and `union_role` where the ranks come from there.

    ``twist``: ``longer`` spends on more steps what the job ``rival`` among the inputs spent before its first step;
    ``warm`` starts as the model after phase 1; ``faster`` lets the critical layers learn twice as fast; ``even``
    leaves EVA no ranks to choose. ``rates`` are learning rates of which the job takes that of the highest validation
    accuracy in the jobs that tried them (inputs `rate_role`). ``kept`` are other tasks (inputs `pairs_role`) on which
    accuracy is measured too, ``text`` a file in the run folder on which the loss is. ``part``: the task of a phase 1
    that is not on the run's own.
    """

    kind: Literal["train"] = "train"
    model: ModelRef
    arm: Arm
    seed: int
    method: MethodName
    ranks: RankSpec
    training: TrainingRecipe
    twist: Twist = "none"
    rates: tuple[float, ...] = ()
    kept: tuple[str, ...] = ()
    kept_pairs: int = 0
    text: str = ""
    part: str = ""


class DiscoverSpec(_Spec):
    """Find the circuit at every checkpoint of a training job. Inputs: ``pairs``, ``training``; ``part`` as there."""

    kind: Literal["discover"] = "discover"
    model: ModelRef
    arm: Arm
    seed: int
    discovery: DiscoveryRecipe
    part: str = ""


class AnalyseSpec(_Spec):
    """Hold the change of one fine-tuning against chance. Inputs: ``pairs``, ``training``."""

    kind: Literal["analyse"] = "analyse"
    model: ModelRef
    arm: Arm
    seed: int
    discovery: DiscoveryRecipe
    analysis: AnalysisRecipe
    critical_layers: int | None


class RobustnessSpec(_Spec):
    """Find circuits again with other pairs of the task. Inputs: ``pairs``, ``training``."""

    kind: Literal["robustness"] = "robustness"
    model: ModelRef
    arm: Arm
    seed: int
    discovery: DiscoveryRecipe
    robustness: RobustnessRecipe


class ComposeSpec(_Spec):
    """Unite the circuits of other tasks. Inputs: ``pairs``, ``training``, ``circuits``, and every task's pairs."""

    kind: Literal["compose"] = "compose"
    model: ModelRef
    arm: Arm
    seed: int
    discovery: DiscoveryRecipe
    parts: tuple[str, ...]
    unrelated: tuple[str, ...]
    draws: int


JobSpec = Annotated[
    PairsSpec | TrainSpec | DiscoverSpec | AnalyseSpec | RobustnessSpec | ComposeSpec, Field(discriminator="kind")
]


def pairs_role(name: str) -> str:
    """The role of the pairs of another task among a job's inputs."""
    return f"pairs-{name}"


def rate_role(rate: float, seed: int) -> str:
    """The role of a training that tried a learning rate among a job's inputs."""
    return f"rate-{rate:g}-seed{seed}"


def union_role(name: str) -> str:
    """The role of the circuits of a part of a composed task among a job's inputs."""
    return f"union-{name}"


def is_union_role(role: str) -> bool:
    """Whether an input is such a job."""
    return role.startswith("union-")


def is_rate_role(role: str) -> bool:
    """Whether an input is such a training."""
    return role.startswith("rate-")


LATER = ("registration", "twist", "rates", "kept", "kept_pairs", "text", "part")
"""Fields that only some jobs set: left out of the hash elsewhere, so that a new one gives no other job a new name.

So are the device and type of a model on the CPU as stored.
"""


def folder_name(spec: JobSpec) -> str:
    """``<label>-<first 12 hexadecimal digits of the spec's SHA-256>``."""
    said = spec.model_dump(mode="json")
    fields = type(spec).model_fields
    unset = {name for name in LATER if name in fields and getattr(spec, name) == fields[name].default}
    said["model"] = spec.model.model_dump(mode="json", exclude_defaults=True)
    return f"{spec.label}-{digest({name: value for name, value in said.items() if name not in unset})[:12]}"


def by_folder(specs: Iterable[JobSpec]) -> dict[str, JobSpec]:
    """Jobs by the name of their folder, as the inputs of others name them."""
    return {folder_name(spec): spec for spec in specs}


def title(spec: JobSpec) -> str:
    """What the job does, in a few words for people."""
    if isinstance(spec, PairsSpec):
        other = spec.label.removeprefix("pairs").removeprefix("-")
        return f"pairs{f' of {other}' if other else ''}: read, check and split"
    arm = TITLES[spec.arm]
    draw = f", draw {spec.ranks.draw}" if isinstance(spec, TrainSpec) and spec.arm == "random" else ""
    verb = {
        "train": "train",
        "discover": "circuits",
        "analyse": "chance",
        "robustness": "robustness",
        "compose": "composition",
    }[spec.kind]
    rate = f", rate {spec.training.learning_rate:g}" if isinstance(spec, TrainSpec) and tries(spec) else ""
    part = f" of {spec.part}" if isinstance(spec, TrainSpec | DiscoverSpec) and spec.part else ""
    return f"{verb}: {arm}{part}{draw}, seed {spec.seed}{rate}"


def tries(spec: TrainSpec) -> bool:
    """Whether the job tries a learning rate for others."""
    return spec.stage == "tune" and spec.arm != "phase1"
