"""Rank plans for other tools: what they read there is the plan's ``LoraConfig``."""

import ast
import json
import subprocess
import sys

import datasets
import pytest
import torch
import yaml
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

from adapters.ranks import ranks_of
from adapters.sft import sums, tokenizer
from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.completions import read_completions
from circuitune.adapters.data_plan import completion_scores, data_plan
from circuitune.adapters.export import axolotl_fragment, model_card, save_peft_folder, skeleton, trl_script
from circuitune.adapters.verdicts import FROM_DATA
from circuitune.core.errors import InputError
from circuitune.testing import tiny_model
from experiments import tiny

FAMILIES = ["gpt_neox", "gpt2", "llama"]


def planned(model):
    """Three ranks, and a module left out."""
    plan = RankPlan.two_level(model, [1], rank=2, critical_rank=5)
    ranks = dict(plan.ranks)
    first, *_, last = ranks
    return RankPlan(None, None, ranks={**ranks, first: 0, last: 3}, provenance={"allocation": "by hand"})


def same(one, other):
    return {**one.to_dict(), "target_modules": None} == {**other.to_dict(), "target_modules": None} and set(
        one.target_modules
    ) == set(other.target_modules)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_trl_script_makes_the_plans_config(family):
    model = tiny_model(family)
    plan = planned(model)
    script = trl_script(plan, model, model="some/model", dataset="sft.jsonl")
    body = ast.parse(script).body
    head = [node for node in body if not isinstance(node, ast.ImportFrom) or node.module == "peft"]
    found = {}
    exec(compile(ast.Module(head[:3], []), "train.py", "exec"), found)
    assert same(found["lora"], plan.to_lora_config(model))
    ranks = ranks_of(get_peft_model(model, found["lora"]))
    assert ranks == {name: rank for name, rank in plan.ranks.items() if rank}


@pytest.mark.parametrize(
    ("dataset", "call"),
    [
        ("a.jsonl", "load_dataset('json', data_files='a.jsonl', split=\"train\")"),
        ("a.csv", "load_dataset('csv', data_files='a.csv', split=\"train\")"),
        ("a.parquet", "load_dataset('parquet', data_files='a.parquet', split=\"train\")"),
        ("org/name", "load_dataset('org/name', split=\"train\")"),
    ],
)
def test_the_trl_script_reads_the_dataset(dataset, call):
    model = tiny_model()
    script = trl_script(planned(model), model, model="some/model", dataset=dataset)
    assert f"train_dataset={call}," in script
    assert "model='some/model'," in script


def test_the_trl_script_reads_a_saved_dataset(tmp_path):
    datasets.Dataset.from_list(sums(3)).save_to_disk(tmp_path / "saved")
    model = tiny_model()
    script = trl_script(planned(model), model, model="some/model", dataset=str(tmp_path / "saved"))
    assert "from datasets import load_from_disk" in script
    assert f"train_dataset=load_from_disk({str(tmp_path / 'saved')!r})" in script


@pytest.mark.slow
def test_the_trl_script_runs_as_it_is(tmp_path):
    """From training data to an adapter of the planned ranks, by TRL's own trainer."""
    place = tiny.save_model(tmp_path / "model")
    rows = [{"prompt": f"{row} + 5 =", "completion": f" {row + 5}"} for row in range(1, 31)]
    (tmp_path / "sft.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = ["plan", "--model", str(place), "--dataset", "sft.jsonl", "--gate", "off"]
    for command in (arguments, ["export", "circuit_plan.json", "--for", "trl", "--out", "train.py"]):
        subprocess.run(_command(command), cwd=tmp_path, check=True, capture_output=True)
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path, check=True, capture_output=True)
    plan = RankPlan.load(tmp_path / "circuit_plan.json")
    weights = load_file(tmp_path / "adapter/adapter_model.safetensors")
    ending = ".lora_A.weight"
    trained = {
        name.removeprefix("base_model.model.").removesuffix(ending): len(factor)
        for name, factor in weights.items()
        if name.endswith(ending)
    }
    assert trained == {name: rank for name, rank in plan.ranks.items() if rank}
    assert any(float(factor.abs().max()) > 0 for name, factor in weights.items() if "lora_B" in name)


def _command(arguments):
    return [sys.executable, "-c", "from circuitune.cli import main; main()", *arguments]


@pytest.mark.parametrize("family", FAMILIES)
def test_axolotls_keys_make_the_plans_config(family):
    model = tiny_model(family)
    plan = planned(model)
    keys = yaml.safe_load(axolotl_fragment(plan, model, model="some/model"))
    assert (keys["base_model"], keys["adapter"]) == ("some/model", "lora")
    config = LoraConfig(  # as axolotl's loader puts them together
        r=keys["lora_r"],
        lora_alpha=keys["lora_alpha"],
        target_modules=keys["lora_target_modules"],
        lora_dropout=keys["lora_dropout"],
        fan_in_fan_out=keys["lora_fan_in_fan_out"],
        bias="none",
        task_type="CAUSAL_LM",
        rank_pattern=keys["lora_rank_pattern"],
        alpha_pattern=keys["lora_alpha_pattern"],
    )
    assert same(config, plan.to_lora_config(model))


def test_axolotl_takes_whole_alphas_only_and_no_empty_patterns():
    model = tiny_model()
    uniform = RankPlan.uniform(model, rank=4)
    assert "lora_rank_pattern" not in yaml.safe_load(axolotl_fragment(uniform, model, model="some/model"))
    odd = RankPlan(None, None, ranks=planned(model).ranks, alpha_over_rank=1.3)
    with pytest.raises(InputError, match=r"axolotl takes whole lora_alpha only, and this plan has 2\.6"):
        axolotl_fragment(odd, model, model="some/model")


def test_the_card_says_what_is_known():
    model = tiny_model()
    sample = read_completions(sums(20), tokenizer())
    plan = data_plan(model, sample, completion_scores(model, sample, steps=2), gate="off")
    card = model_card(plan, model, model="some/model")
    assert f"{plan.count:,} trainable parameters" in card
    assert "on 20 rows of the dataset" in card
    assert FROM_DATA in card
    assert "| gpt_neox.layers.0.attention.dense |" in card
    assert json.loads(card.partition("```json")[2].partition("```")[0]) == dict(plan.provenance)
    by_layer = model_card(RankPlan.two_level(model, [1], 2, 5), model, model="some/model")
    assert "| 0 | 2 |\n| 1 | 5 |\n| 2 | 2 |" in by_layer
    assert "critical layers, most important first: 1" in by_layer
    assert "Against uniform LoRA" not in by_layer


def test_a_peft_folder_is_an_adapter_to_go_on_from(tmp_path):
    model = tiny_model()
    sample = read_completions(sums(20), tokenizer())
    scores = completion_scores(model, sample, steps=2)
    plan = data_plan(model, sample, scores, gate="off")
    scores.save(tmp_path / "scores.safetensors")
    ids = torch.arange(8)[None]
    wanted = model(input_ids=ids).logits
    written = save_peft_folder(
        plan, model, tmp_path / "start", name="some/model", scores=tmp_path / "scores.safetensors"
    )
    assert all(path.is_file() for path in written)
    assert len(written) == len(list((tmp_path / "start").iterdir())) == 5
    assert torch.equal(model(input_ids=ids).logits, wanted)  # and the model has no adapter now
    config = PeftConfig.from_pretrained(str(tmp_path / "start"))
    assert config.base_model_name_or_path == "some/model"
    adapted = PeftModel.from_pretrained(model, tmp_path / "start", is_trainable=True)
    assert ranks_of(adapted) == plan.ranks
    assert torch.equal(adapted(input_ids=ids).logits, wanted)
    assert sum(p.numel() for p in adapted.parameters() if p.requires_grad) == plan.count
    assert RankPlan.load(tmp_path / "start/circuit_plan.json") == plan
    assert "base_model: some/model" in (tmp_path / "start/README.md").read_text()


def test_a_revision_is_written_where_each_tool_looks_for_it(tmp_path):
    model = tiny_model()
    plan, name = planned(model), "some/model@step1000"
    script = trl_script(plan, model, model=name, dataset="a.csv")
    calls = [node for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Call)]
    trainer = next(call for call in calls if ast.unparse(call.func) == "SFTTrainer")
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in trainer.keywords}
    assert given["model"] == "'some/model'"
    assert "model_init_kwargs={'revision': 'step1000'}" in given["args"]
    keys = yaml.safe_load(axolotl_fragment(plan, model, model=name))
    assert (keys["base_model"], keys["revision_of_model"]) == ("some/model", "step1000")
    assert "on some/model (revision step1000);" in model_card(plan, model, model=name)
    save_peft_folder(plan, model, tmp_path / "start", name=name)
    config = PeftConfig.from_pretrained(str(tmp_path / "start"))
    assert (config.base_model_name_or_path, config.revision) == ("some/model", "step1000")
    assert "base_model: some/model\n" in (tmp_path / "start/README.md").read_text()


def test_a_folder_with_an_at_in_its_name_has_no_revision(tmp_path):
    place = tiny.save_model(tmp_path / "model@home")
    base = skeleton(str(place))
    plan = RankPlan.uniform(base, rank=2)
    assert "model_init_kwargs" not in trl_script(plan, base, model=str(place), dataset="a.csv")
    assert yaml.safe_load(axolotl_fragment(plan, base, model=str(place)))["base_model"] == str(place)


def test_scores_of_another_plan_are_refused(tmp_path):
    model = tiny_model()
    sample = read_completions(sums(20), tokenizer())
    scores = completion_scores(model, sample, steps=2)
    scores.save(tmp_path / "scores.safetensors")
    with pytest.raises(InputError, match="other scores than the plan was made from"):
        save_peft_folder(
            planned(model), model, tmp_path / "start", name="some/model", scores=tmp_path / "scores.safetensors"
        )
    assert not (tmp_path / "start").exists()


def test_a_skeleton_has_the_models_modules_and_no_weights(tmp_path):
    place = tiny.save_model(tmp_path / "model")
    base = skeleton(str(place))
    assert {parameter.device.type for parameter in base.parameters()} == {"meta"}
    assert RankPlan.uniform(base, rank=2).count > 0
    assert skeleton("nano").num_parameters() > 10**6
    for name in ("no/such-model", str(tmp_path)):
        with pytest.raises(InputError, match="is no causal language model"):
            skeleton(name)
    with pytest.raises(InputError, match="make a plan for this model"):
        trl_script(planned(tiny_model("gpt2")), base, model="x", dataset="a.csv")
