import shutil
from pathlib import Path

import pytest

from report.synthetic import build_run


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One synthetic run; never written to."""
    return build_run(tmp_path_factory.mktemp("synthetic") / "run")


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of the synthetic run to spoil."""
    return shutil.copytree(made, tmp_path / "run")
