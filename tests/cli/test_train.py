"""``circuitune train``: methods by name, what their checkpoints say, and going on after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from peft import PeftModel

from circuitune.cli import call
from circuitune.models.loading import load

SHORT = ["--epochs", "0.02", "--checkpoints", "1", "--batch-size", "64", "--accumulation", "1"]
TASK = ["--task", "add_sub", "--set", "style=short", "--set", "limit=100"]
COMMAND = [sys.executable, "-c", "from circuitune.cli import main; main()"]


def test_adapters_name_their_base_as_the_user_did(here: Path, model: Path):
    shutil.copytree(model, here / "mine")
    assert call(["train", "--model", "mine", *TASK, "--rank", "1", "--out", "tuned", *SHORT]) == 0
    adapter = here / "tuned" / "checkpoints" / "step-00002"
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == "mine"
    load("tuned/checkpoints/step-00002")


def test_a_method_is_named(here: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["train", "--model", str(model), *TASK, "--method", "truncated", "--rank", "1", "--out", "tuned"]
    assert call([*arguments, *SHORT, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["parameters"] == 4 * said["saved_parameters"]
    assert {row["arm"] for row in said["accuracy"]} == {"truncated"}
    tuned, _ = load(said["adapter"])
    assert isinstance(tuned, PeftModel)
    assert tuned.peft_config["default"].r == 1  # type: ignore[attr-defined]


def test_all_weights(here: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    assert call(["train", "--model", str(model), *TASK, "--method", "full", *SHORT]) == 0
    shown = capsys.readouterr().out
    assert "parameters trained." in shown
    assert "Model: tuned/checkpoints/step-00002" in shown
    tuned, _ = load("tuned/checkpoints/step-00002")
    assert not isinstance(tuned, PeftModel)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "dora"], "either --rank N or --plan FILE"),
        (["--method", "adalora"], "Name the rank of method adalora"),
        (["--method", "eva", "--plan", "plan.json"], "eva takes no rank plan; give one rank"),
        (["--method", "ia3", "--rank", "2"], "ia3 has no rank; leave it out"),
        (["--method", "full", "--plan", "plan.json"], "full takes no rank plan; leave it out"),
        (["--method", "qlora", "--rank", "2"], "qlora"),
        (["--rank", "0"], "at least 1; got 0"),
        (["--rank", "2", "--plan", "plan.json"], "either --rank N or --plan FILE"),
        (["--rank", "2", "--steps", "9"], "Method lora has no --steps; leave it out"),
        (["--method", "grpo", "--epochs", "2"], "Method grpo has no --epochs; leave it out"),
        (["--method", "rloo", "--group", "1"], "group must be at least 2"),
        (["--method", "rloo", "--temperature", "0"], "temperature must be a positive number"),
        (["--method", "grpo"], "nano has no adapter to go on with; begin one with --rank N or --plan FILE"),
    ],
)
def test_options_that_a_method_does_not_take(
    options: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
):
    assert call(["train", *TASK, *options]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not any(here.iterdir())


SMALL = ["--task", "add_sub", "--set", "style=short", "--set", "limit=10"]
REWARDED = ["--steps", "2", "--group", "20", "--batch-size", "8", "--checkpoints", "1", "--json"]


KEPT = ("base_model_name_or_path", "r", "lora_alpha")


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_rewards_train_an_adapter_further(method: str, here: Path, capsys: pytest.CaptureFixture[str]):
    """The same base and the same ranks, so that `follow` and `compare` take both trainings as one."""
    assert call(["train", *SMALL, "--rank", "2", "--epochs", "1", "--checkpoints", "1", "--json"]) == 0
    start = json.loads(capsys.readouterr().out)["adapter"]
    arguments = ["train", "--model", start, *SMALL, "--method", method, *REWARDED]
    assert call([*arguments, "--out", "rewarded"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {(row["arm"], row["step"]) for row in said["accuracy"]} == {(method, 0), (method, 2)}
    assert said["adapter"] == "rewarded/checkpoints/step-00002"
    before, after = (json.loads((Path(one) / "adapter_config.json").read_text()) for one in (start, said["adapter"]))
    assert [after[name] for name in KEPT] == [before[name] for name in KEPT] == ["nano", 2, 4]
    tuned, _ = load(said["adapter"])
    assert isinstance(tuned, PeftModel)
    assert call([*arguments, "--out", "other", "--rank", "2"]) == 2
    assert "an adapter with ranks of its own" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_model_that_never_says_the_answer(here: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["train", "--model", str(model), *TASK, "--method", "grpo", "--rank", "1", "--out", "rewarded"]
    assert call([*arguments, *REWARDED]) == 2
    assert "In 2 steps no completion was the answer" in " ".join(capsys.readouterr().err.split())
    config = json.loads((here / "rewarded/checkpoints/step-00000/adapter_config.json").read_text())
    assert (config["r"], config["base_model_name_or_path"]) == (1, str(model))


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_same_command_goes_on_after_a_kill(here: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    command = ["train", "--model", str(model), *TASK, "--method", "dora", "--rank", "2", "--out"]
    steps = ["--epochs", "0.2", "--checkpoints", "5", "--batch-size", "32", "--accumulation", "2"]
    assert call([*command, "whole", *steps]) == 0
    process = subprocess.Popen([*COMMAND, *command, "killed", *steps], env={**os.environ}, start_new_session=True)
    deadline = time.monotonic() + 120
    while not next((here / "killed").glob("resume/step-*/COMPLETE.json"), None):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    capsys.readouterr()

    assert call([*command, "killed", *steps, "--seed", "1"]) == 2
    assert "holds an unfinished training with another seed" in " ".join(capsys.readouterr().err.split())
    assert call([*command, "killed", *steps]) == 0
    assert "Going on with the unfinished training in killed" in capsys.readouterr().err
    assert content(here / "killed") == content(here / "whole")
    assert call([*command, "killed", *steps]) == 2  # it is done
