"""Weights on disk or in another memory, adapters alone or several: the same scores as of the plain model."""

from pathlib import Path

import peft
import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model

from circuitune.circuits.attribution import attribute
from circuitune.circuits.faithfulness import evaluate
from circuitune.core.errors import InputError
from circuitune.testing import in_double, random_pairs, tiny_model
from marks import slow_but

FAMILIES = ["gpt2", "gemma2", "falcon"]


def results(model):
    inputs = random_pairs(4, common=2)
    scores = attribute(model, inputs, steps=2)
    circuit = evaluate(model, inputs, scores.top(0.2))
    zero = evaluate(model, inputs, scores.top(0.2), ablation="zero")
    exact = attribute(model, inputs, method="exact")
    return [scores.values, circuit.circuit.metric, zero.circuit.metric, exact.values]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("where", slow_but(["memory", "disk", "mixed"], "mixed"))
def test_an_offloaded_model_scores_exactly_as_the_whole_one(family: str, where: str, tmp_path: Path):
    expected = results(tiny_model(family, layers=2, kv_heads=2))
    model = tiny_model(family, layers=2, kv_heads=2)
    if where == "memory":
        cpu_offload(model, execution_device=torch.device("cpu"))
    elif where == "disk":
        disk_offload(model, str(tmp_path), execution_device=torch.device("cpu"))
    else:
        blocks = {"gpt2": "transformer.h", "falcon": "transformer.h"}.get(family, "model.layers")
        places = {name: "cpu" for name, _ in model.named_children()}
        body = blocks.split(".")[0]
        del places[body]
        for name, _ in model.get_submodule(body).named_children():
            places[f"{body}.{name}"] = "cpu"
        del places[blocks]
        places |= {f"{blocks}.0": "disk", f"{blocks}.1": "cpu"}
        dispatch_model(model, places, main_device="cpu", offload_dir=str(tmp_path), force_hooks=True)
    assert any(parameter.device.type == "meta" for parameter in model.parameters())
    for found, wanted in zip(results(model), expected, strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize(
    "family", slow_but(["llama", "gemma2", "phi3", "bloom", "opt", "falcon_7b", "olmo2"], "llama", "opt")
)
def test_a_live_adapter_scores_as_its_merged_model_in_every_kind_of_family(family: str):
    config = peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    adapted = peft.get_peft_model(tiny_model(family, layers=2, kv_heads=2, dtype=torch.float64), config).eval()
    with in_double():
        live = results(adapted)
        merged = results(adapted.merge_and_unload())
    for found, wanted in zip(live, merged, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.filterwarnings("ignore:`lora_bias=True` was passed")
@pytest.mark.parametrize("evaluated", [attribute, lambda model, inputs: evaluate(model, inputs, top(model, inputs))])
def test_a_bias_that_an_adapter_adds_below_a_norm_is_refused(evaluated):
    config = peft.LoraConfig(r=2, target_modules=["o_proj"], lora_bias=True, init_lora_weights=False)
    adapted = peft.get_peft_model(tiny_model("gemma2", kv_heads=2), config).eval()
    with pytest.raises(InputError, match=r"attention output of model\.layers\.0 a bias below a norm"):
        evaluated(adapted, random_pairs(2))


def top(adapted, inputs):
    with adapted.disable_adapter():
        return attribute(adapted, inputs, steps=1).top(0.2)


def test_of_several_adapters_the_active_one_counts():
    model = peft.get_peft_model(tiny_model("llama"), _lora(), adapter_name="one")
    model.add_adapter("two", _lora())
    for name, parameter in model.named_parameters():
        if "two" in name:
            parameter.data += 0.1
    found = {}
    for name in ("one", "two"):
        model.set_adapter(name)
        found[name] = results(model)[0]
    with model.disable_adapter():
        off = results(model)[0]
    assert not torch.allclose(found["one"], found["two"])
    torch.testing.assert_close(off, results(tiny_model("llama"))[0], rtol=1e-4, atol=1e-5)
    model.set_adapter("one")
    torch.testing.assert_close(results(model)[0], found["one"])


def _lora():
    return peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)


def test_ia3_scales_are_part_of_what_is_read():
    config = peft.IA3Config(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"])
    model = peft.get_peft_model(tiny_model("llama"), config).eval()
    for name, parameter in model.named_parameters():
        if "ia3" in name:
            parameter.data = 1 + 0.5 * torch.randn_like(parameter)
    live = results(model)
    for found, wanted in zip(live, results(model.merge_and_unload()), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
