import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from circuitune.core.errors import InputError, MachineError
from circuitune.core.locking import locked
from circuitune.experiments.engines.local import Local
from circuitune.experiments.inputs import freeze
from circuitune.experiments.plan import Plan
from circuitune.experiments.store import Run
from experiments import tiny


def children() -> list[psutil.Process]:
    """Worker processes of this one (not the resource tracker of multiprocessing)."""
    found = psutil.Process().children(recursive=True)
    alive = [process for process in found if process.status() != psutil.STATUS_ZOMBIE]
    return [process for process in alive if "spawn_main" in " ".join(process.cmdline())]


@pytest.mark.slow
def test_two_processes_give_the_bytes_of_one(model: Path, tmp_path: Path, finished: tuple[Run, Plan]):
    run, jobs = tiny.prepared(freeze(tiny.recipe(model, tmp_path)), tmp_path / "run")
    some = [jobs.pairs, jobs.phase1[0], jobs.tuning[0], jobs.phase1_circuits[0]]
    observer = tiny.Record()
    Local(2).run(run, some, 0, observer)
    for spec in some:
        assert tiny.content(run.job(spec).folder) == tiny.content(finished[0].job(spec).folder)
    assert observer.events.index(("finished", "pairs")) < observer.events.index(("started", jobs.phase1[0].label))
    Local(2).run(run, some, 0, observer)
    assert observer.events[-4:] == [("kept", spec.label) for spec in some]
    assert not children()


def test_a_job_that_refuses_its_input_stops_the_run_with_its_sentence(model: Path, tmp_path: Path):
    run, jobs = tiny.prepared(freeze(tiny.recipe(model, tmp_path)), tmp_path / "run")
    with locked(run.job(jobs.pairs).folder), pytest.raises(InputError, match="Another process"):
        Local(1).run(run, jobs.jobs, 0, tiny.Record())
    assert not children()


class Killer(tiny.Record):
    """Kills a worker as soon as it has a job."""

    def started(self, spec: object) -> None:
        children()[0].send_signal(signal.SIGKILL)


def test_a_killed_worker_is_named_with_its_signal(model: Path, tmp_path: Path):
    run, jobs = tiny.prepared(freeze(tiny.recipe(model, tmp_path)), tmp_path / "run")
    with pytest.raises(MachineError, match=r"'pairs: read, check and split' was killed by signal 9 .*memory"):
        Local(1).run(run, jobs.jobs, 0, Killer())
    assert not children()


def test_workers_end_when_their_parent_is_killed(model: Path, tmp_path: Path):
    run, _ = tiny.prepared(freeze(tiny.recipe(model, tmp_path)), tmp_path / "run")
    script = (
        "if __name__ == '__main__':\n"  # a worker imports this file too
        "    import sys\n    from pathlib import Path\n    from experiments import tiny\n"
        "    from circuitune.experiments.engines.local import Local\n"
        "    from circuitune.experiments.plan import plan\n"
        "    from circuitune.experiments.inputs import reference\n"
        "    from circuitune.experiments.store import Run\n"
        "    class Say(tiny.Record):\n"
        "        def started(self, spec):\n            print('started', flush=True)\n"
        "    run = Run(Path(sys.argv[1]))\n"
        "    jobs = plan(run.recipe, reference(run.recipe.model, None)).jobs\n"
        "    Local(1).run(run, jobs, 0, Say())\n"
    )
    (tmp_path / "parent.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(run.folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert parent.stdout
    assert parent.stdout.readline() == "started\n"
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert workers
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)
