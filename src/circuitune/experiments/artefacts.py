"""What jobs and tables share: where artefacts lie, what they are called, and how models and pairs are read."""

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar, overload

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from circuitune.circuits.attribution import attribute
from circuitune.circuits.memory import BUDGET
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError, MachineError
from circuitune.experiments.inputs import Model, load_pinned, load_whole
from circuitune.experiments.recipe import DiscoveryRecipe
from circuitune.experiments.specs import (
    AnalyseSpec,
    ComposeSpec,
    DiscoverSpec,
    JobSpec,
    RobustnessSpec,
    TrainSpec,
    tries,
)
from circuitune.experiments.store import JobFolder
from circuitune.models.encoding import EncodedPairs, encode
from circuitune.models.loading import with_adapter
from circuitune.tasks.pairs import PairSet

PLAN = "circuit_plan.json"
PAIRS = "pairs.json"
ANALYSIS = "analysis.json"
COMPOSITION = "composition.json"
TRAINED = "trained.json"
TEXT = "text.csv"
COMPUTE = "compute.json"

T = TypeVar("T")

HALF_MEMORY = BUDGET // 2
"""Bytes that the engine may take above the model where the scores of every pair are held beside it."""


def row_label(spec: TrainSpec | DiscoverSpec | AnalyseSpec | RobustnessSpec | ComposeSpec) -> str:
    """The name of a fine-tuning in the tables, such as ``tune seed 0`` or ``random 2 seed 0``."""
    draw = f" {spec.ranks.draw}" if isinstance(spec, TrainSpec) and spec.arm == "random" else ""
    rate = f" rate {spec.training.learning_rate:g}" if isinstance(spec, TrainSpec) and tries(spec) else ""
    part = f" {spec.part}" if isinstance(spec, TrainSpec | DiscoverSpec) and spec.part else ""
    return f"{spec.arm}{part}{draw} seed {spec.seed}{rate}"


def step_of(path: Path) -> int:
    """The optimizer step of a checkpoint, or of the scores or circuit made at it."""
    return int(path.stem.removeprefix("step-"))


def by_step(folder: Path) -> list[Path]:
    """What a folder of checkpoints, scores or circuits holds, in the order of training.

    Raises:
        InputError: it is not there, or holds something else as well.
        MachineError: it cannot be read.
    """
    try:
        found = list(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise MachineError(f"{folder} could not be read ({error.strerror or error}).") from error
    foreign = [path for path in found if not re.fullmatch(r"step-\d{1,12}", path.stem)]
    if foreign or not found:
        what = f"holds {foreign[0].name}, which is of no step" if foreign else "holds nothing"
        raise InputError(f"{folder} {what}; restore it, or remove its job's folder and run the recipe again.")
    return sorted(found, key=step_of)


class OnDisk(Sequence[T], Generic[T]):
    """What files hold, each read when it is asked for and not kept: memory does not grow with their number."""

    def __init__(self, paths: Sequence[Path], read: Callable[[Path], T]) -> None:
        self._paths, self._read = paths, read

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> "OnDisk[T]": ...
    def __getitem__(self, place: int | slice) -> "T | OnDisk[T]":
        paths = self._paths[place]
        return self._read(paths) if isinstance(paths, Path) else OnDisk(paths, self._read)


def load(job: JobFolder, spec: JobSpec) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The run's model, made sure to be the one the spec names."""
    recipe = job.run.recipe
    return load_pinned(recipe.model, recipe.revision, spec.model)


def encoded(
    job: JobFolder, part: str, count: int, metric: str, tokenizer: PreTrainedTokenizerBase, role: str = "pairs"
) -> EncodedPairs:
    """At most ``count`` pairs of a part; for the logit difference only those with a wrong answer."""
    return encode(usable(job.pairs(part, role), metric).sample(count), tokenizer)


def usable(pairs: PairSet, metric: str) -> PairSet:
    """The pairs that a metric can be taken of; InputError where there is none."""
    if metric == "logit_diff":
        kept = tuple(pair for pair in pairs if pair.wrong is not None)
        pairs = PairSet(pairs.name, kept, pairs.part, pairs.settings)
    if not len(pairs):
        raise InputError(
            f"The {pairs.part} part of {pairs.name} has no usable pair for {metric}; "
            "add rows, or set discovery.metric to kl."
        )
    return pairs


def scored(
    model: Model,
    inputs: EncodedPairs,
    how: DiscoveryRecipe,
    metric: str,
    *,
    per_example: bool = False,
    memory: int = BUDGET,
) -> EdgeScores:
    """Edge scores as the recipe finds its circuits."""
    return attribute(
        model,
        inputs,
        method=how.method,
        steps=how.steps,
        metric=metric,
        quadrature=how.quadrature,
        per_example=per_example,
        memory=memory,
    )


@contextmanager
def opened(base: PreTrainedModel, checkpoint: Path) -> Generator[Model]:
    """The model of a checkpoint, in evaluation mode: the base with its adapter in it meanwhile, or a whole model.

    What fails with it is said to be of this checkpoint.
    """
    try:
        with _opened(base, checkpoint) as model:
            yield model
    except MachineError as error:
        raise MachineError(f"{checkpoint.name}: {error}") from error


@contextmanager
def _opened(base: PreTrainedModel, checkpoint: Path) -> Generator[Model]:
    if not (checkpoint / "adapter_config.json").is_file():
        yield load_whole(str(checkpoint), device=base.device, dtype=base.dtype)[0]
        return
    model = with_adapter(base, checkpoint)
    try:
        yield model.eval()
    finally:
        model.unload()  # pyright: ignore


def without(model: Model, base: PreTrainedModel) -> PreTrainedModel | None:
    """The base beside a whole model; None where the model is the base with an adapter to switch off."""
    return None if isinstance(model, PeftModel) else base
