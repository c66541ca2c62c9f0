"""Transformers models with random weights, large enough to have structure and small enough to check every edge."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from circuitune.core.errors import InputError

VOCABULARY = 97

_PLAIN: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "decoder_sparse_step": 1}
_OF_GPT_NEO = {"num_hidden_layers": "num_layers", "num_attention_heads": "num_heads"}
_OF_GPT2 = {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head", "hidden_size": "n_embd"}

SHAPES: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "bloom": ("Bloom", {}, {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}),
    "falcon": ("Falcon", {"new_decoder_architecture": True, "alibi": False}, {"num_key_value_heads": "num_kv_heads"}),
    "falcon_7b": ("Falcon", {"multi_query": True, "parallel_attn": True, "alibi": False, "bias": False}, {}),
    "falcon_rw": ("Falcon", {"multi_query": False, "parallel_attn": False, "alibi": True, "bias": True}, {}),
    "gemma": ("Gemma", {}, {}),
    "gemma2": ("Gemma2", {"sliding_window": 4, "query_pre_attn_scalar": 8, "final_logit_softcapping": 5.0}, {}),
    "gemma3": ("Gemma3Text", {"sliding_window": 4, "query_pre_attn_scalar": 8}, {}),
    "gpt2": ("GPT2", {}, _OF_GPT2),
    "gpt_neo": ("GPTNeo", {"window_size": 4}, _OF_GPT_NEO),
    "gpt_neox": ("GPTNeoX", {"use_parallel_residual": True}, {}),
    "gpt_neox_serial": ("GPTNeoX", {"use_parallel_residual": False}, {}),
    "gpt_oss": ("GptOss", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 4}, {}),
    "gptj": ("GPTJ", {"rotary_dim": 4}, _OF_GPT2),
    "llama": ("Llama", {}, {}),
    "mistral": ("Mistral", {"sliding_window": 4}, {}),
    "mixtral": ("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}, {}),
    "olmo": ("Olmo", {"clip_qkv": 0.5}, {}),
    "olmo2": ("Olmo2", {}, {}),
    "olmo3": ("Olmo3", {"sliding_window": 4}, {}),
    "opt": ("OPT", {"ffn_dim": 64, "word_embed_proj_dim": 32}, {}),
    "phi": ("Phi", {"partial_rotary_factor": 0.5}, {}),
    "phi3": ("Phi3", {"sliding_window": 4}, {}),
    "qwen2": ("Qwen2", {}, {}),
    "qwen2_moe": ("Qwen2Moe", {**_EXPERTS, "shared_expert_intermediate_size": 24}, {}),
    "qwen3": ("Qwen3", {"head_dim": 8}, {}),
    "qwen3_moe": ("Qwen3Moe", {**_EXPERTS, "head_dim": 8}, {}),
    "smollm3": ("SmolLM3", {}, {}),
}
"""Variant -> (prefix of the Transformers classes, what its config needs, names it uses instead of the usual ones)."""


def tiny_model(
    family: str = "gpt_neox",
    *,
    layers: int = 3,
    heads: int = 4,
    kv_heads: int | None = None,
    width: int = 32,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> PreTrainedModel:
    """A random model of a family (a key of `SHAPES`), in evaluation mode.

    All parameters, norms and biases included, are drawn large enough that every term of the mathematics matters:
    Transformers' own initialisation leaves biases at 0 and norms at 1, which would hide errors in them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _build(family, layers, heads, kv_heads or heads, width)
        for parameter in model.parameters():
            noise = torch.randn_like(parameter)
            parameter.data = (parameter.data + 0.2 * noise) if parameter.ndim == 1 else 0.2 * noise
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model.eval()


def _build(family: str, layers: int, heads: int, kv_heads: int, width: int) -> PreTrainedModel:
    if family not in SHAPES:
        raise InputError(f"There is no tiny {family!r}; choose one of {', '.join(SHAPES)}.")
    prefix, extra, renamed = SHAPES[family]
    config_class: Any = getattr(transformers, f"{prefix}Config")
    stem = prefix.removesuffix("Text")
    names = (f"{stem}ForCausalLM", f"{stem}LMHeadModel")
    model_class: Any = next(getattr(transformers, name) for name in names if hasattr(transformers, name))
    sizes = {
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "max_position_embeddings": 64,
        "vocab_size": VOCABULARY,
    }
    known = config_class().to_dict()
    values = {renamed.get(name, name): value for name, value in sizes.items()} | _PLAIN | extra
    if prefix == "GPTNeo":
        values["attention_types"] = [[[kind], 1] for kind in (["global", "local"] * layers)[:layers]]
    if "head_dim" in known and "head_dim" not in values:
        values["head_dim"] = width // heads
    if "layer_types" in known and "sliding_window" in extra:
        values["layer_types"] = (["sliding_attention", "full_attention"] * layers)[:layers]
    config = config_class(**values)
    config._experts_implementation = "eager"  # the others know no float64
    return model_class(config)


@contextmanager
def in_double() -> Iterator[None]:
    """Inside, models compute in float64 throughout: their casts to float32 (norms, softmax) are not carried out.

    For comparisons closer than float32 allows.
    """
    with _Double():
        yield


class _Double(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            if func is Tensor.float:
                return args[0]
            args = tuple(torch.float64 if argument is torch.float32 else argument for argument in args)
            if kwargs.get("dtype") is torch.float32:
                kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)
