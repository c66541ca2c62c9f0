"""Which format a run folder has: ``run.json``, the first file that is written into it.

The number is raised when an older version would misread a folder. A folder without the file was begun before there
was one and has format 1.
"""

from pathlib import Path
from typing import cast

from pydantic import Field

from circuitune.core.atomic import write_json
from circuitune.core.errors import InputError
from circuitune.core.parsing import parse_json
from circuitune.core.records import Record, read_record

RUN = "run.json"
FORMAT = 1
"""The format that this version writes; it reads this one and all before it."""


class RunRecord(Record):
    """run.json: the folder's format, and the version of circuitune that began it."""

    format: int = Field(ge=1)
    circuitune: str


def mark(folder: Path, version: str) -> None:
    """Write ``run.json`` where it is missing."""
    if not (folder / RUN).is_file():
        write_json(folder / RUN, RunRecord(format=FORMAT, circuitune=version))


def require_readable(folder: Path) -> None:
    """InputError where a newer circuitune wrote the run folder, or its ``run.json`` is damaged."""
    path = folder / RUN
    if not path.is_file():
        return
    try:
        written = cast(dict[str, object], parse_json(path.read_bytes()))
        number, version = int(str(written["format"])), str(written["circuitune"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged, so the format of the run is not known; restore it, or remove it if this version "
            "made the run."
        ) from error
    if number > FORMAT:
        raise InputError(
            f"{folder} is a run of format {number}, which circuitune {version[:40]} began; this version reads "
            f"formats up to {FORMAT}: update circuitune."
        )
    read_record(path, RunRecord)
