"""LoRA trained at a high rank and cut down to a low one: what a checkpoint holds is the best approximation.

PEFT's ``convert_to_lora`` does the cutting, by the singular values of every module's change of weights.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from peft import LoraConfig, PeftModel, convert_to_lora, set_peft_model_state_dict
from torch import Tensor
from transformers import PreTrainedModel

from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.lora import ADAPTER, attach, restore_targets
from circuitune.core.errors import InputError
from circuitune.core.seeding import forked
from circuitune.training.rows import AnswerRows
from circuitune.training.tuning import Model, Tuning, narrowest

WIDER = 4
"""Rank in training over rank in the end."""

_NARROW = "narrow"


@dataclass(frozen=True)
class Truncated(Tuning):
    """LoRA on all linear modules, trained at `WIDER` times the rank that is kept.

    Attributes:
        rank: the rank that is kept.
    """

    rank: int

    def attach(self, model: PreTrainedModel, rows: AnswerRows, steps: int, seed: int) -> PeftModel:
        """The model with the adapter at its high rank."""
        most = narrowest(model)
        if self.rank > most:
            raise InputError(f"The narrowest module has {most} features; give a rank of at most {most}.")
        return attach(model, RankPlan.uniform(model, rank=WIDER * self.rank), seed)

    @contextmanager
    def as_saved(self, model: Model) -> Iterator[PeftModel]:
        """Inside, a second adapter of the low rank is active in place of the one in training."""
        assert isinstance(model, PeftModel)
        self._add_narrow(model)
        try:
            yield model
        finally:
            model.set_adapter(ADAPTER)
            model.delete_adapter(_NARROW)

    def finished(self, model: Model) -> PeftModel:
        """The model with the adapter of the low rank alone."""
        assert isinstance(model, PeftModel)
        self._add_narrow(model)
        model.delete_adapter(ADAPTER)
        return model

    def _add_narrow(self, model: PeftModel) -> None:
        config, weights = truncated(model, self.rank)
        with forked(0):
            model.add_adapter(_NARROW, config)
        set_peft_model_state_dict(model, weights, _NARROW)
        model.set_adapter(_NARROW)
        restore_targets(model, config)


def truncated(model: PeftModel, rank: int) -> tuple[LoraConfig, dict[str, Tensor]]:
    """The LoRA adapter in training at another rank, by PEFT's conversion: its config and weights."""
    wide = model.peft_config[ADAPTER]
    assert isinstance(wide, LoraConfig)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Converting a PEFT adapter to LoRA that is already", UserWarning)
        config, weights = convert_to_lora(model, rank, ADAPTER)
    config.task_type, config.fan_in_fan_out = wide.task_type, wide.fan_in_fan_out  # which the conversion leaves out
    return config, weights
