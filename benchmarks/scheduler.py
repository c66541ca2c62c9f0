"""What a job costs beside its work: 100, 1,000 and 10,000 jobs that do nothing, in real folders with real workers.

python benchmarks/scheduler.py
python benchmarks/scheduler.py --jobs 200 --limit 50        # one size; fails above so many milliseconds a job

A recipe with very many seeds is planned, prepared and run by the local engine, with the bars of `circuitune run`
as the observer. A worker does all that a job is but its work: it reads the spec, locks and clears the folder, writes
environment.json and COMPLETE.json and answers. Then the folder is opened as a user would.
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

import psutil

from circuitune.cli.progress import Bars
from circuitune.cli.runs import list_runs
from circuitune.experiments import job
from circuitune.experiments.checking import check_run
from circuitune.experiments.engines import local
from circuitune.experiments.engines.schedule import Observer, missing
from circuitune.experiments.estimate import Size
from circuitune.experiments.plan import plan
from circuitune.experiments.recipe import load_recipe
from circuitune.experiments.specs import JobSpec, ModelRef
from circuitune.experiments.store import create
from circuitune.report import build

COUNTS = (100, 1000, 10_000)
LIMIT = 50.0
"""Milliseconds a job on the processor, of scheduler and worker: the clock also counts what else runs here."""
FIRST = 10
GROWTH = 2.0
"""How much dearer a job may be among ten thousand than among a hundred."""
WORK = local.work
"""What a worker runs; kept here because it is replaced while the engine starts its workers."""


def idle(pipe: Connection) -> None:
    """A worker's life, with jobs that have no work in them."""
    job._work = lambda job, spec: None  # pyright: ignore[reportPrivateUsage]
    WORK(pipe)


class Clock(Bars):
    """The bars of `circuitune run`, and what the clock and the processor say from the tenth job to the last.

    Workers import the library for their first job; that is no job's cost.
    """

    begun = ended = (0.0, 0.0)
    counted = 0

    def finished(self, spec: JobSpec, seconds: float | None) -> None:
        """Take the time."""
        super().finished(spec, seconds)
        self.counted += 1
        self.ended = time.perf_counter(), _processor()
        if self.counted == FIRST:
            self.begun = self.ended

    @property
    def each(self) -> tuple[float, float]:
        """Milliseconds a job, by the clock and on the processor."""
        wall, processor = (1000 * (last - first) for first, last in zip(self.begun, self.ended, strict=True))
        return wall / (self.counted - FIRST), processor / (self.counted - FIRST)


def _processor() -> float:
    """Seconds on the processor, of this process and its workers."""
    here = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in [here, *here.children()])


def measure(count: int, workers: int, folder: Path) -> dict[str, float]:
    """Run so many jobs in a new folder and open it again; seconds, milliseconds a job, and peak MiB."""
    times = {"jobs": float(count)}

    @contextlib.contextmanager
    def timed(name: str) -> Generator[None]:
        begun = time.perf_counter()
        yield
        times[name] = time.perf_counter() - begun

    seeds = max(1, (count - 1) // 3)  # each is a training, its circuits and their analysis
    recipe = load_recipe("quick", {"contest": None, "tuning": {"seeds": list(range(seeds))}})
    with timed("plan"):
        jobs = plan(recipe, ModelRef(name="nano", fingerprint="simulated")).jobs
    with timed("prepare"):
        run = create(folder / "run", recipe, {})
        run.prepare(jobs)
    size = Size(parameters=1_000_000, tokens=16.0, rows=3000)
    processor = time.process_time()
    with patch.object(local, "work", idle), Clock(jobs, size, workers) as clock:
        local.Local(workers).run(run, jobs, 0, clock)
    times["own"] = 1000 * (time.process_time() - processor) / len(jobs)
    times["job"], times["processor"] = clock.each
    with timed("again"), Bars(jobs, size, workers) as bars:
        watched: Observer = bars
        assert not missing(run, jobs, watched)
    with timed("list"):
        list_runs(folder)
    with timed("check"):
        found = check_run(run.folder)
    assert not [name for name in found.broken if name.startswith("jobs/")]  # tables there are none
    with timed("report"):
        build(run.folder)
    times["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return times


def child(count: int, workers: int) -> dict[str, float]:
    """The same in a process of its own, so that peaks are its own."""
    command = [sys.executable, __file__, "--jobs", str(count), "--workers", str(workers), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


HEADER = ("jobs", "ms clock", "ms proc.", "ms own", "plan", "prepare", "again", "list", "check", "report", "peak MiB")


def main() -> None:
    """Print a table; end with 1 where a job costs more than the limit, or more the more there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, action="append", help="how many; may be repeated")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=LIMIT, help="milliseconds a job")
    parser.add_argument("--json", action="store_true", help="one size in this process, as JSON")
    options = parser.parse_args()
    counts = options.jobs or COUNTS
    if options.json:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
            found = measure(counts[0], options.workers, Path(folder))
        print(json.dumps(found))
        return
    print(f"{options.workers} workers on {os.cpu_count()} cores; seconds unless it says otherwise")
    print(" ".join(f"{name:>8}" for name in HEADER))
    rows = list[dict[str, float]]()
    for count in counts:
        row = child(count, options.workers)
        rows.append(row)
        known = (row[name] for name in HEADER[4:-1])
        cells = [row["jobs"], row["job"], row["processor"], row["own"], *known, row["peak"]]
        print(" ".join(f"{value:8.0f}" if value >= 100 else f"{value:8.2f}" for value in cells), flush=True)
    worst, growth = max(row["processor"] for row in rows), rows[-1]["processor"] / rows[0]["processor"]
    print(f"dearest job {worst:.1f} ms on the processor (limit {options.limit:g}); ", end="")
    print(f"last size against first: {growth:.2f} times")
    if worst > options.limit or growth > GROWTH:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
