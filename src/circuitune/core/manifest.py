"""Hashes of files and values, and ``COMPLETE.json``, which makes a folder finished.

``environment.json`` (times, host, versions) stays outside: finished folders of equal work have equal
manifests.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from circuitune.core.atomic import flush, remove_partial_files, write_json
from circuitune.core.errors import InputError
from circuitune.core.locking import LOCK
from circuitune.core.records import CompleteRecord, FileRecord, read_record

COMPLETE = "COMPLETE.json"
ENVIRONMENT = "environment.json"


def sha256_bytes(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: object) -> str:
    """The one text of a JSON value: sorted keys, no spaces, ASCII; ValueError on NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(value: object) -> str:
    """SHA-256 of a JSON value's canonical text."""
    return sha256_bytes(canonical_json(value).encode("ascii"))


def complete(folder: Path) -> None:
    """Declare a folder finished: remove partial files, flush the rest, write ``COMPLETE.json`` last."""
    remove_partial_files(folder)
    own = (folder / COMPLETE, folder / ENVIRONMENT, folder / LOCK)
    complete_with(folder, (path for path in folder.rglob("*") if path.is_file() and path not in own))


def complete_with(folder: Path, paths: Iterable[Path]) -> None:
    """Declare these files of a folder, all of them inside it, to be what it was finished with."""
    files: dict[str, FileRecord] = {}
    for path in sorted(paths):
        flush(path)
        files[path.relative_to(folder).as_posix()] = FileRecord(bytes=path.stat().st_size, sha256=sha256_file(path))
    write_json(folder / COMPLETE, CompleteRecord(files=files))


def is_complete(folder: Path) -> bool:
    """Whether ``COMPLETE.json`` is there and every file it lists has its size; reads no content."""
    try:
        record = read_record(folder / COMPLETE, CompleteRecord)
    except InputError:
        return False
    return all(_is_own(name) and _size(folder / name) == file.bytes for name, file in record.files.items())


def verify(folder: Path, only: str | None = None) -> list[str]:
    """Read every listed file and say in words what differs from ``COMPLETE.json``; empty when all is well.

    ``only``: read this one; it must be listed.
    """
    try:
        record = read_record(folder / COMPLETE, CompleteRecord)
    except InputError as error:
        return [str(error)]
    foreign = next((name for name in record.files if not _is_own(name)), None)
    if foreign is not None:
        return [f"{folder / COMPLETE} names {foreign[:200]}, which is not in its folder."]
    if only is not None and only not in record.files:
        return [f"{folder / only} is not listed in {COMPLETE}."]
    listed = record.files.items() if only is None else [(only, record.files[only])]
    problems = (_problem(folder / name, file) for name, file in listed)
    return [problem for problem in problems if problem]


def _is_own(name: str) -> bool:
    """Whether the name leads to a place below the folder; such names are written by `complete` alone."""
    return not {"..", "/", "//"} & {*PurePosixPath(name).parts} and "\0" not in name


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except OSError:  # a name that is too long, or a folder that cannot be looked into
        return None


def _problem(path: Path, expected: FileRecord) -> str | None:
    size = _size(path)
    if size is None:
        return f"{path} is missing."
    if size != expected.bytes:
        return f"{path} has {size} bytes instead of {expected.bytes}."
    try:
        same = sha256_file(path) == expected.sha256
    except OSError as error:
        return f"{path} cannot be read ({error.strerror or error})."
    return None if same else f"{path} has changed: its SHA-256 is not the recorded {expected.sha256[:12]}..."
