"""``circuitune runs``: what runs there are, and whether everything in one is as it was written."""

from dataclasses import asdict
from pathlib import Path
from shlex import quote

from cyclopts import App

from circuitune.cli.output import say, show, show_json, table
from circuitune.core.errors import InputError, MachineError

runs = App(name="runs", help="List runs, or verify one.")
STALE = (
    "Stale jobs are whole, but this version of circuitune computes other numbers: the same recipe puts them aside "
    "and does them again; the version that made them still reads them."
)


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
    from circuitune.experiments.checking import stale_jobs
    from circuitune.experiments.store import RECIPE, Run

    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the one that holds your runs.")
    found: list[dict[str, object]] = []
    unreadable: list[str] = []
    for path in sorted(entry for entry in folder.iterdir() if (entry / RECIPE).is_file()):
        try:
            run = Run.open(path)
        except InputError as error:
            unreadable.append(str(error))
            continue
        report = path / "report.html"
        found.append(
            {
                "run": str(path),
                "complete": sum(job.complete for job in run.jobs),
                "jobs": len(run.jobs),
                "stale": len(stale_jobs(run)),
                "report": str(report) if report.is_file() else "-",
            }
        )
    if json:
        show_json(found)
    elif found:
        show(table(list(found[0]), [list(run.values()) for run in found]))
    else:
        show(f"No run in {folder}.")
    for sentence in unreadable:
        say(sentence)
    if any(run["stale"] for run in found):
        say(STALE)


@runs.command(name="check")
def check_run(run: Path, /, *, json: bool = False) -> None:
    """Verify every file of a run or of a study against its recorded hash, and say what must be done again.

    Jobs with their artefacts, copies of your files, recipe, tables and summary; of a study also its own tables and
    ledgers. Not the report, which is built from them, nor the records of machine and time. Leaves with 0 if all is
    well, 1 if something is missing or changed.

    Example: circuitune runs check runs/nano-add_sub

    Parameters
    ----------
    run: Path
        The folder of a run, or of a study.
    json: bool
        Print the result as JSON.
    """
    from circuitune.experiments.checking import check

    found = check(run)
    if json:
        show_json({**asdict(found), "whole": not found.broken})
    else:
        for name, problems in found.broken.items():
            show(f"{name}: {' '.join(problems)}")
        whole = len(found.checked) - len(found.broken)
        show(f"{whole} of {len(found.checked)} jobs, inputs and tables are as they were written.")
        if found.stale:
            show(f"Stale: {', '.join(found.stale)}. {STALE}")
    if found.broken:
        first = f"remove {' '.join(map(quote, found.remove))}; then give " if found.remove else "give "
        raise MachineError(f"{run} is not whole: {first}{'; '.join(found.again) or 'the missing files back'}.")
