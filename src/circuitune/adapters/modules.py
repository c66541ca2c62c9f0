"""The linear modules of a model's blocks, and what one LoRA rank on each costs."""

from collections.abc import Mapping
from dataclasses import dataclass

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from circuitune.models.anatomy import anatomy_of


@dataclass(frozen=True)
class LinearModule:
    """One place where LoRA can go.

    Attributes:
        name: full module name inside the base Transformers model, such as ``gpt_neox.layers.0.mlp.dense_h_to_4h``.
        layer: index of its block.
        rank_cost: LoRA parameters of one rank: input features + output features.
        transposed: whether it stores its weight as [input, output] (Transformers' ``Conv1D`` in GPT-2).
    """

    name: str
    layer: int
    rank_cost: int
    transposed: bool


def linear_modules(model: PreTrainedModel | PeftModel) -> dict[str, LinearModule]:
    """All linear modules of the model's blocks by full name, in the order of the blocks; works on the meta device."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    return {
        name: _describe(name, layer, base.get_submodule(name))
        for layer, block in enumerate(anatomy_of(model).blocks)
        for name in block.linears
    }


def parameter_count(ranks: Mapping[str, int], modules: Mapping[str, LinearModule]) -> int:
    """LoRA parameters of the given rank per module: the sum of rank x (input + output features)."""
    return sum(rank * modules[name].rank_cost for name, rank in ranks.items())


def _describe(name: str, layer: int, module: nn.Module) -> LinearModule:
    module = getattr(module, "base_layer", module)
    if isinstance(module, Conv1D):
        return LinearModule(name, layer, module.nx + module.nf, transposed=True)
    assert isinstance(module, nn.Linear), f"{name} is listed as linear but is a {type(module).__name__}"
    return LinearModule(name, layer, module.in_features + module.out_features, transposed=False)
