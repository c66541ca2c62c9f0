"""Run a model on unpadded rows with the start they share computed once, and record what its nodes write and read.

The recordings are lists over blocks in order. They hold references to tensors of the model's own run: nothing is
copied, nothing is materialised per head.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import Cache, DynamicCache

from circuitune.models.anatomy import Anatomy, Block, Norm, at_least_float32, first, materialised


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

    def cache(self, rows: Int[Tensor, " N"] | None = None, layer: int = 0) -> DynamicCache | None:
        """A cache that starts with this prefix; with `rows`, of these rows and for one block. Tensors are shared."""
        if self.past is None:
            return None
        fresh = copy.copy(self.past)
        fresh.layers = [copy.copy(past) for past in self.past.layers]
        if rows is not None:
            past: Any = fresh.layers[layer]
            past.batch_select_indices(rows)
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


def forward(
    anatomy: Anatomy, embeddings_BPD: Float[Tensor, "B P D"], prefix: Prefix, keep: int = 1
) -> Float[Tensor, "B keep V"]:
    """Logits at the last `keep` positions, given the `input` node's output at the positions after the prefix."""
    cache = prefix.cache()
    with ExitStack() as stack:
        if anatomy.embedding_norm is not None:  # it is part of the `input` node
            stack.enter_context(substituted(anatomy.embedding_norm, lambda x: x))
        output = anatomy.model(
            inputs_embeds=embeddings_BPD, past_key_values=cache, use_cache=cache is not None, logits_to_keep=keep
        )
    return at_least_float32(output.logits)


@dataclass
class Writers:
    """What the sources of each block write: head activations before the output projection, and MLP outputs.

    Where a norm follows the heads, an activation carries the norm's 1/rms of its run: z_head = (gamma o W_O) (r a),
    so that the stream stays the sum of its sources.
    """

    heads: list[Float[Tensor, "B P HE"]] = field(default_factory=list)
    mlps: list[Float[Tensor, "B P D"]] = field(default_factory=list)


@dataclass
class Readers:
    """What the destinations of each block read.

    `projections` (q, k, v before positions are applied), `mlp_inputs` (the normalised stream, possibly with its rows
    and positions in one dimension) and `final` (the normalised stream before the unembedding) are the tensors to
    differentiate by; the three `*_stream` lists hold the residual stream before the norm in question.
    """

    attention_stream: list[Float[Tensor, "B P D"]] = field(default_factory=list)
    projections: list[tuple[Tensor, ...]] = field(default_factory=list)
    mlp_stream: list[Float[Tensor, "B P D"]] = field(default_factory=list)
    mlp_inputs: list[Tensor] = field(default_factory=list)
    final_stream: list[Float[Tensor, "B P D"]] = field(default_factory=list)
    final: list[Float[Tensor, "B P D"]] = field(default_factory=list)


@contextmanager
def recorded_writers(anatomy: Anatomy, rows: int) -> Iterator[Writers]:
    """Record what every source writes during the run of `rows` rows inside."""
    seen = Writers()
    with ExitStack() as hooks:
        for block in anatomy.blocks:
            hooks.callback(_before(block.output, lambda a: seen.heads.append(a.detach())).remove)
            keep = partial(_keep, seen.mlps, rows)
            hooks.callback(_after(block.mlp.writes, keep, hide=block.in_place).remove)
            if block.heads_norm is not None:
                hooks.callback(_before(_module(block.heads_norm), _scale_last(seen.heads, block.heads_norm)).remove)
        yield seen


def _keep(outputs: list[Tensor], rows: int, output: Tensor) -> None:
    outputs.append(by_row(output.detach(), rows))


def _scale_last(heads: list[Tensor], norm: Norm) -> Callable[[Tensor], None]:
    def scale(summed: Tensor) -> None:
        heads[-1] = heads[-1] * norm.statistics(summed.detach())[1]

    return scale


@contextmanager
def recorded_readers(anatomy: Anatomy, rows: int) -> Iterator[Readers]:
    """Record what every destination reads during the run of `rows` rows inside, ready to be differentiated by.

    The MLP is handed an alias of its input: the tensor itself may be read by the attention too (shared norms) or be
    the residual stream, and the gradient at a reader must collect neither.
    """
    seen = Readers()

    def mlp_alias(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        alias = arguments[0].view_as(arguments[0])
        seen.mlp_inputs.append(alias)
        return (alias, *arguments[1:])

    with ExitStack() as hooks:

        def watch(norm: Norm, reader: nn.Module, streams: list[Tensor]) -> None:
            module = reader if norm.module is None else norm.module
            hooks.callback(_before(module, lambda x: streams.append(by_row(x.detach(), rows))).remove)

        for block in anatomy.blocks:
            watch(block.attention_norm, block.attention, seen.attention_stream)
            watch(block.mlp_norm, block.mlp.reads, seen.mlp_stream)
            outputs: dict[int, Tensor] = {}
            for index, projection in enumerate(block.projections):
                gather = _gather(outputs, index, len(block.projections), seen.projections)
                hooks.callback(_after(projection, gather, hide=block.in_place).remove)
            hooks.callback(block.mlp.reads.register_forward_pre_hook(mlp_alias).remove)
        watch(anatomy.final_norm, anatomy.unembedding, seen.final_stream)
        hooks.callback(_after(_module(anatomy.final_norm), seen.final.append).remove)
        yield seen


def by_row(x: Tensor, rows: int) -> Float[Tensor, "B P D"]:
    """[B P, D] -> [B, P, D] (OPT flattens what its MLP reads and writes)."""
    return x.unflatten(0, (rows, -1)) if x.ndim == 2 else x


@dataclass(frozen=True)
class Call:
    """How the model called a module: masks, positions and cache, to call it again with other rows.

    Attributes:
        arguments, keywords: as passed; the first argument (or ``hidden_states``) is what the module reads.
        batch: rows of that call.
        heads: query heads of the model: tables of position biases come as [B * heads, ...].
    """

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    batch: int
    heads: int

    def repeat(self, module: nn.Module, hidden: Float[Tensor, "N P D"], prefix: Prefix, layer: int) -> Tensor:
        """Call the module, of block `layer`, on N = copies x batch rows, copies outermost."""
        rows = torch.arange(self.batch, device=hidden.device).repeat(len(hidden) // self.batch)
        cache = prefix.cache(rows, layer)
        keywords = {name: self._expanded(value, rows, cache, name) for name, value in self.keywords.items()}
        arguments = [self._expanded(value, rows, cache) for value in self.arguments]
        if arguments:
            arguments[0] = hidden
        else:
            keywords["hidden_states"] = hidden
        return first(module(*arguments, **keywords))

    def _expanded(self, value: Any, rows: Tensor, cache: Cache | None, name: str = "") -> Any:
        if isinstance(value, Cache):
            return cache
        if isinstance(value, tuple):
            return tuple(self._expanded(item, rows, cache) for item in value)
        if not isinstance(value, Tensor) or value.ndim < 2:
            return value
        if name == "alibi" and value.ndim == 3:
            return value.unflatten(0, (self.batch, self.heads))[rows].flatten(0, 1)
        # A first dimension of 1 broadcasts: one mask or position table for all rows.
        return value[rows] if self.batch > 1 and len(value) == self.batch else value


@contextmanager
def recorded_calls(
    anatomy: Anatomy, module: Callable[[Block], nn.Module] = lambda block: block.attention
) -> Iterator[list[Call]]:
    """Record how a module of every block, by default its attention, is called during the run inside."""
    calls: list[Call] = []

    def record(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        hidden = arguments[0] if arguments else keywords["hidden_states"]
        calls.append(Call(arguments, keywords, len(hidden), anatomy.heads))

    with ExitStack() as hooks:
        for block in anatomy.blocks:
            hooks.callback(module(block).register_forward_pre_hook(record, with_kwargs=True).remove)
        yield calls


NodeKind = Literal["heads", "mlp"]


@dataclass(frozen=True)
class Replaced:
    """What the heads (all at once) or the MLP of a block write instead of their own output.

    Attributes:
        value: as in `Writers`.
        weight: W_O [HE, D], which takes heads to the stream.
    """

    layer: int
    kind: NodeKind
    value: Float[Tensor, "B P X"]
    weight: Float[Tensor, "HE D"]


@contextmanager
def replaced(anatomy: Anatomy, replacement: Replaced) -> Iterator[None]:
    """Let a node of the run inside write the given output."""
    block, value = anatomy.blocks[replacement.layer], replacement.value

    def write(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        new = value if replacement.kind == "mlp" else value @ replacement.weight
        new = new.view_as(first(output))
        return (new, *output[1:]) if isinstance(output, tuple) else new

    if replacement.kind == "mlp":
        handle = block.mlp.writes.register_forward_hook(write)
    elif block.heads_norm is not None:
        handle = _module(block.heads_norm).register_forward_hook(write)
    else:
        handle = block.output.register_forward_pre_hook(lambda _, arguments: (value, *arguments[1:]))
    try:
        yield
    finally:
        handle.remove()


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
    anatomy: Anatomy, layer: int, call: Call, fused: Float[Tensor, "N P O"], prefix: Prefix
) -> Float[Tensor, "N P HE"]:
    """What the heads write (see `Writers`), given the (concatenated) outputs of the q, k, v projections.

    The block's own attention runs: its positions, masks and cache apply. Its projections do not.
    """
    block = anatomy.blocks[layer]
    widths = [_output_width(block, index, anatomy) for index in range(len(block.projections))]
    heads: list[Tensor] = []

    def record(a: Tensor) -> Tensor:
        heads.append(a)
        return a

    with materialised(anatomy.model, block.module), ExitStack() as stack:
        for projection, part in zip(block.projections, fused.split(widths, -1), strict=True):
            stack.enter_context(substituted(projection, lambda _, part=part: part))
        stack.enter_context(substituted(block.output, record))
        call.repeat(block.attention, fused.new_empty(*fused.shape[:-1], anatomy.width), prefix, layer)
        if block.heads_norm is None:
            return heads[0]
    with materialised(anatomy.model, block.module):
        return heads[0] * block.heads_norm.statistics(block.output(heads[0]))[1]


def _output_width(block: Block, index: int, anatomy: Anatomy) -> int:
    if len(block.projections) == 1:
        return (anatomy.heads + 2 * anatomy.kv_heads) * anatomy.head_width
    return (anatomy.heads if index == 0 else anatomy.kv_heads) * anatomy.head_width


def _module(norm: Norm) -> nn.Module:
    assert norm.module is not None
    return norm.module


def _gather(
    outputs: dict[int, Tensor], index: int, count: int, complete: list[tuple[Tensor, ...]]
) -> Callable[[Tensor], None]:
    def add(output: Tensor) -> None:
        outputs[index] = output
        if len(outputs) == count:
            complete.append(tuple(outputs[place] for place in range(count)))
            outputs.clear()

    return add


def _before(module: nn.Module, record: Callable[[Tensor], None]) -> Any:
    def hook(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        record(arguments[0] if arguments else keywords["hidden_states"])

    return module.register_forward_pre_hook(hook, with_kwargs=True)


def _after(module: nn.Module, record: Callable[[Tensor], None], hide: bool = False) -> Any:
    """Record what a module returns; with `hide` the model goes on with a copy, which it may overwrite."""

    def hook(_: nn.Module, __: tuple[Any, ...], output: Any) -> Tensor | None:
        record(first(output))
        return first(output).clone() if hide else None

    return module.register_forward_hook(hook)
