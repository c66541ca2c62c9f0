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
from transformers import Cache, DynamicCache

from circuitune.models.anatomy import Anatomy, Block, Norm, at_least_float32


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

    def cache(self, rows: Int[Tensor, " N"] | None = None) -> DynamicCache | None:
        """A cache that starts with this prefix (of these `rows`, or all); the stored tensors are shared."""
        if self.past is None:
            return None
        fresh = copy.copy(self.past)
        fresh.layers = [copy.copy(layer) for layer in self.past.layers]
        if rows is not None:
            fresh.batch_select_indices(rows)
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
            past.batch_repeat_interleave(len(rows))
        if common < length:
            anatomy.model(input_ids=rows[:, common:], past_key_values=past, use_cache=True, logits_to_keep=1)
    return Prefix(length, past)


def forward(anatomy: Anatomy, embeddings_BPD: Float[Tensor, "B P D"], prefix: Prefix) -> Float[Tensor, "B V"]:
    """Logits at the last position, given the `input` node's output at the positions after the prefix."""
    cache = prefix.cache()
    output = anatomy.model(
        inputs_embeds=embeddings_BPD, past_key_values=cache, use_cache=cache is not None, logits_to_keep=1
    )
    return at_least_float32(output.logits[:, -1])


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


@dataclass(frozen=True)
class AttentionCall:
    """How the model called one block's attention: masks, positions and cache, to call it again.

    Attributes:
        arguments, keywords: as passed; the first argument (or ``hidden_states``) is the normalised stream.
        batch: rows of that call.
    """

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    batch: int

    def repeat(self, attention: nn.Module, hidden: Float[Tensor, "N P D"], prefix: Prefix) -> None:
        """Call the attention on N = copies x batch rows, copies outermost. Its output is left to whoever hooks it."""
        rows = torch.arange(self.batch, device=hidden.device).repeat(len(hidden) // self.batch)
        keywords = {name: self._expanded(value, rows, prefix) for name, value in self.keywords.items()}
        arguments = [self._expanded(value, rows, prefix) for value in self.arguments]
        if arguments:
            arguments[0] = hidden
        else:
            keywords["hidden_states"] = hidden
        attention(*arguments, **keywords)

    def _expanded(self, value: Any, rows: Tensor, prefix: Prefix) -> Any:
        if isinstance(value, Cache):
            return prefix.cache(rows)
        if isinstance(value, tuple):
            return tuple(self._expanded(item, rows, prefix) for item in value)
        # A first dimension of 1 broadcasts: one mask or position table for all rows.
        if isinstance(value, Tensor) and self.batch > 1 and value.ndim > 1 and len(value) == self.batch:
            return value[rows]
        return value


@contextmanager
def recorded_calls(anatomy: Anatomy) -> Iterator[list[AttentionCall]]:
    """Record how every block's attention is called during the run inside."""
    calls: list[AttentionCall] = []

    def record(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        hidden = arguments[0] if arguments else keywords["hidden_states"]
        calls.append(AttentionCall(arguments, keywords, len(hidden)))

    with ExitStack() as hooks:
        for block in anatomy.blocks:
            hooks.callback(block.attention.register_forward_pre_hook(record, with_kwargs=True).remove)
        yield calls


@contextmanager
def substituted(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let `module` compute `forward` instead of its own, and not run its own at all."""
    previous = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if previous is not None:
            module.forward = previous


def attend(
    anatomy: Anatomy, layer: int, call: AttentionCall, fused: Float[Tensor, "N P O"], prefix: Prefix
) -> Float[Tensor, "N P HE"]:
    """Head activations before the output projection, given the (concatenated) outputs of the q, k, v projections.

    The block's own attention runs: its positions, masks and cache apply. Its projections do not.
    """
    block = anatomy.blocks[layer]
    widths = [_output_width(block, index, anatomy) for index in range(len(block.projections))]
    heads: list[Tensor] = []

    def record(a: Tensor) -> Tensor:
        heads.append(a)
        return a

    with ExitStack() as stack:
        for projection, part in zip(block.projections, fused.split(widths, -1), strict=True):
            stack.enter_context(substituted(projection, lambda _, part=part: part))
        stack.enter_context(substituted(block.output, record))
        call.repeat(block.attention, fused.new_empty(*fused.shape[:-1], anatomy.width), prefix)
    return heads[0]


def _output_width(block: Block, index: int, anatomy: Anatomy) -> int:
    if len(block.projections) == 1:
        return (anatomy.heads + 2 * anatomy.kv_heads) * anatomy.head_width
    return (anatomy.heads if index == 0 else anatomy.kv_heads) * anatomy.head_width


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
