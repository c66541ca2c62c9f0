"""Adapters of many ranks as one of a single rank: the same outputs without patterns."""

import json
import shutil

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel
from safetensors.torch import load_file

from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.lora import attach, save_adapter
from circuitune.adapters.modules import linear_modules
from circuitune.adapters.uniform import pad_uniform
from circuitune.core.errors import InputError
from circuitune.testing import tiny_model

IDS = torch.arange(12)[None]


def saved(folder, config, family="gpt_neox"):
    """An adapter whose factors are all random, and the logits with it."""
    adapted = attach(tiny_model(family), config, seed=0)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    save_adapter(adapted, folder)
    return logits(adapted)


def logits(model):
    """In double, so that what differs is the files' factors and not the order of sums."""
    with torch.no_grad():
        return model.double().eval()(input_ids=IDS).logits


def loaded(folder, family="gpt_neox"):
    return PeftModel.from_pretrained(tiny_model(family), folder)


def patterned(family, **options):
    """Three ranks, their alphas as given, and one block left out."""
    names = [name for name, module in linear_modules(tiny_model(family)).items() if module.layer < 2]
    ranks = {names[0]: 5, names[-1]: 3}
    pattern = {f"^{name}".replace(".", r"\."): rank for name, rank in ranks.items()}
    conv = family == "gpt2"
    return LoraConfig(r=2, target_modules=names, rank_pattern=pattern, fan_in_fan_out=conv, **options)


@pytest.mark.parametrize("family", ["gpt_neox", "gpt2", "llama"])
@pytest.mark.parametrize(
    ("options", "scale"),
    [
        ({"lora_alpha": 7}, 1.0),  # alpha / r differs by module: it goes into B
        ({"lora_alpha": 3, "use_rslora": True}, 1.0),
    ],
    ids=["lora", "rslora"],
)
def test_outputs_are_equal(family, options, scale, tmp_path):
    wanted = saved(tmp_path / "many", patterned(family, **options), family)
    made = pad_uniform(tmp_path / "many", tmp_path / "one")
    config = json.loads((tmp_path / "one/adapter_config.json").read_text())
    assert (made.rank, made.scale, config["r"], config["lora_alpha"]) == (5, scale, 5, 5)
    assert (config["rank_pattern"], config["alpha_pattern"], config["use_rslora"]) == ({}, {}, False)
    shapes = load_file(tmp_path / "one/adapter_model.safetensors")
    assert {len(tensor) for name, tensor in shapes.items() if "lora_A" in name} == {5}
    found = logits(loaded(tmp_path / "one", family))
    assert (found - logits(tiny_model(family))).abs().max() > 0.1
    assert torch.allclose(found, wanted, rtol=1e-6, atol=1e-6 * float(wanted.abs().max()))


def test_a_plans_adapter_keeps_its_scale_and_its_factors(tmp_path):
    plan = RankPlan.two_level(tiny_model(), [1], rank=2, critical_rank=6)
    wanted = saved(tmp_path / "many", plan)
    for name in ("circuit_plan.json", "circuit_scores.safetensors"):
        (tmp_path / "many" / name).write_text(name)
    made = pad_uniform(tmp_path / "many", tmp_path / "one")
    assert (made.rank, made.scale, made.zeros) == (6, 2.0, 0)
    before, after = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("many", "one"))
    for name, tensor in before.items():
        rows, columns = tensor.shape
        assert torch.equal(after[name][:rows, :columns], tensor)
        assert float(after[name].abs().sum()) == pytest.approx(float(tensor.abs().sum()))
    assert made.parameters == (plan.count, RankPlan.uniform(tiny_model(), rank=6).count)
    assert [path.name for path in made.files][2:] == ["circuit_plan.json", "circuit_scores.safetensors"]
    assert all(path.is_file() for path in made.files)
    assert torch.allclose(logits(loaded(tmp_path / "one")), wanted, rtol=1e-6, atol=1e-6 * float(wanted.abs().max()))


def test_modules_left_out_get_zeros_where_asked(tmp_path):
    wanted = saved(tmp_path / "many", patterned("gpt_neox", lora_alpha=4))
    modules = linear_modules(tiny_model())
    made = pad_uniform(tmp_path / "many", tmp_path / "one", modules)
    assert (made.modules, made.zeros) == (len(modules), 4)
    config = json.loads((tmp_path / "one/adapter_config.json").read_text())
    assert config["target_modules"] == sorted(modules)
    assert torch.allclose(logits(loaded(tmp_path / "one")), wanted, rtol=1e-6, atol=1e-6 * float(wanted.abs().max()))
    with pytest.raises(InputError, match="no linear module of that base's blocks"):
        pad_uniform(tmp_path / "many", tmp_path / "other", linear_modules(tiny_model("gpt2")))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LoraConfig(target_modules=["dense"], use_dora=True), "is LoRA with use_dora"),
        (LoraConfig(target_modules=["dense"], init_lora_weights="pissa"), "changes the base"),
        (IA3Config(target_modules=["dense"], feedforward_modules=[]), "is IA3"),
        (LoraConfig(target_modules=["dense"], modules_to_save=["lm_head"]), "holds base_model.model.lm_head"),
    ],
)
def test_what_is_more_than_factors_is_refused(config, message, tmp_path):
    save_adapter(attach(tiny_model(), config, seed=0), tmp_path / "many")
    with pytest.raises(InputError, match=message):
        pad_uniform(tmp_path / "many", tmp_path / "one")
    assert not (tmp_path / "one").exists()


def test_what_is_no_adapter_is_refused(tmp_path):
    saved(tmp_path / "many", LoraConfig(target_modules=["dense"]))
    with pytest.raises(InputError, match="is the adapter itself"):
        pad_uniform(tmp_path / "many", tmp_path / "many")
    saved(tmp_path / "other", LoraConfig(target_modules=["dense"]))
    kept = (tmp_path / "other/adapter_model.safetensors").read_bytes()
    for taken in (tmp_path / "other", tmp_path / "other/adapter_config.json"):
        with pytest.raises(InputError, match="name an empty or new folder"):
            pad_uniform(tmp_path / "many", taken)
    assert (tmp_path / "other/adapter_model.safetensors").read_bytes() == kept
    with pytest.raises(InputError, match=r"holds no adapter_config.json"):
        pad_uniform(tmp_path, tmp_path / "one")
    shutil.copytree(tmp_path / "many", tmp_path / "broken")
    (tmp_path / "broken/adapter_model.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="cannot be read"):
        pad_uniform(tmp_path / "broken", tmp_path / "one")
    (tmp_path / "broken/adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="is not a config of PEFT"):
        pad_uniform(tmp_path / "broken", tmp_path / "one")
