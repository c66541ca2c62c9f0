"""A whole run: recipe in, folder of finished jobs, tables and summary out.

run = conduct(freeze(load_recipe("default")), Path("runs/first"), Local(2), watch=bars)
"""

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from circuitune.core.atomic import ensure_writable_folder
from circuitune.core.errors import InputError
from circuitune.core.locking import locked
from circuitune.core.records import PairsRecord, read_record
from circuitune.experiments.artefacts import PAIRS
from circuitune.experiments.engines.schedule import Engine, Observer, Pending
from circuitune.experiments.engines.slurm import Slurm, in_queue
from circuitune.experiments.estimate import Size, memory
from circuitune.experiments.inputs import Frozen, recall
from circuitune.experiments.ledger import restore
from circuitune.experiments.plan import Plan, plan
from circuitune.experiments.specs import JobSpec, TrainSpec, folder_name
from circuitune.experiments.store import STALE, Run, check_destination, create
from circuitune.experiments.summary import write_summary
from circuitune.experiments.tables import write_tables
from circuitune.experiments.validation import Validator

Watch = Callable[[tuple[JobSpec, ...], Size], AbstractContextManager[Observer]]
"""Makes the observer of a run."""


def conduct(
    frozen: Frozen,
    folder: Path,
    engine: Engine,
    watch: Watch,
    *,
    ledger: Path | None = None,
    surveyed: tuple[Plan, Size] | None = None,
    only: Sequence[TrainSpec] = (),
) -> Run | Pending:
    """Have done what is missing of the run; once all is complete, make its tables and summary anew.

    Nothing is written before the inputs have been read and checked. ``watch`` is given all jobs and the sizes
    that their time depends on. Jobs in the ``ledger`` count as done. ``surveyed``: what `survey` returned, where it
    was asked before. ``only``: do these jobs, with what they depend on, and make no tables.

    Raises:
        InputError: something is wrong with the request or its inputs, or another process is at the same run.
        MachineError: the machine failed; what is complete stays, and the same call goes on from there.
    """
    jobs, size = surveyed or survey(frozen, folder)
    with locked(ensure_writable_folder(folder)):
        _require_no_queue(folder, jobs, engine)
        run = create(folder, frozen.recipe, frozen.files)
        if retired := run.prepare(jobs.jobs):
            warnings.warn(put_aside(run, retired), stacklevel=2)
        if ledger is not None:
            restore(run, jobs.jobs, ledger)
        wanted = jobs.needed(only) if only else jobs.jobs
        with watch(wanted, size) as observer:
            pending = engine.run(run, wanted, memory(size), observer)
        if pending is not None:
            return pending
        if not only:
            conclude(run, jobs)
    return run


def conclude(run: Run, jobs: Plan) -> None:
    """Make the tables and the summary of a run whose jobs are complete, and declare it finished.

    Raises:
        InputError: a file of a job is not as it was written.
    """
    for spec in jobs.jobs:
        run.job(spec).require_intact()
    write_tables(run, jobs)
    write_summary(run, jobs)
    run.seal()


def put_aside(run: Run, names: Sequence[str]) -> str:
    """Which jobs the recipe, or this version of circuitune, no longer has, and what becomes of them."""
    which = f"{len(names)} jobs are" if len(names) > 1 else f"{names[0]} is"
    return (
        f"{which} stale: the recipe, or the version of circuitune, is another than the one they were made with. "
        f"{run.folder / STALE} keeps what was done until that recipe and version come back."
    )


def _require_no_queue(folder: Path, jobs: Plan, engine: Engine) -> None:
    """InputError where other jobs of the folder than these, or these for another engine, are in a queue."""
    arrays = in_queue(folder)
    if not arrays:
        return
    wanted, there = {folder_name(spec) for spec in jobs.jobs}, {job.folder.name for job in Run(folder).jobs}
    if not isinstance(engine, Slurm) or wanted != there:
        raise InputError(
            f"Jobs of {folder} are in Slurm's queue; wait for them with the command that submitted them, or cancel "
            f"them first: scancel {arrays.replace(',', ' ')}."
        )


def survey(frozen: Frozen, folder: Path, validator: Validator | None = None) -> tuple[Plan, Size]:
    """All jobs of a run in ``folder`` and what their time depends on; nothing is written.

    ``validator``: one that has read the inputs of other runs, which this run may share.

    Raises:
        InputError: something is wrong with the request or its inputs, or the folder cannot hold the run.
    """
    check_destination(folder)
    jobs = plan(frozen.recipe, frozen.model)
    return jobs, _checked(frozen, Run(folder), jobs, validator or Validator())


def _checked(frozen: Frozen, run: Run, jobs: Plan, validator: Validator) -> Size:
    """The sizes that the time depends on, once the inputs are known to be good; a run that goes on knows both."""
    known = (jobs.pairs, *jobs.other_pairs, *jobs.robustness[:1])
    if all(run.job(spec).complete for spec in known):
        return recall(frozen, read_record(run.job(jobs.pairs).folder / PAIRS, PairsRecord))
    return validator.size(frozen, run.folder)
