"""The linear modules of a model's blocks: what one LoRA rank on each costs, and which edges pass through it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from circuitune.models.anatomy import Block, anatomy_of

Model = PreTrainedModel | PeftModel


@dataclass(frozen=True)
class LinearModule:
    """One place where LoRA can go.

    Attributes:
        name: full module name inside the base Transformers model, such as ``gpt_neox.layers.0.mlp.dense_h_to_4h``.
        layer: index of its block.
        inputs: input features.
        outputs: output features.
        transposed: whether it stores its weight as [input, output] (Transformers' ``Conv1D`` in GPT-2).
        reads: kinds of destination whose input it takes: ``q``, ``k``, ``v`` (all three where they are fused) or
            ``mlp``; empty for an output projection.
        writes: kind of source whose output it makes: ``head`` or ``mlp``; None for an input projection.
    """

    name: str
    layer: int
    inputs: int
    outputs: int
    transposed: bool
    reads: tuple[str, ...] = ()
    writes: str | None = None

    @property
    def rank_cost(self) -> int:
        """LoRA parameters of one rank: input features + output features."""
        return self.inputs + self.outputs

    @property
    def full_rank(self) -> int:
        """The rank above which LoRA can express no more changes of the weight."""
        return min(self.inputs, self.outputs)


def linear_modules(model: Model) -> dict[str, LinearModule]:
    """All linear modules of the model's blocks by full name, in the order of the blocks; works on the meta device."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    anatomy = anatomy_of(model)
    found: dict[str, LinearModule] = {}
    for layer, block in enumerate(anatomy.blocks):
        linears = {name: base.get_submodule(name) for name in block.linears}
        found |= {module.name: module for module in _of_block(layer, block, linears, anatomy.width)}
    return found


def parameter_count(ranks: Mapping[str, int], modules: Mapping[str, LinearModule]) -> int:
    """LoRA parameters of the given rank per module: the sum of rank x (input + output features)."""
    return sum(rank * modules[name].rank_cost for name, rank in ranks.items())


def _of_block(layer: int, block: Block, linears: Mapping[str, nn.Module], width: int) -> Iterator[LinearModule]:
    sizes = {name: _sizes(module) for name, module in linears.items()}
    letters = _letters(block.projections)
    attention = {name: letters.get(module) for name, module in linears.items() if module in letters}
    output = next(name for name, module in linears.items() if module is block.output)
    mlp = [name for name in linears if name not in attention and name != output]
    mlp_outputs = _writers({name: sizes[name] for name in mlp}, width)
    for name, module in linears.items():
        reads = attention.get(name) or (("mlp",) if name in mlp and name not in mlp_outputs else ())
        writes = "head" if name == output else "mlp" if name in mlp_outputs else None
        transposed = isinstance(getattr(module, "base_layer", module), Conv1D)
        yield LinearModule(name, layer, *sizes[name], transposed, reads, writes)


def _letters(projections: Sequence[nn.Module]) -> dict[nn.Module, tuple[str, ...]]:
    if len(projections) == 1:
        return {projections[0]: ("q", "k", "v")}
    return {module: (letter,) for module, letter in zip(projections, "qkv", strict=True)}


def _writers(sizes: Mapping[str, tuple[int, int]], width: int) -> list[str]:
    """Of an MLP's linear modules those that write to the residual stream: from another width to its own.

    Where the MLP is as wide as the stream, the last of them does. (A mixture whose experts are no linear modules has
    none.)
    """
    onto = [name for name, (_, outputs) in sizes.items() if outputs == width]
    return [name for name in onto if sizes[name][0] != width] or onto[-1:]


def _sizes(module: nn.Module) -> tuple[int, int]:
    module = getattr(module, "base_layer", module)
    if isinstance(module, Conv1D):
        return module.nx, module.nf
    assert isinstance(module, nn.Linear), f"a linear module is listed that is a {type(module).__name__}"
    return module.in_features, module.out_features
