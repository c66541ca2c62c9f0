"""One process at a time in a folder.

The lock is the system's own, on a file in the folder: network disks lock files between machines, folders they do not.
It vanishes with its process. The file is removed by whoever holds the lock, and one that a killed process left behind
means nothing. Nothing else that lists a folder counts it.
"""

import fcntl
import os
import platform
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from circuitune.core.errors import InputError, MachineError

LOCK = ".lock"
"""The file's name; it holds who has the lock, for the sentence that others are told."""
SHORT = 200
"""Bytes that say who has it."""


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Hold the folder's lock, which ends with the process.

    Raises:
        InputError: at once, where another process holds it.
        MachineError: the disk has no locks, or the file cannot be made.
    """
    path = folder / LOCK
    descriptor = _held(path)
    try:
        yield
    finally:
        with suppress(OSError):  # a file that stays means nothing
            path.unlink()  # while the lock is held: who opened it before sees in `_held` that it is gone
        os.close(descriptor)


def _held(path: Path) -> int:
    """The descriptor of the lock's file, locked."""
    while True:
        descriptor = _opened(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                with suppress(OSError):  # a full disk: then it is not said who it is
                    os.truncate(descriptor, 0)
                    os.pwrite(descriptor, f"process {os.getpid()} on {platform.node()}".encode(), 0)
                return descriptor
        except (BlockingIOError, PermissionError) as error:
            who = os.pread(descriptor, SHORT, 0).decode(errors="replace")
            os.close(descriptor)
            raise InputError(
                f"Another process is working in {path.parent}{f' ({who})' if who else ''}; wait for it or stop it."
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise MachineError(
                f"The disk of {path.parent} gives no locks ({error.strerror}), so that two processes could write at "
                "once; have it mounted with locks (Lustre: -o flock), or choose a folder on another disk."
            ) from error
        os.close(descriptor)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise MachineError(
            f"{path.parent} cannot be locked ({error.strerror}); make it writable, free space, or choose another "
            "folder."
        ) from error


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one at this path, and not one that its holder has removed meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
