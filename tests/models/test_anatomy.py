"""Anatomies: what the engine is told of a model must be what the model does."""

import peft
import pytest
import torch

from circuitune.core.errors import InputError
from circuitune.models.anatomy import Layout, anatomy_of, concatenated, weight_of
from circuitune.testing import SHAPES, in_double, tiny_model

FAMILIES = ["gpt2", "gpt_neox", "gpt_neox_serial", "llama"]


@pytest.mark.parametrize(("kind", "kv_heads"), [("letter", 4), ("letter", 2), ("group", 4), ("group", 2)])
def test_merging_what_was_split_gives_it_back(kind, kv_heads):
    layout = Layout(kind, 4, kv_heads, 8)
    fused = torch.randn(2, 3, (4 + 2 * kv_heads) * 8)
    q, k, v = layout.split(fused)
    assert q.shape == (2, 3, 4, 8)
    assert k.shape == v.shape == (2, 3, kv_heads, 8)
    assert torch.equal(layout.merge(q, k, v), fused)


@pytest.mark.parametrize("family", SHAPES)
def test_norms_and_projections_are_the_models_own(family):
    anatomy = anatomy_of(tiny_model(family, kv_heads=2, dtype=torch.float64))
    x = torch.randn(2, 5, anatomy.width, dtype=torch.float64)
    for block in anatomy.blocks:
        norm = block.attention_norm
        normalised, _ = norm.statistics(x)
        gamma, beta = norm.affine(x[0, 0])
        with in_double():
            torch.testing.assert_close(normalised * gamma + beta, norm(x))
        outputs = concatenated([projection(x) for projection in block.projections])
        weight = concatenated([weight_of(projection, anatomy.width) for projection in block.projections])
        offset = concatenated([projection(torch.zeros_like(x)) for projection in block.projections])
        torch.testing.assert_close(x @ weight + offset, outputs)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("adapter", [peft.LoraConfig(r=2, init_lora_weights=False), peft.IA3Config()])
def test_the_weight_of_an_adapted_layer_is_what_the_layer_does(family, adapter):
    adapter.target_modules = {"gpt2": ["c_attn"], "llama": ["q_proj", "k_proj", "v_proj"]}.get(
        family, ["query_key_value"]
    )
    adapter.fan_in_fan_out = family == "gpt2"
    if isinstance(adapter, peft.IA3Config):
        adapter.feedforward_modules = []
    adapted = peft.get_peft_model(tiny_model(family, kv_heads=2, dtype=torch.float64), adapter).eval()
    for name, parameter in adapted.named_parameters():
        if "ia3" in name:
            parameter.data += 0.3 * torch.randn_like(parameter)
    anatomy = anatomy_of(adapted)
    x = torch.randn(1, 4, anatomy.width, dtype=torch.float64)
    for projection in anatomy.blocks[1].projections:
        weight, offset = weight_of(projection, anatomy.width), projection(torch.zeros_like(x))
        torch.testing.assert_close(x @ weight + offset, projection(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", SHAPES)
def test_linear_names_are_those_adapters_can_target_with_and_without_one(family):
    model = tiny_model(family)
    names = [name for block in anatomy_of(model).blocks for name in block.linears]
    assert all(hasattr(model.get_submodule(name), "weight") for name in names)
    config = peft.LoraConfig(target_modules=names, fan_in_fan_out=family == "gpt2")
    adapted = peft.get_peft_model(model, config)
    assert [name for block in anatomy_of(adapted).blocks for name in block.linears] == names
    assert anatomy_of(model).layers == 3  # the base, marked by PEFT, is still a base


def test_prompt_learning_is_refused():
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    with pytest.raises(InputError, match="Prompt-learning"):
        anatomy_of(peft.get_peft_model(tiny_model("gpt2"), config))
