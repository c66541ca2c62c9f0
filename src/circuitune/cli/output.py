"""Where words go: results to stdout, everything else to stderr."""

import json
import re
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, TextIO

from circuitune.core.errors import CONTROLS

_quiet = False


def hush(quiet: bool) -> None:
    """Whether `say` and `working` are to say nothing from now on."""
    global _quiet
    _quiet = quiet


def hushed() -> bool:
    """Whether only results, warnings and errors are wanted."""
    return _quiet


def show(text: str) -> None:
    """A result, to stdout."""
    sys.stdout.write(f"{_tame(text)}\n")


def show_json(value: object) -> None:
    """A result for machines, to stdout."""
    show(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def say(text: str) -> None:
    """What is being done, to stderr."""
    if not _quiet:
        sys.stderr.write(f"{_tame(text)}\n")


def warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning as one line of stderr, in place of Python's two."""
    sys.stderr.write(f"circuitune: warning: {_tame(' '.join(str(message).split()))}\n")


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows under a header in aligned columns, numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(line[n]) for line in [list(header), *cells]) for n in range(len(header))]
    numeric = [all(isinstance(row[n], int | float | None) for row in rows) for n in range(len(header))]
    lines = [
        "  ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in [list(header), *cells]
    ]
    return "\n".join(lines)


def working(text: str) -> AbstractContextManager[object]:
    """Say what is being done while it is being done: a spinner on a terminal, one line elsewhere."""
    from rich.console import Console

    console = Console(stderr=True, quiet=_quiet)
    if not console.is_terminal:
        say(f"{text} ...")
    return console.status(f"{text} ...")


def _tame(text: str) -> str:
    """The text without what moves a terminal's cursor, changes its title or reads from it: prompts are data."""
    return re.sub(f"[{CONTROLS}]", "\N{REPLACEMENT CHARACTER}", text)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
