"""Files that exist whole or not at all.

Data goes to a temporary name in the same folder, is flushed to the disk and renamed over the target, and
the folder's entry is flushed too: a reader (or a killed process's successor) sees the old file or the new
one, never a part.
"""

import json
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel

from circuitune.core.errors import InputError, MachineError

PARTIAL = ".partial"
"""Ending of the temporary names; only a killed process leaves one behind."""


@contextmanager
def replacing(path: Path) -> Generator[BinaryIO]:
    """A file to write piece by piece that takes the place of ``path`` when the block ends; its folder is created.

    A block that ends by an exception leaves what was there. MachineError where the disk refuses: what else fails in
    the block must not be an OSError, which would be taken for that.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:  # an interrupt too must leave no temporary file
            partial.unlink(missing_ok=True)
            raise
        flush(path.parent)
    except OSError as error:
        raise _refused(path, error) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically, creating its folder; MachineError where the disk refuses."""
    with replacing(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 atomically; line ends are kept as they are."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write a JSON value, or a pydantic model, atomically: sorted keys, indent 1; MachineError on NaN."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    try:
        text = json.dumps(plain, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise MachineError(f"{path} would hold a number that is not finite; nothing was written.") from error
    write_text(path, text + "\n")


def ensure_writable_folder(path: Path) -> Path:
    """Create the folder where needed, try a file in it, and return it; InputError where that fails."""
    probe = path / f".{secrets.token_hex(6)}{PARTIAL}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"{path} is not a writable folder ({error.strerror or error}); choose another folder."
        ) from error
    return path


def remove_partial_files(folder: Path, *, below: bool = True) -> None:
    """Remove what killed writers left in a folder, and those in it, that nobody else is writing to."""
    for partial in folder.rglob(f".*{PARTIAL}") if below else folder.glob(f".*{PARTIAL}"):
        partial.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Force a file's content, or a folder's entries, to the disk; MachineError where it refuses."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> MachineError:
    return MachineError(
        f"{path} could not be written ({error.strerror or error}); free space or choose another folder."
    )
