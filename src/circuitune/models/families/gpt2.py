"""GPT-2 and GPT-Neo: serial blocks, LayerNorm, learned positions (not a node)."""

from typing import Any

from circuitune.core.errors import InputError
from circuitune.models.anatomy import Anatomy, Block, Layout, Mlp, Norm, linear_names


def gpt2(model: Any) -> Anatomy:
    """Anatomy of a `GPT2LMHeadModel`: q, k, v fused by letter."""
    config = model.config
    if config.add_cross_attention:
        raise InputError("GPT-2 with cross-attention is not supported; load a decoder-only language model.")
    return _describe(model, "gpt2", config.n_head, config.n_embd, lambda block: block.attn, ("c_attn",), "c_proj")


def gpt_neo(model: Any) -> Anatomy:
    """Anatomy of a `GPTNeoForCausalLM`: separate q, k, v without biases; every other block attends locally."""
    config = model.config
    names = ("q_proj", "k_proj", "v_proj")
    heads, width = config.num_heads, config.hidden_size
    return _describe(model, "gpt_neo", heads, width, lambda block: block.attn.attention, names, "out_proj")


def _describe(
    model: Any, family: str, heads: int, width: int, attention: Any, projections: tuple[str, ...], output: str
) -> Anatomy:
    body, epsilon = model.transformer, model.config.layer_norm_epsilon
    blocks = tuple(
        Block(
            name=f"transformer.h.{index}",
            module=block,
            attention=attention(block),
            attention_norm=Norm(block.ln_1, "layer", epsilon),
            projections=tuple(getattr(attention(block), name) for name in projections),
            layout=Layout("letter", heads, heads, width // heads),
            output=getattr(attention(block), output),
            mlp_norm=Norm(block.ln_2, "layer", epsilon),
            mlp=Mlp.of(block.mlp),
            linears=linear_names(block, f"transformer.h.{index}"),
        )
        for index, block in enumerate(body.h)
    )
    return Anatomy(
        family=family,
        model=model,
        heads=heads,
        kv_heads=heads,
        width=width,
        head_width=width // heads,
        parallel=False,
        embedding=body.wte,
        blocks=blocks,
        final_norm=Norm(body.ln_f, "layer", epsilon),
        unembedding=model.lm_head,
    )
