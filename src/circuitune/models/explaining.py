"""What Transformers, PEFT and safetensors raise, as one sentence: of a bad value in any of a dozen ways."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from circuitune.core.errors import InputError, MachineError, out_of_memory

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
    except Exception as error:
        if out_of_memory(error):
            raise MachineError(f"Not enough memory to load {shown}.") from error
        raise InputError(sentence(_reason(error))) from error


def _reason(error: Exception) -> str:
    """The first line of an error, which the others explain at length; all of them where it only announces them."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    said = lines if lines[0].rstrip().endswith(":") else lines[:1]
    reason = " ".join(" ".join(said).split())[:LONGEST].rstrip(". :")
    return f"nothing is named {reason}" if isinstance(error, KeyError) else reason
