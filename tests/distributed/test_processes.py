"""Two processes over gloo agree with one, with the model whole in each and with its weights sharded over both."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from distributed.scored import results


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        ("whole", "gpt2"),
        pytest.param("sharded", "gpt2", marks=pytest.mark.slow),
        pytest.param("sharded", "gemma2", marks=pytest.mark.slow),
    ],
)
def test_two_processes_agree_with_one(kind: str, family: str, tmp_path: Path):
    script = Path(__file__).with_name("scored.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(script), kind, family, str(tmp_path / "two.pt")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    two = torch.load(tmp_path / "two.pt", weights_only=True)
    one = results(sharded=False, family=family)
    for name, expected in one.items():
        assert float((two[name] - expected).abs().max() / expected.abs().max()) < 1e-6, name
