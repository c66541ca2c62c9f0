"""Tasks by name, those of installed packages among them, and what known wordings tell about a prompt."""

import dataclasses
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

from circuitune.core.errors import InputError
from circuitune.tasks import (
    arithmetic,
    capitals,
    comparison,
    complex_ioi,
    functions,
    greater_than,
    ioi,
    lcm,
    multiplication,
    sequences,
    two_step,
)
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.splits import Draw
from circuitune.tasks.templates import Known

GROUP = "circuitune.tasks"
"""Entry-point group in which an installed package names its tasks."""


class Task(Protocol):
    """A frozen dataclass whose fields are the task's parameters, each with a default."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def generate(self, seed: int = 0) -> PairSet:
        """The rows of one seed: the same on every machine and Python version."""
        ...


@runtime_checkable
class Perturbable(Protocol):
    """A task that knows its own noise; all of ours do."""

    def fresh(self, pair: Pair, draw: Draw) -> Pair | None:
        """A random pair of the same kind as this one; None where this draw came to nothing."""
        ...


@runtime_checkable
class Ranged(Protocol):
    """A task whose answers are numbers."""

    def narrowed(self, largest: int) -> Task | None:
        """The same task in a smaller range, without an answer above `largest`; None where there is none."""
        ...


TASKS: Mapping[str, type[Task]] = {
    kind.name: kind
    for kind in (
        arithmetic.AddSub,
        multiplication.MulDiv,
        sequences.Sequence,
        lcm.Lcm,
        functions.Function,
        two_step.TwoStep,
        two_step.TwoStepInner,
        two_step.TwoStepOuter,
        comparison.Comparison,
        complex_ioi.ComplexIoi,
        capitals.CapitalCountry,
        ioi.Ioi,
        greater_than.GreaterThan,
    )
}
"""The tasks of this package."""

_RECOGNISERS: tuple[Callable[[str], Known | None], ...] = (
    arithmetic.recognise,
    multiplication.recognise,
    sequences.recognise,
    lcm.recognise,
    functions.recognise,
    two_step.recognise,
    comparison.recognise,
    complex_ioi.recognise,
    capitals.recognise,
    ioi.recognise,
    greater_than.recognise,
)


def names() -> tuple[str, ...]:
    """The names of all tasks, ours first."""
    return (*TASKS, *sorted(_installed().keys() - TASKS.keys()))


def kind(name: str) -> type[Task]:
    """A task's class; InputError for an unknown name, and for an installed task that cannot be used."""
    if name in TASKS:
        return TASKS[name]
    entry = _installed().get(name)
    if entry is None:
        raise InputError(f"There is no task {name!r}; choose one of {', '.join(names())}.")
    return _loaded(entry)


def parameters(name: str) -> dict[str, Any]:
    """A task's parameters and their defaults; InputError for an unknown name."""
    return {field.name: field.default for field in dataclasses.fields(kind(name))}


def make(name: str, /, **parameters: Any) -> Task:
    """A task with its parameters; InputError as in `task`."""
    chosen = kind(name)
    known = [field.name for field in dataclasses.fields(chosen)]
    for parameter in parameters:
        if parameter not in known:
            raise InputError(f"{name} has no parameter {parameter!r}; it has {', '.join(known) or 'none'}.")
    return chosen(**parameters)


def task(name: str, /, *, seed: int = 0, **parameters: Any) -> PairSet:
    """The pairs of a task, such as ``task("add_sub", limit=200)``; same arguments, same bytes.

    InputError names the tasks, the task's parameters or a parameter's range where a request does not fit.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(f"{name}: seed must be a whole number, not {seed!r}.")
    return make(name, **parameters).generate(seed)


def made_by(pairs: PairSet) -> Task | None:
    """The task that generated these pairs, from their settings; None for other pairs."""
    name = pairs.settings.get("task")
    if not isinstance(name, str) or (name not in TASKS and name not in _installed()):
        return None
    return make(name, **{key: pairs.settings[key] for key in parameters(name) if key in pairs.settings})


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


def _installed() -> dict[str, EntryPoint]:
    """Tasks of installed packages by name; not imported yet."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _loaded(entry: EntryPoint) -> type[Task]:
    origin = f"The task {entry.name!r} of the installed package {entry.dist.name if entry.dist else entry.module}"
    try:
        found: Any = entry.load()
    except Exception as error:  # whatever a foreign module raises on import
        raise InputError(
            f"{origin} does not load ({type(error).__name__}: {error}); repair or uninstall it."
        ) from error
    is_class = isinstance(found, type) and dataclasses.is_dataclass(cast("object", found))
    if not is_class or not hasattr(found, "generate") or getattr(found, "name", None) != entry.name:
        raise InputError(
            f"{origin} is not a dataclass with name = {entry.name!r} and generate(seed); see the page on tasks."
        )
    open_fields = [field.name for field in dataclasses.fields(found) if field.default is dataclasses.MISSING]
    if open_fields:
        raise InputError(f"{origin} has parameters without a default ({', '.join(open_fields)}); give each one.")
    return cast(type[Task], found)
