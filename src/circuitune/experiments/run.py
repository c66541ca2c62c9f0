"""A whole run: recipe in, folder of finished jobs, tables and summary out.

run = conduct(freeze(load_recipe("default")), Path("runs/first"), workers=2, watch=bars)
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from circuitune.core.atomic import ensure_writable_folder
from circuitune.experiments.engines.local import Observer, run_jobs
from circuitune.experiments.estimate import Size
from circuitune.experiments.inputs import Frozen, validate
from circuitune.experiments.plan import plan
from circuitune.experiments.specs import JobSpec
from circuitune.experiments.store import Run, check_destination, create, locked
from circuitune.experiments.summary import write_summary
from circuitune.experiments.tables import write_tables

Watch = Callable[[tuple[JobSpec, ...], Size], AbstractContextManager[Observer]]
"""Makes the observer of a run."""


def is_prepared(frozen: Frozen, folder: Path) -> bool:
    """Whether ``folder`` is a run of these very inputs whose pairs were read and checked already."""
    return Run(folder).job(plan(frozen.recipe, frozen.model).pairs).complete


def conduct(frozen: Frozen, folder: Path, workers: int, watch: Watch) -> Run:
    """Do what is missing of the run, then make its tables and summary anew.

    Nothing is written before the inputs have been read and checked. ``watch`` is given all jobs and the sizes
    that their time depends on.

    Raises:
        InputError: something is wrong with the request or its inputs, or another process is at the same run.
        MachineError: the machine failed; what is complete stays, and the same call goes on from there.
    """
    check_destination(folder)
    size = Size() if is_prepared(frozen, folder) else validate(frozen, folder)
    with locked(ensure_writable_folder(folder)):
        run = create(folder, frozen.recipe, frozen.files)
        jobs = plan(frozen.recipe, frozen.model)
        run.prepare(jobs.jobs)
        with watch(jobs.jobs, size) as observer:
            run_jobs(run, jobs.jobs, workers, observer)
        write_tables(run, jobs)
        write_summary(run, jobs)
    return run
