"""One recipe, one seed, one machine: the same bytes, whatever else differs around the process.

More of it: a killed and resumed run (tests/fault), Ray (tests/experiments/test_ray.py), Slurm, workers
(tests/experiments/test_local.py), and a training by itself (tests/training/test_finetune.py).
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import circuitune as ct
from circuitune.models.encoding import EncodedPairs
from circuitune.testing import tiny_model
from experiments import tiny

COMMAND = [sys.executable, "-c", "from circuitune.cli import main; main()", "run"]
PLAIN = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C", "OMP_NUM_THREADS": "1"}
GPU_TOLERANCE = 1e-4
"""Of the largest score: how far two runs, or a GPU and the CPU, may be apart (docs/trust.md)."""


def whole_run(model: Path, folder: Path, jobs: int, environment: dict[str, str]) -> dict[str, bytes]:
    """Every file of a run made by the command, but times, host and the report built from all."""
    folder.mkdir()
    (folder / "tiny.yaml").write_text(tiny.RECIPE.replace("{random_draws: 1}", "null"))
    options = ["--recipe", "tiny.yaml", "--model", str(model), "--out", "run", "--jobs", str(jobs)]
    done = subprocess.run(
        [*COMMAND, *options], cwd=folder, env={**os.environ, **PLAIN, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {
        path.relative_to(folder / "run").as_posix(): path.read_bytes()
        for path in sorted((folder / "run").rglob("*"))
        if path.is_file() and path.name not in ("environment.json", "report.html")
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def expected(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return whole_run(model, tmp_path_factory.mktemp("plain") / "one", 1, {})


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(
    ("jobs", "environment"),
    [
        (2, {}),
        (1, {"PYTHONHASHSEED": "4242", "TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8", "LANG": "tr_TR.UTF-8"}),
        (1, {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}),
    ],
    ids=["two jobs at once", "hash seed, time zone and locale", "two threads"],
)
def test_a_whole_run_is_the_same_bytes(
    jobs: int, environment: dict[str, str], model: Path, expected: dict[str, bytes], tmp_path: Path
):
    found = whole_run(model, tmp_path / "other", jobs, environment)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    assert len(expected) > 30


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_within_its_tolerance():
    draw = torch.Generator().manual_seed(0)
    clean, corrupted = torch.randint(3, 90, (2, 8, 7), generator=draw)
    answers = torch.randint(3, 90, (2, 8), generator=draw)
    pairs = EncodedPairs(clean, corrupted, *answers)
    model = tiny_model("gpt_neox")
    here = ct.attribute(model, pairs).values
    there = [ct.attribute(model.to("cuda"), pairs).values.cpu() for _ in range(2)]
    allowed = GPU_TOLERANCE * float(here.abs().max())
    assert float((there[0] - there[1]).abs().max()) <= allowed
    assert float((there[0] - here).abs().max()) <= allowed
