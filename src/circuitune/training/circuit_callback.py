"""Circuits at the save steps of somebody's own training, with the Transformers Trainer or TRL.

    trainer = Trainer(..., callbacks=[ct.CircuitCallback(inputs, "run/circuits", steps=5)])
    trainer.train()
    series = read_series("run/circuits")                   # step -> EdgeScores

Training goes on exactly as it would without: modes, gradients, hooks and random state are put back, so the weights it
ends with are the same to the bit. What is scored is the model itself, in evaluation mode and in the type of its
weights: autocasting, which the Trainer wraps around a model's forward, is left out, so that the scores are those of
the saved checkpoint.
"""

import hashlib
import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from circuitune.circuits.attribution import attribute
from circuitune.circuits.reduce import summed, world
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError, MachineError
from circuitune.core.seeding import forked
from circuitune.models.encoding import EncodedPairs, encode
from circuitune.models.running import substituted
from circuitune.tasks.pairs import PairSet
from circuitune.tasks.tokens import Tokenizer

_SAMPLE = 1024
"""Values of each parameter and buffer that tell one model from another."""


class CircuitCallback(TrainerCallback):
    """Scores all edges before the first step and whenever the Trainer saves: ``step-00000.safetensors`` and so on.

    A step whose file is whole, made with the same options from the same pairs and the same weights is not done again,
    so a resumed training goes on where it was; where an option is a function (a loss of your own), which its name
    does not tell from another, every step is done. Every file names the weights of the record before it, so that
    files of two trainings do not pass for one. Under `torchrun` the pairs are split over the processes.

    Args:
        inputs: pairs to score on, not trained on: encoded, or a `PairSet`.
        folder: where the files go; by default ``circuits`` in the Trainer's output folder.
        tokenizer: encodes a `PairSet`; by default the Trainer's own (``processing_class``).
        enabled: False does nothing at all.
        options: as in `attribute`: method, steps, metric, ablation, per_example, batch_size, memory ...

    Raises:
        InputError: an option that `attribute` does not have; before the first step also whatever `attribute` refuses.
    """

    def __init__(
        self,
        inputs: EncodedPairs | PairSet,
        folder: str | Path | None = None,
        *,
        tokenizer: Tokenizer | None = None,
        enabled: bool = True,
        **options: Any,
    ) -> None:
        known = [name for name in inspect.signature(attribute).parameters if name not in ("model", "inputs")]
        if unknown := sorted(set(options) - set(known)):
            raise InputError(f"{unknown[0]!r} is no option of a circuit callback; use {', '.join(known)}.")
        self.inputs, self.folder, self.tokenizer = inputs, None if folder is None else Path(folder), tokenizer
        self.enabled, self.options = enabled, options
        self._previous: str | None = None  # weights of the last record, or those that a resumed training began with

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Score the model before the first step; a resumed training is past that."""
        if not self.enabled:
            return
        self._previous = fingerprint(kwargs["model"]) if state.global_step else None
        if state.global_step == 0:
            self._record(args, 0, kwargs)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Score the model as it was saved. Scores that are not finite are a warning and do not stop the training."""
        if self.enabled:
            try:
                self._record(args, state.global_step, kwargs)
            except MachineError as error:
                warnings.warn(f"No circuit was recorded at step {state.global_step}: {error}", stacklevel=2)

    def _record(self, args: TrainingArguments, step: int, given: Mapping[str, Any]) -> None:
        model, path = given["model"], step_file(self.folder or Path(args.output_dir or ".") / "circuits", step)
        inputs = self._encoded(given.get("processing_class"))
        made = {
            "step": step,
            "weights": fingerprint(model),
            "previous": self._previous,
            "options": _plain(self.options),
        }
        first = world()[0] == 0
        # Only the first process knows the file; the others must not wait for it inside `attribute`, or it for them.
        reusable = first and not any(callable(option) for option in self.options.values())
        if summed(torch.tensor(float(reusable and _holds(path, {**made, "pairs_digest": inputs.digest})))) > 0:
            self._previous = made["weights"]
            return
        with forked(0), _without_autocast(model):
            scores = attribute(model, inputs, **self.options)
        if first:
            replace(scores, settings={**scores.settings, **made}).save(path)
        self._previous = made["weights"]

    def _encoded(self, processing_class: Any) -> EncodedPairs:
        if isinstance(self.inputs, PairSet):
            tokenizer = self.tokenizer or processing_class
            if tokenizer is None:
                raise InputError("A circuit callback needs a tokenizer to encode its pairs; give tokenizer=.")
            self.inputs = encode(self.inputs, tokenizer)
        return self.inputs


def step_file(folder: Path, step: int) -> Path:
    """Where the scores of a step lie."""
    return folder / f"step-{step:05d}.safetensors"


def read_series(folder: str | Path) -> dict[int, EdgeScores]:
    """The scores that a callback left in a folder, by step.

    Raises:
        InputError: there are none, a file is damaged, or two do not follow each other in one training.
    """
    series = {int(path.stem.removeprefix("step-")): path for path in Path(folder).glob("step-*.safetensors")}
    if not series:
        raise InputError(f"{folder} holds no step-*.safetensors; give the folder of a circuit callback.")
    scores = {step: EdgeScores.load(series[step]) for step in sorted(series)}
    for earlier, later in pairwise(scores):
        before, after = scores[earlier].settings, scores[later].settings
        alike = all(before.get(name) == after.get(name) for name in ("options", "pairs_digest"))
        if not alike or after.get("previous") != before.get("weights"):
            raise InputError(
                f"{series[later]} does not follow {series[earlier].name}: they are of two trainings, options or sets "
                "of pairs, or a record between them is missing; give every training a folder of its own."
            )
    return scores


def _holds(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the file is whole and was made in just this way."""
    if not path.exists():
        return False
    try:
        found = EdgeScores.load(path).settings
    except InputError:
        return False
    return all(found.get(name) == value for name, value in settings.items())


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over names and a sample of values of all parameters and buffers, those of a frozen base among them."""
    content = hashlib.sha256()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        values: Any = tensor.detach()
        values = (values.to_local() if hasattr(values, "to_local") else values).flatten()
        sample = values[:: max(1, len(values) // _SAMPLE)].to("cpu", torch.float32)
        content.update(name.encode() + sample.contiguous().numpy().tobytes())
    return content.hexdigest()


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as JSON keeps them; batch sizes and memory do not change a score."""
    kept = {name: value for name, value in options.items() if name not in ("batch_size", "memory", "share_prefix")}
    return {
        name: _name(value) if callable(value) else getattr(value, "digest", value) for name, value in kept.items()
    }


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)


@contextmanager
def _without_autocast(model: nn.Module) -> Iterator[None]:
    """The forward that accelerate wrapped, if it did."""
    original = model.__dict__.get("_original_forward")
    if original is None:
        yield
        return
    with substituted(model, original):
        yield
