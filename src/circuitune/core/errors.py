"""The two ways a request can fail, each with its exit code."""


class InputError(Exception):
    """The request or its input is wrong: one sentence that names the file, row or option, and the fix. Exit 2."""


class MachineError(Exception):
    """The machine failed the request (disk, memory, NaN): one sentence that names the place. Exit 1."""
