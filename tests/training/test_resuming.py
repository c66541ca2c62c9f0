"""A training that was killed goes on, and ends with the bytes of one that was not."""

import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from circuitune.core.errors import InputError
from circuitune.core.locking import locked
from circuitune.training.methods import TrainingSettings
from circuitune.training.resuming import attempt, unfinished
from marks import slow_but
from training.tuned import content, tuned

# Three steps an epoch, the last of them shorter; checkpoints at 0, 2, 4, 6 and 8.
SETTINGS = TrainingSettings(
    max_steps=8, learning_rate=0.02, batch_size=4, accumulation=2, warmup_steps=2, checkpoints=4
)
METHODS = ["rslora", "dora", "lora+", "ia3", "adalora", "eva", "truncated", "full"]
STATE = "resume/step-00004/state.safetensors"


class Killed(BaseException):
    """Stands for the end of the process."""


def run(method, tokenizer, pairs, folder, *, stop=None, settings=SETTINGS, **given):
    """Train resumably on a model with dropout; the process ends after step `stop`."""

    def progress(done, total):
        if done == stop:
            raise Killed

    try:
        return tuned(
            method,
            tokenizer,
            pairs,
            folder,
            family="gpt2",
            settings=settings,
            resumable=True,
            progress=progress,
            **given,
        )
    except Killed:
        assert unfinished(folder)
        return None


@pytest.fixture(scope="module")
def unbroken(tokenizer, ragged_sums, tmp_path_factory):
    made = {}

    def of(method):
        if method not in made:
            folder = tmp_path_factory.mktemp(method)
            run(method, tokenizer, ragged_sums, folder)
            made[method] = content(folder)
        return made[method]

    return of


@pytest.mark.parametrize("stop", slow_but(range(1, 9), 1, 4, 7))
def test_killed_after_any_step(stop, tokenizer, ragged_sums, unbroken, tmp_path):
    run("lora", tokenizer, ragged_sums, tmp_path, stop=stop)
    done = []
    result = tuned(
        "lora",
        tokenizer,
        ragged_sums,
        tmp_path,
        family="gpt2",
        settings=SETTINGS,
        resumable=True,
        progress=lambda step, total: done.append(step),
    )
    assert content(tmp_path) == unbroken("lora")
    assert done[0] == min(2 * (stop // 2), 6) + 1  # from the newest checkpoint; the last is made again
    assert [row.step for row in result.rows] == [0, 2, 4, 6, 8]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_killed_twice_at_random_steps(method, tokenizer, ragged_sums, unbroken, tmp_path):
    first, second = sorted(random.Random(method).sample(range(1, 9), 2))
    for stop in (first, second, None):
        run(method, tokenizer, ragged_sums, tmp_path, stop=stop)
    assert content(tmp_path) == unbroken(method)


def test_a_resumable_training_is_the_same_training(tokenizer, ragged_sums, unbroken, tmp_path):
    tuned("lora", tokenizer, ragged_sums, tmp_path, family="gpt2", settings=SETTINGS)
    assert content(tmp_path) == unbroken("lora")
    assert not unfinished(tmp_path)


@pytest.mark.parametrize("harm", ["flip", "cut", "unfinished"])
def test_a_state_that_is_not_whole_is_not_used(harm, tokenizer, ragged_sums, unbroken, tmp_path):
    run("lora", tokenizer, ragged_sums, tmp_path, stop=5)
    path = tmp_path / STATE
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[-3] ^= 1
        path.write_bytes(data)
    elif harm == "cut":
        path.write_bytes(data[:100])
    else:
        (path.parent / "COMPLETE.json").unlink()
    run("lora", tokenizer, ragged_sums, tmp_path)
    assert content(tmp_path) == unbroken("lora")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"settings": replace(SETTINGS, weight_decay=0.5)}, "another weight decay"),
        ({"seed": 1}, "another seed"),
        ({"options": {"rank": 2}}, "another adapter"),
        ({"arm": "mine"}, "another arm"),
    ],
)
def test_other_options_in_the_same_folder_are_refused(changed, named, tokenizer, ragged_sums, tmp_path):
    run("lora", tokenizer, ragged_sums, tmp_path, stop=3)
    before = content(tmp_path)
    with pytest.raises(InputError, match=f"{named}; give the options it was begun with"):
        run("lora", tokenizer, ragged_sums, tmp_path, **changed)
    assert content(tmp_path) == before


def test_other_rows_methods_and_models_are_refused_too(tokenizer, ragged_sums, sums, tmp_path):
    run("lora", tokenizer, ragged_sums, tmp_path, stop=3)
    with pytest.raises(InputError, match="another rows"):
        run("lora", tokenizer, sums, tmp_path, evaluate={"test": ragged_sums})
    with pytest.raises(InputError, match="another method"):
        run("eva", tokenizer, ragged_sums, tmp_path)
    with pytest.raises(InputError, match="another adapter"):
        tuned("lora", tokenizer, ragged_sums, tmp_path, family="gpt_neox", settings=SETTINGS, resumable=True)


def test_options_that_are_refused_leave_the_folder_to_others(tokenizer, ragged_sums, tmp_path):
    with pytest.raises(InputError, match="rank of at most 8"):
        run("eva", tokenizer, ragged_sums, tmp_path, options={"rank": 9})
    assert not any(tmp_path.iterdir())


def test_a_kill_before_the_options_are_written_leaves_a_training_to_go_on_with(tmp_path):
    assert not unfinished(tmp_path)
    place = tmp_path / "resume"
    place.mkdir()
    assert unfinished(tmp_path)
    (place / ".options.json.0123.partial").touch()
    assert unfinished(tmp_path)
    with attempt(tmp_path, {"seed": 0}) as attempts:
        assert unfinished(tmp_path)
        attempts.end()
    assert not any(tmp_path.iterdir())
    place.mkdir()
    (place / "letter.txt").touch()  # another's folder of that name
    assert not unfinished(tmp_path)


def test_two_processes_in_one_folder_are_one_too_many(tokenizer, ragged_sums, tmp_path):
    (tmp_path / "resume").mkdir()
    with locked(tmp_path / "resume"), pytest.raises(InputError, match="Another process is working in"):
        run("lora", tokenizer, ragged_sums, tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path

import torch

folder, tests = sys.argv[1:]
torch.set_num_threads(1)
sys.path[:0] = [tests, str(Path(tests).parent)]
import conftest
import test_resuming

killed = lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done == 5 else None
test_resuming.tuned(
    "full", conftest.number_tokenizer(), conftest.ragged(), Path(folder), family="gpt2",
    settings=test_resuming.SETTINGS, resumable=True, progress=killed,
)
"""


@pytest.mark.slow
def test_a_killed_process(tokenizer, ragged_sums, unbroken, tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)]
    assert subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": "7"}).returncode == -signal.SIGKILL
    assert (tmp_path / STATE).exists()
    run("full", tokenizer, ragged_sums, tmp_path)
    assert content(tmp_path) == unbroken("full")
