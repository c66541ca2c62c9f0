"""LoRA in a model: injection that checks what PEFT did, and files that are equal whenever the adapter is.

PEFT matches modules and ranks by name patterns, silently: a pattern that matches nothing, or too much, trains
another model than the one planned. So after injection every module's rank and scale are compared to the request.
"""

import copy
import re
from collections.abc import Mapping
from math import isclose, sqrt
from pathlib import Path
from typing import Any

import safetensors.torch
from peft import AdaLoraConfig, LoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from torch import Tensor
from transformers import PreTrainedModel

from circuitune.adapters.allocation import RankPlan
from circuitune.core.atomic import write_bytes, write_json
from circuitune.core.errors import InputError, MachineError
from circuitune.core.seeding import forked
from circuitune.models.loading import peft_quiet

ADAPTER = "default"


def attach(model: PreTrainedModel, plan: RankPlan | PeftConfig, seed: int) -> PeftModel:
    """Put an adapter into `model`, its weights drawn from `seed` (global random state is restored).

    PEFT injects in place: `model` itself then holds the adapter, so give up your reference to it, or get the bare
    model back by ``.unload()``. The given config is not changed.

    Raises:
        InputError: the model has an adapter already; a target or a pattern of the config matches no module, or two
            patterns disagree about one.
        MachineError: PEFT gave a module another rank or scale than the config says.
    """
    if isinstance(model, PeftModel) or hasattr(model, "peft_config"):
        raise InputError("The model has an adapter already; merge it (merge_and_unload) or unload it first.")
    config = plan.to_lora_config(model) if isinstance(plan, RankPlan) else plan
    with forked(seed), peft_quiet():
        adapted = get_peft_model(model, copy.deepcopy(config))
    assert isinstance(adapted, PeftModel)
    if isinstance(config, LoraConfig):
        if not isinstance(config, AdaLoraConfig):  # its ranks change in training
            verify(adapted, config)
        restore_targets(adapted, config)
    return adapted


def verify(model: PeftModel, config: LoraConfig) -> None:
    """Compare every module's LoRA rank and scale to what `config` says, and every name in it to a module."""
    layers = _lora_layers(model)
    _require_matches(config, list(layers))
    for name, layer in layers.items():
        rank = _requested(config.rank_pattern or {}, name, config.r)
        alpha = _requested(config.alpha_pattern or {}, name, config.lora_alpha)
        scale = alpha / (sqrt(rank) if config.use_rslora else rank)
        if _rank(layer) != rank or not isclose(layer.scaling[ADAPTER], scale):
            raise MachineError(
                f"PEFT gave {name} rank {_rank(layer)} and scale {layer.scaling[ADAPTER]}, not {rank} and {scale}; "
                "this PEFT version reads rank patterns differently, install peft 0.21.2."
            )


def save_adapter(model: PeftModel, folder: Path) -> int:
    """Write ``adapter_model.safetensors`` and ``adapter_config.json`` in PEFT's format; equal adapters, equal bytes.

    ``PeftModel.save_pretrained`` also writes a model card, lists target modules in hash order, and asks the network
    about the base model; none of that happens here.

    Returns:
        How many weights the active adapter has in the file.
    """
    name = _active(model)
    state = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    broken = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise MachineError(f"The adapter weight {broken[0]} is not finite; lower the learning rate.")
    config = plain_config(model.peft_config[name]) | {"inference_mode": True}
    write_bytes(folder / "adapter_model.safetensors", safetensors.torch.save(tensors, {"format": "pt"}))
    write_json(folder / "adapter_config.json", config)
    return sum(tensor.numel() for tensor in tensors.values())


def plain_config(config: PeftConfig) -> dict[str, Any]:
    """What a config says as JSON keeps it: sets become sorted lists."""
    return {key: sorted(value) if isinstance(value, set) else value for key, value in config.to_dict().items()}


def restore_targets(model: PeftModel, config: LoraConfig) -> None:
    """PEFT shortens long lists of target names to suffixes; the saved file shall say what was asked for."""
    used = model.peft_config[_active(model)]
    assert isinstance(used, LoraConfig)
    used.target_modules = copy.deepcopy(config.target_modules)


def _lora_layers(model: PeftModel) -> dict[str, LoraLayer]:
    modules = model.get_base_model().named_modules()
    return {name: module for name, module in modules if isinstance(module, LoraLayer)}


def _active(model: PeftModel) -> str:
    name = model.active_adapter
    assert isinstance(name, str)
    return name


def _rank(layer: LoraLayer) -> int:
    factor = layer.lora_A[ADAPTER].weight
    assert isinstance(factor, Tensor)
    return factor.shape[0]


def _matches(pattern: str, name: str) -> bool:
    """As PEFT 0.21 reads a key of ``rank_pattern``: it matches the end of a name, from a dot or the very start."""
    return re.match(rf"(.*\.)?({pattern})$", name) is not None


def _requested(patterns: Mapping[str, int], name: str, default: int) -> int:
    found = {value for pattern, value in patterns.items() if _matches(pattern, name)}
    if len(found) > 1:
        raise InputError(
            f"Several patterns match {name} and ask for {sorted(found)}; PEFT would take whichever comes first, "
            "which changes on saving: write patterns that match one module each."
        )
    return found.pop() if found else default


def _require_matches(config: LoraConfig, names: list[str]) -> None:
    targets = config.target_modules
    if isinstance(targets, set | list) and (missing := _unmatched_targets(targets, names)):
        raise InputError(f"target_modules names {missing[0]}, which the model does not have; correct the name.")
    for patterns in (config.rank_pattern, config.alpha_pattern):
        for pattern in patterns or {}:
            if not any(_matches(pattern, name) for name in names):
                raise InputError(f"The rank or alpha pattern {pattern} matches no adapted module; correct it.")


def _unmatched_targets(targets: set[str] | list[str], names: list[str]) -> list[str]:
    return sorted(
        target for target in targets if not any(name == target or name.endswith(f".{target}") for name in names)
    )
