"""Tasks by name, and what known wordings tell about a prompt."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

from circuitune.core.errors import InputError
from circuitune.tasks import arithmetic, comparison, complex_ioi, functions, sequences
from circuitune.tasks.pairs import PairSet
from circuitune.tasks.templates import Known


class Task(Protocol):
    """A frozen dataclass whose fields are the task's parameters."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def generate(self, seed: int = 0) -> PairSet:
        """The rows of one seed: the same on every machine and Python version."""
        ...


TASKS: Mapping[str, type[Task]] = {
    kind.name: kind
    for kind in (
        arithmetic.AddSub,
        sequences.Sequence,
        functions.Function,
        comparison.Comparison,
        complex_ioi.ComplexIoi,
    )
}

_RECOGNISERS: tuple[Callable[[str], Known | None], ...] = (
    arithmetic.recognise,
    sequences.recognise,
    functions.recognise,
    comparison.recognise,
    complex_ioi.recognise,
)


def names() -> tuple[str, ...]:
    """The names of all tasks."""
    return tuple(TASKS)


def parameters(name: str) -> dict[str, Any]:
    """A task's parameters and their defaults; InputError for an unknown name."""
    return {field.name: field.default for field in dataclasses.fields(_kind(name))}


def task(name: str, *, seed: int = 0, **parameters: Any) -> PairSet:
    """The pairs of a task, such as ``task("add_sub", limit=200)``; same arguments, same bytes.

    InputError names the tasks, the task's parameters or a parameter's range where a request does not fit.
    """
    kind = _kind(name)
    known = [field.name for field in dataclasses.fields(kind)]
    for parameter in parameters:
        if parameter not in known:
            raise InputError(f"{name} has no parameter {parameter!r}; it has {', '.join(known)}.")
    return kind(**parameters).generate(seed)


def recognise(prompt: str) -> Known | None:
    """The task, bare answer and group of a prompt in a known wording that has an answer; None for others."""
    for recogniser in _RECOGNISERS:
        known = recogniser(prompt)
        if known is not None:
            return known
    return None


def solve(prompt: str) -> str | None:
    """The bare answer of a prompt in a known wording; None where it has none or the wording is not known."""
    known = recognise(prompt)
    return None if known is None else known.answer


def _kind(name: str) -> type[Task]:
    if name not in TASKS:
        raise InputError(f"There is no task {name!r}; choose one of {', '.join(TASKS)}.")
    return TASKS[name]
