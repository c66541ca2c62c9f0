"""Whether everything in a run folder, a study's folder or a ledger is as it was written, and what to do where not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from circuitune.core.errors import InputError
from circuitune.core.formats import RUN, require_readable
from circuitune.core.manifest import COMPLETE, verify
from circuitune.experiments.ledger import LEDGER, read_ledger
from circuitune.experiments.plan import plan
from circuitune.experiments.recipe import RECIPE, Recipe
from circuitune.experiments.specs import NUMERICS, ModelRef, folder_name
from circuitune.experiments.store import INPUTS, SUMMARY, JobFolder, Run, is_input
from circuitune.experiments.study import RESULTS

FINISHED = "tables and summary"
"""What the run's own ``COMPLETE.json`` is about."""


@dataclass
class Findings:
    """What was checked and what was found.

    Attributes:
        checked: what is wrong in words, by job, input and table; nothing: it is as it was written.
        remove: folders and files that must go before they can be made again.
        stale: jobs whose files are whole, but which this version of circuitune would not make so.
        again: commands that make again what is missing or was removed.
    """

    checked: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    remove: list[str] = field(default_factory=list[str])
    stale: list[str] = field(default_factory=list[str])
    again: list[str] = field(default_factory=list[str])

    @property
    def broken(self) -> Mapping[str, list[str]]:
        """What is not as it was written."""
        return {name: found for name, found in self.checked.items() if found}

    def add(self, other: "Findings", prefix: str) -> None:
        """Take over what was found in a part of the folder."""
        self.checked |= {f"{prefix}/{name}": found for name, found in other.checked.items()}
        self.stale += [f"{prefix}/{name}" for name in other.stale]
        self.remove += other.remove
        self.again += other.again


def check(folder: Path) -> Findings:
    """Verify every hash in the folder of a run, or of a study with its runs, its tables and its ledgers.

    Raises:
        InputError: the folder holds none of them, or a run that a newer version wrote.
    """
    if (folder / RECIPE).is_file() or (folder / RUN).is_file():
        return check_run(folder)
    found, parts = Findings(), sorted(path for path in folder.glob("*") if path.is_dir())
    for part in parts:
        if (part / RECIPE).is_file() or (part / RUN).is_file():
            found.add(check_run(part), part.name)
        if (part / LEDGER).is_file():
            found.checked[f"{part.name}/{LEDGER}"] = _ledger(part / LEDGER)
    if (results := folder / RESULTS).is_dir():
        unsealed = f"{results} is not finished: its tables may be those of other runs."
        found.checked[RESULTS] = verify(results) if (results / COMPLETE).is_file() else [unsealed]
        if found.checked[RESULTS]:
            found.again.append("circuitune sweep, as before")
    if not found.checked:
        raise InputError(f"{folder} is no run folder and holds none; give one that `circuitune run` or `sweep` made.")
    return found


def check_run(folder: Path) -> Findings:
    """The same of one run folder."""
    require_readable(folder)
    found = Findings()
    try:
        run = Run.open(folder)
        recipe = run.recipe
    except InputError as error:
        found.checked[RECIPE] = [str(error)]
        found.again.append("the command that began the run, as before")
        return found
    _jobs(run, recipe, found)
    _inputs(run, recipe, found)
    _results(run, found)
    if found.broken:
        found.again.append(f"circuitune run --recipe {quote(str(folder / RECIPE))} --out {quote(str(folder))}")
    return found


def _jobs(run: Run, recipe: Recipe, found: Findings) -> None:
    """Every job that the recipe has or that is there."""
    model: ModelRef | None = None
    for job in run.jobs:
        name = f"jobs/{job.folder.name}"
        found.checked[name] = _problems(job)
        try:
            spec = job.written
        except InputError as error:
            found.checked[name].insert(0, str(error))
        else:
            model = spec.model
        if found.checked[name] and job.complete:  # one that lost bytes is not complete, and done again as it is
            found.remove.append(str(job.folder))
    found.stale += stale_jobs(run)
    if not run.jobs:
        found.checked["jobs"] = [f"{run.folder} has no jobs yet: nothing of it was done."]
    stale = {name.rpartition("-")[0] for name in found.stale}  # there, under the name that its own version gave it
    for spec in plan(recipe, model).jobs if model is not None else ():
        if spec.label not in stale:
            found.checked.setdefault(f"jobs/{folder_name(spec)}", [f"{run.job(spec).folder} is missing."])


def stale_jobs(run: Run) -> list[str]:
    """The jobs whose numbers this version of circuitune computes differently; unreadable ones are none of them."""
    return [job.folder.name for job in run.jobs if _numerics(job) not in (None, NUMERICS)]


def _numerics(job: JobFolder) -> int | None:
    try:
        return job.written.numerics
    except InputError:
        return None


def _problems(job: JobFolder) -> list[str]:
    """What is wrong with a job's files."""
    return verify(job.folder) if (job.folder / COMPLETE).is_file() else [f"{job.folder} is not complete."]


def _inputs(run: Run, recipe: Recipe, found: Findings) -> None:
    """The copies of the user's files: those that are there, and those that the recipe names."""
    named = {name for name in recipe.files if name.startswith(f"{INPUTS}/")}
    there = {path.relative_to(run.folder).as_posix() for path in (run.folder / INPUTS).glob("*/*") if path.is_file()}
    for name in sorted(named | {name for name in there if not Path(name).name.startswith(".")}):
        path = run.folder / name
        if is_input(path):
            found.checked[name] = []
            continue
        found.checked[name] = [
            f"{path} {'has changed' if path.is_file() else 'is missing'}: put back the file it was copied from."
        ]


def _results(run: Run, found: Findings) -> None:
    """Tables and summary, which are made last, and again by every run."""
    if (run.folder / COMPLETE).is_file():
        found.checked[FINISHED] = verify(run.folder)
    elif (run.folder / SUMMARY).is_file():
        found.checked[FINISHED] = [f"{run.folder} was not finished since its last change; its tables are the former."]
    else:
        found.checked[FINISHED] = [f"{run.folder} is not finished: it has no tables and summary yet."]


def _ledger(path: Path) -> list[str]:
    try:
        read_ledger(path)
    except InputError as error:
        return [str(error)]
    return []
