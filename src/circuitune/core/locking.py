"""One process at a time in a folder."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from circuitune.core.errors import InputError


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold the folder's lock, which ends with the process; InputError at once where another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"Another process is working in {folder}; wait for it or stop it.") from error
        yield
    finally:
        os.close(descriptor)
