"""Wheel and sdist as they would be uploaded: what is in them, and that the wheel works where nothing else is ours."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from supply.test_versions import environment, pip

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow

CONSUMER = """\
import circuitune as ct

model, tokenizer = ct.load("nano")
inputs = ct.encode(ct.task("add_sub", limit=20).split("circuit").sample(4), tokenizer)
scores = ct.attribute(model, inputs, steps=1)
reveal_type(scores)
reveal_type(scores.top(0.05))
scores.top("five")
"""
"""Ours, as somebody else's type checker sees it: two types, and an error."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel, the wheel built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel in it."""
    python = environment(tmp_path_factory.mktemp("clean"))
    wheel = next(built.glob("*.whl"))
    made = pip(python, "install", "--no-deps", "--no-index", "--ignore-installed", str(wheel))
    assert made.returncode == 0, made.stderr
    return python


def run(*command: object, folder: Path) -> "subprocess.CompletedProcess[str]":
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(list(map(str, command)), cwd=folder, env=alone, capture_output=True, text=True)


def test_the_wheel_holds_the_package_and_nothing_else(built: Path):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    package = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*") if path.is_file()}
    expected = {name for name in package if "__pycache__" not in name}
    for kind in ("py.typed", "nano/model.safetensors", "recipes/quick.yaml", "assets/report.js", "THIRD_PARTY.txt"):
        assert any(name.endswith(kind) for name in expected), kind
    about = {name for name in names if ".dist-info/" in name}
    assert names - about == expected
    assert any(name.endswith("licenses/LICENSE") for name in about)


def test_the_sdist_holds_what_builds_and_tests_it(built: Path):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a checkout, so which files belong to it is not known")
    left_out = {name for name in tracked.stdout.splitlines() if name not in names}
    assert {name.partition("/")[0] for name in left_out} <= {".ci", ".github", "runs"}
    assert not [name for name in names if "node_modules" in name or "__pycache__" in name or name.startswith(".venv")]


def test_the_installed_wheel_works_from_any_folder(installed: Path, tmp_path: Path):
    said = run(installed, "-c", "import circuitune as ct; print(ct.__file__); ct.load('nano')", folder=tmp_path)
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(str(installed.parents[1]))
    command = installed.with_name("circuitune")
    assert run(command, "--version", folder=tmp_path).stdout.strip() == "0.1.0"
    doctor = run(command, "doctor", folder=tmp_path)
    assert doctor.returncode == 0, doctor.stderr
    assert "Nothing is missing." in doctor.stdout


def test_other_peoples_type_checkers_see_our_types(installed: Path, tmp_path: Path):
    (tmp_path / "consumer.py").write_text(CONSUMER)
    checker = Path(sys.executable).with_name("pyright")
    said = run(checker, "--pythonpath", installed, "consumer.py", folder=tmp_path).stdout
    assert 'Type of "scores" is "EdgeScores"' in said
    assert 'Type of "scores.top(0.05)" is "Circuit"' in said
    assert "consumer.py:8" in said
    assert "1 error" in said
