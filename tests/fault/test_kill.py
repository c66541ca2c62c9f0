"""SIGKILL at any moment, then the same command: the same bytes as a run that was never killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from experiments import tiny

COMMAND = [sys.executable, "-c", "from circuitune.cli import main; main()", "run"]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def expected(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the run comes to, done without a break in one process."""
    folder = tmp_path_factory.mktemp("whole")
    run, _ = tiny.finished(tiny.recipe(model, folder), folder / "run")
    return tiny.content(run.folder)


def start(model: Path, folder: Path, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    recipe = folder / "tiny.yaml"
    recipe.write_text(tiny.RECIPE)
    command = [*COMMAND, "--recipe", str(recipe), "--model", str(model), "--out", str(folder / "run")]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        start_new_session=True,
        # A shell that starts the tests in the background lets them ignore SIGINT, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def appears(pattern: str, folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a file of this pattern is in the run folder."""
    deadline = time.monotonic() + 240
    while not next(iter((folder / "run").glob(pattern)), None):
        assert process.poll() is None, f"ended with {process.returncode} before {pattern} appeared"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def kill(process: subprocess.Popen[bytes], workers_too: bool) -> None:
    """SIGKILL the command; with or without its workers, which must end by themselves."""
    workers = psutil.Process(process.pid).children(recursive=True)
    if workers_too:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    psutil.wait_procs(workers, timeout=60)


@pytest.mark.slow
def test_killed_while_training_and_while_scoring(model: Path, expected: dict[str, bytes], tmp_path: Path):
    moments = [
        ("jobs/train-tune-seed0-*/checkpoints/step-00002", False),
        ("jobs/circuits-tune-*/scores/step-00002.safetensors", True),
    ]
    for pattern, workers_too in moments:
        process = start(model, tmp_path)
        appears(pattern, tmp_path, process)
        kill(process, workers_too)
        assert not (tmp_path / "run" / "summary.json").exists()
    last = start(model, tmp_path)
    assert last.wait() == 0
    assert tiny.content(tmp_path / "run") == expected


@pytest.mark.slow
def test_an_interrupted_run_says_so_and_leaves_no_process(model: Path, tmp_path: Path):
    process = start(model, tmp_path, stderr=subprocess.PIPE)
    appears("jobs/pairs-*/COMPLETE.json", tmp_path, process)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)  # as a scheduler does it: to the command alone
    _, said = process.communicate()
    assert process.returncode == 130
    assert said.splitlines()[-1] == b"circuitune: Stopped. The same command goes on from here."
    assert not psutil.wait_procs(workers, timeout=60)[1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_killed_at_random_moments(seed: int, model: Path, expected: dict[str, bytes], tmp_path: Path):
    import random

    moments = random.Random(seed)
    for _ in range(3):
        process = start(model, tmp_path)
        time.sleep(moments.uniform(1, 20))
        if process.poll() is None:
            kill(process, moments.random() < 0.5)
    last = start(model, tmp_path)
    assert last.wait() == 0
    assert tiny.content(tmp_path / "run") == expected
