"""The single steps on saved files, as a user would chain them."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from circuitune.adapters.allocation import RankPlan
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.cli import call
from circuitune.models.families import FAMILIES
from circuitune.tasks.pairs import PairSet

TASK = ["--task", "add_sub", "--set", "style=short", "--set", "limit=100"]
FEW = ["--pairs-count", "6", "--metric", "logit_diff"]


def done(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The verb's JSON result."""
    capsys.readouterr()
    assert call([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_discover_train_compare_plan_and_evaluate_fit_together(
    here: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    base = ["--model", str(model), *TASK]
    found = done(capsys, "discover", *base, *FEW, "--steps", "2", "--share", "0.2", "--out", "base")
    scores, circuit = (
        EdgeScores.load(here / "base/scores.safetensors"),
        Circuit.load(here / "base/circuit.safetensors"),
    )
    assert circuit == scores.top(0.2)
    assert (found["edges"], found["nodes"]) == (len(circuit.edges), len(circuit.nodes))
    assert found["pairs"] == 6
    assert found["completeness"] == scores.completeness

    curve = done(capsys, "evaluate", "base/scores.safetensors", *base, *FEW, "--shares", "0.2", "--shares", "1.0")
    assert [row["edges"] for row in curve["circuits"]] == [len(circuit), scores.graph.edges]
    assert curve["circuits"][1]["kl"] == pytest.approx(0, abs=1e-4)
    single = done(capsys, "evaluate", "base/circuit.safetensors", *base, *FEW)
    assert single["circuits"][0]["edges"] == len(circuit)
    assert single["circuits"][0]["kl"] == pytest.approx(curve["circuits"][0]["kl"], rel=0.1)

    short = ["--epochs", "0.05", "--checkpoints", "1", "--batch-size", "64", "--accumulation", "1"]
    tuned = done(capsys, "train", *base, "--rank", "2", "--out", "tuned", *short, "--learning-rate", "0.01")
    assert [row["split"] for row in tuned["accuracy"]] == ["validation", "validation"]

    done(capsys, "discover", "--model", tuned["adapter"], *TASK, *FEW, "--steps", "2", "--out", "after")
    files = done(capsys, "compare", "base/scores.safetensors", "after/scores.safetensors", "--share", "0.2")
    assert files["edges"]["before"] == len(circuit)
    assert len(files["edges"]["names"]["added"]) == files["edges"]["added"]
    same = done(capsys, "compare", str(model), "base/scores.safetensors", *TASK, *FEW, "--share", "0.2")
    assert same["edges"]["kept"] > 0

    levels = ["--rank", "1", "--critical-rank", "5", "--critical-layers", "1"]
    planned = done(
        capsys, "plan", "base/scores.safetensors", "after/scores.safetensors", "--model", str(model), *levels
    )
    plan = RankPlan.load(here / "circuit_plan.json")
    assert planned["critical_layers"] == list(plan.critical_layers)
    assert sorted(layer["rank"] for layer in planned["layers"]) == [1, 1, 5]
    again = done(capsys, "train", *base, "--plan", "circuit_plan.json", "--out", "planned", *short)
    assert Path(again["adapter"]).is_dir()


def test_results_in_words_go_to_stdout_and_the_rest_to_stderr(
    here: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    assert call(["discover", "--model", str(model), *TASK, *FEW, "--steps", "2"]) == 0
    shown = capsys.readouterr()
    assert "edges and" in shown.out
    assert "Completeness residual" in shown.out
    assert "Loading" in shown.err
    assert call(["compare", "discovered/circuit.safetensors", "discovered/circuit.safetensors"]) == 0
    assert "jaccard" in capsys.readouterr().out


def test_rows_of_one_s_own_that_break_a_rule_are_counted_and_listed(
    here: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    rows = [f"one more than {n} is,one more than {n + 100} is,{n + 1}" for n in range(50)]
    (here / "mine.csv").write_text("\n".join(["clean,corrupted,label", "same,same,1", *rows, rows[0]]) + "\n")
    assert call(["tasks", "check", "--pairs", "mine.csv", "--model", str(model)]) == 0
    shown = capsys.readouterr()
    assert "50 valid pairs, 2 left out, 50 without a wrong answer" in shown.out
    assert "row 1: " in shown.err
    assert "row 52: the same prompt as row 2" in shown.err
    found = done(capsys, "discover", "--pairs", "mine.csv", "--model", str(model), "--steps", "2", "--out", "own")
    assert found["pairs"] == 50  # all rows of a file, and the model's own answers as wrong ones
    assert found["metric"] == "logit_diff"


def test_tasks_can_be_listed_shown_and_exported(here: Path, capsys: pytest.CaptureFixture[str]):
    listed = done(capsys, "tasks", "list")
    assert {"add_sub", "sequence"} <= set(listed)
    shown = done(capsys, "tasks", "show", "add_sub", "--set", "limit=150", "--count", "3")
    assert len(shown["examples"]) == 3
    assert call(["tasks", "show", "sequence", "--count", "1"]) == 0
    assert "corrupted" in capsys.readouterr().out
    assert call(["tasks", "export", "add_sub", "--out", "all.jsonl"]) == 0
    assert len(PairSet.from_jsonl(here / "all.jsonl")) > 1000


def test_models_and_doctor(here: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    assert "gpt_neox" in done(capsys, "models")["families"]
    facts = done(capsys, "models", str(model))
    assert (facts["layers"], facts["heads"], facts["parallel"]) == (3, 2, True)
    checked = done(capsys, "doctor")
    assert checked["problems"] == []
    assert checked["facts"]["torch"]


def test_runs_are_listed(here: Path, capsys: pytest.CaptureFixture[str]):
    (here / "runs").mkdir()
    assert call(["runs", "list"]) == 0
    assert "No run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "selection"),
    [
        (["--method", "exact", "--select", "signed"], "top"),
        (["--method", "information-flow", "--select", "greedy"], "greedy"),
        (["--ablation", "mean", "--memory", "300MB"], "top"),
        (["--method", "clean-corrupted", "--metric", "prob_diff"], "top"),
    ],
)
def test_every_method_and_selection_is_one_option_away(
    options: list[str], selection: str, here: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    few = FEW[:2] if "--metric" in options else FEW
    done(capsys, "discover", "--model", str(model), *TASK, *few, *options, "--steps", "2", "--out", "x")
    circuit = Circuit.load(here / "x/circuit.safetensors")
    assert circuit.settings["selection"] == selection
    asked = dict(zip(options[::2], options[1::2], strict=True))
    assert circuit.scores is not None
    assert circuit.scores.settings["method"] == asked.get("--method", "eap-ig")
    assert circuit.scores.settings["ablation"] == asked.get("--ablation", "interchange")
    curve = done(
        capsys, "evaluate", "x/circuit.safetensors", "--model", str(model), *TASK, *FEW, "--ablation", "zero"
    )
    assert curve["circuits"][0]["edges"] == len(circuit)


@pytest.mark.parametrize("amount", ["3XB", "0GB", "-1GB", "much", "1KB"])
def test_memory_that_is_no_amount_or_too_little_is_named(
    amount: str, here: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    assert call(["discover", "--model", str(model), *TASK, *FEW, f"--memory={amount}"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "emory" in said
    assert not list(here.glob("discovered/*"))


@pytest.mark.slow
def test_under_torchrun_two_processes_find_what_one_finds(
    here: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["discover", "--model", str(model), *TASK, *FEW, "--steps", "2", "--out"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    two = subprocess.run(
        [*launch, "-m", "circuitune", *arguments, "two"], check=False, capture_output=True, text=True
    )
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("are in the circuit") == 1
    done(capsys, *arguments, "one")
    one, both = (EdgeScores.load(here / name / "scores.safetensors").values for name in ("one", "two"))
    assert float((one - both).abs().max() / one.abs().max()) < 1e-6


@pytest.mark.slow
def test_check_says_whether_a_model_can_be_trusted(model: Path, capsys: pytest.CaptureFixture[str]):
    for source in ([], TASK):
        found = done(capsys, "check", str(model), *source)
        assert found["passed"] is True
        assert found["verdict"].startswith("This model is read correctly")
    assert found["pairs"] == 8


def test_check_leaves_with_1_where_something_fails(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    right = FAMILIES["gpt_neox"]
    monkeypatch.setitem(FAMILIES, "gpt_neox", lambda found: replace(right(found), parallel=False))
    assert call(["check", str(model)]) == 1
    said = capsys.readouterr()
    assert "Look at Anatomy.parallel" in said.out
    assert said.err.splitlines()[-1].startswith("circuitune: Results on this model cannot be trusted: streams")


def test_families_are_listed_with_how_each_was_checked(capsys: pytest.CaptureFixture[str]):
    assert call(["models"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in FAMILIES)
    assert "mamba" in said
