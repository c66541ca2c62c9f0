"""Transformers models with random weights, large enough to have structure and small enough to check every edge."""

from typing import Any, Literal

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

VOCABULARY = 97
Family = Literal["gpt2", "gpt_neox", "gpt_neox_serial", "llama"]


def tiny_model(
    family: Family = "gpt_neox",
    *,
    layers: int = 3,
    heads: int = 4,
    kv_heads: int | None = None,
    width: int = 32,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> PreTrainedModel:
    """A random model of a family, in evaluation mode.

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


def _build(family: Family, layers: int, heads: int, kv_heads: int, width: int) -> PreTrainedModel:
    sizes: dict[str, Any] = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2}
    if family == "gpt2":
        return GPT2LMHeadModel(GPT2Config(n_layer=layers, n_head=heads, n_embd=width, n_positions=64, **sizes))
    sizes |= {
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "max_position_embeddings": 64,
    }
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(num_key_value_heads=kv_heads, **sizes))
    return GPTNeoXForCausalLM(GPTNeoXConfig(use_parallel_residual=family == "gpt_neox", **sizes))
