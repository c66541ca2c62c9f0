from pathlib import Path

import pytest

from circuitune.experiments.inputs import freeze
from circuitune.experiments.job import run_job
from circuitune.experiments.plan import Plan
from circuitune.experiments.specs import JobSpec
from circuitune.experiments.store import Run
from experiments import tiny


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Plan]:
    """One finished run; tests must not change it."""
    folder = tmp_path_factory.mktemp("run")
    return tiny.finished(tiny.recipe(model, folder), folder / "run")


@pytest.fixture(scope="session")
def trained(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, list[JobSpec]]:
    """The pairs and three trainings of seconds, done in this process; tests must not change them."""
    folder = tmp_path_factory.mktemp("trained")
    run, jobs = tiny.prepared(freeze(tiny.slower(model, folder)), folder / "run")
    some: list[JobSpec] = [jobs.pairs, *jobs.tuning[:2], jobs.phase1[0]]
    for spec in some:
        run_job(run.job(spec).folder)
    return run, some
