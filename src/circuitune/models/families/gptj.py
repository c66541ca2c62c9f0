"""GPT-J and Phi: parallel blocks whose attention and MLP read one and the same LayerNorm, partly rotary positions."""

from typing import Any

from circuitune.models.anatomy import Anatomy, Block, Layout, Mlp, Norm, linear_names

LETTERS = ("q_proj", "k_proj", "v_proj")


def gptj(model: Any) -> Anatomy:
    """Anatomy of a `GPTJForCausalLM`."""
    config, body = model.config, model.transformer
    layout = Layout("letter", config.n_head, config.n_head, config.n_embd // config.n_head)
    blocks = tuple(
        _block(f"transformer.h.{index}", block, block.attn, block.ln_1, "out_proj", layout, config.layer_norm_epsilon)
        for index, block in enumerate(body.h)
    )
    final = Norm(body.ln_f, "layer", config.layer_norm_epsilon)
    return _anatomy(model, "gptj", layout, config.n_embd, body.wte, blocks, final)


def phi(model: Any) -> Anatomy:
    """Anatomy of a `PhiForCausalLM`."""
    config, body = model.config, model.model
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    layout = Layout("letter", heads, kv_heads, body.layers[0].self_attn.head_dim)
    blocks = tuple(
        _block(
            f"model.layers.{index}",
            block,
            block.self_attn,
            block.input_layernorm,
            "dense",
            layout,
            config.layer_norm_eps,
        )
        for index, block in enumerate(body.layers)
    )
    final = Norm(body.final_layernorm, "layer", config.layer_norm_eps)
    return _anatomy(model, "phi", layout, config.hidden_size, body.embed_tokens, blocks, final)


def _block(name: str, block: Any, attention: Any, norm: Any, output: str, layout: Layout, epsilon: float) -> Block:
    return Block(
        name=name,
        module=block,
        attention=attention,
        attention_norm=Norm(norm, "layer", epsilon),
        projections=tuple(getattr(attention, letter) for letter in LETTERS),
        layout=layout,
        output=getattr(attention, output),
        mlp_norm=Norm(norm, "layer", epsilon),
        mlp=Mlp.of(block.mlp),
        linears=linear_names(block, name),
    )


def _anatomy(
    model: Any, family: str, layout: Layout, width: int, embedding: Any, blocks: tuple[Block, ...], final: Norm
) -> Anatomy:
    return Anatomy(
        family=family,
        model=model,
        heads=layout.heads,
        kv_heads=layout.kv_heads,
        width=width,
        head_width=layout.head_width,
        parallel=True,
        embedding=embedding,
        blocks=blocks,
        final_norm=final,
        unembedding=model.lm_head,
    )
