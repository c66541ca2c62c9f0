"""One's own pairs: CSV or JSON lines with the columns clean, corrupted, and label or answer.

``wrong`` is optional, and computed where the corrupted prompt is in the wording of a known task. Instead of
texts, ``correct_idx`` and ``incorrect_idx`` give token ids (the EAP-IG reference's files); they become text
as soon as a tokenizer is at hand.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from circuitune.core.errors import InputError
from circuitune.core.manifest import sha256_bytes
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.registry import recognise
from circuitune.tasks.storage import is_pair_file, read_jsonl

ANSWER_COLUMNS = ("answer", "label", "correct_idx")
"""Where the answer is looked for, in this order."""

_NUMBER_LIST = re.compile(r"[^\s\d.+-][+-]?\d+(\.\d+)?,\Z")

Row = tuple[int, Mapping[str, object]]
"""A row's number in the file (from 1, without the header) and its cells by column."""


def read_pairs(path: Path | str, *, answer_prefix: str | None = None) -> PairSet:
    """Read pairs from a ``.csv`` or ``.jsonl`` file (UTF-8), or a file that ``PairSet.to_jsonl`` wrote.

    A bare label gets the space that follows its prompt, unless the prompt ends in white space or in a list of
    numbers without spaces (``y=80,85,90,``); a label that begins with white space is kept as it is;
    ``answer_prefix`` replaces both rules. InputError names file, row and column of what does not fit.
    """
    path = Path(path)
    data = _read(path)
    text = _decode(path, data)
    if path.suffix.lower() == ".csv":
        rows = list(_csv_rows(path, text))
    elif path.suffix.lower() in (".jsonl", ".ndjson"):
        if is_pair_file(text.split("\n", 1)[0]):
            return read_jsonl(path)
        rows = list(_json_rows(path, text))
    else:
        raise InputError(f"{path} is neither .csv nor .jsonl; rename it or convert it to one of these.")
    if not rows:
        raise InputError(f"{path} has no rows; give it rows of clean, corrupted and answer (or label).")
    pairs = tuple(_pair(path, row, answer_prefix) for row in rows)
    settings = {"file": path.name, "sha256": sha256_bytes(data), "wrong": _wrong_source(rows, pairs)}
    if answer_prefix is not None:
        settings["answer_prefix"] = answer_prefix
    return PairSet(path.stem, pairs, None, settings)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); give a readable file.") from error


def _decode(path: Path, data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}, is not UTF-8 text; save the file as UTF-8.") from error
    if not text.strip():
        raise InputError(f"{path} is empty; give it rows of clean, corrupted and answer (or label).")
    return text


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0
    try:
        columns = next(reader)
        _check_columns(path, columns)
        for cells in reader:
            if not cells:  # a blank line
                continue
            number += 1
            if len(cells) != len(columns):
                raise InputError(
                    f"{path}, row {number}, has {len(cells)} cells and the header {len(columns)}; "
                    "put prompts that contain commas in double quotes."
                )
            yield number, dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise InputError(f"{path}, row {number + 1}, is not valid CSV ({error}); check its quotes.") from error


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value: object = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"{path}, row {number}, is not JSON ({error}); write one object per line.") from error
        if not isinstance(value, dict):
            raise InputError(f"{path}, row {number}, is not a JSON object; write one object per line.")
        cells = cast("dict[str, object]", value)
        _check_columns(path, list(cells), f", row {number},")
        yield number, cells


def _check_columns(path: Path, columns: list[str], place: str = "") -> None:
    missing = [name for name in ("clean", "corrupted") if name not in columns]
    if not any(name in columns for name in ANSWER_COLUMNS):
        missing.append("answer (or label, or correct_idx)")
    if missing:
        raise InputError(
            f"{path}{place} has the columns {', '.join(map(repr, columns))} and lacks {', '.join(missing)}; "
            "rename or add them."
        )
    if len(set(columns)) < len(columns):
        raise InputError(f"{path}{place} names a column twice; give every column its own name.")


def _pair(path: Path, row: Row, prefix: str | None) -> Pair:
    number, cells = row
    clean, corrupted = _text(path, row, "clean"), _text(path, row, "corrupted")
    known = recognise(clean)
    group = clean if known is None else f"{known.task}: {known.group}"
    column = next(name for name in ANSWER_COLUMNS if name in cells)
    if column == "correct_idx":
        answer_id = _token_id(path, row, column)
        wrong_id = _token_id(path, row, "incorrect_idx") if _filled(cells, "incorrect_idx") else None
        return Pair(clean, corrupted, "", None, group, number, answer_id, wrong_id)
    if _filled(cells, "wrong"):
        bare_wrong = _text(path, row, "wrong")
    else:
        solved = recognise(corrupted)
        bare_wrong = None if solved is None else solved.answer
    answer = _following(clean, _text(path, row, column), prefix)
    wrong = None if bare_wrong is None else _following(clean, bare_wrong, prefix)
    return Pair(clean, corrupted, answer, wrong, group, number)


def _filled(cells: Mapping[str, object], column: str) -> bool:
    return cells.get(column) not in (None, "")


def _text(path: Path, row: Row, column: str) -> str:
    number, cells = row
    value = cells[column]
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        what = "is empty" if value in (None, "") or isinstance(value, str) else f"is {value!r}, not text"
        raise InputError(f"{path}, row {number}, column {column}, {what}; fill it in or remove the row.")
    return value


def _token_id(path: Path, row: Row, column: str) -> int:
    text = _text(path, row, column).strip()
    if not re.fullmatch(r"\d{1,9}", text):
        raise InputError(
            f"{path}, row {row[0]}, column {column}, is {text!r}, not one token id; "
            "give one whole number, or the text in a column answer."
        )
    return int(text)


def _following(prompt: str, label: str, prefix: str | None) -> str:
    """The label as it follows the prompt."""
    if prefix is not None:
        return prefix + label.lstrip()
    if label[0].isspace() or prompt[-1].isspace() or _NUMBER_LIST.search(prompt):
        return label
    return f" {label}"


def _wrong_source(rows: list[Row], pairs: tuple[Pair, ...]) -> str:
    """Where the wrong answers come from: ``given``, ``computed`` (at least one of them) or ``none``."""
    if all(pair.wrong is None and pair.wrong_id is None for pair in pairs):
        return "none"
    given = [
        _filled(cells, "wrong") or pair.wrong_id is not None for (_, cells), pair in zip(rows, pairs, strict=True)
    ]
    computed = any(pair.wrong is not None and not own for pair, own in zip(pairs, given, strict=True))
    return "computed" if computed else "given"
