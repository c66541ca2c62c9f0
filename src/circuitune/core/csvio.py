"""Tidy CSV tables whose columns are a pydantic model's fields.

Equal rows give equal bytes on every machine: floats are written by ``repr`` (the shortest text that reads
back as the same number), booleans as ``true`` and ``false``, None as an empty cell, lines end in a single
line feed. A text that a spreadsheet would take for a formula stands behind an apostrophe, as spreadsheets have it;
reading takes that away again.
"""

import csv
import re
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from circuitune.core.atomic import replacing
from circuitune.core.errors import InputError

R = TypeVar("R", bound=BaseModel)

_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How a text begins that a spreadsheet runs (also in full width), or that stands behind an apostrophe for that.

The page's own export (``web/src/csv.ts``) has the same rule.
"""


@contextmanager
def writing(path: Path, model: type[R]) -> Generator[Callable[[Iterable[R]], None]]:
    """What adds rows to a table under a header of the model's fields, whole when the block ends; no row is held.

    A block that ends by an exception leaves the table that was there (`replacing`).
    """
    columns = list(model.model_fields)
    with replacing(path) as file:

        def write(rows: Iterable[R]) -> None:
            for row in rows:
                file.write(_line(_cell(getattr(row, column)) for column in columns))

        file.write(_line(columns))
        yield write


def write_rows(path: Path, rows: Iterable[R], model: type[R]) -> None:
    """Write the rows under a header of the model's fields, atomically; no rows give a header alone.

    Rows that come one by one are not held.
    """
    with writing(path, model) as write:
        write(rows)


def read_rows(path: Path, model: type[R]) -> list[R]:
    """Read a table written by ``write_rows``; InputError names the file and line that do not fit."""
    columns = list(model.model_fields)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table ({error}); check the path.") from error
    if not lines or lines[0] != columns:
        raise InputError(f"{path} is no table of {model.__name__}: its header must be {','.join(columns)}.")
    return [_row(path, number, line, columns, model) for number, line in enumerate(lines[1:], start=2)]


def _row(path: Path, number: int, line: list[str], columns: list[str], model: type[R]) -> R:
    if len(line) != len(columns):
        raise InputError(f"{path}, line {number}, has {len(line)} cells, not {len(columns)}; write it again.")
    cells = {
        column: _read(cell, model.model_fields[column].annotation) for column, cell in zip(columns, line, strict=True)
    }
    try:
        return model.model_validate(cells)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{path}, line {number}, column {first['loc'][0]}: {first['msg']}; write the table again."
        ) from error


def _line(cells: Iterable[str]) -> bytes:
    return (",".join(map(_quoted, cells)) + "\n").encode("utf-8")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}" if _FORMULA.match(value) else value
    return repr(float(value)) if isinstance(value, float) else str(value)


def _read(cell: str, annotation: object) -> str | None:
    """A cell of a field of this type, for pydantic to make it that; an empty one is None but where it is text."""
    if annotation is str:
        return _text(cell)
    return (_text(cell) if annotation == str | None else cell) or None


def _text(cell: str) -> str:
    """The text that `_cell` wrote."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _quoted(cell: str) -> str:
    """Quote where needed. The standard writer leaves a lone carriage return bare, and its reader then fails."""
    return '"' + cell.replace('"', '""') + '"' if any(mark in cell for mark in ',"\r\n') else cell
