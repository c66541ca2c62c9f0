"""Checks of task parameters, with errors that name the task, the parameter and the range."""

from typing import Literal

from circuitune.core.errors import InputError

Style = Literal["full", "short"]
"""``full``: the study's wording; ``short``: without the long instruction."""

STYLES: tuple[Style, ...] = ("full", "short")


def whole_number(task: str, name: str, value: object, low: int, high: int) -> None:
    """InputError unless the value is a whole number in low..high."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{task}: {name} must be a whole number from {low} to {high}, not {value!r}.")


def one_of(task: str, name: str, value: object, choices: tuple[str, ...]) -> None:
    """InputError unless the value is one of the choices."""
    if value not in choices:
        raise InputError(f"{task}: {name} must be one of {', '.join(choices)}, not {value!r}.")
