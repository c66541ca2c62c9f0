"""``circuitune job``: one job of a run folder, for schedulers."""

from pathlib import Path

from cyclopts import App

from circuitune.cli.output import say, show

job = App(name="job", help="Run one job of a run folder (for schedulers).")


@job.command(name="run")
def run_one(folder: Path, /) -> None:
    """Run one job in this process, on one thread; returns at once if it is complete.

    Example: circuitune job run runs/nano-add_sub/jobs/pairs-0123456789ab

    Parameters
    ----------
    folder: Path
        The job's folder; the jobs it needs must be complete.
    """
    import torch

    from circuitune.experiments.job import run_job
    from circuitune.experiments.specs import title
    from circuitune.experiments.store import JobFolder

    torch.set_num_threads(1)
    say(f"{title(JobFolder(folder.resolve()).spec)} ...")
    run_job(folder)
    show(f"Complete: {folder}")
