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
    ],
)
def test_options_that_a_method_does_not_take(
    options: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
):
    assert call(["train", *TASK, *options]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not any(here.iterdir())


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
