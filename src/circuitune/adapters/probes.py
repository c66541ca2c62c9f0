"""Importance of modules from what is not a circuit: the change of weights, the gradient, the inputs' variance.

    weight_change(phase1)                       # how far phase 1 moved each weight
    gradient_probe(model, inputs)               # GoRA's sensitivity, before any training
    explained_variance(model, inputs, rank=8)   # EVA's redistribution of ranks, as PEFT computes it

The rivals of a circuit at the same number of parameters, one line each:

    RankPlan.from_importance(model, gradient_probe(model, inputs), allocator="proportional", budget=plan.count)
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import Any

import torch
from jaxtyping import Float
from peft import EvaConfig, LoraConfig, PeftModel, PeftType, get_eva_state_dict
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from circuitune.adapters.importance import ModuleImportance
from circuitune.adapters.modules import Model, linear_modules
from circuitune.circuits.metrics import appended
from circuitune.core.errors import InputError
from circuitune.models.anatomy import anatomy_of
from circuitune.models.encoding import PADDING, EncodedPairs
from circuitune.models.loading import load
from circuitune.models.running import prepared

PASSES = 100
"""Over the prompts, after which EVA's components are given up as not converging."""


def weight_change(phase1: PeftModel | str | PathLike[str]) -> ModuleImportance:
    """How far a LoRA adapter moves each weight: the Frobenius norm of s B A; 0 where it has no factors.

    Args:
        phase1: an adapted model, or the folder of an adapter.

    Raises:
        InputError: no LoRA adapter, or a DoRA one, whose change is not s B A.
    """
    model = lora_model(phase1)
    with torch.no_grad():
        norms = {name: _norm(*factors) for name, factors in lora_factors(model).items()}
    return ModuleImportance({name: norms.get(name, 0.0) for name in linear_modules(model)}, "weight change")


def gradient_probe(model: Model, inputs: EncodedPairs, *, batch_size: int = 8) -> ModuleImportance:
    """GoRA's sensitivity of each weight W: the mean of |W o dL/dW| (He et al. 2025, arXiv 2502.12171).

    L is what fine-tuning lowers: the negative log-likelihood of the answers' tokens after the clean prompts, its mean
    over all of them. The gradient is of the whole set, not a mean of absolute gradients of batches. The model is left
    as it was.

    Args:
        model: before training.
        inputs: training pairs; a few hundred do.
        batch_size: rows per pass; does not change the result.

    Raises:
        InputError: a weight that has no gradient (quantised or offloaded), or a prompt longer than the model reads.
    """
    names = list(linear_modules(model))
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    weights = [_weight(base, name) for name in names]
    totals = [torch.zeros_like(weight, dtype=torch.float32) for weight in weights]
    with prepared(model):
        for weight in weights:
            weight.requires_grad_(True)
        for loss in _losses(model, inputs, batch_size):
            gradients = torch.autograd.grad(loss, weights, allow_unused=True)
            for total, gradient in zip(totals, gradients, strict=True):
                if gradient is not None:
                    total += gradient
        values = [
            float((weight.detach().float() * total).abs().mean())
            for weight, total in zip(weights, totals, strict=True)
        ]
    return ModuleImportance(dict(zip(names, values, strict=True)), "gradient probe")


def explained_variance(
    model: PreTrainedModel, inputs: EncodedPairs, *, rank: int = 8, rho: float = 2.0, batch_size: int = 32
) -> ModuleImportance:
    """The ranks EVA would give (Paischer et al. 2024, arXiv 2410.07170), by PEFT's own `get_eva_state_dict`.

    The principal components of every module's input on the clean prompts compete by the share of variance that they
    explain; rank x modules of them win, and a module's importance is how many are its own.

    Args:
        model: without an adapter.
        inputs: training pairs.
        rank: the uniform rank that is redistributed.
        rho: a module can get at most rank x rho.
        batch_size: prompts per pass.

    Raises:
        InputError: an adapter in the model, too few tokens in a batch or too narrow a module for rank x rho
            components, or components that do not converge.
    """
    if isinstance(model, PeftModel) or hasattr(model, "peft_config"):
        raise InputError("EVA looks at a model without an adapter; merge it (merge_and_unload) or unload it first.")
    modules = linear_modules(model)
    _require_components(inputs, batch_size, round(rank * rho), min(module.inputs for module in modules.values()))
    batches = [
        {"input_ids": rows.clean, "attention_mask": _mask(rows)}
        for rows in (inputs.rows(slice(start, start + batch_size)) for start in range(0, len(inputs), batch_size))
    ]
    config = LoraConfig(r=rank, target_modules=list(modules), init_lora_weights="eva", eva_config=EvaConfig(rho=rho))
    with _hooks_restored(model):
        found = get_eva_state_dict(
            model, batches, config, forward_fn=_at_most(PASSES * len(batches)), show_progress_bar=False
        )
    return ModuleImportance({name: float(len(found[name])) for name in modules}, "EVA")


def lora_model(phase1: PeftModel | str | PathLike[str]) -> PeftModel:
    """The adapted model itself, or loaded from an adapter's folder; InputError where that is not plain LoRA."""
    model = phase1 if isinstance(phase1, PeftModel) else load(phase1)[0]
    if not isinstance(model, PeftModel):
        raise InputError(f"{phase1} is a model without an adapter; give the folder of phase 1's LoRA adapter.")
    config: Any = model.active_peft_config
    if config.peft_type != PeftType.LORA or config.use_dora:
        kind = "DoRA" if config.peft_type == PeftType.LORA else config.peft_type.value
        raise InputError(f"Phase 1 must be a plain LoRA adapter, and this one is {kind}; train it with LoRA.")
    return model


def lora_factors(model: PeftModel) -> dict[str, tuple[Tensor, Tensor, float]]:
    """Module name -> A [K, input], B [output, K] and the scale s of its active LoRA."""
    adapter: Any = model.active_adapter
    return {
        name: (module.lora_A[adapter].weight, module.lora_B[adapter].weight, module.scaling[adapter])  # type: ignore[misc]
        for name, module in model.get_base_model().named_modules()
        if isinstance(module, LoraLayer) and adapter in module.lora_A
    }


def _norm(a_KI: Float[Tensor, "K I"], b_OK: Float[Tensor, "O K"], scale: float) -> float:
    """|s B A|_F = s sqrt(sum of (B^T B) o (A A^T)), which never makes the product."""
    a, b = a_KI.double(), b_OK.double()
    return scale * float(((b.T @ b) * (a @ a.T)).sum().clamp(min=0).sqrt())


def _weight(base: nn.Module, name: str) -> Tensor:
    module = base.get_submodule(name)
    weight = getattr(module, "base_layer", module).weight
    assert isinstance(weight, Tensor)
    if not weight.is_floating_point() or weight.is_meta:
        raise InputError(f"The weight of {name} is quantised or offloaded and has no gradient; load the model whole.")
    return weight


def _losses(model: Model, inputs: EncodedPairs, batch_size: int) -> Iterator[Tensor]:
    """Of each batch, the sum of its answer tokens' negative log-likelihoods over the number of all answer tokens."""
    inputs = inputs.cpu()
    answers = inputs.answer.reshape(len(inputs), -1)
    answered, before = appended(inputs, answers), inputs.lengths()
    answered.require_context(anatomy_of(model).positions)
    for start in range(0, len(inputs), batch_size):
        rows = slice(start, start + batch_size)
        batch = {"input_ids": answered.clean[rows], "attention_mask": _mask(answered)[rows]}
        places = before[rows, None] - 1 + torch.arange(answers.shape[1])
        logits_BPV = model(**_moved(batch, model.device), use_cache=False).logits.float()
        places = places.clamp(max=logits_BPV.shape[1] - 1).to(logits_BPV.device)  # padding reads anywhere
        chosen_BTV = logits_BPV.take_along_dim(places[..., None], 1)
        labels = answers[rows].to(logits_BPV.device)
        loss = nn.functional.cross_entropy(chosen_BTV.flatten(0, 1), labels.flatten(), reduction="sum")
        yield loss / int((answers != PADDING).sum())


def _mask(inputs: EncodedPairs) -> Tensor:
    return torch.ones_like(inputs.clean) if inputs.mask is None else inputs.mask.long()


def _moved(batch: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _require_components(inputs: EncodedPairs, batch_size: int, components: int, narrowest: int) -> None:
    tokens = int(inputs.lengths()[:batch_size].sum())
    if components > min(tokens, narrowest):
        raise InputError(
            f"EVA looks for rank x rho = {components} components, in batches of {tokens} tokens and inputs as narrow "
            f"as {narrowest}; lower the rank, or take more prompts a batch."
        )


def _at_most(passes: int) -> Any:
    """PEFT runs prompts round and round until the components are stable; some never are."""
    left = passes

    def forward(model: nn.Module, batch: Mapping[str, Tensor]) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise InputError(
                f"EVA's components did not settle in {PASSES} passes; give more prompts or a lower rank."
            )
        return model(**batch)

    return forward


@contextmanager
def _hooks_restored(model: nn.Module) -> Iterator[None]:
    """Take away the forward hooks that PEFT leaves behind when it is stopped, and put the mode back."""
    hooks = {module: set(module._forward_hooks) for module in model.modules()}
    training = model.training
    try:
        yield
    finally:
        model.train(training)
        for module, known in hooks.items():
            for key in set(module._forward_hooks) - known:
                del module._forward_hooks[key]
