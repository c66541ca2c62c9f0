"""The oldest Transformers and PEFT that pyproject.toml allows, and the newest there are, run the core of the tests.

Environments take torch and the rest from this one, so each is made in seconds; the other versions come first on their
path. They need the package registry and skip without it.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from importlib.metadata import version
from pathlib import Path

import pytest

from supply.test_dependencies import PROJECT

ROOT = Path(__file__).parents[2]
WATCHED = ("transformers", "peft")
CORE = (
    "tests/circuits/test_attribution.py",
    "tests/circuits/test_patching.py",
    "tests/models/test_anatomy.py",
    "tests/models/test_loading.py",
    "tests/adapters/test_lora.py",
    "tests/training/test_finetune.py",
)
OTHERWISE = (
    # GPT-2's first weights are drawn otherwise before Transformers 5.23, and this one is about a certain draw.
    "--deselect=tests/circuits/test_attribution.py::test_a_poor_integral_warns_and_names_the_steps_that_would_do",
    # Older PEFT warns of models without a name, and of head and embedding that are one.
    "-Wignore:Could not find a config file:UserWarning",
    "-Wignore:Model has `tie_word_embeddings=True`:UserWarning",
)


def oldest(package: str) -> str:
    """The lower bound, to the patch release."""
    bound = next(item for item in PROJECT["dependencies"] if item.startswith(f"{package}>="))
    number = re.findall(r">=([\d.]+)", bound)[0]
    return number if number.count(".") == 2 else f"{number}.0"


def environment(folder: Path) -> Path:
    """The interpreter of a new environment that sees everything installed here, after what is its own."""
    venv.create(folder, with_pip=True)
    own = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (own / "here.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def pip(python: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def require_registry(python: Path, folder: Path) -> None:
    asked = pip(python, "download", "--no-deps", "--dest", str(folder), f"peft=={oldest('peft')}")
    if asked.returncode:
        pytest.skip(f"the package registry cannot be reached: {asked.stderr.strip().splitlines()[-1]}")


def run_core(python: Path, wanted: dict[str, str]) -> None:
    """The core of the tests, on our sources, with these versions and no others."""
    there = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT / "tests"))), "OMP_NUM_THREADS": "1"}
    said = "; ".join(f"assert {name}.__version__ == {number!r}, {name}.__file__" for name, number in wanted.items())
    for command in (
        ["-c", f"import {', '.join(wanted)}; {said}"],
        ["-m", "pytest", "-p", "no:cacheprovider", "-m", "not slow", *OTHERWISE, *CORE],
    ):
        done = subprocess.run(
            [python, *command],
            cwd=ROOT,
            env={**os.environ, **there},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout.decode()[-4000:]


@pytest.mark.slow
def test_the_oldest_versions_run_the_core(tmp_path):
    python = environment(tmp_path / "oldest")
    require_registry(python, tmp_path)
    wanted = {name: oldest(name) for name in WATCHED}
    made = pip(python, "install", *(f"{name}=={number}" for name, number in wanted.items()))
    assert made.returncode == 0, made.stderr
    run_core(python, wanted)


@pytest.mark.slow
def test_the_newest_versions_run_the_core(tmp_path):
    """Where the newest are those that are installed, all other tests are this one."""
    python = environment(tmp_path / "newest")
    require_registry(python, tmp_path)
    bounds = [item for item in PROJECT["dependencies"] if item.startswith(WATCHED)]
    asked = pip(python, "install", "--upgrade", "--dry-run", "--report", "-", *bounds)
    assert asked.returncode == 0, asked.stderr
    found = {one["metadata"]["name"]: one["metadata"]["version"] for one in json.loads(asked.stdout)["install"]}
    wanted = {name: found.get(name, version(name)) for name in WATCHED}
    if wanted == {name: version(name) for name in WATCHED}:
        return
    made = pip(python, "install", *(f"{name}=={number}" for name, number in wanted.items()))
    assert made.returncode == 0, made.stderr
    run_core(python, wanted)
