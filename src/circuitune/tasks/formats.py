"""Rows of a table in any of the formats we read: CSV, JSON lines, Parquet, and a folder that `datasets` saved."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from circuitune.core.errors import InputError
from circuitune.core.manifest import digest, sha256_bytes, sha256_file
from circuitune.core.parsing import parse_json
from circuitune.core.places import inside

Row = tuple[int, Mapping[str, object]]
"""A row's number in the file (from 1, without the header) and its cells by column."""

JSON_LINES = (".jsonl", ".ndjson")
MOST_CELLS = 10**8
"""Cells of a Parquet file; packed, any number of equal ones takes no room."""
_FOLDER = "dataset_info.json", "state.json"
"""Files of a folder that ``Dataset.save_to_disk`` wrote."""


@dataclass(frozen=True)
class Table:
    """The rows of a file, and the SHA-256 of its content; ``ragged``: every row names its own columns."""

    rows: list[Row]
    sha256: str
    ragged: bool = False


def read_table(path: Path) -> Table:
    """Read a table; the ending says which format it is.

    Raises:
        InputError: no such file, another format, a package missing, or what does not fit the format, by row.
    """
    if path.is_dir():
        return _folder(path)
    if path.suffix.lower() == ".parquet":
        return _parquet(path)
    data = read_bytes(path)
    text = decode(path, data)
    if path.suffix.lower() == ".csv":
        return Table(list(_csv_rows(path, text)), sha256_bytes(data))
    if path.suffix.lower() in JSON_LINES:
        return Table(list(_json_rows(path, text)), sha256_bytes(data), ragged=True)
    raise InputError(
        f"{path} is neither .csv nor .jsonl nor .parquet; rename it or convert it to one of these."
    )  # fmt: skip


def read_bytes(path: Path) -> bytes:
    """A file's content; InputError where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); give a readable file.") from error


def decode(path: Path, data: bytes) -> str:
    """A file's text; InputError where it is not UTF-8 or empty."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}, is not UTF-8 text; save the file as UTF-8.") from error
    if not text.strip():
        raise InputError(f"{path} is empty; give it one row for each example.")
    return text


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0
    try:
        columns = next(reader)
        if len(set(columns)) < len(columns):
            raise InputError(f"{path} names a column twice; give every column its own name.")
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
            value = parse_json(line)
        except ValueError as error:
            raise InputError(f"{path}, row {number}, is not JSON ({error}); write one object per line.") from error
        if not isinstance(value, dict):
            raise InputError(f"{path}, row {number}, is not a JSON object; write one object per line.")
        yield number, cast("dict[str, object]", value)


def _parquet(path: Path) -> Table:
    sha256 = sha256_bytes(read_bytes(path))
    parquet = _library(path, "pyarrow.parquet")
    try:
        found = parquet.ParquetFile(path).metadata
        if found.num_rows * max(1, found.num_columns) > MOST_CELLS:
            raise ValueError(f"{found.num_rows:,} rows are more than can be read; take a part of them")
        rows = cast("list[dict[str, object]]", parquet.read_table(path).to_pylist())
    except Exception as error:  # the library raises whatever its readers do
        raise InputError(f"{path} is not a whole Parquet file ({_first_line(error)}); save it again.") from error
    return Table(list(enumerate(rows, start=1)), sha256)


def _folder(path: Path) -> Table:
    if (path / "dataset_dict.json").is_file():
        splits = sorted(inner.name for inner in path.iterdir() if inner.is_dir())
        if splits:
            raise InputError(f"{path} holds the splits {', '.join(splits)}; name one, such as {path / splits[0]}.")
    if not all((path / name).is_file() for name in _FOLDER):
        raise InputError(
            f"{path} cannot be read: it is a folder that holds no saved dataset ({_FOLDER[0]}); give a file, or a "
            "folder written by Dataset.save_to_disk."
        )
    datasets = _library(path, "datasets")
    try:
        state = cast("dict[str, Any]", parse_json((path / _FOLDER[1]).read_bytes()))
        for file in state["_data_files"]:
            inside(path, file["filename"])
        rows = cast("list[dict[str, object]]", datasets.load_from_disk(str(path)).to_list())
    except Exception as error:  # the library raises whatever its readers do
        raise InputError(f"{path} is not a whole saved dataset ({_first_line(error)}); save it again.") from error
    files = {inner.name: sha256_file(inner) for inner in sorted(path.iterdir()) if inner.is_file()}
    return Table(list(enumerate(rows, start=1)), digest(files))


def _library(path: Path, name: str) -> Any:
    """A library of the extra `data`; InputError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise InputError(
            f"{path}: {package} is not installed; pip install 'circuitune[data]', or convert the file to CSV."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
