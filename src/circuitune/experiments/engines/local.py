"""Run jobs on this machine: a few spawned processes of one thread each.

A worker ends with its parent, however that dies: a killed run leaves no process behind that still writes.
"""

import os
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import cast

from circuitune.core.errors import MachineError
from circuitune.experiments.engines.schedule import News, Observer, hand_out, missing
from circuitune.experiments.engines.worker import THREADS, Answer, attempt
from circuitune.experiments.specs import JobSpec, title
from circuitune.experiments.store import Run

LEAVE = 10.0
"""Seconds that an idle worker has to end."""


@dataclass(frozen=True)
class Local:
    """So many worker processes on this machine."""

    at_once: int

    def run(self, run: Run, specs: Sequence[JobSpec], memory: int, observer: Observer) -> None:
        """Have all jobs done that are not complete (see `Engine`); no memory is reserved."""
        if left := missing(run, specs, observer):
            with _pool(run, min(self.at_once, len(left))) as pool:
                hand_out(run, left, pool, observer)


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    spec: JobSpec | None = None


@dataclass
class _Pool:
    """Spawned processes as `Workers`."""

    run: Run
    workers: list[_Worker]
    taken: list[JobSpec] = field(default_factory=list[JobSpec])

    @property
    def free(self) -> bool:
        return any(worker.spec is None for worker in self.workers)

    def take(self, spec: JobSpec) -> None:
        worker = next(worker for worker in self.workers if worker.spec is None)
        worker.spec = spec
        worker.pipe.send(str(self.run.job(spec).folder))
        self.taken.append(spec)

    def news(self, seconds: float) -> Iterator[News]:
        while self.taken:
            yield News(self.taken.pop(0), "started")
        ready = wait([worker.pipe for worker in self.workers], timeout=seconds)
        for worker in self.workers:
            if worker.pipe in ready:
                warnings = _receive(worker)
                spec, worker.spec = worker.spec, None
                assert spec is not None
                for text in warnings:
                    yield News(spec, "warned", text)
                yield News(spec, "finished")


@contextmanager
def _pool(run: Run, count: int) -> Generator[_Pool]:
    """Workers that are let go when all went well, and ended when it did not."""
    workers = _start(count)
    try:
        yield _Pool(run, workers)
        _dismiss(workers)
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join()
            worker.pipe.close()


def _dismiss(workers: list[_Worker]) -> None:
    """Let idle workers end by themselves: a terminated one leaves semaphores of its libraries behind."""
    for worker in workers:
        worker.pipe.close()
    for worker in workers:
        worker.process.join(LEAVE)


def _receive(worker: _Worker) -> list[str]:
    """Take a worker's answer: its warnings; raise what it raised, or say how its process died."""
    spec = worker.spec
    name = title(spec) if spec else "a worker's start"
    try:
        answer = cast(Answer, worker.pipe.recv())
    except (EOFError, OSError) as error:
        worker.process.join()
        code = worker.process.exitcode or 0
        death = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        hint = " (often: out of memory; use --jobs 1)" if code == -9 else ""
        raise MachineError(f"The process of job '{name}' {death}{hint}; run the same command to go on.") from error
    assert spec is not None
    answer.check(spec)
    return answer.warnings


def _start(count: int) -> list[_Worker]:
    context = get_context("spawn")
    workers: list[_Worker] = []
    with _environment(THREADS):
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            workers.append(_Worker(process, ours))
    return workers


@contextmanager
def _environment(variables: dict[str, str]) -> Generator[None]:
    """Set variables for the processes started inside."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def work(pipe: Connection) -> None:
    """A worker's whole life: receive a job's folder, do the job, send the answer."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            folder = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer = attempt(Path(folder))
        except KeyboardInterrupt:
            return
        pipe.send(answer)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
