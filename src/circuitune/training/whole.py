"""Full fine-tuning: all weights are trained, and a checkpoint is a Transformers folder with its tokenizer."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from circuitune.core.atomic import flush
from circuitune.core.errors import InputError, MachineError
from circuitune.training.rows import AnswerRows
from circuitune.training.tuning import Model, Tuning

_UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class Full(Tuning):
    """All weights of the model."""

    def attach(self, model: PreTrainedModel, rows: AnswerRows, steps: int, seed: int) -> PreTrainedModel:
        """The model itself, every parameter trainable; InputError where it has an adapter."""
        if hasattr(model, "peft_config"):
            raise InputError("The model has an adapter already; merge it (merge_and_unload) or unload it first.")
        model.requires_grad_(True)
        return model

    def save(self, model: Model, tokenizer: PreTrainedTokenizerBase, folder: Path) -> int:
        """A folder for ``from_pretrained`` and `load`; returns the number of weights."""
        assert isinstance(model, PreTrainedModel)
        broken = [name for name, weights in model.named_parameters() if not bool(weights.isfinite().all())]
        if broken:
            raise MachineError(f"The weight {broken[0]} is not finite; lower the learning rate.")
        with _appearing(folder) as unfinished, _without_bars():
            model.save_pretrained(unfinished)
            tokenizer.save_pretrained(unfinished)
        return sum(weights.numel() for weights in model.parameters())


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder to fill under another name; it gets its own when it is whole."""
    unfinished = folder.with_name(f".{folder.name}{_UNFINISHED}")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)  # of a killed process
        unfinished.mkdir(parents=True)
        yield unfinished
        for path in sorted(unfinished.rglob("*")):
            flush(path)
        shutil.rmtree(folder, ignore_errors=True)  # the same checkpoint, of a run that goes on before it
        unfinished.rename(folder)
        flush(folder.parent)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MachineError(
            f"{folder} could not be written ({reason}); free space or choose another folder."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def _without_bars() -> Iterator[None]:
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if bars:
            logging.enable_progress_bar()
