"""What engines have in common: every job after its inputs, and whoever watches is told.

An engine is a `Local`, a `Ray` or a `Slurm`. The first two hand jobs to `Workers` as soon as their inputs are
complete; the third leaves the order to a queue.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from heapq import heappop, heappush
from typing import Literal, Protocol

from circuitune.experiments.specs import JobSpec, by_folder, folder_name
from circuitune.experiments.store import Run

POLL = 0.5
"""Seconds between two looks at the jobs' folders."""


class Observer(Protocol):
    """What a run tells whoever shows it."""

    def started(self, spec: JobSpec) -> None:
        """A worker has taken the job."""
        ...

    def advanced(self, spec: JobSpec, share: float) -> None:
        """This share of the job, from 0 to 1, is on disk."""
        ...

    def warned(self, spec: JobSpec, text: str) -> None:
        """The job warned of something a reader of its results should know."""
        ...

    def finished(self, spec: JobSpec, seconds: float | None) -> None:
        """The job is complete; ``seconds`` is None if it was so before."""
        ...


def gpus(spec: JobSpec) -> int:
    """How many GPUs a job, and every other one of its run, needs."""
    return int(spec.model.device != "cpu")


@dataclass(frozen=True)
class Pending:
    """Jobs that will be done later and elsewhere: where they are and what to do then, in words."""

    sentence: str


class Engine(Protocol):
    """Where and when jobs run."""

    @property
    def at_once(self) -> int | None:
        """How many jobs run at a time; None: as many as there is room for."""
        ...

    def run(self, run: Run, specs: Sequence[JobSpec], memory: int, observer: Observer) -> Pending | None:
        """Have all jobs done that are not complete; ``specs`` come with inputs first.

        Args:
            run: the run folder, prepared.
            specs: all jobs of the run.
            memory: bytes that a job may take, for engines that reserve it.
            observer: is told what happens.

        Returns:
            None when all jobs are complete, else what has become of the others.

        Raises:
            InputError: a job refused its input, another process works in its folder, or no worker can be had.
            MachineError: a job failed, or its process was killed. Jobs that are complete stay so.
        """
        ...


@dataclass(frozen=True)
class News:
    """What workers say of a job. A job that is started again after its worker was lost is news twice."""

    spec: JobSpec
    what: Literal["started", "warned", "finished"]
    text: str = ""


class Workers(Protocol):
    """Where jobs run that are handed out one by one."""

    @property
    def free(self) -> bool:
        """Whether another job can be taken now."""
        ...

    def take(self, spec: JobSpec) -> None:
        """Have a job done whose inputs are complete."""
        ...

    def news(self, seconds: float) -> Iterable[News]:
        """What has happened, after waiting for it at most so long; raises what a job raised."""
        ...


def missing(run: Run, specs: Sequence[JobSpec], observer: Observer) -> list[JobSpec]:
    """The jobs that are not complete; the observer is told of the others."""
    left: list[JobSpec] = []
    for spec in specs:
        if run.job(spec).complete:
            observer.finished(spec, None)
        else:
            left.append(spec)
    return left


class _Queue:
    """Jobs in their order, each once those it needs are finished; a step costs the same however many there are."""

    def __init__(self, jobs: Sequence[JobSpec]) -> None:
        named = by_folder(jobs)
        self._jobs = list(named.values())
        self._places = {name: place for place, name in enumerate(named)}
        self._sorter = TopologicalSorter({name: named.keys() & spec.inputs.values() for name, spec in named.items()})
        self._sorter.prepare()
        self._ready: list[int] = []

    @property
    def unfinished(self) -> bool:
        """Whether a job is left to take or to finish."""
        return self._sorter.is_active()

    def take(self) -> JobSpec | None:
        """The first job that can be done now, if there is one; it is not given again."""
        for name in self._sorter.get_ready():
            heappush(self._ready, self._places[name])
        return self._jobs[heappop(self._ready)] if self._ready else None

    def finish(self, name: str) -> None:
        """The job is done."""
        self._sorter.done(name)


def hand_out(run: Run, jobs: Sequence[JobSpec], workers: Workers, observer: Observer) -> None:
    """Have all ``jobs`` done by workers, each as soon as those it needs are finished."""
    queue = _Queue(jobs)
    running: dict[str, tuple[JobSpec, float]] = {}
    looked = -POLL
    while queue.unfinished:
        while workers.free and (spec := queue.take()) is not None:
            workers.take(spec)
        for item in workers.news(POLL):
            name = folder_name(item.spec)
            if item.what == "warned":
                observer.warned(item.spec, item.text)
            elif item.what == "finished":
                queue.finish(name)
                observer.finished(item.spec, time.monotonic() - running.pop(name)[1])
            else:
                if name not in running:
                    observer.started(item.spec)
                running[name] = item.spec, time.monotonic()
        if time.monotonic() - looked >= POLL:  # many workers that are quick must not have all folders read each time
            for spec, _ in running.values():
                observer.advanced(spec, run.job(spec).progress())
            looked = time.monotonic()
