"""The models of studies/paper with two narrow layers and random weights, which speak nano's tokens."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from circuitune.experiments.scale import config_from
from circuitune.models.loading import NANO_FOLDER

NARROW: dict[str, dict[str, Any]] = {
    "pythia-1.4b": {
        "model_type": "gpt_neox",
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    },
    "gpt-neo-2.7b": {
        "model_type": "gpt_neo",
        "num_layers": 2,
        "hidden_size": 16,
        "num_heads": 2,
        "attention_types": [[["global", "local"], 1]],
    },
    "opt-6.7b": {
        "model_type": "opt",
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "num_attention_heads": 2,
        "ffn_dim": 32,
        "word_embed_proj_dim": 16,
    },
}


def save_model(name: str, folder: Path) -> Path:
    """Write the folder of one of these models and return it."""
    tokenizer = AutoTokenizer.from_pretrained(NANO_FOLDER)
    special = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = config_from(
        {**NARROW[name], **special, "vocab_size": len(tokenizer), "max_position_embeddings": 128, "pad_token_id": 0}
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():  # Transformers' own initialisation hardly moves the logits
            parameter.data = 0.3 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
