"""Faults tried on a run of seconds, and what became of it.

    PYTHONPATH=tests python benchmarks/faults.py                     # a few of each
    PYTHONPATH=tests python benchmarks/faults.py --kills 100 --writes 100 --damage 1000 --inputs 1000

A fault is survived if nothing that was finished is lost, nobody sees a traceback, and the run that goes on ends in
the bytes of one that was never disturbed. The last column counts what must be 0: bytes of finished jobs that were
lost, or damage that was taken for good. The model is random, of three layers; `docs/trust.md` has what we publish.
"""

import argparse
import errno
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import psutil
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import GPTNeoXForCausalLM

from circuitune.core.errors import InputError
from circuitune.core.manifest import COMPLETE
from circuitune.experiments.checking import check
from circuitune.experiments.engines.local import Local
from circuitune.experiments.engines.schedule import Observer
from circuitune.experiments.inputs import freeze
from circuitune.experiments.job import run_job
from circuitune.experiments.plan import Plan, plan
from circuitune.experiments.recipe import load_recipe
from circuitune.experiments.run import conduct
from circuitune.experiments.specs import JobSpec, title
from circuitune.experiments.store import Run
from circuitune.tasks.files import read_pairs
from experiments import tiny
from faulty import Child, Failing, alone, damaged, mangled, put

SEED = 0


class Row(NamedTuple):
    """One line of the table."""

    fault: str
    tried: int
    survived: int
    wrong: int


@dataclass(frozen=True)
class Here:
    """An engine that does jobs one after the other in this process."""

    at_once: int = 1

    def run(self, run: Run, specs: Sequence[JobSpec], memory: int, observer: Observer) -> None:
        """All jobs; those that are complete return at once."""
        for spec in specs:
            run_job(run.job(spec).folder)


@dataclass(frozen=True)
class Whole:
    """A run that nothing disturbed.

    Attributes:
        model: the folder of its model.
        folder: its own.
        content: what must be the same in every other.
        seconds: how long it took.
        place: an empty folder for the others.
    """

    model: Path
    folder: Path
    content: dict[str, bytes]
    seconds: float
    place: Path

    @classmethod
    def of(cls, place: Path) -> "Whole":
        """Do it, in a process of its own."""
        model, folder = tiny.save_model(place / "model"), place / "whole" / "run"
        begun = time.monotonic()
        ended = alone(lambda: go(model, folder))
        assert ended.code == 0, ended.said
        return cls(model, folder, tiny.content(folder), time.monotonic() - begun, place)

    @property
    def jobs(self) -> Plan:
        """Its jobs."""
        spec = Run(self.folder).jobs[0].spec
        return plan(Run(self.folder).recipe, spec.model)

    def copy(self, name: str) -> Path:
        """A finished run that can be spoilt."""
        folder = self.place / name / "run"
        shutil.rmtree(folder.parent, ignore_errors=True)
        shutil.copytree(self.folder, folder)
        return folder

    def same(self, folder: Path) -> bool:
        """Whether a run came to the same."""
        return tiny.content(folder) == self.content


def go(model: Path, folder: Path) -> None:
    """What `circuitune run` does, in this process."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        conduct(freeze(tiny.recipe(model, folder.parent)), folder, Here(), tiny.Record().watch)


# ---- killed, full, broken ----


def kills(whole: Whole, count: int, random: Random) -> Row:
    """SIGKILL at random moments of the run, five in a row, then the same again to its end."""
    survived = lost = 0
    for group in range(0, count, 5):
        size, folder = min(5, count - group), whole.place / f"killed-{group}" / "run"
        before = lost
        for _ in range(size):
            done = _finished(folder)
            Child.of(lambda folder=folder: go(whole.model, folder)).kill_after(random.uniform(0, whole.seconds))
            lost += sum(len(data) for path, data in done.items() if not _holds(path, data))
        ended = alone(lambda folder=folder: go(whole.model, folder))
        well = ended.code == 0 and whole.same(folder) and lost == before
        if not well:
            print(f"kills {group} to {group + size - 1}:", ended.said[-600:], file=sys.stderr)
        survived += size if well else 0
        shutil.rmtree(folder.parent)
    return Row("SIGKILL at a random moment", count, survived, lost)


def _finished(folder: Path) -> dict[Path, bytes]:
    """Every file of every finished job."""
    jobs = Run(folder).jobs if folder.is_dir() else []
    files = (path for job in jobs if job.complete for path in job.folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files}


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def writes(whole: Whole, count: int, random: Random, number: int) -> Row:
    """One operation of the file layer fails, in a random job or in what the run itself writes; then all is well."""
    folder = whole.copy(f"failing-{number}")
    places: list[JobSpec | None] = [*whole.jobs.jobs, None]
    totals = {place: _operations(whole, folder, spec) for place, spec in enumerate(places)}
    survived = lost = 0
    for _ in range(count):
        place = random.choices(list(totals), weights=list(totals.values()))[0]
        spec, at = places[place], random.randrange(1, totals[place] + 1)
        ended = alone(lambda spec=spec, at=at: _attempt(whole, folder, spec, Failing(at, number)))
        now = tiny.content(folder)
        others = [name for name in whole.content if spec is not None and f"/{_name(folder, spec)}/" not in f"/{name}"]
        gone = sum(len(whole.content[name]) for name in others if now.get(name) != whole.content[name])
        again = alone(lambda: go(whole.model, folder))
        lost += gone
        survived += ended.well and again.code == 0 and whole.same(folder) and not gone
    shutil.rmtree(folder.parent)
    return Row(f"{errno.errorcode[number]} on a write", count, survived, lost)


def _name(folder: Path, spec: JobSpec) -> str:
    return Run(folder).job(spec).folder.name


def _attempt(whole: Whole, folder: Path, spec: JobSpec | None, layer: Failing) -> None:
    """One job done again, or what the run writes beside its jobs, through the layer."""
    if spec is not None:
        (Run(folder).job(spec).folder / COMPLETE).unlink()
    with layer.installed():
        if spec is None:
            go(whole.model, folder)
        else:
            run_job(Run(folder).job(spec).folder)


def _operations(whole: Whole, folder: Path, spec: JobSpec | None) -> int:
    """How many operations there are to fail."""

    def work() -> None:
        layer = Failing(None, 0)
        _attempt(whole, folder, spec, layer)
        raise InputError(str(layer.count))

    return int(alone(work).said)


def disks(whole: Whole, count: int, random: Random) -> Row | None:
    """The run on a disk that is too small for it, which then grows; None where no disk can be mounted."""
    total, place = sum(map(len, whole.content.values())), whole.place / "disk"
    place.mkdir()
    tried = survived = 0
    for _ in range(count):
        size = random.randrange(20_000, total)
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True
        ).returncode:
            return None
        try:
            tried += 1
            ended = alone(lambda: go(whole.model, place / "run"))
            subprocess.run(["mount", "-o", "remount,size=100m", place], check=True)
            again = alone(lambda: go(whole.model, place / "run"))
            survived += ended.code == 2 and ended.well and again.code == 0 and whole.same(place / "run")
        finally:
            subprocess.run(["umount", place], check=True)
    return Row("a real disk that is full (tmpfs)", tried, survived, tried - survived)


# ---- damaged files ----


def artefacts(whole: Whole, count: int, random: Random, every: int = 20) -> Row:
    """A bit flipped in, or the end cut off, a random file of a finished run.

    `runs check` must name it, and nobody who reads it may take it for good. Every so often the same run is gone on
    with: it refuses, or ends in the bytes that it had.
    """
    folder = whole.copy("damaged")
    names = [name for name in whole.content if whole.content[name]]
    survived = accepted = 0
    for number in range(count):
        name = random.choice(names)
        with put(folder / name, damaged(whole.content[name], random)):
            found = alone(lambda folder=folder: _noticed(folder))
            wrong = found.code == 0
            read = alone(lambda folder=folder, name=name: _read(folder, name))
            wrong |= read.code == 0
            well = found.well and read.well
            if number % every == 0:
                again = alone(lambda folder=folder: go(whole.model, folder))
                wrong |= again.code == 0 and not whole.same(folder)
                well &= again.well
        if number % every == 0:
            folder = whole.copy("damaged")
        accepted += wrong
        survived += well and not wrong
    return Row("an artefact cut off or with a bit flipped", count, survived, accepted)


def _noticed(folder: Path) -> None:
    """`runs check`, as an error where it finds something."""
    broken = check(folder).broken
    if broken:
        raise InputError(next(iter(broken.values()))[0])


def _read(folder: Path, name: str) -> None:
    """The file as whoever goes on from it reads it: a job its input, the tables all jobs, the report the tables."""
    from circuitune.report.payload import collect

    path = folder / name
    run = Run.open(folder)
    inside = next((parent for parent in path.parents if parent.parent == folder / "jobs"), None)
    if inside is None:
        collect(folder)
    else:
        job = run.job(inside.name)
        _ = job.spec
        if not job.complete:
            raise InputError(f"{inside} is not complete.")
        job.require_intact()


def inputs(whole: Whole, count: int, random: Random) -> Row:
    """Recipes and files of pairs, damaged as disks and editors do: one sentence, or the valid file they now are."""
    place = whole.place / "given"
    place.mkdir()
    given: dict[Path, Callable[[Path], object]] = dict(_given(whole, place))
    survived = 0
    for _ in range(count):
        path = random.choice(list(given))
        with put(path, mangled(path.read_bytes(), random)):
            ended = alone(lambda path=path: given[path](path))
        survived += ended.well
        if not ended.well:
            print(f"{path.name}: {ended.said.strip().splitlines()[-1]}", file=sys.stderr)
    return Row("a recipe, CSV or JSONL damaged", count, survived, count - survived)


def _given(whole: Whole, place: Path) -> Iterator[tuple[Path, Callable[[Path], object]]]:
    """Files as users write them, and who reads them."""
    pairs = list(read_pairs(next(whole.folder.glob("jobs/pairs-*/test.jsonl"))))
    (place / "recipe.yaml").write_text(tiny.RECIPE)
    yield place / "recipe.yaml", load_recipe
    whole_recipe = place / "whole.yaml"
    whole_recipe.write_bytes((whole.folder / "recipe.yaml").read_bytes())
    yield whole_recipe, load_recipe
    lines = [f'"{pair.clean}","{pair.corrupted}","{pair.answer}","{pair.wrong}"' for pair in pairs]
    (place / "pairs.csv").write_text("\n".join(["clean,corrupted,answer,wrong", *lines]) + "\n")
    yield place / "pairs.csv", read_pairs
    rows = [
        f'{{"clean": "{pair.clean}", "corrupted": "{pair.corrupted}", "answer": "{pair.answer}"}}' for pair in pairs
    ]
    (place / "pairs.jsonl").write_text("\n".join(rows) + "\n")
    yield place / "pairs.jsonl", read_pairs
    ours = place / "ours.jsonl"
    ours.write_bytes(next(whole.folder.glob("jobs/pairs-*/test.jsonl")).read_bytes())
    yield ours, read_pairs


# ---- processes ----


def writers(whole: Whole, count: int, random: Random) -> Row:
    """Two processes at one job, or at one run: one does it, the other stops with a sentence or finds it done."""
    folder, jobs = whole.copy("writers"), whole.jobs
    survived = 0
    for number in range(count):
        spec = random.choice(jobs.jobs)
        (Run(folder).job(spec).folder / COMPLETE).unlink()
        if number % 5:
            work = lambda spec=spec: run_job(Run(folder).job(spec).folder)  # noqa: E731
        else:
            work = lambda: go(whole.model, folder)  # noqa: E731
        both = [Child.of(work), Child.of(work)]
        ended = [child.wait() for child in both]
        fine = any(one.code == 0 for one in ended) and all(one.well for one in ended)
        again = alone(lambda: go(whole.model, folder))
        survived += fine and again.code == 0 and whole.same(folder)
    shutil.rmtree(folder.parent)
    return Row("two writers in one folder", count, survived, count - survived)


def workers(whole: Whole, count: int, random: Random) -> Row:
    """The process that has a job is killed after up to a second of it; then the same command again."""
    survived = lost = 0
    for number in range(count):
        folder = whole.copy(f"worker-{number}")
        for job in Run(folder).jobs:
            if job.folder.name.startswith(("circuits", "chance")):
                (job.folder / COMPLETE).unlink()
        killer = Killer(random.uniform(0, 1))
        ended = alone(lambda folder=folder, killer=killer: Local(1).run(Run(folder), whole.jobs.jobs, 0, killer))
        again = alone(lambda folder=folder: go(whole.model, folder))
        named, same = "was killed by signal 9" in ended.said, again.code == 0 and whole.same(folder)
        if not named:
            print(killer.seconds, ended.said[-600:], file=sys.stderr)
        survived += named and same
        lost += not same
        shutil.rmtree(folder.parent)
    return Row("a worker lost", count, survived, lost)


class Killer(tiny.Record):
    """Kills the worker that has a job, after so many seconds of it."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def started(self, spec: JobSpec) -> None:
        """A worker has a job."""
        found = psutil.Process().children(recursive=True)
        worker = next(process for process in found if "spawn_main" in " ".join(process.cmdline()))
        threading.Timer(self.seconds, worker.kill).start()


# ---- numbers and memory ----


def numbers(whole: Whole, count: int, random: Random) -> Row:
    """From a random run of the model on, a weight, a module's output or a gradient is NaN or infinite."""
    folder, plan = whole.copy("numbers"), whole.jobs
    trainings, circuits = (*plan.tuning, *plan.phase1, *plan.methods), (*plan.tuning_circuits, *plan.phase1_circuits)
    survived = accepted = 0
    for _ in range(count):
        kind = random.choice(["weight", "output", "gradient"])
        spec = random.choice(trainings if kind == "gradient" else (*trainings, *circuits))
        at = random.randrange(1, 3 if kind == "gradient" else 6)  # the shortest training has few steps
        fault = Broken(kind, random.choice([float("nan"), float("inf")]), at, random.random())
        (Run(folder).job(spec).folder / COMPLETE).unlink()

        def work(spec: JobSpec = spec, fault: Broken = fault) -> None:
            with fault.installed():
                run_job(Run(folder).job(spec).folder)
            raise AssertionError("not noticed" if fault.begun else "never begun")

        ended = alone(work)
        again = alone(lambda: go(whole.model, folder))
        named = ended.well and "step" in ended.said.lower() and any(name in ended.said for name in NAMES)
        if not named:
            print(fault, title(spec), ended.said[-600:], file=sys.stderr)
        accepted += "not noticed" in ended.said
        survived += named and again.code == 0 and whole.same(folder)
    shutil.rmtree(folder.parent)
    return Row("NaN or infinity in a weight, output or gradient", count, survived, accepted)


NAMES = ("layers.", "layer_norm", "embed_")
"""What a sentence that names a place in the model has in it."""


@dataclass
class Broken:
    """What becomes ``value`` when the model is run for the ``at``-th time; ``place`` (0 to 1) chooses where."""

    kind: str
    value: float
    at: int
    place: float
    count: int = 0

    @property
    def begun(self) -> bool:
        """Whether it has happened."""
        return self.count >= self.at

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Inside, it happens."""
        with register_module_forward_pre_hook(self._before):
            yield

    def _before(self, module: nn.Module, given: object) -> None:
        if not isinstance(module, GPTNeoXForCausalLM):
            return
        weights = list(module.parameters())
        if self.kind == "gradient":  # there are none where the model is only evaluated
            weights = [weight for weight in weights if weight.requires_grad and torch.is_grad_enabled()]
        self.count += bool(weights)
        if self.count != self.at or not weights:
            return
        if self.kind == "gradient":
            self._chosen(weights).register_hook(lambda gradient: gradient * self.value)
        elif self.kind == "weight":
            with torch.no_grad():
                self._chosen(weights).view(-1)[0] = self.value
        else:
            inner = [one for one in module.modules() if isinstance(one, nn.Linear)]
            self._chosen(inner).register_forward_hook(lambda module, given, output: output * self.value)

    def _chosen(self, among: list[Any]) -> Any:
        return among[int(self.place * len(among))]


def memory(whole: Whole, count: int, random: Random) -> Row:
    """Attribution in a process whose address space is limited: halved batches and the same scores, or a sentence."""
    from circuitune.circuits.scores import EdgeScores

    expected = whole.place / "scores.safetensors"
    assert alone(lambda: _scores(None).save(expected)).code == 0
    survived = wrong = 0
    for _ in range(count):
        spare, path = random.randrange(1 << 20, 400 << 20), whole.place / "limited.safetensors"
        path.unlink(missing_ok=True)
        ended = alone(lambda spare=spare, path=path: _scores(spare).save(path))
        good = ended.well
        if ended.code == 0:
            same = torch.allclose(EdgeScores.load(path).values, EdgeScores.load(expected).values, atol=1e-5)
            wrong += not same
            good &= same
        if not good:
            print(spare, ended.code, ended.said[-600:], file=sys.stderr)
        survived += good
    return Row("memory used up while attributing (RLIMIT_AS)", count, survived, wrong)


def _scores(spare: int | None) -> Any:
    """Scores of a model with wide activations; of address space only so many more bytes than now."""
    from circuitune.circuits.attribution import attribute
    from circuitune.testing import random_pairs, tiny_model

    torch.manual_seed(0)
    model, pairs = tiny_model("gpt_neox"), random_pairs(300, positions=40)
    if spare is not None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + spare, resource.RLIM_INFINITY))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = attribute(model, pairs, steps=5, memory=1 << 34)
    if spare is not None:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    return scores


# ---- the table ----


def main() -> None:
    """Try them all and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, text in COUNTS.items():
        options.add_argument(f"--{name}", type=int, default=5, help=text)
    counts = vars(options.parse_args())
    torch.set_num_threads(1)
    print("fault | tried | survived | lost or accepted wrongly | seconds")
    with tempfile.TemporaryDirectory() as place:
        whole = Whole.of(Path(place))
        print(
            f"(one run: {whole.seconds:.0f} s, {len(whole.content)} files, "
            f"{sum(map(len, whole.content.values()))} bytes)"
        )
        for work in trials(whole, counts):
            begun = time.monotonic()
            row = work()
            if row is not None:
                print(" | ".join(map(str, row)), f"| {time.monotonic() - begun:.0f}", flush=True)


COUNTS = {
    "kills": "SIGKILL at so many moments",
    "writes": "so many failing operations of the file layer, of each kind",
    "disks": "so many disks that are too small (needs the right to mount one)",
    "damage": "so many damaged artefacts",
    "inputs": "so many damaged recipes and files of pairs",
    "writers": "so many pairs of processes in one folder",
    "workers": "so many killed workers",
    "numbers": "so many NaNs and infinities",
    "memory": "so many limits of memory",
}


def trials(whole: Whole, counts: Mapping[str, int]) -> Iterator[Callable[[], Row | None]]:
    """Every row of the table, to be made one after the other."""

    def seeded(trial: Callable[..., Row | None], count: int, *more: int) -> Callable[[], Row | None] | None:
        return (lambda: trial(whole, count, Random(SEED), *more)) if count else None

    every = (
        seeded(kills, counts["kills"]),
        seeded(writes, counts["writes"], errno.ENOSPC),
        seeded(writes, counts["writes"], errno.EIO),
        seeded(disks, counts["disks"]),
        seeded(artefacts, counts["damage"]),
        seeded(inputs, counts["inputs"]),
        seeded(writers, counts["writers"]),
        seeded(workers, counts["workers"]),
        seeded(numbers, counts["numbers"]),
        seeded(memory, counts["memory"]),
    )
    return (trial for trial in every if trial is not None)


if __name__ == "__main__":
    main()
