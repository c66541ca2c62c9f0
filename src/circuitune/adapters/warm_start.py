"""Phase 2 that goes on from phase 1: an adapter of the planned ranks that starts as the phase-1 model.

adapted = warm_start("phase1/checkpoints/step-00188", plan, seed=0)      # then any PEFT trainer
"""

from os import PathLike

import torch
from peft import LoraConfig, PeftModel

from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.lora import attach
from circuitune.adapters.probes import lora_factors, lora_model
from circuitune.core.errors import InputError


def warm_start(phase1: PeftModel | str | PathLike[str], plan: RankPlan, seed: int) -> PeftModel:
    """Put an adapter of the plan's ranks in the place of phase 1's, its first directions phase 1's factors.

    A' = [A; fresh], B' = [(s / s') B, 0]: with s' B' A' = s B A the model computes what it did after phase 1, and
    the fresh directions train as those of any new LoRA do. The scales s and s' are those of phase 1 and
    of the plan.

    Args:
        phase1: an adapted model, which is used up, or the folder of an adapter.
        plan: ranks at least as high as phase 1's, module by module.
        seed: of the fresh directions.

    Raises:
        InputError: an adapter that is not plain LoRA on linear modules, or a planned rank below phase 1's.
    """
    model = lora_model(phase1)
    config = model.active_peft_config
    assert isinstance(config, LoraConfig)
    if config.bias != "none" or config.modules_to_save:
        raise InputError("Phase 1 trained biases or whole modules too, which ranks cannot hold; merge it first.")
    kept = {name: (a.detach(), b.detach(), scale) for name, (a, b, scale) in lora_factors(model).items()}
    ranks = plan.resolve(model).ranks
    for name, (a, _, _) in kept.items():
        if ranks.get(name, 0) < len(a):
            raise InputError(
                f"The plan gives {name} rank {ranks.get(name, 0)}, below the {len(a)} of phase 1; raise the plan's "
                "lowest rank, or train phase 1 with a lower one."
            )
    adapted = attach(model.unload(), plan, seed)
    with torch.no_grad():
        for name, (new_a, new_b, new_scale) in lora_factors(adapted).items():
            if name in kept:
                a, b, scale = kept[name]
                new_a[: len(a)] = a
                new_b[:, : len(a)] = b * (scale / new_scale)
    return adapted.eval()
