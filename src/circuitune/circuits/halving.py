"""Batches in smaller pieces where memory does not hold them after all.

`circuits/memory.py` predicts what fits a budget. What is really free is known only when it runs out.
"""

import gc
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

from circuitune.circuits.batches import Batch
from circuitune.circuits.reduce import world
from circuitune.core.errors import MachineError, out_of_memory

R = TypeVar("R")


def in_pieces(work: Callable[[Batch], R], parts: Iterable[Batch]) -> Iterator[tuple[Batch, R]]:
    """Every batch with what `work` makes of it; one that runs out of memory is halved, and those after it too.

    Raises:
        MachineError: memory does not hold a single row; under `torchrun`, where the processes go together, any batch.
    """
    most: int | None = None
    for batch in parts:
        waiting = [batch] if most is None else batch.split(most)
        while waiting:
            piece = waiting.pop(0)
            if done := _tried(work, piece):
                yield piece, done[0]
                continue
            most = len(piece) // 2
            if not most or world()[1] > 1:
                raise MachineError(
                    f"Out of memory with a batch of {len(piece)} (prompts of {piece.clean.shape[1]} tokens); shorten "
                    "the prompts, take a smaller model, or a machine with more memory."
                )
            _forget()
            warnings.warn(
                f"memory did not hold a batch of {len(piece)}; going on with {most} at a time, which may change the "
                "last digits",
                UserWarning,
                stacklevel=2,
            )
            waiting[:0] = piece.split(most)


def _tried(work: Callable[[Batch], R], batch: Batch) -> tuple[R] | None:
    """What `work` makes of the batch; None where memory ran out (and the error, which holds tensors, is gone)."""
    try:
        return (work(batch),)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
    return None


def _forget() -> None:
    """Give back what the failed attempt held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
