"""What a killed training needs to go on as if nothing had happened.

Beside the checkpoints lies ``resume/`` while a training is under way: ``options.json``, which says what is trained,
and after every checkpoint ``step-00006/`` with all that the next step depends on (weights, optimizer, schedule,
random state, what was measured so far), complete once its ``COMPLETE.json`` is there. The order of rows follows from
the seed. All of it goes when the training is done. Nothing is pickled.
"""

import json
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from circuitune.core.atomic import PARTIAL, remove_partial_files, write_json
from circuitune.core.errors import InputError, MachineError
from circuitune.core.locking import LOCK, locked
from circuitune.core.manifest import canonical_json, complete, is_complete, verify
from circuitune.core.parsing import parse_object

_FOLDER, _OPTIONS, _PLAIN, _TENSORS = "resume", "options.json", "state.json", "state.safetensors"


def unfinished(folder: Path) -> bool:
    """Whether a training that can go on was begun in this folder."""
    place = folder / _FOLDER
    if not place.is_dir():
        return False
    left = [path for path in place.iterdir() if not path.name.endswith(PARTIAL) and path.name != LOCK]
    return not left or place / _OPTIONS in left  # nothing: killed before the options were there, or after the end


@dataclass(frozen=True)
class State:
    """All that the next step depends on.

    Attributes:
        tensors: by name, as `flat` names them.
        plain: what JSON keeps.
    """

    tensors: Mapping[str, Tensor]
    plain: Mapping[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors that were stored under a name."""
        prefix = f"{name}/"
        return {key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)}


@contextmanager
def attempt(folder: Path, options: Mapping[str, Any]) -> Iterator["Attempts"]:
    """Inside, the training in this folder is ours.

    Args:
        folder: the training's own.
        options: all that decides its result, as JSON keeps it.

    Raises:
        InputError: an attempt before had other options, or another process is at it.
    """
    place = folder / _FOLDER
    place.mkdir(exist_ok=True)
    try:
        with locked(place):
            _require_same(folder, place / _OPTIONS, options)
            remove_partial_files(folder)
            attempts = Attempts(place)
            try:
                yield attempts
            except InputError:  # refused options leave nothing to go on from
                attempts.end()
                raise
    finally:
        with suppress(OSError):  # there is a state in it to go on from
            place.rmdir()


def _require_same(folder: Path, path: Path, options: Mapping[str, Any]) -> None:
    """InputError where an attempt before had other options; the first one writes them down."""
    if not path.exists():
        write_json(path, dict(options))
    now, before = json.loads(canonical_json(dict(options))), _read(path)
    differing = [name for name in (*options, *before) if before.get(name) != now.get(name)]
    if differing:
        raise InputError(
            f"{folder} holds an unfinished training with another {differing[0].replace('_', ' ')}; give the "
            "options it was begun with, or choose another folder."
        )


@dataclass(frozen=True)
class Attempts:
    """What the attempts at a training leave for each other, from the first to the one that finishes it.

    Attributes:
        place: the folder of it.
    """

    place: Path

    def newest(self) -> Path | None:
        """The newest whole state that an attempt has left."""
        return next((state for state in reversed(self._states()) if is_complete(state) and not verify(state)), None)

    def keep(self, trained: TrainerState, state: State) -> None:
        """Make a state the newest, and remove those before it."""
        folder = self.place / f"step-{trained.global_step:05d}"
        shutil.rmtree(folder, ignore_errors=True)  # of a killed process
        try:
            folder.mkdir(parents=True)
            trained.save_to_json(str(folder / TRAINER_STATE_NAME))
            save_file({name: _plain(tensor) for name, tensor in state.tensors.items()}, folder / _TENSORS)
        except (OSError, SafetensorError) as error:
            raise MachineError(f"{folder} could not be written ({error}); free space or choose another.") from error
        write_json(folder / _PLAIN, dict(state.plain))
        complete(folder)
        for other in self._states():
            if other != folder:
                shutil.rmtree(other)

    def end(self) -> None:
        """Remove everything; the options last, so that what is left of a kill in between is begun anew.

        The folder itself goes when its lock does (`attempt`).
        """
        for state in self._states():
            shutil.rmtree(state)
        (self.place / _OPTIONS).unlink()

    def _states(self) -> list[Path]:
        return sorted(self.place.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))


def read_state(folder: Path) -> State:
    """A state that `Attempts.newest` found whole."""
    return State(load_file(folder / _TENSORS), _read(folder / _PLAIN))


def optimizer_state(optimizer: Optimizer) -> tuple[dict[str, Tensor], list[float]]:
    """The tensors of an optimizer by the number of their parameter, and the learning rate of each group."""
    whole = optimizer.state_dict()
    tensors = {f"{number}/{name}": value for number, own in whole["state"].items() for name, value in own.items()}
    return tensors, [float(group["lr"]) for group in whole["param_groups"]]


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], rates: list[float]) -> None:
    """Put back what `optimizer_state` took."""
    whole = optimizer.state_dict()
    whole["state"] = {}
    for key, value in tensors.items():
        number, _, name = key.partition("/")
        whole["state"].setdefault(int(number), {})[name] = value
    for group, rate in zip(whole["param_groups"], rates, strict=True):
        group["lr"] = rate
    optimizer.load_state_dict(whole)


def random_state() -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The global random state: torch's of all devices as tensors, Python's and numpy's as JSON keeps them."""
    numpy = np.random.get_state(legacy=False)
    assert isinstance(numpy, dict)
    numpy["state"] = {"key": numpy["state"]["key"].tolist(), "pos": numpy["state"]["pos"]}
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    tensors = {"cpu": torch.get_rng_state(), **{f"cuda{number}": state for number, state in enumerate(devices)}}
    return tensors, {"python": random.getstate(), "numpy": numpy}


def restore_random_state(tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
    """Put back what `random_state` took."""
    version, numbers, gauss = plain["python"]
    random.setstate((version, tuple(numbers), gauss))
    numpy = plain["numpy"]
    key = np.array(numpy["state"]["key"], dtype=np.uint32)
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": key}})
    torch.set_rng_state(tensors["cpu"])
    if len(tensors) > 1 and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(
            [tensors[f"cuda{number}"] for number in range(min(len(tensors) - 1, torch.cuda.device_count()))]
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        return parse_object(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged; remove the folder and begin anew.") from error


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()
