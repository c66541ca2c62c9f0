import pytest
from peft import LoraConfig

from circuitune.adapters.lora import attach
from circuitune.adapters.modules import linear_modules, parameter_count
from circuitune.testing import tiny_model


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama"])
def test_rank_cost_is_what_peft_adds_for_one_rank(family):
    model = tiny_model(family, kv_heads=2 if family == "llama" else None)
    modules = linear_modules(model)
    fan_in_fan_out = any(module.transposed for module in modules.values())
    config = LoraConfig(r=1, target_modules=list(modules), fan_in_fan_out=fan_in_fan_out, task_type="CAUSAL_LM")
    adapted = attach(model, config, seed=0)
    added = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    assert added == parameter_count(dict.fromkeys(modules, 1), modules)


def test_modules_come_in_the_order_of_the_blocks():
    layers = [module.layer for module in linear_modules(tiny_model("llama", layers=12)).values()]
    assert layers == sorted(layers)
    assert set(layers) == set(range(12))


def test_an_adapted_model_has_the_modules_of_its_base():
    before = linear_modules(tiny_model("gpt2"))
    model = tiny_model("gpt2")
    config = LoraConfig(r=2, target_modules=list(before), fan_in_fan_out=True, task_type="CAUSAL_LM")
    assert linear_modules(attach(model, config, seed=0)) == before
