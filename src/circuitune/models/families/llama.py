"""The Llama line: serial blocks, RMSNorm, q, k, v separate or fused by letter, grouped queries, rotary positions.

What differs between its families is a handful of facts, so one function serves them all.
"""

from functools import partial
from typing import Any

from circuitune.core.errors import InputError
from circuitune.models.anatomy import Anatomy, Block, Describe, Layout, Mlp, Norm, linear_names

LETTERS = ("q_proj", "k_proj", "v_proj")


def llama(
    model: Any,
    *,
    family: str = "llama",
    kind: str = "rms",
    projections: tuple[str, ...] = LETTERS,
    before: tuple[str | None, str | None] = ("input_layernorm", "post_attention_layernorm"),
    after: tuple[str | None, str | None] = (None, None),
    offset: float = 0.0,
) -> Anatomy:
    """Anatomy of a `LlamaForCausalLM` or a relative.

    Args:
        kind: ``rms``, or ``layer`` for LayerNorm without weights (OLMo).
        projections: names of the modules that make q, k and v.
        before, after: names of the norms before and after attention and MLP; None where there is none.
        offset: what the norms add to their stored scale.

    Raises:
        InputError: a norm follows heads whose output projection has a bias: no node would own its changing part.
    """
    body = getattr(model.model, "language_model", model.model)
    config = body.config
    if after[0] is not None and getattr(config, "attention_bias", False):
        raise InputError(
            f"This {family} has attention_bias=True below a norm: the bias then reaches the residual stream at a "
            "scale that changes from run to run and belongs to no node; load a model with attention_bias=False."
        )
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    layout = Layout("letter", heads, kv_heads, body.layers[0].self_attn.head_dim)
    prefix = "model.layers" if body is model.model else "model.language_model.layers"

    def norm(block: Any, name: str | None) -> Norm:
        if name is None:
            return Norm(None, "none")
        module = getattr(block, name)
        return Norm(module, "layer" if kind == "layer" else "rms", _epsilon(module), offset)

    def describe(index: int, block: Any) -> Block:
        attention = block.self_attn
        return Block(
            name=f"{prefix}.{index}",
            module=block,
            attention=attention,
            attention_norm=norm(block, before[0]),
            projections=tuple(getattr(attention, name) for name in projections),
            layout=layout,
            output=attention.o_proj,
            mlp_norm=norm(block, before[1]),
            mlp=Mlp.of(block.mlp, getattr(block, after[1]) if after[1] else None),
            linears=linear_names(block, f"{prefix}.{index}"),
            heads_norm=norm(block, after[0]) if after[0] else None,
            in_place=getattr(config, "clip_qkv", None) is not None,
        )

    return Anatomy(
        family=family,
        model=model,
        heads=heads,
        kv_heads=kv_heads,
        width=config.hidden_size,
        head_width=layout.head_width,
        parallel=False,
        embedding=body.embed_tokens,
        blocks=tuple(describe(index, block) for index, block in enumerate(body.layers)),
        final_norm=norm(body, "norm"),
        unembedding=model.lm_head,
        softcap=getattr(config, "final_logit_softcapping", None),
    )


def _epsilon(module: Any) -> float:
    """The norms of this line call it differently; OLMo's is a constant of its code."""
    return getattr(module, "variance_epsilon", getattr(module, "eps", 1e-5))


_SANDWICH = {
    "before": ("input_layernorm", "pre_feedforward_layernorm"),
    "after": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "offset": 1.0,
}
_AFTER_ONLY = {"before": (None, None), "after": ("post_attention_layernorm", "post_feedforward_layernorm")}

RELATIVES: dict[str, Describe] = {
    family: partial(llama, family=family, **facts)
    for family, facts in {
        "llama": {},
        "mistral": {},
        "qwen2": {},
        "qwen3": {},
        "phi3": {"projections": ("qkv_proj",)},
        "gemma": {"offset": 1.0},
        "gemma2": _SANDWICH,
        "gemma3_text": _SANDWICH,
        "gemma3": _SANDWICH,
        "olmo": {"kind": "layer"},
        "olmo2": _AFTER_ONLY,
        "olmo3": _AFTER_ONLY,
        "mixtral": {},
        "qwen2_moe": {},
        "qwen3_moe": {},
        "gpt_oss": {},
        "smollm3": {},
    }.items()
}
"""Every family of the line, by Transformers' `model_type`."""
