"""A run that goes on knows its inputs from the first time, and checks what may have changed since."""

from pathlib import Path
from typing import NoReturn

import pytest

from circuitune.core.errors import InputError
from circuitune.experiments.engines.local import Local
from circuitune.experiments.estimate import Size
from circuitune.experiments.inputs import freeze
from circuitune.experiments.job import run_job
from circuitune.experiments.run import conduct
from circuitune.experiments.specs import JobSpec
from circuitune.experiments.validation import Validator
from experiments import tiny


class StoppedError(Exception):
    """The jobs would begin here."""


def size_of_the_run(model: Path, folder: Path, **contest: object) -> Size:
    """What a run of this model in this folder is estimated from; no job is done."""
    sizes: list[Size] = []

    def watch(specs: tuple[JobSpec, ...], size: Size) -> NoReturn:
        sizes.append(size)
        raise StoppedError

    recipe = tiny.recipe(model, folder.parent)
    recipe = recipe.model_copy(update={"contest": recipe.contest.model_copy(update=contest)})
    with pytest.raises(StoppedError):
        conduct(freeze(recipe), folder, Local(1), watch)
    return sizes[0]


def test_a_resumed_run_is_estimated_from_its_own_sizes(model: Path, tmp_path: Path):
    first = size_of_the_run(model, tmp_path / "run")
    assert first == Validator().size(freeze(tiny.recipe(model, tmp_path)), tmp_path / "run")
    run_job(next((tmp_path / "run" / "jobs").glob("pairs-*")))
    assert size_of_the_run(model, tmp_path / "run") == first


def test_a_resumed_run_is_checked_against_its_model(model: Path, tmp_path: Path):
    size_of_the_run(model, tmp_path / "run")
    run_job(next((tmp_path / "run" / "jobs").glob("pairs-*")))
    before = tiny.content(tmp_path / "run")
    with pytest.raises(InputError, match="3 layers: 3 critical ones leave none"):
        size_of_the_run(model, tmp_path / "run", critical_layers=3)
    assert tiny.content(tmp_path / "run") == before
