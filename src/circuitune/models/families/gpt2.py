"""GPT-2: serial blocks, LayerNorm, fused q, k, v by letter, learned positions (not a node)."""

from typing import Any

from circuitune.models.anatomy import Anatomy, Block, Layout, Norm, linear_names


def describe(model: Any) -> Anatomy:
    """Anatomy of a `GPT2LMHeadModel`."""
    config, body = model.config, model.transformer
    head_width = config.n_embd // config.n_head
    layout = Layout("letter", config.n_head, config.n_head, head_width)

    def norm(module: Any) -> Norm:
        return Norm(module, centred=True, epsilon=config.layer_norm_epsilon)

    blocks = tuple(
        Block(
            name=f"transformer.h.{index}",
            attention=block.attn,
            attention_norm=norm(block.ln_1),
            projections=(block.attn.c_attn,),
            layout=layout,
            output=block.attn.c_proj,
            mlp_norm=norm(block.ln_2),
            mlp=block.mlp,
            linears=linear_names(block, f"transformer.h.{index}"),
        )
        for index, block in enumerate(body.h)
    )
    return Anatomy(
        family="gpt2",
        model=model,
        heads=config.n_head,
        kv_heads=config.n_head,
        width=config.n_embd,
        head_width=head_width,
        parallel=False,
        embedding=body.wte,
        blocks=blocks,
        final_norm=norm(body.ln_f),
        unembedding=model.lm_head,
    )
