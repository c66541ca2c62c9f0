"""Every method on a tiny model, and what its checkpoints hold."""

import warnings
from contextlib import contextmanager
from dataclasses import replace

import torch
from peft import PeftModel

from circuitune.testing import tiny_model
from circuitune.training.catalogue import tuning
from circuitune.training.finetune import finetune
from circuitune.training.methods import PLANNED, RANKED, TrainingSettings

RANK = 3
TOKENS = torch.arange(3, 27).view(2, 12)
SETTINGS = TrainingSettings(
    max_steps=30, learning_rate=0.02, batch_size=24, accumulation=1, warmup_steps=2, checkpoints=2
)
RATES = {"full": 2e-3, "ia3": 0.1}


def method_on(model, method, **options):
    ranked = {"rank": RANK} if method in (*PLANNED, *RANKED) else {}
    return tuning(method, model, **{**ranked, **options})


def tuned(method, tokenizer, pairs, folder, *, family="gpt_neox", settings=SETTINGS, options=None, **given):
    model = tiny_model(family)
    settings = replace(settings, learning_rate=RATES.get(method, settings.learning_rate))
    arguments = {
        "config": method_on(model, method, **(options or {})),
        "evaluate": {"test": pairs},
        "seed": 0,
        **given,
    }
    return finetune(model, tokenizer, pairs, settings, folder=folder, **arguments)


def content(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=TOKENS).logits


@contextmanager
def without_false_alarms():
    """PEFT takes AdaLoRA's rank pattern for LoRA's, and a module without ranks for a mistake."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The following rank_pattern keys did not match", RuntimeWarning)
        warnings.filterwarnings("ignore", "Initializing zero-element tensors is a no-op", UserWarning)
        yield


def reloaded(folder, family="gpt_neox"):
    with without_false_alarms():
        return PeftModel.from_pretrained(tiny_model(family), folder)
