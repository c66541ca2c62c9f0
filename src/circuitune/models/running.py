"""Run a model on unpadded rows with the start they share computed once, and record what its nodes write and read.

The recordings are lists over blocks in order. They hold references to tensors of the model's own run: nothing is
copied, nothing is materialised per head.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache

from circuitune.models.anatomy import Anatomy, Norm


@contextmanager
def prepared(model: nn.Module) -> Iterator[None]:
    """Evaluation mode with all weights frozen; both are put back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        model.eval()
        for parameter, _ in gradients:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, wanted in gradients:
            parameter.requires_grad_(wanted)


@dataclass(frozen=True)
class Prefix:
    """Keys and values of the positions that a batch's clean and corrupted rows have in common.

    Attributes:
        length: how many positions.
        past: the filled cache, never handed out itself: every run gets a `cache` of its own.
    """

    length: int
    past: DynamicCache | None

    def cache(self, copies: int = 1) -> DynamicCache | None:
        """A cache that starts with this prefix, its rows repeated `copies` times; the stored tensors are shared."""
        if self.past is None:
            return None
        fresh = copy.copy(self.past)
        fresh.layers = [copy.copy(layer) for layer in self.past.layers]
        for layer in fresh.layers if copies > 1 else ():
            layer.keys, layer.values = layer.keys.repeat(copies, 1, 1, 1), layer.values.repeat(copies, 1, 1, 1)
        return fresh


def shared_prefix(anatomy: Anatomy, tokens_BP: Int[Tensor, "B P"], length: int) -> Prefix:
    """Run the first `length` positions of a batch, on which clean and corrupted rows agree, once.

    Two levels: the positions that all rows of the batch have in common run with batch 1 and are expanded.
    """
    if length == 0:
        return Prefix(0, None)
    rows, past = tokens_BP[:, :length], DynamicCache()
    same = (rows == rows[:1]).all(0)
    common = length if bool(same.all()) else int((~same).int().argmax())
    with torch.no_grad():
        if common:
            anatomy.model(input_ids=rows[:1, :common], past_key_values=past, use_cache=True, logits_to_keep=1)
            for layer in past.layers:
                layer.keys = layer.keys.expand(len(rows), -1, -1, -1)
                layer.values = layer.values.expand(len(rows), -1, -1, -1)
        if common < length:
            anatomy.model(input_ids=rows[:, common:], past_key_values=past, use_cache=True, logits_to_keep=1)
    return Prefix(length, past)


def forward(anatomy: Anatomy, embeddings_BPD: Float[Tensor, "B P D"], prefix: Prefix) -> Float[Tensor, "B V"]:
    """Logits at the last position, given the `input` node's output at the positions after the prefix."""
    cache = prefix.cache()
    output = anatomy.model(
        inputs_embeds=embeddings_BPD, past_key_values=cache, use_cache=cache is not None, logits_to_keep=1
    )
    return output.logits[:, -1]


@dataclass
class Writers:
    """What the sources of each block write: head activations before the output projection, and MLP outputs."""

    heads: list[Float[Tensor, "B P HE"]] = field(default_factory=list)
    mlps: list[Float[Tensor, "B P D"]] = field(default_factory=list)


@dataclass
class Readers:
    """What the destinations of each block read.

    `projections` (q, k, v before positions are applied), `mlp_inputs` (the normalised stream) and `final` (the
    normalised stream before the unembedding) are the tensors to differentiate by; the three `*_stream` lists hold
    the residual stream before the norm in question.
    """

    attention_stream: list[Float[Tensor, "B P D"]] = field(default_factory=list)
    projections: list[tuple[Tensor, ...]] = field(default_factory=list)
    mlp_stream: list[Float[Tensor, "B P D"]] = field(default_factory=list)
    mlp_inputs: list[Float[Tensor, "B P D"]] = field(default_factory=list)
    final_stream: list[Float[Tensor, "B P D"]] = field(default_factory=list)
    final: list[Float[Tensor, "B P D"]] = field(default_factory=list)


@contextmanager
def recorded_writers(anatomy: Anatomy) -> Iterator[Writers]:
    """Record what every source writes during the runs inside."""
    seen = Writers()
    with ExitStack() as hooks:
        for block in anatomy.blocks:
            hooks.callback(_before(block.output, lambda x: seen.heads.append(x.detach())).remove)
            hooks.callback(_after(block.mlp, lambda y: seen.mlps.append(y.detach())).remove)
        yield seen


@contextmanager
def recorded_readers(anatomy: Anatomy) -> Iterator[Readers]:
    """Record what every destination reads during the run inside, ready to be differentiated by.

    The MLP is handed an alias of its input: the tensor itself may be read by the attention too (shared norms) or be
    the residual stream, and the gradient at a reader must collect neither.
    """
    seen = Readers()
    with ExitStack() as hooks:

        def watch(norm: Norm, streams: list[Tensor]) -> None:
            hooks.callback(_before(norm.module, lambda x: streams.append(x.detach())).remove)

        def mlp_alias(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
            alias = arguments[0].view_as(arguments[0])
            seen.mlp_inputs.append(alias)
            return (alias, *arguments[1:])

        for block in anatomy.blocks:
            watch(block.attention_norm, seen.attention_stream)
            watch(block.mlp_norm, seen.mlp_stream)
            outputs: list[Tensor] = []
            for projection in block.projections:
                hooks.callback(_after(projection, _gather(outputs, len(block.projections), seen.projections)).remove)
            hooks.callback(block.mlp.register_forward_pre_hook(mlp_alias).remove)
        watch(anatomy.final_norm, seen.final_stream)
        hooks.callback(_after(anatomy.final_norm.module, seen.final.append).remove)
        yield seen


def _gather(outputs: list[Tensor], count: int, complete: list[tuple[Tensor, ...]]) -> Callable[[Tensor], None]:
    def add(output: Tensor) -> None:
        outputs.append(output)
        if len(outputs) == count:
            complete.append(tuple(outputs))
            outputs.clear()

    return add


def _before(module: nn.Module, record: Callable[[Tensor], None]) -> Any:
    def hook(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        record(arguments[0])

    return module.register_forward_pre_hook(hook)


def _after(module: nn.Module, record: Callable[[Tensor], None]) -> Any:
    def hook(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
        record(output)

    return module.register_forward_hook(hook)
