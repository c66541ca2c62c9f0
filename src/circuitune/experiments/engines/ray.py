"""Run jobs as Ray tasks: on this machine, or on a cluster whose workers reach the run folder.

A task is given a folder's path and answers twice: that it has begun, and what became of it. The state of the run is
the files alone, so a job whose worker or node was lost is simply begun again.
"""

import os
import platform
import socket
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from circuitune.core.errors import InputError, MachineError
from circuitune.experiments.engines.schedule import News, Observer, gpus, hand_out, missing
from circuitune.experiments.engines.worker import THREADS, Answer, attempt
from circuitune.experiments.specs import JobSpec, folder_name, title
from circuitune.experiments.store import SPEC, Run

CORES = 1
"""Threads of the CPU that a job takes."""
RETRIES = 3
"""How often a job may lose its worker before the run gives up."""
SILENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Ray reports nothing to its makers, and does not warn of a default that will change."""
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""What Ray does on a desktop system, here too: every port on 127.0.0.1. Read when Ray is imported."""
REACH = 10.0
"""Seconds for the head node to answer."""
STORE = 80 << 20
"""Bytes of shared memory for Ray's objects: ours are a few words, and it takes no less."""

Remote = Callable[[str], Any]
"""Begins a job by its folder; returns the generator of what it says."""


@dataclass(frozen=True)
class Ray:
    """Tasks on the cluster at ``address``, or on this machine with ``at_once`` cores."""

    at_once: int | None
    address: str | None = None

    def run(self, run: Run, specs: Sequence[JobSpec], memory: int, observer: Observer) -> None:
        """Have all jobs done that are not complete (see `Engine`)."""
        left = missing(run, specs, observer)
        if not left:
            return
        needs = {"CPU": CORES, "GPU": gpus(left[0]), "memory": memory}
        with _cluster(self.address, self.at_once):
            if not _room(needs):
                wanted = f"{CORES} core, {needs['GPU']} GPUs and {memory >> 20} MiB of memory"
                if self.address is None:
                    raise MachineError(f"Ray finds no {wanted} free on this machine; take --engine local.")
                observer.warned(left[0], f"no node has {wanted}; jobs wait for one that has")
            hand_out(run, left, _Tasks(run, _remote(needs), self.at_once), observer)


@dataclass
class _Tasks:
    """Ray tasks as `Workers`."""

    run: Run
    begin: Remote
    at_once: int | None
    running: list[tuple[Any, JobSpec]] = field(default_factory=list[tuple[Any, JobSpec]])
    lost: Counter[str] = field(default_factory=Counter[str])

    @property
    def free(self) -> bool:
        return self.at_once is None or len(self.running) < self.at_once

    def take(self, spec: JobSpec) -> None:
        self.running.append((self.begin(str(self.run.job(spec).folder.resolve())), spec))

    def news(self, seconds: float) -> Iterator[News]:
        ray = _ray()
        tasks = [task for task, _ in self.running]
        ray.wait(tasks, timeout=seconds)
        ready, _ = ray.wait(tasks, num_returns=len(tasks), timeout=0)
        for task, spec in [entry for entry in self.running if entry[0] in ready]:
            yield from self._heard(task, spec)

    def _heard(self, task: Any, spec: JobSpec) -> Iterator[News]:
        """What a task said: that it has begun, its answer, or nothing more because its worker is gone."""
        ray = _ray()
        try:
            said: Answer | None = ray.get(next(task))
        except ray.exceptions.RayTaskError as error:
            reason = str(error).strip().splitlines()[-1]
            raise InputError(f"A Ray worker could not begin ({reason}); install this circuitune there.") from error
        except ray.exceptions.RayError as error:
            self.running.remove((task, spec))
            yield News(spec, "warned", self._again(spec, error))
            return
        if said is None:
            yield News(spec, "started")
            return
        self.running.remove((task, spec))
        said.check(spec)
        for text in said.warnings:
            yield News(spec, "warned", text)
        yield News(spec, "finished")

    def _again(self, spec: JobSpec, error: Exception) -> str:
        """Begin a job once more whose worker was lost, and say so; MachineError where that happens too often."""
        name, reason = folder_name(spec), str(error).strip().partition(". ")[0]
        self.lost[name] += 1
        if self.lost[name] > RETRIES:
            raise MachineError(
                f"Job '{title(spec)}' lost its worker {RETRIES + 1} times ({reason}); run the same command to go on."
            ) from error
        self.take(spec)
        return f"its worker was lost and it is begun again ({reason})"


def work(folder: str) -> Iterator[Answer | None]:
    """In a Ray worker: say that the job has begun, do it, say what became of it."""
    yield None
    if (Path(folder) / SPEC).is_file():
        yield attempt(Path(folder))
    else:
        unseen = (
            f"The Ray worker on {platform.node()} does not see {folder}; choose a folder that all machines share."
        )
        yield Answer(InputError(unseen), [])


def _remote(needs: dict[str, int]) -> Remote:
    """`work` with what it takes declared; what is lost is begun again by us, who can say so."""
    environment = {"env_vars": {**THREADS, **SILENT}}
    settings = {"num_cpus": needs["CPU"], "num_gpus": needs["GPU"], "memory": needs["memory"]}
    return _ray().remote(max_retries=0, runtime_env=environment, **settings)(work).remote


def _room(needs: dict[str, int]) -> bool:
    """Whether any node of the cluster could ever take a job."""
    nodes: list[dict[str, float]] = [node["Resources"] for node in _ray().nodes() if node["Alive"]]
    return any(all(node.get(name, 0) >= value for name, value in needs.items()) for node in nodes)


def _ray() -> Any:
    """The library, much of which has no types."""
    import ray

    return ray


def _reach(address: str) -> None:
    """InputError where nothing listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), REACH).close()
    except (OSError, ValueError) as error:
        hint = "give auto, or HOST:PORT of the head node"
        raise InputError(f"--address {address}: no Ray cluster answers there ({error}); {hint}.") from error


@contextmanager
def _cluster(address: str | None, cores: int | None) -> Generator[None]:
    """Ray for the time inside: one's own, or the one at ``address``; its tasks end with us."""
    if address not in (None, "auto"):
        _reach(address)
    os.environ.update(SILENT if address else SILENT | LOOPBACK)
    ray = _ray()
    own = {"num_cpus": cores, "include_dashboard": False, "object_store_memory": STORE}
    try:
        ray.init(address or "local", log_to_driver=False, logging_level="ERROR", **({} if address else own))
    except (ConnectionError, RuntimeError, ValueError) as error:
        failed, reason = f"Ray cannot be used at {address or 'this machine'}", " ".join(str(error).split())
        hint = "a cluster with a token needs RAY_AUTH_MODE=token here too" if address else "try --engine local"
        raise InputError(f"{failed} ({reason}); {hint}.") from error
    try:
        yield
    finally:
        ray.shutdown()
