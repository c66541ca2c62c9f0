"""What Transformers, PEFT and safetensors raise, as one sentence: of a bad value in any of a dozen ways."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from circuitune.core.errors import InputError, MachineError

LONGEST = 300
"""Characters of a reason."""


@contextmanager
def explained(shown: str, sentence: Callable[[str], str]) -> Iterator[None]:
    """Turn what is raised inside into one sentence; our own errors pass as they are.

    Args:
        shown: what is loaded, as the user wrote it.
        sentence: what is wrong, from the reason that the library gave.

    Raises:
        InputError: the sentence.
        MachineError: not enough memory.
    """
    try:
        yield
    except (InputError, MachineError):
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise MachineError(f"Not enough memory to load {shown}.") from error
    except Exception as error:
        raise InputError(sentence(_reason(error))) from error


def _reason(error: Exception) -> str:
    """The first line of an error, which the others explain at length; all of them where it only announces them."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    said = lines if lines[0].rstrip().endswith(":") else lines[:1]
    return " ".join(" ".join(said).split())[:LONGEST].rstrip(". :")
