"""The methods of fine-tuning by name.

    finetune(..., config=tuning("dora", model, rank=8), ...)
    finetune(..., config=tuning("lora", model, plan=plan, faster=plan.critical_layers), ...)

| method | what it is | rank or plan |
|---|---|---|
| full | all weights; checkpoints are whole models | neither |
| lora | LoRA, alpha = 2 r | one of them |
| rslora | LoRA scaled by alpha over the root of r | one of them |
| dora | LoRA and a magnitude per output feature | one of them |
| lora+ | LoRA whose B learns 16 times as fast | one of them |
| ia3 | a factor per feature of the modules that PEFT names for the model | neither |
| adalora | ranks fall from twice the rank to it on average, where it matters least | rank |
| eva | LoRA with ranks and first directions from the training rows | rank |
| truncated | LoRA at four times the rank, cut down to it | rank |

GRPO and RLOO are not among them: they are no way to tune weights but another loss (`reinforce`).
"""

from collections.abc import Collection
from typing import Any

from peft import IA3Config
from peft.utils import (
    TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING,
    TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING,
)
from transformers import PreTrainedModel

from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.modules import linear_modules
from circuitune.core.errors import InputError
from circuitune.training.adalora import AdaLora
from circuitune.training.eva import Eva
from circuitune.training.methods import MethodName, require_ranks
from circuitune.training.truncated import Truncated
from circuitune.training.tuning import Adapter, FasterLayers, LoraPlus, Tuning
from circuitune.training.whole import Full

_OPTIONS: dict[str, dict[str, Any]] = {"rslora": {"use_rslora": True}, "dora": {"use_dora": True}}
_RANKED = {"adalora": AdaLora, "eva": Eva, "truncated": Truncated}


def tuning(
    method: MethodName,
    model: PreTrainedModel,
    *,
    rank: int | None = None,
    plan: RankPlan | None = None,
    faster: Collection[int] = (),
) -> Tuning:
    """A method for a model, as `finetune` takes it.

    Args:
        method: its name.
        model: what is to be tuned; unchanged.
        rank: of every module, or the mean where the method decides.
        plan: the ranks by module, in place of one rank.
        faster: layers that learn at twice the learning rate, with method lora.

    Raises:
        InputError: an unknown method, a rank or plan where the method has none or none where it needs one, a plan of
            another model, or a model for which PEFT has no IA3.
    """
    require_ranks(method, rank, plan)
    if faster and method != "lora":
        raise InputError(f"Layers that learn faster go with method lora, not with {method}.")
    if method == "full":
        return Full()
    if method == "ia3":
        return Adapter(_ia3(model))
    if method in _RANKED:
        assert rank is not None
        return _RANKED[method](rank)
    config = (plan or RankPlan.uniform(model, rank=rank)).to_lora_config(model, **_OPTIONS.get(method, {}))
    if faster:
        return FasterLayers(config, tuple(faster))
    return LoraPlus(config) if method == "lora+" else Adapter(config)


def _ia3(model: PreTrainedModel) -> IA3Config:
    """On the modules that PEFT names for this kind of model."""
    kind = model.config.model_type
    targets = TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING.get(kind)
    if targets is None:
        raise InputError(f"PEFT names no modules for IA3 in models of type {kind}; choose another method.")
    return IA3Config(
        target_modules=targets,
        feedforward_modules=TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING[kind],
        fan_in_fan_out=any(module.transposed for module in linear_modules(model).values()),
        task_type="CAUSAL_LM",
    )
