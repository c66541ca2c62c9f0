"""``circuitune runs``: what runs there are, and whether everything in one is as it was written."""

from pathlib import Path

from cyclopts import App

from circuitune.cli.output import show, show_json, table
from circuitune.core.errors import InputError, MachineError

runs = App(name="runs", help="List runs, or verify one.")


@runs.command(name="list")
def list_runs(folder: Path = Path("runs"), /, *, json: bool = False) -> None:
    """List the runs in a folder and how many of their jobs are complete.

    Example: circuitune runs list

    Parameters
    ----------
    folder: Path
        The folder that holds the run folders.
    json: bool
        Print the result as JSON.
    """
    from circuitune.experiments.store import RECIPE, JobFolder

    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the one that holds your runs.")
    found = []
    for path in sorted(entry for entry in folder.iterdir() if (entry / RECIPE).is_file()):
        jobs = [JobFolder(job) for job in sorted((path / "jobs").glob("*"))]
        done = sum(job.complete for job in jobs)
        report = path / "report.html"
        found.append(
            {
                "run": str(path),
                "complete": done,
                "jobs": len(jobs),
                "report": str(report) if report.is_file() else "-",
            }
        )
    if json:
        show_json(found)
    elif found:
        show(table(list(found[0]), [list(run.values()) for run in found]))
    else:
        show(f"No run in {folder}.")


@runs.command(name="check")
def check_run(run: Path, /, *, json: bool = False) -> None:
    """Verify every file of a run against its recorded hash, and say what must be done again.

    Leaves with 0 if all is well, 1 if something is missing or changed.

    Example: circuitune runs check runs/nano-add_sub

    Parameters
    ----------
    run: Path
        The run folder.
    json: bool
        Print the result as JSON.
    """
    from circuitune.experiments.store import Run

    problems = Run.open(run).check()
    broken = {name: found for name, found in problems.items() if found}
    if json:
        show_json(problems)
    else:
        for name, found in broken.items():
            show(f"{name}: {' '.join(found)}")
        show(f"{len(problems) - len(broken)} of {len(problems)} jobs and inputs are as they were written.")
    if broken:
        raise MachineError(f"{run} is not whole: delete the job folders named above and run the recipe again.")
