"""``circuitune export`` of rank plans and adapters."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from peft import PeftConfig

from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.data_plan import plan_for
from circuitune.cli import call
from circuitune.experiments.inputs import load_whole
from circuitune.models.loading import NANO_FOLDER, load


@pytest.fixture
def plan(here: Path, model: Path) -> Path:
    """The current folder with a plan that says which model it is for, and one that does not."""
    made = RankPlan.two_level(load_whole(str(model))[0], [1], 1, 3)
    made.save(here / "silent.json")
    replace(made, provenance={**made.provenance, "model": str(model)}).save(here / "circuit_plan.json")
    return here


def done(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The verb's JSON result."""
    capsys.readouterr()
    assert call(["export", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_text_goes_to_stdout_or_to_a_file(plan: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    assert call(["export", "circuit_plan.json", "--for", "axolotl"]) == 0
    shown = capsys.readouterr().out
    keys = yaml.safe_load(shown)
    assert (keys["lora_r"], keys["base_model"]) == (1, str(model))
    assert len(keys["lora_rank_pattern"]) == 4
    assert done(capsys, "silent.json", "--for", "axolotl", "--model", str(model))["text"] == shown
    assert done(capsys, "circuit_plan.json", "--for", "card", "--out", "new/card.md")["files"] == ["new/card.md"]
    assert (plan / "new/card.md").read_text().startswith("## LoRA ranks")
    assert call(["export", "circuit_plan.json", "--for", "trl", "--dataset", "a.csv", "--out", "train.py"]) == 0
    assert capsys.readouterr().out == "Written: train.py\n"
    assert "data_files='a.csv'" in (plan / "train.py").read_text()


def test_a_plan_becomes_a_folder_and_that_one_rank(plan: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    made = done(capsys, "circuit_plan.json", "--for", "peft", "--out", "start")
    assert sorted(made["files"]) == sorted(str(path.relative_to(plan)) for path in (plan / "start").iterdir())
    assert PeftConfig.from_pretrained("start").base_model_name_or_path == str(model)
    padded = done(capsys, "start", "--uniform", "--out", "padded")
    assert (padded["rank"], padded["scale"], padded["modules"], padded["zeros"]) == (3, 2.0, 12, 0)
    assert padded["parameters"]["before"] == RankPlan.load("circuit_plan.json").count
    assert "padded/circuit_plan.json" in padded["files"]
    assert call(["export", "start", "--uniform", "--model", str(model), "--out", "again"]) == 0
    assert "Rank 3 and alpha / r = 2 on 12 modules" in capsys.readouterr().out


def test_scores_beside_a_plan_go_along_only_if_they_are_its_own(
    plan: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    rows = [{"prompt": f"{row} + 5 =", "completion": f" {row + 5}"} for row in range(1, 31)]
    (plan / "sft.jsonl").write_text("\n".join(map(json.dumps, rows)))
    options = ["--dataset", "sft.jsonl", "--gate", "off", "--steps", "2", "--model", str(model)]
    for out, ablation in (("a.json", "mean"), ("b.json", "interchange")):
        assert call(["plan", *options, "--ablation", ablation, "--out", out]) == 0
    for name in ("a", "b"):
        assert (
            f"{name}/circuit_scores.safetensors"
            in done(capsys, f"{name}.json", "--for", "peft", "--out", name)["files"]
        )
    shutil.copyfile("a_scores.safetensors", "b_scores.safetensors")
    assert call(["export", "b.json", "--for", "peft", "--out", "without"]) == 0
    assert "without scores: b_scores.safetensors holds other scores" in capsys.readouterr().err
    assert (plan / "without/adapter_model.safetensors").is_file()
    assert not (plan / "without/circuit_scores.safetensors").exists()


def test_a_plan_from_rows_in_memory_names_no_dataset(plan: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    rows = [{"prompt": f"{row} + 5 =", "completion": f" {row + 5}"} for row in range(1, 31)]
    plan_for(*load(model), rows, steps=2, gate="off").save("memory.json")
    assert call(["export", "memory.json", "--for", "trl", "--model", str(model)]) == 2
    assert "name what to train on with --dataset" in capsys.readouterr().err
    (plan / "sft.jsonl").write_text("\n".join(map(json.dumps, rows)))
    plan_for(*load(model), "sft.jsonl", steps=2, gate="off").save("file.json")
    script = done(capsys, "file.json", "--for", "trl", "--model", str(model))["text"]
    assert "data_files='sft.jsonl'" in script


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["circuit_plan.json"], "Name what to write"),
        (["circuit_plan.json", "--for", "trl", "--uniform"], "Name what to write"),
        (["circuit_plan.json", "--for", "unsloth"], "--for"),
        (["circuit_plan.json", "--format", "pt"], "--out"),
        (["circuit_plan.json", "--for", "trl"], "--dataset"),
        (["circuit_plan.json", "--for", "card", "--out", "."], "is a folder"),
        (["circuit_plan.json", "--for", "peft"], "empty or new folder"),
        (["circuit_plan.json", "--for", "peft", "--out", "."], "empty or new folder"),
        (["silent.json", "--for", "card"], "does not say which model"),
        (["silent.json", "--for", "card", "--model", "no/such-model"], "no causal language model"),
        (["none.json", "--for", "card"], "none.json"),
        (["none", "--uniform", "--out", "x"], "holds no adapter_config.json"),
        (["none", "--uniform"], "--out"),
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_one_sentence(
    arguments: list[str], message: str, plan: Path, capsys: pytest.CaptureFixture[str]
):
    before = sorted(plan.iterdir())
    assert call(["export", *arguments]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("circuitune: ") == 1
    assert sorted(plan.iterdir()) == before


@pytest.mark.parametrize("fields", [{"num_hidden_layers": "x"}, {"hidden_act": "nope"}, {"rope_parameters": 3}])
def test_a_config_that_makes_no_model_is_one_sentence(
    fields: dict[str, object], plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = json.loads((NANO_FOLDER / "config.json").read_text())
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text(json.dumps({**config, **fields}))
    command = ["export", "circuit_plan.json", "--for", "axolotl", "--model", str(tmp_path / "odd")]
    assert call(command) == 2
    assert "no causal language model that can be found" in capsys.readouterr().err
