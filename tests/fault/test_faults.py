"""Five faults of each kind, by the benchmark that tries hundreds of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS = 9
"""Rows of the table where no disk can be mounted; with one it has another."""


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_taken_for_good():
    path = os.pathsep.join([str(ROOT / "tests"), *sys.path])
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "faults.py")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.count(" | ") == 4][1:]
    assert len(rows) in (KINDS, KINDS + 1)
    for fault, tried, survived, wrong, _ in rows:
        assert (survived, wrong) == (tried, "0"), f"{fault}: {done.stderr[-4000:]}"
        assert tried == "5"
