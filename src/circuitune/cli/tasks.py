"""``circuitune tasks``: which pairs there are, and whether one's own keep the rules."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from circuitune.cli.discover import NO_PAIRS
from circuitune.cli.output import show, show_json, table
from circuitune.cli.sources import PairOptions, load_model, parameters, read_source, report_left_out
from circuitune.core.errors import InputError

tasks = App(name="tasks", help="List, show, check or export pairs.")

Settings = Annotated[tuple[str, ...], Parameter(name="--set", show_default=False)]


@tasks.command(name="list")
def list_tasks(*, json: bool = False) -> None:
    """List the tasks and their parameters.

    Example: circuitune tasks list

    Parameters
    ----------
    json: bool
        Print the result as JSON.
    """
    from circuitune.tasks.registry import names
    from circuitune.tasks.registry import parameters as defaults

    found = {name: defaults(name) for name in names()}
    if json:
        show_json(found)
        return
    rows = [[name, " ".join(f"{key}={value}" for key, value in known.items())] for name, known in found.items()]
    show(table(["task", "parameters and their defaults"], rows))


@tasks.command(name="show")
def show_task(name: str, /, *, settings: Settings = (), count: int = 5, json: bool = False) -> None:
    """Show some pairs of a task.

    Example: circuitune tasks show add_sub --set limit=300

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
    from circuitune.tasks.registry import task

    pairs = task(name, **parameters(settings))
    parts = {part: len(pairs.split(part)) for part in ("train", "circuit", "validation", "test")}
    chosen = pairs.split("train").sample(count)
    if json:
        rows = [{"clean": p.clean, "corrupted": p.corrupted, "answer": p.answer, "wrong": p.wrong} for p in chosen]
        show_json({"name": pairs.name, "pairs": len(pairs), "parts": parts, "examples": rows})
        return
    show(f"{pairs.name}: {len(pairs)} pairs ({', '.join(f'{part} {count}' for part, count in parts.items())})")
    for pair in chosen:
        show(f"\nclean      {pair.clean!r}\ncorrupted  {pair.corrupted!r}\nanswer     {pair.answer!r}")
        show(f"wrong      {pair.wrong!r}")


@tasks.command(name="check")
def check_pairs(*, model: str = "nano", source: PairOptions = NO_PAIRS, json: bool = False) -> None:
    """Check pairs against a model's tokenizer: which rows break a rule, and why.

    Example: circuitune tasks check --pairs mine.csv --model my-gpt2

    Parameters
    ----------
    model: str
        Whose tokenizer: a model folder, the name of one on the hub, or nano.
    json: bool
        Print the result as JSON.
    """
    from circuitune.tasks.checks import check

    pairs = read_source(source)
    _, tokenizer = load_model(model)
    checked = check(pairs, tokenizer, strict=source.strict)
    without = sum(pair.wrong is None for pair in checked.pairs)
    if json:
        left_out = [{"row": row.row, "rule": row.rule, "reason": row.reason} for row in checked.left_out]
        show_json({"valid": len(checked.pairs), "without_wrong": without, "left_out": left_out})
        return
    report_left_out(checked.left_out)
    show(f"{len(checked.pairs)} valid pairs, {len(checked.left_out)} left out, {without} without a wrong answer.")


@tasks.command(name="export")
def export_pairs(name: str, /, *, out: Path, settings: Settings = ()) -> None:
    """Write all pairs of a task to a JSONL file that --pairs reads.

    Example: circuitune tasks export add_sub --set limit=300 --out add_sub_300.jsonl

    Parameters
    ----------
    name: str
        The task.
    out: Path
        The file to write.
    settings: tuple[str, ...]
        A parameter, such as limit=300; may be given several times.
    """
    from circuitune.core.atomic import ensure_writable_folder
    from circuitune.tasks.registry import task

    pairs = task(name, **parameters(settings))
    if out.is_dir():
        raise InputError(f"--out {out} is a folder; name a file, such as {out / name}.jsonl.")
    ensure_writable_folder(out.parent)
    pairs.to_jsonl(out)
    show(f"{len(pairs)} pairs: {out}")
