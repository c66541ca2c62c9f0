import json

import pytest
import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file

from adapters.ranks import ranks_of
from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.lora import attach, save_adapter, verify
from circuitune.core.errors import InputError, MachineError
from circuitune.models.anatomy import anatomy_of
from circuitune.testing import tiny_model

FAMILIES = ["gpt2", "gpt_neox", "gpt_neox_serial", "llama"]
TOKENS = torch.arange(3, 27).view(2, 12)


def build(family, layers=3):
    return tiny_model(family, layers=layers, kv_heads=2 if family == "llama" else None)


def trained(model, plan):
    """An adapter whose factors are not 0, as after training."""
    adapted = attach(model, plan, seed=0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return adapted.eval()


def logits(model):
    with torch.no_grad():
        return model(input_ids=TOKENS).logits


def save_as_peft_does(model, folder):
    model.save_pretrained(folder)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize(
    ("family", "save"), [*((family, save_adapter) for family in FAMILIES), ("gpt_neox", save_as_peft_does)]
)
def test_a_plan_survives_save_reload_and_merge(family, save, tmp_path):
    # Twelve layers: a careless pattern for layer 1 would also match layer 11.
    plan = RankPlan.two_level(build(family, 12), [1, 0, 11], rank=2, critical_rank=5)
    model = trained(build(family, 12), plan)
    assert ranks_of(model) == plan.ranks
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == plan.count
    expected = logits(model)
    assert not torch.allclose(expected, logits(build(family, 12)), atol=1e-2)

    save(model, tmp_path / "adapter")
    again = PeftModel.from_pretrained(build(family, 12), tmp_path / "adapter")
    assert ranks_of(again) == plan.ranks
    torch.testing.assert_close(logits(again), expected, rtol=0, atol=0)

    merged = again.merge_and_unload()
    assert not any("lora" in name for name, _ in merged.named_parameters())
    torch.testing.assert_close(logits(merged), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_alpha_over_rank_is_the_same_everywhere(family):
    model = build(family)
    adapted = attach(model, RankPlan.two_level(model, [1], rank=3, critical_rank=7), seed=0)
    layers = [module for module in adapted.modules() if isinstance(module, LoraLayer)]
    assert {layer.r["default"] for layer in layers} == {3, 7}
    assert {layer.scaling["default"] for layer in layers} == {2.0}


def test_modules_of_rank_zero_get_nothing():
    model = build("llama")
    plan = RankPlan.two_level(model, [2], rank=0, critical_rank=4)
    adapted = attach(model, plan, seed=0)
    assert set(ranks_of(adapted)) == set(anatomy_of(adapted).blocks[2].linears)


def test_the_seed_alone_decides_the_weights_and_global_state_is_kept():
    plan = RankPlan.uniform(build("gpt2"), rank=2)
    state = torch.get_rng_state()
    first, same, other = (attach(build("gpt2"), plan, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_given_config_is_not_changed():
    model = build("gpt2", 12)
    config = RankPlan.two_level(model, [1], 2, 5).to_lora_config(model)
    before = config.to_dict()
    attach(model, config, seed=0)
    assert config.to_dict() == before


def test_a_second_adapter_is_refused():
    model = build("gpt_neox")
    plan = RankPlan.uniform(model, rank=2)
    adapted = attach(model, plan, seed=0)
    for occupied in (adapted, model):
        with pytest.raises(InputError, match="already"):
            attach(occupied, plan, seed=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank_pattern": {"layers.0.attention.dense": 5, "attention.dense": 7}}, "Several patterns"),
        ({"target_modules": ["attention.dense", "attention.wrong"]}, "attention.wrong"),
    ],
)
def test_a_config_that_peft_would_misread_silently_is_refused(changes, message):
    config = LoraConfig(**{"r": 2, "target_modules": ["attention.dense"], "task_type": "CAUSAL_LM", **changes})
    with pytest.raises(InputError, match=message):
        attach(build("gpt_neox"), config, seed=0)


def test_a_pattern_that_matches_nothing_is_refused():
    model = build("gpt_neox")
    adapted = attach(model, LoraConfig(r=2, target_modules=["attention.dense"], task_type="CAUSAL_LM"), seed=0)
    config = LoraConfig(r=2, target_modules=["attention.dense"], rank_pattern={"^attention.dense": 4})
    with pytest.raises(InputError, match="matches no adapted module"):
        verify(adapted, config)


def test_a_wrong_rank_is_found():
    model = build("gpt_neox")
    adapted = attach(model, LoraConfig(r=2, target_modules=["attention.dense"], task_type="CAUSAL_LM"), seed=0)
    with pytest.raises(MachineError, match=r"layers.0.attention.dense rank 2"):
        verify(adapted, LoraConfig(r=3, target_modules=["attention.dense"]))


def test_the_saved_folder_holds_the_adapter_and_nothing_else(tmp_path):
    model = build("gpt_neox")
    model.name_or_path = "nano"
    plan = RankPlan.two_level(model, [1], rank=1, critical_rank=5)
    save_adapter(attach(model, plan, seed=0), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "nano"
    assert config["target_modules"] == sorted(plan.ranks)
    assert len(load_file(tmp_path / "adapter_model.safetensors")) == 2 * len(plan.ranks)


def test_an_adapter_that_is_not_finite_is_not_saved(tmp_path):
    model = build("gpt2")
    adapted = attach(model, RankPlan.uniform(model, rank=1), seed=0)
    next(p for p in adapted.parameters() if p.requires_grad).data[0] = torch.nan
    with pytest.raises(MachineError, match="not finite"):
        save_adapter(adapted, tmp_path / "adapter")
    assert not (tmp_path / "adapter").exists()
