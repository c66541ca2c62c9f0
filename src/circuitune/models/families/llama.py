"""Llama: serial blocks, RMSNorm, separate q, k, v, grouped-query attention, rotary positions."""

from typing import Any

from circuitune.models.anatomy import Anatomy, Block, Layout, Norm, linear_names


def describe(model: Any) -> Anatomy:
    """Anatomy of a `LlamaForCausalLM`."""
    config, body = model.config, model.model
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    layout = Layout("letter", heads, kv_heads, config.head_dim)

    def norm(module: Any) -> Norm:
        return Norm(module, centred=False, epsilon=config.rms_norm_eps)

    blocks = tuple(
        Block(
            name=f"model.layers.{index}",
            attention=block.self_attn,
            attention_norm=norm(block.input_layernorm),
            projections=(block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj),
            layout=layout,
            output=block.self_attn.o_proj,
            mlp_norm=norm(block.post_attention_layernorm),
            mlp=block.mlp,
            linears=linear_names(block, f"model.layers.{index}"),
        )
        for index, block in enumerate(body.layers)
    )
    return Anatomy(
        family="llama",
        model=model,
        heads=heads,
        kv_heads=kv_heads,
        width=config.hidden_size,
        head_width=config.head_dim,
        parallel=False,
        embedding=body.embed_tokens,
        blocks=blocks,
        final_norm=norm(body.norm),
        unembedding=model.lm_head,
    )
