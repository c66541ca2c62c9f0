"""BLOOM and Falcon: LayerNorm, q, k, v fused per (group of) head(s), position biases (ALiBi) or rotary positions."""

from typing import Any

import torch
from torch import Tensor

from circuitune.core.errors import InputError
from circuitune.models.anatomy import Anatomy, Block, Layout, Mlp, Norm, linear_names


def bloom(model: Any) -> Anatomy:
    """Anatomy of a `BloomForCausalLM`; the embedding's own norm is part of the `input` node.

    Raises:
        InputError: a model whose blocks add the normalised stream (`apply_residual_connection_post_layernorm`).
    """
    config, body = model.config, model.transformer
    if config.apply_residual_connection_post_layernorm:
        raise InputError(
            "This BLOOM adds the normalised stream to its outputs, so the residual stream is not the sum of what "
            "heads and MLPs write; load a model with apply_residual_connection_post_layernorm=False."
        )
    heads, width, epsilon = config.n_head, config.hidden_size, config.layer_norm_epsilon
    blocks = tuple(
        Block(
            name=f"transformer.h.{index}",
            module=block,
            attention=block.self_attention,
            attention_norm=Norm(block.input_layernorm, "layer", epsilon),
            projections=(block.self_attention.query_key_value,),
            layout=Layout("group", heads, heads, width // heads),
            output=block.self_attention.dense,
            mlp_norm=Norm(block.post_attention_layernorm, "layer", epsilon),
            mlp=_bloom_mlp(block.mlp),
            linears=linear_names(block, f"transformer.h.{index}"),
        )
        for index, block in enumerate(body.h)
    )
    return Anatomy(
        family="bloom",
        model=model,
        heads=heads,
        kv_heads=heads,
        width=width,
        head_width=width // heads,
        parallel=False,
        embedding=body.word_embeddings,
        blocks=blocks,
        final_norm=Norm(body.ln_f, "layer", epsilon),
        unembedding=model.lm_head,
        embedding_norm=body.word_embeddings_layernorm,
    )


def _bloom_mlp(mlp: Any) -> Mlp:
    """BLOOM's MLP adds the residual itself; given none, it returns what it writes."""

    def compute(x: Tensor) -> Tensor:
        return mlp(x, torch.zeros_like(x))

    return Mlp(mlp, mlp.dense_4h_to_h, compute)


def falcon(model: Any) -> Anatomy:
    """Anatomy of a `FalconForCausalLM`: serial or parallel, with one norm or two, one key/value head or several."""
    config, body = model.config, model.transformer
    grouped = config.new_decoder_architecture
    heads, width = config.num_attention_heads, config.hidden_size
    kv_heads = config.num_kv_heads if grouped else 1 if config.multi_query else heads
    # Multi-query: all queries, then the one key and value, which is a single group.
    layout = Layout("group", heads, kv_heads, width // heads)
    blocks = tuple(
        Block(
            name=f"transformer.h.{index}",
            module=block,
            attention=block.self_attention,
            attention_norm=_falcon_norm(block, ("ln_attn", "input_layernorm")),
            projections=(block.self_attention.query_key_value,),
            layout=layout,
            output=block.self_attention.dense,
            mlp_norm=_falcon_norm(block, ("ln_mlp", "post_attention_layernorm", "input_layernorm")),
            mlp=Mlp.of(block.mlp),
            linears=linear_names(block, f"transformer.h.{index}"),
            in_place=True,
        )
        for index, block in enumerate(body.h)
    )
    return Anatomy(
        family="falcon",
        model=model,
        heads=heads,
        kv_heads=kv_heads,
        width=width,
        head_width=width // heads,
        parallel=grouped or config.parallel_attn,
        embedding=body.word_embeddings,
        blocks=blocks,
        final_norm=Norm(body.ln_f, "layer", config.layer_norm_epsilon),
        unembedding=model.lm_head,
    )


def _falcon_norm(block: Any, names: tuple[str, ...]) -> Norm:
    module = next(getattr(block, name) for name in names if hasattr(block, name))
    return Norm(module, "layer", module.eps)
