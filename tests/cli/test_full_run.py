"""The main job for real, on the embedded model and on rows of others: minutes each, so `make check` runs them."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from circuitune.circuits.scores import Circuit
from circuitune.core.csvio import read_rows
from circuitune.core.records import AccuracyRow, MethodRow, PairsRecord, SummaryRecord, read_record
from experiments import tiny

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from circuitune.cli import main; main()"]
SHARED = Path(__file__).parents[3] / "shared"
RELEASED = SHARED / "reference" / "released"
needs_shared = pytest.mark.skipif(not RELEASED.is_dir(), reason="needs ../shared (see tests/SKIPS.md)")


@dataclass(frozen=True)
class Finished:
    """What a command came to; memory is the largest sum over it and its workers, in bytes (shared pages once)."""

    code: int
    out: str
    err: str
    seconds: float
    memory: int


def command(arguments: list[str], folder: Path) -> Finished:
    begun = time.monotonic()
    with (folder / "out.txt").open("w+") as out, (folder / "err.txt").open("w+") as err:
        process = subprocess.Popen([*COMMAND, *arguments], cwd=folder, stdout=out, stderr=err)
        peak = 0
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            time.sleep(0.5)
    seconds = time.monotonic() - begun
    shown = (folder / "out.txt").read_text(), (folder / "err.txt").read_text()
    return Finished(process.returncode, *shown, seconds, peak)


def memory(pid: int) -> int:
    """Proportional size of a process and its children, in bytes."""
    total = 0
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return 0
    for process in family:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def test_the_default_run_on_the_embedded_model(tmp_path: Path):
    done = command(["run"], tmp_path)
    assert done.code == 0, done.err
    run = tmp_path / "runs" / "nano-add_sub"
    assert done.out.splitlines()[-1] == "Report: runs/nano-add_sub/report.html"
    assert len(read_record(run / "summary.json", SummaryRecord).sentences) == 11
    tuned = [row for row in read_rows(run / "tables" / "accuracy.csv", AccuracyRow) if row.arm == "tune"]
    assert {row.split for row in tuned} == {"test"}
    assert len({row.step for row in tuned}) == 11
    assert min(row.accuracy for row in tuned if row.step == row.steps) >= 0.8
    assert max(row.accuracy for row in tuned if row.step == 0) <= 0.5
    methods = read_rows(run / "tables" / "methods.csv", MethodRow)
    assert [row.arm for row in methods] == ["circuitlora", "uniform", "random", "random", "random"]
    assert len({row.parameters for row in methods}) == 1
    assert done.memory < 3e9, f"{done.memory / 1e9:.1f} GB"
    assert done.seconds < 8 * 60 * slowness(), f"{done.seconds:.0f} s"


def slowness() -> float:
    """How many processes share a core of this machine just now, at least 1."""
    return max(1.0, os.getloadavg()[1] / (os.cpu_count() or 1))


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quick run on the embedded model, done without a break."""
    folder = tmp_path_factory.mktemp("quick")
    done = command(["run", "--quick", "--out", "run"], folder)
    assert done.code == 0, done.err
    return folder / "run"


def test_a_quick_run_killed_twice_ends_in_the_same_bytes(quick: Path, tmp_path: Path):
    arguments = [*COMMAND, "run", "--quick", "--out", "run"]
    for pattern in ("jobs/train-tune-*/checkpoints/step-*[1-9]*", "jobs/circuits-*/circuits/*"):
        process = subprocess.Popen(
            arguments, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        while process.poll() is None and not next(iter((tmp_path / "run").glob(pattern)), None):
            time.sleep(0.05)
        assert process.poll() is None, "it ended before it could be killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert subprocess.run(arguments, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    assert tiny.content(tmp_path / "run") == tiny.content(quick)


@needs_shared
@pytest.mark.parametrize("name", ["add_sub_100", "sequence"])
def test_the_authors_rows_run_quickly_to_a_report(name: str, tmp_path: Path):
    done = command(["run", "--quick", "--pairs", str(RELEASED / f"{name}.csv"), "--out", "run"], tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "run" / "report.html").is_file()
    record = read_record(next((tmp_path / "run" / "jobs").glob("pairs-*/pairs.json")), PairsRecord)
    assert sum(record.parts.values()) + len(record.left_out) == 300
    assert record.wrong == ("computed" if name == "add_sub_100" else "model")
    assert record.metric in done.out


@needs_shared
def test_a_circuit_of_a_gpt2_folder(tmp_path: Path):
    model = SHARED / "models" / "gpt2-tinystories-instruct-3M-chat-reexpressed"
    pairs = SHARED / "models" / "ioi_tinystories.csv"
    done = command(["discover", "--model", str(model), "--pairs", str(pairs), "--out", "ioi", "--json"], tmp_path)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["metric"] == "logit_diff"
    assert len(Circuit.load(tmp_path / "ioi" / "circuit.safetensors")) == found["edges"] > 100
    arguments = ["evaluate", "ioi/circuit.safetensors", "--model", str(model), "--pairs", str(pairs), "--json"]
    curve = command(arguments, tmp_path)
    assert json.loads(curve.out)["circuits"][0]["faithfulness"] > 0.5
