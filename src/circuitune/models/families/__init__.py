"""One entry per architecture: how a loaded model's modules map onto an `Anatomy`.

An entry is a function of the base Transformers model. It names modules; it holds no mathematics.
"""

from circuitune.models.anatomy import Describe
from circuitune.models.families import gpt2, gpt_neox, llama

FAMILIES: dict[str, Describe] = {
    "gpt2": gpt2.describe,
    "gpt_neox": gpt_neox.describe,
    "llama": llama.describe,
}
"""Transformers' `model_type` -> entry."""
