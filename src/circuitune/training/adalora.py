"""AdaLoRA: every module starts with twice the rank, and training keeps what matters most (Zhang et al. 2023).

PEFT has the method; what its users must do themselves is done here: the schedule follows from the number of steps,
ranks are updated at every step, and the penalty that keeps the factors orthogonal is part of the loss.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import AdaLoraConfig, PeftModel
from torch import Tensor
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from circuitune.adapters.lora import attach
from circuitune.adapters.modules import linear_modules
from circuitune.core.errors import InputError
from circuitune.training.rows import AnswerRows
from circuitune.training.tuning import Model, Tuning

WIDER = 2
"""Rank at the start over rank at the end, as in the study (32 and 16)."""

WARM_UP, SETTLING = 0.1, 0.3
"""Shares of all steps before ranks begin to fall and after they are final; the paper's settings lie around them."""

_AVERAGES = ("exp_avg_ipt", "exp_avg_unc")
_KEPT = "rank_pattern"


@dataclass(frozen=True)
class AdaLora(Tuning):
    """AdaLoRA on all linear modules.

    Attributes:
        rank: the mean rank in the end; modules get more or less of it.
    """

    rank: int

    def attach(self, model: PreTrainedModel, rows: AnswerRows, steps: int, seed: int) -> PeftModel:
        """The model with the adapter at its starting rank; InputError where there are too few steps to allocate."""
        return attach(model, self.config(model, steps), seed)

    def config(self, model: PreTrainedModel, steps: int) -> AdaLoraConfig:
        """PEFT's config with a schedule for a training of this many steps."""
        if steps < 2:
            raise InputError("AdaLoRA allocates ranks between steps and needs at least 2; train for longer.")
        modules = linear_modules(model)
        return AdaLoraConfig(
            target_r=self.rank,
            init_r=WIDER * self.rank,
            lora_alpha=2 * WIDER * self.rank,  # PEFT divides it by the starting rank
            tinit=int(WARM_UP * steps),
            tfinal=int(SETTLING * steps),
            total_step=steps,
            target_modules=list(modules),
            fan_in_fan_out=any(module.transposed for module in modules.values()),
            task_type="CAUSAL_LM",
        )

    def callbacks(self, model: Model) -> list[TrainerCallback]:
        """Ranks are updated after every optimizer step."""
        assert isinstance(model, PeftModel)
        return [Allocation(model)]

    def penalty(self, model: Model) -> Tensor:
        """The mean distance of the factors from orthogonal ones, |A A^T - 1| and |B^T B - 1|, times its weight."""
        assert isinstance(model, PeftModel)
        distances: list[Tensor] = []
        for name, factor in model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                square = factor @ factor.T if "lora_A" in name else factor.T @ factor
                distances.append(torch.linalg.matrix_norm(square - torch.eye(len(square), device=square.device)))
        return _config(model).orth_reg_weight * torch.stack(distances).mean()

    def save(self, model: Model, tokenizer: PreTrainedTokenizerBase, folder: Path) -> int:
        """The adapter at the ranks that it has by now."""
        with warnings.catch_warnings():  # a module that lost all its ranks looks to PEFT like a lost shard
            warnings.filterwarnings("ignore", ".* LoRA tensor.* have invalid shape", UserWarning)
            return super().save(model, tokenizer, folder)

    def state(self, model: Model) -> dict[str, Tensor]:
        """The factors, the importance that PEFT keeps of each of their entries, and which are kept at present."""
        averages = {
            f"{kind}.{name}": values
            for kind in _AVERAGES
            for name, values in getattr(_allocator(model), kind).items()
        }
        kept = {
            f"{_KEPT}.{name}": torch.tensor(values) for name, values in (_config(model).rank_pattern or {}).items()
        }
        return super().state(model) | averages | kept

    def restore(self, model: Model, state: Mapping[str, Tensor]) -> None:
        """Put a `state` back."""
        super().restore(model, state)
        for kind in _AVERAGES:
            found = {name: values.to(model.device) for name, values in _under(kind, state).items()}
            setattr(_allocator(model), kind, found)
        # PEFT asks whether the last two have an entry for a factor by looking into the first.
        _allocator(model).ipt = dict(_allocator(model).exp_avg_ipt)
        _config(model).rank_pattern = {name: kept.tolist() for name, kept in _under(_KEPT, state).items()} or None


@dataclass
class Allocation(TrainerCallback):
    """Has PEFT update the importance of all ranks and put the least important to 0."""

    model: PeftModel

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """After an optimizer step, while its gradients are there."""
        _tuner(self.model).update_and_allocate(state.global_step + 1)


def _tuner(model: Model) -> Any:
    return model.base_model


def _allocator(model: Model) -> Any:
    return _tuner(model).rankallocator


def _config(model: Model) -> AdaLoraConfig:
    config = _tuner(model).peft_config[_tuner(model).trainable_adapter_name]
    assert isinstance(config, AdaLoraConfig)
    return config


def _under(kind: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefix = f"{kind}."
    return {name.removeprefix(prefix): values for name, values in state.items() if name.startswith(prefix)}
