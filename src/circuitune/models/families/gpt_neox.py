"""GPT-NeoX and Pythia: parallel (or serial) blocks, LayerNorm, fused q, k, v by head, rotary positions."""

from typing import Any

from circuitune.models.anatomy import Anatomy, Block, Layout, Mlp, Norm, linear_names


def gpt_neox(model: Any) -> Anatomy:
    """Anatomy of a `GPTNeoXForCausalLM`."""
    config, body = model.config, model.gpt_neox
    heads = config.num_attention_heads
    head_width = config.hidden_size // heads
    blocks = tuple(
        Block(
            name=f"gpt_neox.layers.{index}",
            module=block,
            attention=block.attention,
            attention_norm=Norm(block.input_layernorm, "layer", config.layer_norm_eps),
            projections=(block.attention.query_key_value,),
            layout=Layout("group", heads, heads, head_width),
            output=block.attention.dense,
            mlp_norm=Norm(block.post_attention_layernorm, "layer", config.layer_norm_eps),
            mlp=Mlp.of(block.mlp),
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
        head_width=head_width,
        parallel=config.use_parallel_residual,
        embedding=body.embed_in,
        blocks=blocks,
        final_norm=Norm(body.final_layer_norm, "layer", config.layer_norm_eps),
        unembedding=model.lm_head,
    )
