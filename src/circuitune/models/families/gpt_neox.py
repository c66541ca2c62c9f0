"""GPT-NeoX and Pythia: parallel (or serial) blocks, LayerNorm, fused q, k, v by head, rotary positions."""

from typing import Any

from circuitune.models.anatomy import Anatomy, Block, Layout, Norm, linear_names


def describe(model: Any) -> Anatomy:
    """Anatomy of a `GPTNeoXForCausalLM`."""
    config, body = model.config, model.gpt_neox
    heads = config.num_attention_heads
    layout = Layout("group", heads, heads, config.hidden_size // heads)

    def norm(module: Any) -> Norm:
        return Norm(module, centred=True, epsilon=config.layer_norm_eps)

    blocks = tuple(
        Block(
            name=f"gpt_neox.layers.{index}",
            attention=block.attention,
            attention_norm=norm(block.input_layernorm),
            projections=(block.attention.query_key_value,),
            layout=layout,
            output=block.attention.dense,
            mlp_norm=norm(block.post_attention_layernorm),
            mlp=block.mlp,
            linears=linear_names(block, f"gpt_neox.layers.{index}"),
        )
        for index, block in enumerate(body.layers)
    )
    return Anatomy(
        family="gpt_neox",
        model=model,
        heads=heads,
        kv_heads=heads,
        width=config.hidden_size,
        head_width=config.hidden_size // heads,
        parallel=config.use_parallel_residual,
        embedding=body.embed_in,
        blocks=blocks,
        final_norm=norm(body.final_layer_norm),
        unembedding=model.lm_head,
    )
