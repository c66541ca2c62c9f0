"""Pair sets on disk: JSON lines, the first about the set, the others one pair each; or a table of the pairs.

The first line holds the digest of the rest, so a file that lost a line or was edited is noticed.

The table is for eyes and spreadsheets: a text that one would run as a formula stands behind an apostrophe there
(`core.csvio`), and reading takes it away again. That is done for tables of exactly our columns: in other people's CSV
an apostrophe is part of the prompt.
"""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from circuitune.core.atomic import write_text
from circuitune.core.csvio import read_rows, write_rows
from circuitune.core.errors import InputError
from circuitune.core.manifest import canonical_json
from circuitune.core.records import Record
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.splits import Part

_Text = Annotated[str, Field(min_length=1)]
_ANSWERS: TypeAdapter[tuple[str, ...]] = TypeAdapter(Annotated[tuple[_Text, ...], Field(min_length=1)])


class PairsHeader(Record):
    """First line of a pair file."""

    circuitune: Literal["pairs"] = "pairs"
    format: Literal[1] = 1
    name: str
    part: Part | None
    settings: dict[str, JsonValue]
    rows: int
    digest: str


class _PairFields(Record):
    """What both forms say of a pair in the same way."""

    clean: str
    corrupted: str
    answer: str
    wrong: str | None = None
    group: str
    row: int | None = None
    answer_id: int | None = Field(None, ge=0)
    wrong_id: int | None = Field(None, ge=0)
    kind: str | None = None


class PairLine(_PairFields):
    """Every other line; ``None`` fields are left out of the text."""

    answer_set: tuple[str, ...] | None = None
    wrong_set: tuple[str, ...] | None = None


class PairRow(_PairFields):
    """A row of the table; sets of answers are JSON lists."""

    answer_set: str | None = None
    wrong_set: str | None = None


CSV_HEADER = ",".join(PairRow.model_fields)
"""First line of a table of ours."""


def write_csv(pairs: PairSet, path: Path) -> None:
    """Write the pairs as a table, atomically; what is known of the set is left out."""
    rows = (
        PairRow.model_validate(
            {**vars(pair), "answer_set": _listed(pair.answer_set), "wrong_set": _listed(pair.wrong_set)}
        )
        for pair in pairs
    )
    write_rows(path, rows, PairRow)


def read_csv(path: Path) -> tuple[Pair, ...]:
    """Read a table that ``write_csv`` made; InputError names the line that does not fit."""
    return tuple(_of_row(path, number, row) for number, row in enumerate(read_rows(path, PairRow), start=2))


def _of_row(path: Path, number: int, row: PairRow) -> Pair:
    if not row.clean.strip() or not (row.answer or row.answer_id is not None):
        missing = "answer" if row.clean.strip() else "clean"
        raise InputError(f"{path}, line {number}, column {missing}, is empty; fill it in or remove the line.")
    fields = row.model_dump()
    fields.update(answer_set=_set(path, row.answer_set), wrong_set=_set(path, row.wrong_set))
    return Pair(**fields)


def _listed(answers: tuple[str, ...] | None) -> str | None:
    return None if answers is None else json.dumps(answers, ensure_ascii=False)


def _set(path: Path, cell: str | None) -> tuple[str, ...] | None:
    if cell is None:
        return None
    try:
        return _ANSWERS.validate_json(cell)
    except ValidationError as error:
        raise InputError(
            f"{path} has {cell!r} for a set of answers, not a JSON list of texts; correct it."
        ) from error


def write_jsonl(pairs: PairSet, path: Path) -> None:
    """Write a pair set atomically; equal sets give equal bytes."""
    header = PairsHeader(
        name=pairs.name, part=pairs.part, settings=dict(pairs.settings), rows=len(pairs), digest=pairs.digest
    )
    lines = [canonical_json(header.model_dump(mode="json"))]
    lines += [PairLine(**vars(pair)).model_dump_json(exclude_none=True) for pair in pairs]
    write_text(path, "\n".join(lines) + "\n")


def is_pair_file(first_line: str) -> bool:
    """Whether a JSONL file begins like one of ours."""
    try:
        PairsHeader.model_validate_json(first_line)
    except ValidationError:
        return False
    return True


def read_jsonl(path: Path) -> PairSet:
    """Read a file that ``write_jsonl`` made; InputError where it is missing, damaged or foreign."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); check the path.") from error
    try:
        header = PairsHeader.model_validate_json(lines[0])
    except ValidationError as error:
        raise InputError(
            f"{path} was not written by circuitune (line 1 does not describe a pair set); "
            "read other files with read_pairs."
        ) from error
    pairs = tuple(_pair(path, number, line) for number, line in enumerate(lines[1:], start=2) if line)
    result = PairSet(header.name, pairs, header.part, header.settings)
    if len(pairs) != header.rows or result.digest != header.digest:
        raise InputError(f"{path} is not as circuitune wrote it (its digest differs); export it again.")
    return result


def _pair(path: Path, number: int, line: str) -> Pair:
    try:
        return Pair(**PairLine.model_validate_json(line).model_dump())
    except ValidationError as error:
        raise InputError(f"{path}, line {number}, is no pair of circuitune's; export the file again.") from error
