"""The two ways a request can fail, each with its exit code."""


class InputError(Exception):
    """The request or its input is wrong: one sentence that names the file, row or option, and the fix. Exit 2."""


class MachineError(Exception):
    """The machine failed the request (disk, memory, NaN): one sentence that names the place. Exit 1."""


_USED_UP = ("can't allocate memory", "not enough memory", "out of memory", "std::bad_alloc")
"""How torch says on its devices that memory is used up; only some of its errors have a type of their own."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory of the machine, or of its GPU, is used up."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _USED_UP)
