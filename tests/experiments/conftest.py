from pathlib import Path

import pytest

from circuitune.experiments.plan import Plan
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
