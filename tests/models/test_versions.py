"""The base model and the tuned one out of one adapted model, in any nesting, and nothing left behind."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from circuitune.core.errors import InputError
from circuitune.models.versions import before_and_after, can_be_drawn
from circuitune.testing import random_pairs, tiny_model

TOKENS = random_pairs(3).clean


def adapted():
    model = get_peft_model(
        tiny_model("gpt2"), LoraConfig(r=2, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.3)
    return model


def logits(model):
    with torch.no_grad():
        return model(input_ids=TOKENS).logits


def test_the_adapter_is_off_before_and_on_after_also_inside_each_other():
    model = adapted().eval()
    base, tuned = logits(tiny_model("gpt2")), logits(model)
    assert not torch.equal(base, tuned)
    before, after = before_and_after(model)
    with before.active():
        assert torch.equal(logits(model), base)
        with after.active():
            assert torch.equal(logits(model), tuned)
        assert torch.equal(logits(model), base)
    assert torch.equal(logits(model), tuned)


def test_modes_and_wanted_gradients_are_as_before():
    model = adapted().train()
    wanted = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    before, after = before_and_after(model)
    with after.active(), before.active():
        assert not model.training
        assert not torch.is_grad_enabled()
    assert all(module.training for module in model.modules())
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == wanted
    assert model.get_model_status().enabled is True


def test_an_adapter_that_was_off_stays_off():
    model = adapted().eval()
    _, after = before_and_after(model)
    with model.disable_adapter():
        base = logits(model)
        with after.active():
            assert not torch.equal(logits(model), base)
        assert torch.equal(logits(model), base)


def test_two_models_are_taken_as_they_are():
    one, other = tiny_model(seed=1), tiny_model(seed=2)
    before, after = before_and_after(other, one)
    assert before.model is one
    assert after.model is other


def test_a_model_without_a_base_is_refused():
    with pytest.raises(InputError, match="base="):
        before_and_after(tiny_model())
    merged = adapted()
    merged.merge_adapter()
    with pytest.raises(InputError, match="merged"):
        before_and_after(merged)
    partly = adapted()
    next(m for m in partly.modules() if isinstance(m, LoraLayer)).enable_adapters(False)
    with pytest.raises(InputError, match="off"):
        before_and_after(partly)


def test_only_a_plain_model_of_which_the_machine_holds_two_can_be_drawn_again():
    assert can_be_drawn(tiny_model())
    assert not can_be_drawn(adapted())
    with torch.device("meta"):
        huge = GPT2LMHeadModel(GPT2Config(n_embd=2**14, n_head=64, n_layer=400))  # 1.3 trillion parameters
    assert not can_be_drawn(huge)
