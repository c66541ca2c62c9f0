"""What the engine must know of an architecture, and nothing more.

An `Anatomy` points at the modules of a loaded Transformers model; it copies and converts nothing. Everything in
`circuits/` is written against it, so a new family is one entry in `models/families` (or in a user's own code).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from circuitune.core.errors import InputError


@dataclass(frozen=True)
class Norm:
    """A normalisation y = gamma o x^ + beta.

    Attributes:
        module: the norm as the model calls it; None where the reader takes the stream itself (OLMo 2).
        kind: ``layer`` (x^ = r (x - mean x)), ``rms`` (x^ = r x) or ``none`` (x^ = x).
        epsilon: added to the variance (mean square) under the root.
        offset: what the model adds to the stored scale (Gemma stores gamma - 1).
    """

    module: nn.Module | None
    kind: Literal["layer", "rms", "none"]
    epsilon: float = 0.0
    offset: float = 0.0

    def __call__(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
        """Normalise as the model does."""
        return x if self.module is None else self.module(x)

    @property
    def centred(self) -> bool:
        """Whether the mean over the width is subtracted."""
        return self.kind == "layer"

    def affine(self, like: Float[Tensor, " D"]) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
        """Scale gamma and shift beta, as tensors of the device and type of `like`; a norm may have neither."""
        if self.module is None:
            return torch.ones_like(like), torch.zeros_like(like)
        weight, bias = (held(self.module, name) for name in ("weight", "bias"))
        gamma = torch.ones_like(like) if weight is None else weight.to(like) + self.offset
        return gamma, torch.zeros_like(like) if bias is None else bias.to(like).clone()

    def statistics(self, x: Float[Tensor, "... D"]) -> tuple[Float[Tensor, "... D"], Float[Tensor, "... 1"]]:
        """Normalised input x^ and r = 1 / sigma, the two quantities its Jacobian needs."""
        if self.kind == "none":
            return x, torch.ones_like(x[..., :1])
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
class Mlp:
    """What a block's MLP node reads, writes and computes. A mixture of experts is one MLP.

    Attributes:
        reads: the module whose first input is the normalised stream.
        writes: the module whose output is added to the stream (the norm after the MLP, where there is one).
        compute: normalised stream [N, P, D] -> what is added to the stream.
    """

    reads: nn.Module
    writes: nn.Module
    compute: Callable[[Tensor], Tensor]

    @classmethod
    def of(cls, module: nn.Module, after: nn.Module | None = None) -> "Mlp":
        """The usual case: one module, with or without a norm after it."""

        def compute(x: Tensor) -> Tensor:
            y = first(module(x))
            return y if after is None else after(y)

        return cls(module, module if after is None else after, compute)


@dataclass(frozen=True)
class Block:
    """One transformer block, as the modules the engine reads from and hooks.

    Attributes:
        name: module path of the block inside the base Transformers model.
        module: the block itself.
        attention: maps the normalised residual (and masks, positions, cache) to the attention output.
        attention_norm: the norm between the residual stream and the projections.
        projections: the modules that make q, k and v: one fused, or three.
        layout: how their (concatenated) outputs are laid out.
        output: the attention's output projection; its input is head-major [B, P, heads * head_width].
        mlp_norm: the norm between the residual stream and the MLP.
        mlp: the MLP.
        linears: names of the block's linear modules inside the base model, in order: what LoRA can target.
        heads_norm: the RMSNorm between the output projection and the stream (Gemma 2 and 3, OLMo 2), if any.
        in_place: the block overwrites what its projections (OLMo's `clip_qkv`) or its MLP (Falcon) return.
    """

    name: str
    module: nn.Module
    attention: nn.Module
    attention_norm: Norm
    projections: tuple[nn.Module, ...]
    layout: Layout
    output: nn.Module
    mlp_norm: Norm
    mlp: Mlp
    linears: tuple[str, ...]
    heads_norm: Norm | None = None
    in_place: bool = False

    def run_mlp(self, stream: Float[Tensor, "N P D"]) -> Float[Tensor, "N P D"]:
        """What the MLP writes where it reads this residual stream."""
        with materialised(self.module):
            return self.mlp.compute(self.mlp_norm(stream))


@dataclass(frozen=True)
class Anatomy:
    """A causal language model as the engine sees it.

    Attributes:
        family: name of the entry that made it.
        model: the base Transformers model, with any adapter layers inside.
        parallel: attention and MLP of a block read the same residual stream.
        embedding: token ids -> vectors.
        final_norm: the norm between the residual stream and the logits.
        unembedding: normalised residual -> logits.
        embedding_norm: what the embedding passes before it is the `input` source (BLOOM), if anything.
        softcap: logits are softcap * tanh(logits / softcap) (Gemma 2), if anything.
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
    embedding_norm: nn.Module | None = None
    softcap: float | None = None

    def embed(self, tokens: Int[Tensor, "... P"]) -> Float[Tensor, "... P D"]:
        """Output of the `input` source."""
        with materialised(self.model):
            vectors = self.embedding(tokens)
            return vectors if self.embedding_norm is None else self.embedding_norm(vectors)

    def logits(self, stream: Float[Tensor, "... D"]) -> Float[Tensor, "... V"]:
        """Logits of a residual stream."""
        with materialised(self.model):
            logits = self.unembedding(self.final_norm(stream))
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)

    @property
    def layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def positions(self) -> int | None:
        """Most tokens the model reads, where its config says so."""
        config: Any = getattr(self.model.config, "text_config", self.model.config)
        return getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)

    @property
    def device(self) -> torch.device:
        """Where token ids go."""
        return device_of(self.embedding)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the residual stream."""
        return next(self.embedding.parameters()).dtype

    @property
    def resident(self) -> bool:
        """Whether all weights stay where they compute: none is offloaded (`device_map`) or sharded (FSDP2)."""
        offloaded = any(getattr(getattr(m, "_hf_hook", None), "offload", False) for m in self.model.modules())
        return not offloaded and not any(hasattr(m, "unshard") for m in self.model.modules())


Describe = Callable[[Any], Anatomy]
"""A family's entry: a loaded Transformers model -> its anatomy."""


def anatomy_of(model: nn.Module) -> Anatomy:
    """Anatomy of a Transformers causal language model, bare or inside a `peft.PeftModel`.

    Raises:
        InputError: the architecture has no entry, or the adapter type adds inputs the engine cannot follow.
    """
    # Imported here because the entries are written in terms of this module.
    from circuitune.models.families import FAMILIES, REFUSED

    base = _base_model(model)
    kind = getattr(getattr(base, "config", None), "model_type", type(base).__name__)
    if kind in FAMILIES:
        return FAMILIES[kind](base)
    reason = f" ({REFUSED[kind]})" if kind in REFUSED else ""
    raise InputError(
        f"Architecture {kind!r} is not supported{reason}; supported are {', '.join(sorted(FAMILIES))}. "
        "Write an Anatomy entry for it (docs/families.md), or load a model of one of these families."
    )


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


def weight_of(module: nn.Module, inputs: int) -> Float[Tensor, "I O"]:
    """Weight W of an affine module, so that module(x) = x W + offset, whatever the module is made of.

    A plain linear layer is read. Anything else (LoRA, DoRA, IA3, quantised layers) is asked: the rows of
    module(identity) - module(0) are its weight, adapters included.

    Args:
        module: an affine map in evaluation mode.
        inputs: its input width.
    """
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, nn.Linear | Conv1D) and module.weight.is_floating_point():
        weight = held(module, "weight")
        assert weight is not None
        return weight.t() if isinstance(module, nn.Linear) else weight
    with torch.no_grad():
        probe = torch.zeros(inputs + 1, inputs, device=device_of(module), dtype=_dtype_of(module))
        probe[:inputs].fill_diagonal_(1)
        answers = module(probe.unsqueeze(0))[0]
        return answers[:inputs] - answers[inputs]


def held(module: nn.Module, name: str) -> Tensor | None:
    """A parameter of one module, brought in where it is offloaded; None where the module has none of that name."""
    from accelerate.utils import align_module_device

    if getattr(module, name, None) is None:
        return None
    with align_module_device(module):
        return getattr(module, name).detach()


@contextmanager
def materialised(*modules: nn.Module) -> Iterator[None]:
    """Inside, the weights of these modules are whole, also where FSDP2 shards them over processes.

    Modules below that are sharded on their own are left as they are.
    """
    sharded: list[Any] = [module for module in modules if hasattr(module, "unshard")]
    for module in sharded:
        module.unshard()
    try:
        yield
    finally:
        for module in sharded:
            module.reshard()


def device_of(module: nn.Module) -> torch.device:
    """Where a module computes: offloaded weights rest elsewhere."""
    hook: Any = getattr(module, "_hf_hook", None)
    execution = getattr(hook, "execution_device", None)
    if execution is not None:
        return torch.device(execution)
    return next(module.parameters()).device


def _dtype_of(module: nn.Module) -> torch.dtype:
    """Type a module computes in: that of its first floating parameter (quantised ones are integers)."""
    return next((p.dtype for p in module.parameters() if p.dtype.is_floating_point), torch.get_default_dtype())


def first(output: Any) -> Tensor:
    """A module's output, or the first of several (attention weights, router scores)."""
    return output[0] if isinstance(output, tuple) else output


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor itself, or in float32 what a 16-bit model computed: sums over it must not round to 16 bits."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def concatenated(outputs: Sequence[Tensor]) -> Tensor:
    """Outputs of a block's projections as one tensor along the last dimension; no copy for a fused projection."""
    return outputs[0] if len(outputs) == 1 else torch.cat(list(outputs), -1)
