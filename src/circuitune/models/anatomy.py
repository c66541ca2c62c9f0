"""What the engine must know of an architecture, and nothing more.

An `Anatomy` points at the modules of a loaded Transformers model; it copies and converts nothing. Everything in
`circuits/` is written against it, so a new family is one entry in `models/families` (or in a user's own code).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from circuitune.core.errors import InputError


@dataclass(frozen=True)
class Norm:
    """A normalisation y = gamma o x^ + beta with x^ = r (x - mean(x)), or x^ = r x.

    Attributes:
        module: the norm as the model calls it.
        centred: LayerNorm subtracts the mean over the width; RMSNorm does not.
        epsilon: added to the variance (mean square) under the root.
    """

    module: nn.Module
    centred: bool
    epsilon: float

    def __call__(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
        """Normalise as the model does."""
        return self.module(x)

    @property
    def gamma(self) -> Float[Tensor, " D"]:
        """Scale."""
        weight = self.module.weight
        assert isinstance(weight, Tensor)
        return weight.detach()

    @property
    def beta(self) -> Float[Tensor, " D"]:
        """Shift; zeros where the norm has none."""
        bias = getattr(self.module, "bias", None)
        return torch.zeros_like(self.gamma) if bias is None else bias.detach()

    def statistics(self, x: Float[Tensor, "... D"]) -> tuple[Float[Tensor, "... D"], Float[Tensor, "... 1"]]:
        """Normalised input x^ and r = 1 / sigma, the two quantities its Jacobian needs."""
        centred = x - x.mean(-1, keepdim=True) if self.centred else x
        r = torch.rsqrt(centred.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return r * centred, r


@dataclass(frozen=True)
class Layout:
    """How the outputs of the q, k and v projections are laid out along their last dimension.

    ``letter``: all q heads, then all k heads, then all v heads (GPT-2; separate projections, concatenated).
    ``group``: per key/value head its query heads, its key, its value (GPT-NeoX, BLOOM, Falcon).
    """

    kind: Literal["letter", "group"]
    heads: int
    kv_heads: int
    head_width: int

    def split(self, fused: Float[Tensor, "... O"]) -> tuple[Tensor, Tensor, Tensor]:
        """q [..., heads, head_width], k and v [..., kv_heads, head_width]; views where possible."""
        if self.kind == "group":
            grouped = fused.unflatten(-1, (self.kv_heads, -1, self.head_width))
            return grouped[..., :-2, :].flatten(-3, -2), grouped[..., -2, :], grouped[..., -1, :]
        sizes = [self.heads * self.head_width, *[self.kv_heads * self.head_width] * 2]
        q, k, v = (part.unflatten(-1, (-1, self.head_width)) for part in fused.split(sizes, -1))
        return q, k, v

    def merge(self, q: Tensor, k: Tensor, v: Tensor) -> Float[Tensor, "... O"]:
        """Inverse of `split`."""
        if self.kind == "group":
            grouped = q.unflatten(-2, (self.kv_heads, -1))
            return torch.cat([grouped, k.unsqueeze(-2), v.unsqueeze(-2)], -2).flatten(-3)
        return torch.cat([part.flatten(-2) for part in (q, k, v)], -1)


@dataclass(frozen=True)
class Block:
    """One transformer block, as the modules the engine reads from and hooks.

    Attributes:
        name: module path of the block inside the base Transformers model.
        attention: maps the normalised residual (and masks, positions, cache) to the attention output.
        attention_norm: the norm between the residual stream and the projections.
        projections: the modules that make q, k and v: one fused, or three.
        layout: how their (concatenated) outputs are laid out.
        output: the attention's output projection; its input is head-major [B, P, heads * head_width].
        mlp_norm: the norm between the residual stream and the MLP.
        mlp: maps the normalised residual to what is added to the stream.
        linears: names of the block's linear modules inside the base model, in order: what LoRA can target.
    """

    name: str
    attention: nn.Module
    attention_norm: Norm
    projections: tuple[nn.Module, ...]
    layout: Layout
    output: nn.Module
    mlp_norm: Norm
    mlp: nn.Module
    linears: tuple[str, ...]


@dataclass(frozen=True)
class Anatomy:
    """A causal language model as the engine sees it.

    Attributes:
        family: name of the entry that made it.
        model: the base Transformers model, with any adapter layers inside.
        parallel: attention and MLP of a block read the same residual stream.
        embedding: token ids -> the `input` source.
        final_norm: the norm between the residual stream and the logits.
        unembedding: normalised residual -> logits.
    """

    family: str
    model: nn.Module
    heads: int
    kv_heads: int
    width: int
    head_width: int
    parallel: bool
    embedding: nn.Module
    blocks: tuple[Block, ...]
    final_norm: Norm
    unembedding: nn.Module

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def positions(self) -> int | None:
        """Most tokens the model reads, where its config says so."""
        config: Any = self.model.config
        return getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)

    @property
    def device(self) -> torch.device:
        """Where token ids go."""
        return next(self.embedding.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the residual stream."""
        return next(self.embedding.parameters()).dtype


Describe = Callable[[Any], Anatomy]
"""A family's entry: a loaded Transformers model -> its anatomy."""


def anatomy_of(model: nn.Module) -> Anatomy:
    """Anatomy of a Transformers causal language model, bare or inside a `peft.PeftModel`.

    Raises:
        InputError: the architecture has no entry, or the adapter type adds inputs the engine cannot follow.
    """
    # Imported here because the entries are written in terms of this module.
    from circuitune.models.families import FAMILIES

    base = _base_model(model)
    kind = getattr(getattr(base, "config", None), "model_type", type(base).__name__)
    if kind not in FAMILIES:
        raise InputError(
            f"Architecture {kind!r} is not supported; supported are {', '.join(sorted(FAMILIES))}. "
            "Write an Anatomy entry for it, or load a model of one of these families."
        )
    return FAMILIES[kind](base)


def _base_model(model: nn.Module) -> Any:
    # PEFT marks the base model too with a `peft_config`; only the wrapper has `get_base_model`.
    get_base_model: Any = getattr(model, "get_base_model", None)
    if get_base_model is None:
        return model
    configs: Any = model.peft_config
    if any(config.is_prompt_learning for config in configs.values()):
        raise InputError("Prompt-learning adapters add positions of their own; merge or remove the adapter first.")
    return get_base_model()


def linear_names(block: nn.Module, prefix: str) -> tuple[str, ...]:
    """Names, inside the base model, of a block's linear modules (`nn.Linear` or Transformers' `Conv1D`), in order.

    Inside an adapter the name is that of the layer the adapter wraps.
    """
    from transformers.pytorch_utils import Conv1D

    names: dict[str, None] = {}
    for name, module in block.named_modules():
        if isinstance(module, nn.Linear | Conv1D) and not _inside_adapter(name):
            names[f"{prefix}.{name.removesuffix('.base_layer')}"] = None
    return tuple(names)


def _inside_adapter(name: str) -> bool:
    return any(part.startswith(("lora_", "ia3_", "modules_to_save")) for part in name.split("."))


def weight_of(module: nn.Module, inputs: int, like: Tensor) -> Float[Tensor, "I O"]:
    """Weight W of an affine module, so that module(x) = x W + offset, whatever the module is made of.

    A plain linear layer is read. Anything else (LoRA, DoRA, IA3, quantised or offloaded layers) is asked: the rows
    of module(identity) - module(0) are its weight, adapters included.

    Args:
        module: an affine map in evaluation mode.
        inputs: its input width.
        like: a tensor of the device and type to ask with.
    """
    from transformers.pytorch_utils import Conv1D

    if type(module) is nn.Linear and module.weight.device.type != "meta":
        return module.weight.detach().t()
    if type(module) is Conv1D and module.weight.device.type != "meta":
        return module.weight.detach()
    with torch.no_grad():
        probe = torch.zeros(inputs + 1, inputs, device=like.device, dtype=like.dtype)
        probe[:inputs].fill_diagonal_(1)
        answers = module(probe.unsqueeze(0))[0]
        return answers[:inputs] - answers[inputs]


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor itself, or in float32 what a 16-bit model computed: sums over it must not round to 16 bits."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def concatenated(outputs: Sequence[Tensor]) -> Tensor:
    """Outputs of a block's projections as one tensor along the last dimension; no copy for a fused projection."""
    return outputs[0] if len(outputs) == 1 else torch.cat(list(outputs), -1)
