"""What one job is asked to do: a frozen JSON spec whose hash is part of the job's folder name.

A spec holds everything that can change the job's artefacts and nothing else: no absolute path, no time, no
host. Inputs are named by folder, so their hashes are part of the spec and a change anywhere upstream gives
every job below it a new folder.
"""

from typing import Annotated, Literal

from pydantic import Field

from circuitune.core.manifest import digest
from circuitune.core.records import Record
from circuitune.experiments.recipe import (
    AnalysisRecipe,
    DataRecipe,
    DiscoveryRecipe,
    RobustnessRecipe,
    TrainingRecipe,
)
from circuitune.training.methods import MethodName

NUMERICS = 3
"""Raised by hand whenever a change of the code changes any job's numbers: every job is then stale."""

Arm = Literal["tune", "phase1", "circuitlora", "uniform", "random"]


class ModelRef(Record):
    """A model by content: the name as shown, and a fingerprint of its files (or its hub revision)."""

    name: str
    fingerprint: str


class RankSpec(Record):
    """How the ranks are allocated.

    ``uniform``: ``rank`` everywhere. ``circuit``: ``critical_rank`` in the layers that the circuits before
    and after phase 1 choose by ``rule``, ``rank`` elsewhere. ``random``: in layers drawn with ``draw``.
    ``matched``: uniform, with exactly the parameters of the two-level plan. ``none``: the method has no ranks.
    """

    kind: Literal["uniform", "circuit", "random", "matched", "none"]
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
    """Fine-tune once. Inputs: ``pairs``, and ``circuits`` where the ranks come from circuits."""

    kind: Literal["train"] = "train"
    model: ModelRef
    arm: Arm
    seed: int
    method: MethodName
    ranks: RankSpec
    training: TrainingRecipe


class DiscoverSpec(_Spec):
    """Find the circuit at every checkpoint of a training job. Inputs: ``pairs``, ``training``."""

    kind: Literal["discover"] = "discover"
    model: ModelRef
    arm: Arm
    seed: int
    discovery: DiscoveryRecipe


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


def folder_name(spec: JobSpec) -> str:
    """``<label>-<first 12 hexadecimal digits of the spec's SHA-256>``."""
    # A run without a registration keeps the names it had before there were any.
    unregistered = {"registration"} if spec.registration is None else set[str]()
    return f"{spec.label}-{digest(spec.model_dump(mode='json', exclude=unregistered))[:12]}"


def title(spec: JobSpec) -> str:
    """What the job does, in a few words for people."""
    if isinstance(spec, PairsSpec):
        other = spec.label.removeprefix("pairs").removeprefix("-")
        return f"pairs{f' of {other}' if other else ''}: read, check and split"
    arm = {
        "tune": "tuning",
        "phase1": "phase 1",
        "circuitlora": "CircuitLoRA",
        "uniform": "uniform LoRA",
        "random": "random layers",
    }[spec.arm]
    draw = f", draw {spec.ranks.draw}" if isinstance(spec, TrainSpec) and spec.arm == "random" else ""
    verb = {
        "train": "train",
        "discover": "circuits",
        "analyse": "chance",
        "robustness": "robustness",
        "compose": "composition",
    }[spec.kind]
    return f"{verb}: {arm}{draw}, seed {spec.seed}"
