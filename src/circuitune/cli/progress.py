"""The bars of ``circuitune run``: what is being done, how far it is, and how long it will take."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn

from circuitune.cli.output import hushed, say
from circuitune.experiments.estimate import Size, duration, weight
from circuitune.experiments.specs import JobSpec, by_folder, folder_name, title

PRIOR = 0.2
"""The share of a whole run that the pace foreseen counts for beside the pace measured: first jobs tell little."""


class Bars:
    """An observer of the engine; on a terminal it draws bars, elsewhere it writes a line per finished job.

    Time left is the weight of what is missing times the pace: at first the one foreseen, then more and more the one
    measured.
    """

    def __init__(self, specs: tuple[JobSpec, ...], size: Size, workers: int) -> None:
        console = Console(stderr=True)
        self._live = console.is_terminal and not hushed()
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        self._progress = Progress(*columns, console=console, disable=not self._live, transient=True)
        named = by_folder(specs)
        self._weights = {name: weight(spec, named, size) for name, spec in named.items()}
        self._whole = sum(self._weights.values())
        self._shares = dict.fromkeys(self._weights, 0.0)
        self._workers = workers
        self._bars: dict[str, TaskID] = {}
        self._count, self._done = len(specs), 0
        self._reached = self._kept = 0.0
        self._begun = time.monotonic()
        self._total = self._progress.add_task(f"all {len(specs)} jobs", total=1.0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, spec: JobSpec) -> None:
        """A worker has taken the job."""
        self._bars[folder_name(spec)] = self._progress.add_task(title(spec), total=1.0)

    def advanced(self, spec: JobSpec, share: float) -> None:
        """This share of the job, from 0 to 1, is on disk."""
        self._set(spec, share)

    def warned(self, spec: JobSpec, text: str) -> None:
        """The job warned of something a reader of its results should know."""
        self._line(f"{title(spec)}: warning: {' '.join(text.split())}")

    def finished(self, spec: JobSpec, seconds: float | None) -> None:
        """The job is complete; ``seconds`` is None if it was so before."""
        self._set(spec, 1.0)
        self._done += 1
        if seconds is None:
            self._kept += self._weights[folder_name(spec)]
        if folder_name(spec) in self._bars:
            self._progress.remove_task(self._bars.pop(folder_name(spec)))
        took = "kept from before" if seconds is None else f"{seconds:.0f} s"
        left = self._left()
        self._line(f"[{self._done}/{self._count}] {title(spec)}: {took}{f'; about {left} left' if left else ''}")

    def _line(self, text: str) -> None:
        if self._live:
            self._progress.console.print(text, markup=False, highlight=False)
        else:
            say(text)

    def _set(self, spec: JobSpec, share: float) -> None:
        name = folder_name(spec)
        self._reached += self._weights[name] * (share - self._shares[name])
        self._shares[name] = share
        if name in self._bars:
            self._progress.update(self._bars[name], completed=share)
        left = self._left()
        text = f"all {self._count} jobs{f', about {left} left' if left else ''}"
        self._progress.update(self._total, completed=self._reached / self._whole, description=text)

    def _left(self) -> str | None:
        """Words for the time left, once something has been done."""
        done, missing = self._reached - self._kept, self._whole - self._reached
        if done <= 0 or missing <= 1e-9 * self._whole:  # sums of floats
            return None
        prior = PRIOR * self._whole
        pace = (time.monotonic() - self._begun + prior / self._workers) / (done + prior)
        return duration(missing * pace)
