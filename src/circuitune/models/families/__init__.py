"""One entry per architecture: how a loaded model's modules map onto an `Anatomy`.

An entry is a function of the base Transformers model. It names modules; it holds no mathematics.
"""

from circuitune.models.anatomy import Describe
from circuitune.models.families.bloom import bloom, falcon
from circuitune.models.families.gpt2 import gpt2, gpt_neo
from circuitune.models.families.gpt_neox import gpt_neox
from circuitune.models.families.gptj import gptj, phi
from circuitune.models.families.llama import RELATIVES
from circuitune.models.families.opt import opt

FAMILIES: dict[str, Describe] = {
    "bloom": bloom,
    "falcon": falcon,
    "gpt2": gpt2,
    "gpt_neo": gpt_neo,
    "gpt_neox": gpt_neox,
    "gptj": gptj,
    "opt": opt,
    "phi": phi,
    **RELATIVES,
}
"""Transformers' `model_type` -> entry. A user adds an own one: ``FAMILIES["my_model"] = describe``."""

REFERENCE = frozenset({"gpt2", "gpt_neox", "llama"})
"""Families whose scores were compared with the field's reference implementation too (tests/golden)."""

_LINEAR = "its linear attention has no heads that write to the stream one by one"
_STATE = "it has state-space or recurrent blocks, which are no heads"
_TWO = "it is an encoder-decoder, whose decoder also reads the encoder"

REFUSED: dict[str, str] = {
    "bamba": _STATE,
    "bart": _TWO,
    "falcon_h1": _STATE,
    "falcon_mamba": _STATE,
    "granitemoehybrid": _STATE,
    "jamba": _STATE,
    "kimi_linear": _LINEAR,
    "lfm2": _STATE,
    "mamba": _STATE,
    "mamba2": _STATE,
    "minimax": _LINEAR,
    "nemotron_h": _STATE,
    "olmo_hybrid": _LINEAR,
    "qwen3_5": _LINEAR,
    "qwen3_next": _LINEAR,
    "recurrent_gemma": _STATE,
    "rwkv": _STATE,
    "t5": _TWO,
    "xlstm": _STATE,
    "zamba": _STATE,
    "zamba2": _STATE,
    "deepseek_v2": "its latent attention shares one compressed key and value between heads",
    "deepseek_v3": "its latent attention shares one compressed key and value between heads",
    "granite": "it scales what blocks write by a constant that no node owns",
    "openai-gpt": "it normalises the residual stream itself",
}
"""Architectures that have no edges in this sense, with the reason."""
