"""The golden files: what the field's reference computes for three small models (tests/golden/README.md)."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from circuitune.models.encoding import EncodedPairs

FOLDER = Path(__file__).parent.parent / "golden"


@dataclass(frozen=True)
class Golden:
    model: Any
    inputs: EncodedPairs
    arrays: dict[str, Tensor]
    facts: dict[str, Any]

    def scores(self, name: str) -> Tensor:
        """Reference scores with key/value columns per group, as ours are: gradient scores sum over a group."""
        values, config = self.arrays[name], self.model.config
        heads = config.num_attention_heads
        kv_heads = getattr(config, "num_key_value_heads", None) or heads
        blocks = values[:, :-1].unflatten(1, (config.num_hidden_layers, 3 * heads + 1))
        q, k, v, mlp = blocks.split([heads, heads, heads, 1], dim=2)
        k, v = (part.unflatten(2, (kv_heads, -1)).sum(-1) for part in (k, v))
        return torch.cat([torch.cat([q, k, v, mlp], 2).flatten(1), values[:, -1:]], 1)


@cache
def golden(name: str) -> Golden:
    folder = FOLDER / name
    arrays = load_file(folder / "golden.safetensors")
    return Golden(
        model=AutoModelForCausalLM.from_pretrained(folder),
        inputs=EncodedPairs(arrays["clean"], arrays["corrupted"], arrays["answer"], arrays["wrong"]),
        arrays=arrays,
        facts=json.loads((folder / "golden.json").read_text()),
    )
