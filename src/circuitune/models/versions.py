"""A model before fine-tuning and after (two of one shape, or one with its adapter off and on), and untrained."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import nn
from transformers import PreTrainedModel

from circuitune.core.environment import machine_memory
from circuitune.core.errors import InputError
from circuitune.core.seeding import forked
from circuitune.models.anatomy import Anatomy, anatomy_of
from circuitune.models.running import prepared


@dataclass(frozen=True, eq=False)
class Version:
    """One of the two.

    Attributes:
        model: a Transformers causal language model or a `peft.PeftModel`.
        adapter: whether its adapter is on; means nothing for a model without one.
    """

    model: nn.Module
    adapter: bool = True

    @contextmanager
    def active(self) -> Iterator[Anatomy]:
        """Inside, the model computes as this version, in evaluation mode and without gradients.

        Contexts of two versions of one model can be nested; the inner one holds. Afterwards adapter, modes and
        gradients wanted are as before.
        """
        with prepared(self.model), torch.no_grad(), _switched(self.model, self.adapter):
            yield anatomy_of(self.model)


def untrained(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """A model of the same shape, type and device with random weights, drawn with `seed`; in evaluation mode."""
    with forked(seed):
        fresh: Any = type(model)._from_config(model.config, dtype=model.dtype)  # its class is here, whoever wrote it
    return fresh.to(model.device).eval()


def can_be_drawn(model: nn.Module) -> TypeGuard[PreTrainedModel]:
    """Whether `untrained` can make another: a Transformers model, unquantised, on one device that holds both.

    The device must have three times the memory of its weights: for both, and for running one. What else takes memory
    there is not asked, so that the answer is the same every time.
    """
    if not isinstance(model, PreTrainedModel) or getattr(model, "is_quantized", False):
        return False
    if len({parameter.device for parameter in model.parameters()}) > 1:
        return False
    return 3 * weights_size(model) <= _memory(model.device)


def weights_size(model: nn.Module) -> int:
    """Bytes of a model's weights."""
    return sum(parameter.numel() * parameter.itemsize for parameter in model.parameters())


def _memory(device: torch.device) -> int:
    """Bytes of a GPU, or of this machine."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return machine_memory()


def before_and_after(tuned: nn.Module, base: nn.Module | None = None) -> tuple[Version, Version]:
    """The base version and the tuned one; without a base model it is the tuned one with its adapter off.

    Raises:
        InputError: no base model, and the tuned one has no adapter, or it is merged into the weights or off in part.
    """
    if base is not None:
        return Version(base), Version(tuned)
    if not hasattr(tuned, "disable_adapter"):
        raise InputError("The tuned model has no adapter to switch off; give the base model too (base=).")
    status: Any = tuned.get_model_status()  # type: ignore[operator]
    if status.merged_adapters:
        raise InputError("The adapter is merged into the weights; unmerge it, or give the base model too (base=).")
    if status.enabled == "irregular":
        raise InputError("Some layers of the adapter are off; switch all on, or give the base model too (base=).")
    return Version(tuned, adapter=False), Version(tuned)


@contextmanager
def _switched(model: Any, on: bool) -> Iterator[None]:
    """PEFT's own context can only switch off, and not inside itself."""
    if not hasattr(model, "disable_adapter") or model.get_model_status().enabled in (on, "irregular"):
        yield
        return
    layers = model.base_model
    (layers.enable_adapter_layers if on else layers.disable_adapter_layers)()
    try:
        yield
    finally:
        (layers.disable_adapter_layers if on else layers.enable_adapter_layers)()
