"""OPT: serial blocks, LayerNorm, learned positions (not a node); the MLP is two layers of the block itself."""

from typing import Any

from circuitune.core.errors import InputError
from circuitune.models.anatomy import Anatomy, Block, Layout, Mlp, Norm, linear_names


def opt(model: Any) -> Anatomy:
    """Anatomy of an `OPTForCausalLM`.

    Raises:
        InputError: OPT-350m, which normalises the residual stream itself and projects the embeddings.
    """
    config, body = model.config, model.model.decoder
    if not config.do_layer_norm_before or body.final_layer_norm is None:
        raise InputError(
            "This OPT (as OPT-350m) normalises the residual stream itself, so the stream is not the sum of what "
            "heads and MLPs write and has no edges to score; load another size."
        )
    if config.word_embed_proj_dim != config.hidden_size:
        raise InputError("This OPT projects its embeddings (word_embed_proj_dim), which no source stands for.")
    heads, width = config.num_attention_heads, config.hidden_size
    layout = Layout("letter", heads, heads, width // heads)
    blocks = tuple(_block(index, block, layout) for index, block in enumerate(body.layers))
    return Anatomy(
        family="opt",
        model=model,
        heads=heads,
        kv_heads=heads,
        width=width,
        head_width=width // heads,
        parallel=False,
        embedding=body.embed_tokens,
        blocks=blocks,
        final_norm=_norm(body.final_layer_norm),
        unembedding=model.lm_head,
    )


def _block(index: int, block: Any, layout: Layout) -> Block:
    attention = block.self_attn
    return Block(
        name=f"model.decoder.layers.{index}",
        module=block,
        attention=attention,
        attention_norm=_norm(block.self_attn_layer_norm),
        projections=(attention.q_proj, attention.k_proj, attention.v_proj),
        layout=layout,
        output=attention.out_proj,
        mlp_norm=_norm(block.final_layer_norm),
        mlp=Mlp(block.fc1, block.fc2, lambda x: block.fc2(block.activation_fn(block.fc1(x)))),
        linears=linear_names(block, f"model.decoder.layers.{index}"),
    )


def _norm(module: Any) -> Norm:
    return Norm(module, "layer", module.eps)
