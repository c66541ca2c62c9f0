"""Run jobs on this machine: a few spawned processes of one thread each, every job after its inputs.

A worker ends with its parent, however that dies: a killed run leaves no process behind that still writes.
"""

import os
import threading
import time
import traceback
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Protocol, cast

from circuitune.core.atomic import write_text
from circuitune.core.errors import InputError, MachineError
from circuitune.experiments.specs import JobSpec, folder_name, title
from circuitune.experiments.store import Run

THREADS = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
"""Environment of a worker: results depend on the order of sums, so one thread, and fixed workspaces on a GPU."""
FAILURE = "failure.txt"
"""In a job's folder: the traceback of an error that is nobody's input."""
LEAVE = 10.0
"""Seconds that an idle worker has to end."""
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


_Answer = tuple[BaseException | None, list[str]]
"""What a worker sends back: what went wrong, and what it was warned of."""


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    spec: JobSpec | None = None
    since: float = 0.0


def run_jobs(run: Run, specs: Sequence[JobSpec], workers: int, observer: Observer) -> None:
    """Run all jobs that are not complete; specs come with inputs first.

    Raises:
        InputError: a job refused its input, or another process works in its folder.
        MachineError: a job failed, or its process was killed. Jobs that are complete stay so.
    """
    waiting: dict[str, JobSpec] = {}
    for spec in specs:
        if run.job(spec).complete:
            observer.finished(spec, None)
        else:
            waiting[folder_name(spec)] = spec
    if not waiting:
        return
    pool = _start(min(workers, len(waiting)))
    try:
        _schedule(run, waiting, pool, observer)
        _dismiss(pool)
    finally:
        for worker in pool:
            worker.process.terminate()
        for worker in pool:
            worker.process.join()
            worker.pipe.close()


def _schedule(run: Run, waiting: dict[str, JobSpec], pool: list[_Worker], observer: Observer) -> None:
    unfinished = set(waiting)
    while unfinished:
        for worker in pool:
            spec = next((s for s in waiting.values() if not unfinished & set(s.inputs.values())), None)
            if worker.spec is None and spec is not None:
                del waiting[folder_name(spec)]
                worker.spec, worker.since = spec, time.monotonic()
                worker.pipe.send(str(run.job(spec).folder))
                observer.started(spec)
        ready = wait([worker.pipe for worker in pool], timeout=POLL)
        for worker in pool:
            spec = worker.spec
            if worker.pipe in ready:
                warned = _receive(worker)
                assert spec is not None
                for text in warned:
                    observer.warned(spec, text)
                unfinished.remove(folder_name(spec))
                observer.finished(spec, time.monotonic() - worker.since)
                worker.spec = None
            elif spec is not None:
                observer.advanced(spec, run.job(spec).progress())


def _dismiss(pool: list[_Worker]) -> None:
    """Let idle workers end by themselves: a terminated one leaves semaphores of its libraries behind."""
    for worker in pool:
        worker.pipe.close()
    for worker in pool:
        worker.process.join(LEAVE)


def _receive(worker: _Worker) -> list[str]:
    """Take a worker's answer: its warnings; raise what it raised, or say how its process died."""
    spec = worker.spec
    name = title(spec) if spec else "a worker's start"
    try:
        answer, warned = cast(_Answer, worker.pipe.recv())
    except (EOFError, OSError) as error:
        worker.process.join()
        code = worker.process.exitcode or 0
        death = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        hint = " (often: out of memory; use --jobs 1)" if code == -9 else ""
        raise MachineError(f"The process of job '{name}' {death}{hint}; run the same command to go on.") from error
    if isinstance(answer, InputError | MachineError | MemoryError | OSError):
        raise answer
    if answer is not None:
        raise MachineError(f"Job '{name}' failed: {answer}") from answer
    return warned


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
    """A worker's whole life: receive a job's folder, do the job, answer None or what went wrong."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            folder = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("ignore")
                warnings.simplefilter("default", UserWarning)
                answer = _attempt(Path(folder))
        except KeyboardInterrupt:
            return
        pipe.send((answer, [str(warning.message) for warning in caught]))


def _attempt(folder: Path) -> BaseException | None:
    try:
        import torch  # a worker starts faster than it is needed

        torch.set_num_threads(1)
        from circuitune.experiments.job import run_job

        run_job(folder)
    except (InputError, MachineError, MemoryError, OSError) as error:
        return type(error)(*error.args)
    except Exception as error:  # a defect of ours: its place goes where the next attempt clears it
        write_text(folder / FAILURE, traceback.format_exc())
        return RuntimeError(f"{type(error).__name__}: {error} (see {folder / FAILURE})")
    return None


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
