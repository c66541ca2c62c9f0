"""The run folder: where things lie, who may read what, what is finished, and one writer at a time.

    run.json  recipe.yaml  environment.json  inputs/  jobs/<label>-<hash12>/  tables/  summary.json  COMPLETE.json
    report.html

A job's folder holds ``spec.json``, its artefacts and, written last, ``COMPLETE.json``; without it the folder
counts as empty. What a job reads of another is held against its hashes first, and so are all jobs before tables are
made of them. The run's own ``COMPLETE.json`` lists recipe, tables and summary. `checking.py` verifies all of it.
"""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from circuitune import __version__
from circuitune.core.atomic import PARTIAL, ensure_writable_folder, write_bytes, write_json, write_text
from circuitune.core.environment import describe
from circuitune.core.errors import InputError
from circuitune.core.formats import RUN, mark, require_readable
from circuitune.core.locking import LOCK
from circuitune.core.manifest import COMPLETE, ENVIRONMENT, complete_with, is_complete, sha256_file, verify
from circuitune.core.places import inside, is_plain_name, require_contained
from circuitune.experiments.recipe import RECIPE, Recipe, extended, parsed, read_text, to_yaml, validated
from circuitune.experiments.specs import (
    NUMERICS,
    AnalyseSpec,
    ComposeSpec,
    DiscoverSpec,
    JobSpec,
    PairsSpec,
    RobustnessSpec,
    TrainSpec,
    by_folder,
    folder_name,
)
from circuitune.tasks.pairs import PairSet

SPEC = "spec.json"
INPUTS, HASHED = "inputs", 12
"""Where the user's files are copied to in the run folder, and how much of their SHA-256 is in their folder's name."""
SUMMARY = "summary.json"
STALE = "stale"
"""Where jobs go that the run's recipe, or this version, no longer has."""
ANALYSIS_TABLES = 8
"""What an analysis writes, one after the other."""
_SPECS: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)


@dataclass(frozen=True)
class Run:
    """A run folder that exists."""

    folder: Path

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """The run in ``folder``; InputError where it holds none, or one that a newer version wrote."""
        if not (folder / RECIPE).is_file():
            raise InputError(f"{folder} is no run folder (it has no {RECIPE}); give one that `circuitune run` made.")
        require_readable(folder)
        require_contained(folder)
        return cls(folder)

    @property
    def recipe(self) -> Recipe:
        """What the run does; its files are in the run folder, or it is refused."""
        path = self.folder / RECIPE
        what = f"Recipe {path}"
        text = read_text(path, what, "give the command that began the run again")
        recipe = validated(Recipe, extended(parsed(text, what), what), what)
        for name in recipe.files:
            inside(self.folder, name)
        return recipe

    def job(self, name: str | JobSpec) -> "JobFolder":
        """The folder of one job, by its name or its spec; InputError where the name is a path."""
        own = name if isinstance(name, str) else folder_name(name)
        if not is_plain_name(own):
            raise InputError(f"{own[:200]!r} is no name of a job in {self.folder}; run the recipe again.")
        return JobFolder(self.folder / "jobs" / own)

    @property
    def jobs(self) -> "list[JobFolder]":
        """The folders of jobs that are there, by name."""
        jobs = self.folder / "jobs"
        found = sorted(jobs.iterdir()) if jobs.is_dir() else []
        return [JobFolder(path) for path in found if path.is_dir() and not path.name.startswith(".")]

    def prepare(self, specs: Iterable[JobSpec]) -> list[str]:
        """Write every job's ``spec.json`` where it is missing: from then on a job can run by itself.

        Returns:
            The jobs that were put aside, because the recipe as this version reads it has them no more.
        """
        wanted = by_folder(specs)
        retired = self._retire(set(wanted))
        for name, spec in wanted.items():
            folder, old = self.job(name).folder, self.folder / STALE / name
            if old.is_dir() and not folder.exists():
                old.rename(folder)
            if not (folder / SPEC).is_file():
                write_json(folder / SPEC, spec.model_dump(mode="json"))
        return retired

    def _retire(self, wanted: set[str]) -> list[str]:
        """Put aside the jobs of an earlier recipe; they come back if the recipe does."""
        retired = [job.folder for job in self.jobs if job.folder.name not in wanted]
        for path in retired:
            target = self.folder / STALE / path.name
            target.parent.mkdir(exist_ok=True)
            if target.exists():
                shutil.rmtree(target)
            path.rename(target)
        return [path.name for path in retired]

    @property
    def results(self) -> list[Path]:
        """What the run's own ``COMPLETE.json`` lists, as far as it is there: format, recipe, tables, summary."""
        own = [self.folder / name for name in (RUN, RECIPE, SUMMARY)]
        return [path for path in (*own, *(self.folder / "tables").glob("*.csv")) if path.is_file()]

    def seal(self) -> None:
        """Declare the run finished; its jobs and its tables are."""
        complete_with(self.folder, self.results)


@dataclass(frozen=True)
class JobFolder:
    """The folder of one job."""

    folder: Path
    _verified: set[str] = field(default_factory=set[str], compare=False, repr=False)

    @property
    def run(self) -> Run:
        """The run it belongs to."""
        return Run(self.folder.parent.parent)

    @property
    def spec(self) -> JobSpec:
        """The frozen spec; InputError where it is missing, changed, or of another version."""
        spec = self.written
        if spec.numerics != NUMERICS:
            raise InputError(
                f"{self.folder} is stale: its numbers are those of version {spec.numerics} of the computation, and "
                f"this circuitune computes version {NUMERICS}; run the recipe again."
            )
        return spec

    @property
    def written(self) -> JobSpec:
        """The spec as it was written, also one whose numbers this version computes differently."""
        path = self.folder / SPEC
        try:
            spec = _SPECS.validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
            raise InputError(f"{path} is no job this version can read ({first}); run the recipe again.") from error
        if folder_name(spec) != self.folder.name:
            raise InputError(f"{path} is not the spec its folder is named after; run the recipe again.")
        return spec

    @property
    def complete(self) -> bool:
        """Whether the job is done."""
        return is_complete(self.folder)

    def input(self, role: str) -> "JobFolder":
        """The finished folder of one of the job's inputs; every byte of it is as it was written."""
        job = self.run.job(self.spec.inputs[role])
        if not job.complete:
            raise InputError(f"{self.folder.name} needs {job.folder.name}, which is not complete; run that first.")
        if job.folder.name not in self._verified:
            job.require_intact()
            self._verified.add(job.folder.name)
        return job

    def require_intact(self) -> None:
        """InputError where a file of the finished job is not as it was written."""
        if problems := verify(self.folder):
            raise InputError(f"{problems[0]} Remove {self.folder}; the same command then does that job again.")

    def pairs(self, part: str, role: str = "pairs") -> PairSet:
        """One split of the run's pairs (or of an input's); a job of stage ``tune`` never gets the test split."""
        if part == "test" and self.spec.stage == "tune":
            raise InputError(f"{self.folder.name} decides a setting, so it cannot read the test split.")
        return PairSet.from_jsonl(self.input(role).folder / f"{part}.jsonl")

    def clear(self) -> None:
        """Remove what a killed attempt left, but for the spec."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (SPEC, LOCK):
                path.unlink()

    def progress(self) -> float:
        """Share of the job that is on disk, counted in checkpoints."""
        if self.complete:
            return 1.0
        spec = self.spec
        if isinstance(spec, PairsSpec):
            return 0.0
        if isinstance(spec, AnalyseSpec):
            return len([*self.folder.glob("*.csv")]) / (ANALYSIS_TABLES + 1)
        if isinstance(spec, RobustnessSpec | ComposeSpec):  # they write once, at their end
            return 0.0
        made = "checkpoints" if isinstance(spec, TrainSpec) else "circuits"
        try:
            count = len(list((self.folder / made).iterdir()))
        except FileNotFoundError:  # nothing yet, or a worker clears away what a killed attempt left
            count = 0
        return min(count / (self._checkpoints(spec) + 1), 0.99)

    def _checkpoints(self, spec: TrainSpec | DiscoverSpec) -> int:
        trained = self.run.job(spec.inputs["training"]).spec if isinstance(spec, DiscoverSpec) else spec
        assert isinstance(trained, TrainSpec)
        return trained.training.checkpoints


def create(folder: Path, recipe: Recipe, inputs: dict[str, Path]) -> Run:
    """Make the run folder, or take over the one that is there; files named in ``inputs`` are copied in.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """
    check_destination(folder)
    require_contained(folder)
    ensure_writable_folder(folder)
    mark(folder, __version__)  # first: from here on the folder is known as a run's, whenever it is killed
    (folder / COMPLETE).unlink(missing_ok=True)
    ensure_writable_folder(folder / "jobs")
    for name, source in inputs.items():
        target = folder / name
        if not is_input(target):
            write_bytes(target, source.read_bytes())
    write_text(folder / RECIPE, to_yaml(recipe))
    if not (folder / ENVIRONMENT).is_file():
        write_json(folder / ENVIRONMENT, describe())
    return Run(folder)


def is_input(path: Path) -> bool:
    """Whether the copy of a user's file is there and as it was given."""
    return path.is_file() and sha256_file(path)[:HASHED] == path.parent.name


def require_input(path: Path) -> None:
    """InputError where the copy of a user's file is missing or has changed."""
    if not is_input(path):
        what = "has changed since the run began" if path.is_file() else "is missing"
        raise InputError(
            f"{path} {what}; restore it, or remove it and give the same command with the file it was copied from."
        )


def check_destination(folder: Path) -> None:
    """InputError unless ``folder`` is a run folder, empty, or free to be made."""
    try:
        problem = _obstacle(folder)
    except OSError as error:
        problem = f"cannot be looked into ({error.strerror or error})"
    if problem:
        raise InputError(f"{folder} {problem}; choose another folder.")


def _obstacle(folder: Path) -> str | None:
    """What keeps a run from being made there, in words."""
    if folder.exists() and not folder.is_dir():
        return "is a file, and a run needs a folder"
    ours = any((folder / name).is_file() for name in (RUN, RECIPE))
    if folder.is_dir() and not ours and not all(_left_over(path.name) for path in folder.iterdir()):
        return "holds other files and no run"
    require_readable(folder)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        return f"cannot be made, because {existing} is a file"
    return None if os.access(existing, os.W_OK | os.X_OK) else f"cannot be written (no permission in {existing})"


def _left_over(name: str) -> bool:
    """Whether a process that was killed before it began leaves a file of this name."""
    return name == LOCK or (name.startswith(".") and name.endswith(PARTIAL))
