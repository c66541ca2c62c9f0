"""The field's reference, hannamw/EAP-IG, as a child process of `engine.py`, in an environment of its own.

    python reference_child.py CHECKOUT FOLDER THREADS STEPS BATCH [frozen]

The environment needs transformer_lens==2.16.1, transformers==4.57.*, pyarrow<20 and matplotlib. The checkout is
used as it is, with what its notebooks set: split q, k, v inputs, results per head, weights not processed. Three
things are replaced from outside: ``device="cuda"`` becomes the CPU, prompts are token ids already, and the metric
is the sum over a batch, not the mean, because the reference divides by the number of pairs itself. Weights collect
gradients, as they do there, unless `frozen`.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from measuring import Measure, Pairs, Results, serve

Mapped = Iterator[tuple[str, Tensor]]


def hooked_config(config: dict[str, Any]) -> dict[str, Any]:
    """Settings of a HookedTransformer for a GPT-NeoX or GPT-2 config."""
    neox = config["model_type"] == "gpt_neox"
    names = (
        ("hidden_size", "num_attention_heads", "num_hidden_layers", "max_position_embeddings", "layer_norm_eps")
        if neox
        else ("n_embd", "n_head", "n_layer", "n_positions", "layer_norm_epsilon")
    )
    width, heads, layers, positions, epsilon = (config[name] for name in names)
    settings = {
        "d_model": width,
        "d_head": width // heads,
        "n_heads": heads,
        "n_layers": layers,
        "n_ctx": positions,
        "eps": epsilon,
        "d_vocab": config["vocab_size"],
        "act_fn": config["hidden_act" if neox else "activation_function"],
        "d_mlp": config["intermediate_size"] if neox else config["n_inner"] or 4 * width,
        "normalization_type": "LN",
        "use_split_qkv_input": True,
        "use_attn_result": True,
        "use_hook_mlp_in": True,
        "device": "cpu",
    }
    if neox:
        rope = config["rope_parameters"]
        settings["positional_embedding_type"] = "rotary"
        settings["rotary_dim"] = round(rope["partial_rotary_factor"] * settings["d_head"])
        settings["rotary_base"] = int(rope["rope_theta"])
        settings["parallel_attn_mlp"] = config["use_parallel_residual"]
    return settings


BLOCK = re.compile(r"(?:gpt_neox\.layers|transformer\.h)\.(\d+)\.(\w+(?:\.\w+)?)\.(weight|bias)")
NORMS = {"input_layernorm": "ln1", "post_attention_layernorm": "ln2", "ln_1": "ln1", "ln_2": "ln2"}
MLPS = {"mlp.dense_h_to_4h": "in", "mlp.c_fc": "in", "mlp.dense_4h_to_h": "out", "mlp.c_proj": "out"}
TOP = {
    "gpt_neox.embed_in.weight": "embed.W_E",
    "gpt_neox.final_layer_norm.weight": "ln_final.w",
    "gpt_neox.final_layer_norm.bias": "ln_final.b",
    "transformer.wte.weight": "embed.W_E",
    "transformer.wpe.weight": "pos_embed.W_pos",
    "transformer.ln_f.weight": "ln_final.w",
    "transformer.ln_f.bias": "ln_final.b",
}
UNEMBEDDINGS = ("lm_head.weight", "embed_out.weight")


def hooked_weights(weights: dict[str, Tensor], heads: int, neox: bool) -> dict[str, Tensor]:
    """State dict of a GPT-NeoX or GPT-2 of Transformers, by the names and shapes of a HookedTransformer.

    There a head has matrices of its own, [heads, width, head width] (W_O: [heads, head width, width]), and every
    matrix maps from the right. GPT-NeoX keeps `nn.Linear` weights [out, in] and q, k, v head by head; GPT-2 keeps
    [in, out] and all q before all k before all v.
    """
    mapped: dict[str, Tensor] = {}
    for name, value in weights.items():
        if name in TOP:
            mapped[TOP[name]] = value
        elif (match := BLOCK.fullmatch(name)) is not None:
            layer, module, kind = match.groups()
            weight = value.t() if neox and value.ndim == 2 else value
            mapped.update((f"blocks.{layer}.{to}", part) for to, part in _in_block(module, kind, weight, heads, neox))
        elif name not in UNEMBEDDINGS:
            raise ValueError(f"No place for the weight {name}.")
    embedding = mapped["embed.W_E"]
    unembedding = next((weights[name] for name in UNEMBEDDINGS if name in weights), embedding)  # or they are tied
    mapped["unembed.W_U"] = unembedding.t()
    mapped["unembed.b_U"] = embedding.new_zeros(len(embedding))
    return mapped


def _in_block(module: str, kind: str, weight: Tensor, heads: int, neox: bool) -> Mapped:
    """One tensor of a block, [in, out] or [out]."""
    letter = "w" if kind == "weight" else "b"
    if module in NORMS:
        yield f"{NORMS[module]}.{letter}", weight
    elif module in MLPS:
        yield f"mlp.{letter.upper() if letter == 'w' else letter}_{MLPS[module]}", weight
    elif module in ("attention.dense", "attn.c_proj"):
        yield ("attn.b_O", weight) if letter == "b" else ("attn.W_O", weight.unflatten(0, (heads, -1)))
    else:
        for part, value in zip("QKV", _split(weight, heads, neox), strict=True):
            # [in, heads, head width] -> [heads, in, head width]
            yield f"attn.{letter.upper() if letter == 'w' else letter}_{part}", value.movedim(-2, 0)


def _split(fused: Tensor, heads: int, neox: bool) -> tuple[Tensor, ...]:
    """q, k, v: [..., heads, head width] each."""
    if neox:
        return fused.unflatten(-1, (heads, 3, -1)).unbind(-2)
    return fused.unflatten(-1, (3, heads, -1)).unbind(-3)


def load(folder: Path) -> Any:
    """The model in `folder` as a HookedTransformer."""
    lens: Any = import_module("transformer_lens")
    config = json.loads((folder / "config.json").read_text())
    settings = hooked_config(config)
    dtype = getattr(torch, config["dtype"])
    model: Any = lens.HookedTransformer(lens.HookedTransformerConfig(**settings, dtype=dtype))
    neox = config["model_type"] == "gpt_neox"
    weights = hooked_weights(load_file(folder / "model.safetensors"), settings["n_heads"], neox)
    missing, unknown = model.load_state_dict(weights, strict=False)
    parameters = {name for name, _ in model.named_parameters()}  # the rest are tables it computes itself
    if unknown or parameters & set(missing):
        raise ValueError(f"The mapping of weights is not complete: {unknown} {sorted(parameters & set(missing))}.")
    return model


def on_cpu() -> None:
    """Let ``torch.zeros(..., device="cuda")`` make a tensor on the CPU: that is how the reference asks for a GPU."""
    zeros: Callable[..., Tensor] = torch.zeros

    def zeros_on_cpu(*arguments: Any, device: Any = None, **keywords: Any) -> Tensor:
        return zeros(*arguments, device="cpu" if device == "cuda" else device, **keywords)

    torch.zeros = zeros_on_cpu


def token_ids(model: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
    """In place of the reference's tokenisation: ids, mask, lengths, positions of unpadded rows."""
    mask = torch.ones_like(tokens)
    return tokens, mask, mask.sum(1), tokens.shape[1]


def loss(logits: Tensor, clean_logits: Tensor | None, lengths: Tensor, labels: Tensor) -> Tensor:
    """Minus the logit difference at the last position, summed over the batch; `labels` [n, 2]: right, wrong."""
    answer, wrong = logits[:, -1].gather(1, labels).unbind(1)
    return (wrong - answer).sum()


class Reference:
    """The measured runs."""

    def __init__(self, checkout: Path, folder: Path, steps: int, batch: int, frozen: bool) -> None:
        sys.path.insert(0, str(checkout / "src"))
        attribution: Any = import_module("eap.attribute")
        evaluation: Any = import_module("eap.evaluate")
        on_cpu()
        attribution.tokenize_plus = evaluation.tokenize_plus = token_ids
        self.attribute, self.evaluate = attribution.attribute, evaluation.evaluate_graph
        self.model, self.steps, self.batch = load(folder).requires_grad_(not frozen), steps, batch
        self.graph = evaluation.Graph.from_model(self.model)

    def __call__(self, measure: Measure, pairs: Pairs) -> Results:
        """As in `engine.py`: edge scores, or the mean logit difference of every circuit of the curve."""
        labels = torch.stack([pairs.answer, pairs.wrong], 1)
        parts = [part.split(self.batch) for part in (pairs.clean, pairs.corrupted, labels)]
        batches = list(zip(*parts, strict=True))
        if measure == "attribute":
            self.attribute(
                self.model, self.graph, batches, loss, method="EAP-IG-inputs", ig_steps=self.steps, quiet=True
            )
            return {"scores": self.graph.scores.float()}
        assert pairs.circuits is not None
        means = []
        for circuit in pairs.circuits:
            self.graph.in_graph[:] = circuit
            means.append(-self.evaluate(self.model, self.graph, batches, loss, quiet=True).sum() / len(labels))
        return {"scores": torch.stack(means).float()}

    def forget(self) -> None:
        """Drop the gradients of the weights."""
        self.model.zero_grad(set_to_none=True)


def main() -> None:
    """Serve until the parent closes the pipe."""
    checkout, folder, threads, steps, batch, *frozen = sys.argv[1:]
    torch.set_num_threads(int(threads))
    reference = Reference(Path(checkout), Path(folder), int(steps), int(batch), bool(frozen))
    serve(Path(folder), reference, reference.forget)


if __name__ == "__main__":
    main()
