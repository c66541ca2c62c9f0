"""Random streams that depend on nothing but a seed and the names of what they are for."""

import hashlib
import random
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch

from circuitune.core.manifest import canonical_json


def derived_seed(seed: int, *labels: object) -> int:
    """A seed in [0, 2^32) for what the labels name; different labels (by their text) give unrelated seeds."""
    return int.from_bytes(_hashed(seed, labels)[:4], "little")


def generator(seed: int, *labels: object) -> torch.Generator:
    """A torch CPU generator of its own, independent of those with other labels and of the global state."""
    return torch.Generator().manual_seed(derived_seed(seed, *labels))


def numpy_generator(seed: int, *labels: object) -> np.random.Generator:
    """A numpy generator of its own, independent of those with other labels and of the global state."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(_hashed(seed, labels), "little")))


@contextmanager
def forked(seed: int) -> Generator[None]:
    """Seed the global states of python, numpy and torch (all devices) inside, and restore them after."""
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices):  # pyright: ignore[reportUnknownMemberType]
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _hashed(seed: int, labels: tuple[object, ...]) -> bytes:
    text = canonical_json([seed, *(str(label) for label in labels)])
    return hashlib.sha256(text.encode("ascii")).digest()
