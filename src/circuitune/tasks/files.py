"""One's own pairs from a table with the columns clean, corrupted, and label or answer.

``wrong`` is optional, and computed where the corrupted prompt is in the wording of a known task. Instead of
texts, ``correct_idx`` and ``incorrect_idx`` give token ids (the EAP-IG reference's files); they become text
as soon as a tokenizer is at hand. TRL's ``prompt`` and ``completion`` are taken for clean and answer. Where
many answers are right, ``answer_set`` and ``wrong_set`` list them (in CSV divided by ``|``).
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from circuitune.core.errors import InputError
from circuitune.core.manifest import sha256_file
from circuitune.tasks.corruption import Strategy, corrupted
from circuitune.tasks.formats import JSON_LINES, Row, Table, decode, read_bytes, read_table
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.registry import recognise
from circuitune.tasks.storage import CSV_HEADER, is_pair_file, read_csv, read_jsonl
from circuitune.tasks.templates import Known
from circuitune.tasks.tokens import Tokenizer

ANSWER_COLUMNS = ("answer", "label", "correct_idx")
"""Where the answer is looked for, in this order."""

COLUMNS = ("clean", "corrupted", *ANSWER_COLUMNS, "wrong", "incorrect_idx", "answer_set", "wrong_set")
"""Every column that is read."""

_TRL = {"clean": "prompt", "answer": "completion"}

_NUMBER_LIST = re.compile(r"[^\s\d.+-][+-]?\d+(\.\d+)?,\Z")


def read_pairs(
    path: Path | str,
    *,
    answer_prefix: str | None = None,
    columns: Mapping[str, str] | None = None,
    corruption: Strategy | None = None,
    tokenizer: Tokenizer | None = None,
    seed: int = 0,
) -> PairSet:
    """Read pairs from a ``.csv``, ``.jsonl`` or ``.parquet`` file, a saved dataset, or what `PairSet` wrote.

    A bare label gets the space that follows its prompt, unless the prompt ends in white space or in a list of
    numbers without spaces (``y=80,85,90,``); a label that begins with white space is kept as it is;
    ``answer_prefix`` replaces both rules.

    Args:
        path: the file or folder; text is UTF-8.
        answer_prefix: what stands before every bare answer.
        columns: our name of a column -> the file's, such as ``{"clean": "src", "answer": "tgt"}``.
        corruption: how prompts without a corruption get one (``corruption.STRATEGIES``); this needs `tokenizer`.
            Those that get none keep ``corrupted`` empty, and `check` leaves them out.
        tokenizer: of the model the pairs are for.
        seed: of the corruptions.

    Raises:
        InputError: names file, row and column of what does not fit.
    """
    path = Path(path)
    if _is_ours(path):
        if columns or corruption is not None or answer_prefix is not None:
            raise InputError(
                f"{path} was written by circuitune and is complete; leave out columns, corruption and answer prefix."
            )
        return _ours(path)
    table = _renamed(path, read_table(path), columns or {})
    if not table.rows:
        raise InputError(f"{path} has no rows; give it rows of clean, corrupted and answer (or label).")
    _check_columns(path, table, corruption is not None)
    pairs = tuple(_pair(path, row, answer_prefix, corruption is not None) for row in table.rows)
    settings = {"file": path.name, "sha256": table.sha256, "wrong": _wrong_source(table.rows, pairs)}
    if answer_prefix is not None:
        settings["answer_prefix"] = answer_prefix
    result = PairSet(path.stem, pairs, None, settings)
    if corruption is None:
        return result
    if tokenizer is None:
        raise InputError(f"{path}: corrupting prompts needs the model's tokenizer; give it, or a column corrupted.")
    return _with_known_wrong(corrupted(result, corruption, tokenizer, seed), answer_prefix)


def _is_ours(path: Path) -> bool:
    """Whether ``PairSet.to_jsonl`` or ``to_csv`` wrote this file."""
    ending = path.suffix.lower()
    if ending not in (*JSON_LINES, ".csv") or not path.is_file():
        return False
    first = decode(path, read_bytes(path)).split("\n", 1)[0]
    return first.replace('"', "").rstrip("\r") == CSV_HEADER if ending == ".csv" else is_pair_file(first)


def _ours(path: Path) -> PairSet:
    """The pairs of such a file; a table knows nothing of the set."""
    if path.suffix.lower() != ".csv":
        return read_jsonl(path)
    pairs = read_csv(path)
    if not pairs:
        raise InputError(f"{path} has no rows; export it again.")
    wrong = "given" if any(pair.wrong is not None or pair.wrong_id is not None for pair in pairs) else "none"
    return PairSet(path.stem, pairs, None, {"file": path.name, "sha256": sha256_file(path), "wrong": wrong})


def _renamed(path: Path, table: Table, columns: Mapping[str, str]) -> Table:
    """The table under our names of the columns."""
    for name, theirs in columns.items():
        if name not in COLUMNS:
            raise InputError(f"{name!r} is no column of ours; map one of {', '.join(COLUMNS)}.")
        if table.rows and theirs not in table.rows[0][1]:
            found = ", ".join(map(repr, table.rows[0][1]))
            raise InputError(f"{path} has no column {theirs!r} for {name}; it has {found}.")
    if len(set(columns.values())) < len(columns):
        raise InputError(f"{path}: one column is mapped to two of ours; map each once.")
    if table.rows and set(_TRL.values()) <= table.rows[0][1].keys() - {"clean", *columns.values()}:
        columns = {**{name: theirs for name, theirs in _TRL.items() if name not in table.rows[0][1]}, **columns}
    if not columns:
        return table
    ours = {theirs: name for name, theirs in columns.items()}
    taken = {*columns, *(ANSWER_COLUMNS if set(ANSWER_COLUMNS) & columns.keys() else ())}
    kept = ours.keys() | {name for name in COLUMNS if name not in taken}
    rows = [(n, {ours.get(key, key): cells[key] for key in cells if key in kept}) for n, cells in table.rows]
    return replace(table, rows=rows)


def _check_columns(path: Path, table: Table, corrupting: bool) -> None:
    """InputError where the table, or a row that names its own columns, lacks one that is needed."""
    for number, cells in table.rows if table.ragged else table.rows[:1]:
        missing = [name for name in ("clean", "corrupted") if name not in cells]
        if corrupting and "corrupted" in missing:
            missing.remove("corrupted")
        if not any(name in cells for name in ANSWER_COLUMNS):
            missing.append("answer (or label, or correct_idx)")
        if missing:
            place = f", row {number}," if table.ragged else ""
            raise InputError(
                f"{path}{place} has the columns {', '.join(map(repr, cells))} and lacks {', '.join(missing)}; "
                f"rename or add them, or map them with --columns{_hint(missing)}."
            )


def _hint(missing: list[str]) -> str:
    return " (prompts can be corrupted for you: --corruption another-row)" if missing == ["corrupted"] else ""


def _pair(path: Path, row: Row, prefix: str | None, corrupting: bool) -> Pair:
    number, cells = row
    clean = _text(path, row, "clean")
    other = "" if corrupting and not _filled(cells, "corrupted") else _text(path, row, "corrupted")
    known = recognise(clean)
    group = clean if known is None else f"{known.task}: {known.group}"
    kind = None if known is None else known.kind
    column = next(name for name in ANSWER_COLUMNS if name in cells)
    if column == "correct_idx":
        answer_id = _token_id(path, row, column)
        wrong_id = _token_id(path, row, "incorrect_idx") if _filled(cells, "incorrect_idx") else None
        return Pair(clean, other, "", None, group, number, answer_id, wrong_id, kind)
    if known is not None and known.answer_set is not None and prefix is None:
        prefix = ""  # these answers go on in the middle of a word
    if _filled(cells, "wrong"):
        bare_wrong = _text(path, row, "wrong")
    else:
        solved = recognise(other)
        bare_wrong = None if solved is None else solved.answer
    answer = _following(clean, _text(path, row, column), prefix)
    wrong = None if bare_wrong is None else _following(clean, bare_wrong, prefix)
    right_set, wrong_set = (_set(path, row, name, known, prefix) for name in ("answer_set", "wrong_set"))
    return Pair(
        clean, other, answer, wrong, group, number, kind=kind, answer_set=right_set, wrong_set=wrong_set
    )  # fmt: skip


def _set(path: Path, row: Row, column: str, known: Known | None, prefix: str | None) -> tuple[str, ...] | None:
    """The answers of a set, from the file or from the known wording."""
    number, cells = row
    value = cells.get(column)
    if isinstance(value, str) and value:
        value = value.split("|")
    if value in (None, ""):
        return None if known is None else known.answer_set if column == "answer_set" else known.wrong_set
    members = cast("list[object]", value) if isinstance(value, list) else []
    if not members or not all(isinstance(member, str) and member.strip() for member in members):
        raise InputError(
            f"{path}, row {number}, column {column}, is {value!r}, not a list of texts; give one, or none at all."
        )
    return tuple(_following(str(cells["clean"]), str(member), prefix) for member in members)


def _with_known_wrong(pairs: PairSet, prefix: str | None) -> PairSet:
    """The answers of corruptions in a known wording; others keep theirs."""
    rows: list[Pair] = []
    for pair in pairs:
        solved = recognise(pair.corrupted) if pair.wrong is None and pair.wrong_id is None else None
        if solved is not None:
            own = "" if solved.answer_set is not None and prefix is None else prefix
            pair = replace(pair, wrong=_following(pair.clean, solved.answer, own))
        rows.append(pair)
    if tuple(rows) == pairs.pairs:
        return pairs
    return replace(pairs, pairs=tuple(rows), settings={**pairs.settings, "wrong": "computed"})


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
