"""Run folders that releases have saved must still load, for good."""

import shutil
from pathlib import Path

import pytest
import torch

from circuitune.adapters.allocation import RankPlan
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.cli import call
from circuitune.core.formats import FORMAT
from circuitune.experiments.artefacts import PLAN
from circuitune.experiments.store import Run
from circuitune.report.payload import TABLES, read_tables
from circuitune.tasks.pairs import PairSet

SAVED = Path(__file__).parents[1] / "golden" / "saved"


@pytest.fixture(params=sorted(path.name for path in SAVED.iterdir()))
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAVED / request.param, tmp_path / "run"))


def test_every_hash_of_it_is_right(saved: Path, capsys: pytest.CaptureFixture[str]):
    assert call(["runs", "check", str(saved)]) == 0
    assert call(["runs", "list", str(saved.parent)]) == 0
    assert FORMAT == 1, "save a run of the former format beside this one, and say how it is read"


def test_its_report_is_built(saved: Path):
    assert call(["report", "build", str(saved)]) == 0
    assert (saved / "report.html").stat().st_size > 10_000


def test_its_tables_scores_circuits_plans_and_pairs_are_read(saved: Path):
    tables = read_tables(saved)
    assert tables.keys() == TABLES.keys() - {"robustness", "composition", "nodes"}
    assert all(rows for name, rows in tables.items() if name != "edges")
    for path in saved.glob("jobs/circuits-*/scores/*.safetensors"):
        scores, circuit = EdgeScores.load(path), Circuit.load(path.parents[1] / "circuits" / path.name)
        assert bool(torch.isfinite(scores.values).all())
        assert circuit == scores.top(0.2)
    plans = [RankPlan.load(path) for path in saved.glob(f"jobs/*/{PLAN}")]
    assert {plan.critical_rank for plan in plans} >= {5}
    assert all(len(PairSet.from_jsonl(path)) for path in saved.glob("jobs/pairs-*/*.jsonl"))
    assert all(job.complete for job in Run.open(saved).jobs)
