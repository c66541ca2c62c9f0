"""The two ways a request can fail, each with its exit code."""

import re

CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
"""Between the brackets of a regular expression: what moves a terminal's cursor, changes its title or reads from it.

All control characters but tab and newline; of those above 0x7f, U+009B begins a command in many terminals."""
MOST = 2000
"""Characters of a sentence; what a file put into it may be of any length."""


class _SentenceError(Exception):
    """One line of text, in which nothing that a file says moves the cursor of a terminal."""

    def __init__(self, message: str) -> None:
        plain = re.sub(rf"[{CONTROLS}\t\n\u2028\u2029]+", " ", message)
        super().__init__(plain if len(plain) <= MOST else f"{plain[: MOST - 3]}...")


class InputError(_SentenceError):
    """The request or its input is wrong: one sentence that names the file, row or option, and the fix. Exit 2."""


class MachineError(_SentenceError):
    """The machine failed the request (disk, memory, NaN): one sentence that names the place. Exit 1."""


_USED_UP = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "std::bad_alloc",
    "could not create a primitive",  # oneDNN, which torch computes with on processors
)
"""How torch says on its devices that memory is used up; only some of its errors have a type of their own."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the machine, or of its GPU, is used up."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _USED_UP)
