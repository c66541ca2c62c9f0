"""How a value shows itself: a line at a prompt, a short table in HTML, a pandas frame (an extra)."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from circuitune.core.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingTypeStubs]


def frame(columns: Mapping[str, Sequence[Any]]) -> "DataFrame":
    """A pandas frame of these columns, all of one length; InputError where pandas is not installed."""
    try:
        import pandas  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise InputError("to_pandas() needs pandas, which is not installed; run: pip install pandas.") from error
    return pandas.DataFrame(dict(columns))


def card(
    title: str, facts: Sequence[str], header: Sequence[str] = (), rows: Sequence[Sequence[object]] = (), more: int = 0
) -> str:
    """HTML of a heading, a line per fact and a table; all text is escaped.

    Args:
        title: what the value is.
        facts: sentences about it; empty ones are left out.
        header: of the table; none without one.
        rows: of the table; numbers are written with four digits.
        more: how many rows the table leaves out.
    """
    lines = "".join(f"<div>{escape(fact)}</div>" for fact in facts if fact)
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(_cell(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if header else ""
    rest = f"<div>and {more:,} more</div>" if more > 0 else ""
    return f"<div><strong>{escape(title)}</strong>{lines}{table}{rest}</div>"


def line(title: str, facts: Sequence[str]) -> str:
    """What a prompt shows of a value too large to print: its kind and the facts about it; empty ones are left out."""
    return f"<{title}: {'; '.join(fact for fact in facts if fact)}>"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
