"""``circuitune tasks``: which pairs there are, and whether one's own keep the rules."""

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from circuitune.cli.discover import NO_PAIRS
from circuitune.cli.output import show, show_json, table
from circuitune.cli.sources import PairOptions, parameters, read_source, report_left_out
from circuitune.core.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from circuitune.tasks.checks import Checked, LeftOut
    from circuitune.tasks.pairs import PairSet

tasks = App(name="tasks", help="List, show, check or export pairs.")

Settings = Annotated[tuple[str, ...], Parameter(name="--set", show_default=False)]
Count = Annotated[int, Parameter(name=("--count", "-n"))]
CSV = ".csv"
SHOWN = 12
"""Row numbers named per broken rule."""


@tasks.default
@tasks.command(name="list")
def list_tasks(*, json: bool = False) -> None:
    """List the tasks, each with an example.

    Example: circuitune tasks list

    Parameters
    ----------
    json: bool
        Print the result as JSON, with the parameters and their defaults.
    """
    from circuitune.tasks.registry import names

    found = {name: _about(name) for name in names()}
    if json:
        show_json(found)
        return
    show(table(["task", "an example: prompt, answer"], [[name, about["example"]] for name, about in found.items()]))
    show("\ncircuitune tasks show NAME tells a task's parameters.")


@tasks.command(name="show")
def show_task(name: str, /, *, settings: Settings = (), count: Count = 5, json: bool = False) -> None:
    """Show some pairs of a task, its parameters, and how evenly it spreads.

    Examples:
      circuitune tasks show lcm -n 5
      circuitune tasks show add_sub --set limit=300

    Parameters
    ----------
    name: str
        The task.
    settings: tuple[str, ...]
        A parameter, such as limit=300; may be given several times.
    count: int
        How many pairs.
    json: bool
        Print the result as JSON.
    """
    from circuitune.tasks.balance import balance
    from circuitune.tasks.registry import parameters as defaults
    from circuitune.tasks.registry import task

    pairs = task(name, **parameters(settings))
    parts = {part: len(pairs.split(part)) for part in ("train", "circuit", "validation", "test")}
    chosen, spread = pairs.split("train").sample(count), balance(pairs)
    if json:
        rows = [{"clean": p.clean, "corrupted": p.corrupted, "answer": p.answer, "wrong": p.wrong} for p in chosen]
        about = {"kinds": spread.kinds, "most_frequent_answer": spread.answer, "its_share": spread.share}
        show_json({"name": pairs.name, "pairs": len(pairs), "parts": parts, **about, "examples": rows})
        return
    show(f"{pairs.name}: {len(pairs)} pairs ({', '.join(f'{part} {count}' for part, count in parts.items())})")
    chosen_parameters = {**defaults(name), **parameters(settings)}
    show(f"parameters: {' '.join(f'{key}={value}' for key, value in chosen_parameters.items())}")
    show(spread.words)
    for pair in chosen:
        show(f"\nclean      {pair.clean!r}\ncorrupted  {pair.corrupted!r}\nanswer     {pair.answer!r}")
        show(f"wrong      {pair.wrong!r}")
        if pair.answer_set and pair.wrong_set:
            show(f"right      {' '.join(pair.answer_set)}\nnot right  {' '.join(pair.wrong_set)}")


@tasks.command(name="check")
def check_pairs(
    file: Path | None = None,
    /,
    *,
    model: str = "nano",
    source: PairOptions = NO_PAIRS,
    columns: str | None = None,
    corruption: Literal["another-row", "token"] | None = None,
    seed: int = 0,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Check pairs against a model's tokenizer: which rows break a rule, and why.

    The rows that pass can be written to a file that --pairs takes everywhere, with their columns renamed, their
    corruptions found and their prompts in the chat template.

    Examples:
      circuitune tasks check mine.csv --model my-gpt2 --out good.jsonl
      circuitune tasks check chat.parquet --columns clean=src,answer=tgt --corruption another-row --chat

    Parameters
    ----------
    file: Path
        Your own pairs: CSV, JSONL, Parquet or a folder that `datasets` saved; the same as --pairs.
    model: str
        Whose tokenizer: a model folder, the name of one on the hub, or nano.
    columns: str
        Our names of the file's columns, such as clean=src,answer=tgt.
    corruption: str
        For prompts without a corruption: another row of equal length, or one token replaced by one like it.
    seed: int
        Of the corruptions.
    out: Path
        Where to write the rows that pass, as .jsonl or .csv.
    json: bool
        Print the result as JSON.
    """
    from circuitune.models.loading import load_tokenizer
    from circuitune.tasks.checks import check

    options, mapped = _with_file(source, file), _columns(columns)
    if options.task is not None and (mapped or corruption is not None):
        raise InputError("--columns and --corruption belong to a file; a task's pairs are complete.")
    if options.part is not None:
        raise InputError("--part belongs to the steps that use pairs; a check is of all rows.")
    tokenizer = load_tokenizer(model)
    pairs = _read(options, mapped, corruption, seed, tokenizer)
    if options.chat:
        pairs = pairs.chat(tokenizer)
    checked = check(pairs, tokenizer, multi_token=options.multi_token, strict=options.strict)
    if out is not None:
        _require_file(out, "good.jsonl")  # makes its folder, so not before there is something to write
        _write(checked.pairs, out)
    _report(checked, out, json)


@tasks.command(name="export")
def export_pairs(name: str, /, *, out: Path, settings: Settings = ()) -> None:
    """Write all pairs of a task to a JSONL or CSV file that --pairs reads.

    In CSV, which knows nothing of the set but its pairs, a text that begins as a formula stands behind an apostrophe,
    so that spreadsheets do not run it; --pairs takes that away again.

    Examples:
      circuitune tasks export add_sub --set limit=300 --out add_sub_300.jsonl
      circuitune tasks export add_sub --set limit=300 --out add_sub_300.csv

    Parameters
    ----------
    name: str
        The task.
    out: Path
        The file to write, .jsonl or .csv.
    settings: tuple[str, ...]
        A parameter, such as limit=300; may be given several times.
    """
    from circuitune.tasks.registry import task

    pairs = task(name, **parameters(settings))
    _require_file(out, f"{name}.jsonl")
    _write(pairs, out)
    show(f"{len(pairs)} pairs: {out}")


def _about(name: str) -> dict[str, Any]:
    """A task's parameters and its first pair, in the short wording where there is one."""
    from circuitune.tasks.registry import parameters as defaults
    from circuitune.tasks.registry import task

    try:
        known = defaults(name)
        short: dict[str, Any] = {key: value for key, value in (("size", 60), ("style", "short")) if key in known}
        pair = task(name, **short)[0]
    except InputError as error:  # an installed package's task that cannot be used hides no other
        return {"parameters": {}, "example": str(error)}
    except Exception as error:  # whatever a foreign task raises while it generates
        return {"parameters": {}, "example": f"This task fails ({type(error).__name__}: {error})."}
    return {"parameters": known, "example": f"{pair.clean}|{pair.answer}"}


def _require_file(out: Path, example: str) -> None:
    """InputError where this is no file that can be written."""
    from circuitune.core.atomic import ensure_writable_folder
    from circuitune.tasks.formats import JSON_LINES

    if out.is_dir():
        raise InputError(f"--out {out} is a folder; name a file, such as {out / example}.")
    if out.suffix.lower() not in (*JSON_LINES, CSV):
        raise InputError(
            f"--out {out} must end in .jsonl or .csv, by which it is read again; such as {out.with_suffix('.jsonl')}."
        )
    ensure_writable_folder(out.parent)


def _write(pairs: "PairSet", out: Path) -> None:
    (pairs.to_csv if out.suffix.lower() == CSV else pairs.to_jsonl)(out)


def _with_file(source: PairOptions, file: Path | None) -> PairOptions:
    """The options with the file that was named without --pairs."""
    from dataclasses import replace

    if file is not None and (source.pairs is not None or source.task is not None):
        raise InputError(f"{file} and --pairs or --task were given; name one set of pairs.")
    options = source if file is None else replace(source, pairs=file)
    if options.pairs is None and options.task is None:
        raise InputError("Name the pairs: a file, or --task NAME.")
    return options


def _columns(columns: str | None) -> dict[str, str]:
    """``clean=src,answer=tgt`` as a mapping; InputError where a part has no equals sign."""
    mapped: dict[str, str] = {}
    for part in columns.split(",") if columns else ():
        ours, equals, theirs = (word.strip() for word in part.partition("="))
        if ours in mapped:
            raise InputError(f"--columns {columns} maps {ours} twice; map each column once.")
        if not equals or not ours or not theirs:
            raise InputError(f"--columns {columns} is not OURS=THEIRS,...; write for example clean=src,answer=tgt.")
        mapped[ours] = theirs
    return mapped


def _read(
    options: PairOptions,
    columns: dict[str, str],
    corruption: Literal["another-row", "token"] | None,
    seed: int,
    tokenizer: "PreTrainedTokenizerBase",
) -> "PairSet":
    from circuitune.tasks.files import read_pairs

    if options.pairs is None or options.settings:
        return read_source(options)
    return read_pairs(
        options.pairs,
        answer_prefix=options.answer_prefix,
        columns=columns,
        corruption=corruption,
        tokenizer=tokenizer,
        seed=seed,
    )


def _report(checked: "Checked", out: Path | None, json: bool) -> None:
    pairs, left_out = checked.pairs, checked.left_out
    without = sum(pair.wrong is None for pair in pairs)
    if json:
        spread = checked.balance
        show_json(
            {
                "valid": len(pairs),
                "without_wrong": without,
                "kinds": spread.kinds,
                "most_frequent_answer": spread.answer,
                "its_share": spread.share,
                "left_out": [{"row": row.row, "rule": row.rule, "reason": row.reason} for row in left_out],
                "out": None if out is None else str(out),
            }
        )
        return
    report_left_out(left_out)
    show(f"{len(pairs)} valid pairs, {len(left_out)} left out, {without} without a wrong answer.")
    show(checked.balance.words)
    for rule, rows in _by_rule(left_out).items():
        numbers = ", ".join(str(row.row) for row in rows[:SHOWN])
        more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
        show(f"{rule}: {len(rows)} left out, rows {numbers}{more} (row {rows[0].row}: {rows[0].reason})")
    if out is not None:
        show(f"Valid pairs: {out}")


def _by_rule(left_out: "tuple[LeftOut, ...]") -> "dict[str, list[LeftOut]]":
    """The rows that broke each rule, the most frequent rule first."""
    found: defaultdict[str, list[LeftOut]] = defaultdict(list)
    for row in left_out:
        found[row.rule].append(row)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))
