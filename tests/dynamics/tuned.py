"""A small model and an adapter on it, tuned by hand, and the scores of both: for the checks that run models."""

import torch
from peft import LoraConfig, get_peft_model

from circuitune.testing import tiny_model


def adapted(family="gpt_neox", *, layers=2, kv_heads=None, targets="all-linear", std=0.2, seed=3):
    """A tiny model in float64 with a random adapter of rank 2."""
    model = tiny_model(family, layers=layers, kv_heads=kv_heads, dtype=torch.float64)
    model = get_peft_model(model, LoraConfig(r=2, target_modules=targets), autocast_adapter_dtype=False)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = std * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model.eval()
