"""The run folder: where things lie, who may read what, what is finished, and one writer at a time.

    recipe.yaml  environment.json  inputs/  jobs/<label>-<hash12>/  tables/  summary.json  report.html

A job's folder holds ``spec.json``, its artefacts and, written last, ``COMPLETE.json``; without it the folder
counts as empty. Locks are the system's own (``flock`` on the folder): they vanish with their process.
"""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from circuitune.core.atomic import ensure_writable_folder, write_json, write_text
from circuitune.core.environment import describe
from circuitune.core.errors import InputError
from circuitune.core.manifest import ENVIRONMENT, is_complete, sha256_file, verify
from circuitune.core.places import inside, is_plain_name, require_contained
from circuitune.experiments.recipe import RECIPE, Recipe, load_recipe, to_yaml
from circuitune.experiments.specs import (
    NUMERICS,
    AnalyseSpec,
    ComposeSpec,
    DiscoverSpec,
    JobSpec,
    PairsSpec,
    RobustnessSpec,
    TrainSpec,
    folder_name,
)
from circuitune.tasks.pairs import PairSet

SPEC = "spec.json"
STALE = "stale"
"""Where jobs go that the run's recipe no longer has."""
ANALYSIS_TABLES = 8
"""What an analysis writes, one after the other."""
_SPECS: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)


@dataclass(frozen=True)
class Run:
    """A run folder that exists."""

    folder: Path

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """The run in ``folder``; InputError where it holds none."""
        if not (folder / RECIPE).is_file():
            raise InputError(f"{folder} is no run folder (it has no {RECIPE}); give one that `circuitune run` made.")
        require_contained(folder)
        return cls(folder)

    @property
    def recipe(self) -> Recipe:
        """What the run does; InputError where it names a file of pairs that is not in the run's folder."""
        recipe = load_recipe(self.folder / RECIPE)
        for data in (recipe.data, *recipe.other_data.values()):
            if data.file is not None:
                inside(self.folder, data.file)
        return recipe

    def job(self, name: str | JobSpec) -> "JobFolder":
        """The folder of one job, by its name or its spec; InputError where the name is a path."""
        own = name if isinstance(name, str) else folder_name(name)
        if not is_plain_name(own):
            raise InputError(f"{own[:200]!r} is no name of a job in {self.folder}; run the recipe again.")
        return JobFolder(self.folder / "jobs" / own)

    def prepare(self, specs: Iterable[JobSpec]) -> None:
        """Write every job's ``spec.json`` where it is missing: from then on a job can run by itself."""
        wanted = {folder_name(spec): spec for spec in specs}
        self._retire(set(wanted))
        for name, spec in wanted.items():
            folder, old = self.job(name).folder, self.folder / STALE / name
            if old.is_dir() and not folder.exists():
                old.rename(folder)
            if not (folder / SPEC).is_file():
                write_json(folder / SPEC, spec.model_dump(mode="json"))

    def _retire(self, wanted: set[str]) -> None:
        """Put aside the jobs of an earlier recipe; they come back if the recipe does."""
        for path in sorted((self.folder / "jobs").iterdir()):
            if path.name not in wanted:
                target = self.folder / STALE / path.name
                target.parent.mkdir(exist_ok=True)
                if target.exists():
                    shutil.rmtree(target)
                path.rename(target)

    def check(self) -> dict[str, list[str]]:
        """Verify every job's hashes and every input file's: problems in words, by job (empty list: well)."""
        problems = {path.name: JobFolder(path).problems() for path in sorted((self.folder / "jobs").iterdir())}
        for path in sorted((self.folder / "inputs").glob("*/*")):
            same = sha256_file(path).startswith(path.parent.name)
            problems[path.relative_to(self.folder).as_posix()] = [] if same else [f"{path} has changed."]
        return problems


@dataclass(frozen=True)
class JobFolder:
    """The folder of one job."""

    folder: Path

    @property
    def run(self) -> Run:
        """The run it belongs to."""
        return Run(self.folder.parent.parent)

    @property
    def spec(self) -> JobSpec:
        """The frozen spec; InputError where it is missing, changed, or of another version."""
        path = self.folder / SPEC
        try:
            spec = _SPECS.validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
            raise InputError(f"{path} is no job this version can read ({first}); run the recipe again.") from error
        if spec.numerics != NUMERICS or folder_name(spec) != self.folder.name:
            raise InputError(f"{path} is not the spec its folder is named after; run the recipe again.")
        return spec

    @property
    def complete(self) -> bool:
        """Whether the job is done."""
        return is_complete(self.folder)

    def input(self, role: str) -> "JobFolder":
        """The finished folder of one of the job's inputs."""
        job = self.run.job(self.spec.inputs[role])
        if not job.complete:
            raise InputError(f"{self.folder.name} needs {job.folder.name}, which is not complete; run that first.")
        return job

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
            elif path.name != SPEC:
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
        folder = self.folder / made
        count = len(list(folder.iterdir())) if folder.is_dir() else 0
        return min(count / (self._checkpoints(spec) + 1), 0.99)

    def _checkpoints(self, spec: TrainSpec | DiscoverSpec) -> int:
        trained = self.run.job(spec.inputs["training"]).spec if isinstance(spec, DiscoverSpec) else spec
        assert isinstance(trained, TrainSpec)
        return trained.training.checkpoints

    def problems(self) -> list[str]:
        """What is wrong with the job in words; empty when it is complete and every hash is right."""
        try:
            _ = self.spec
        except InputError as error:
            return [str(error)]
        if not self.complete:
            return [f"{self.folder} is not complete; `circuitune run` does it again."]
        return verify(self.folder)


def create(folder: Path, recipe: Recipe, inputs: dict[str, Path]) -> Run:
    """Make the run folder, or take over the one that is there; files named in ``inputs`` are copied in.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """
    check_destination(folder)
    require_contained(folder)
    ensure_writable_folder(folder / "jobs")
    for name, source in inputs.items():
        target = folder / name
        if not target.is_file():
            ensure_writable_folder(target.parent)
            partial = target.with_name(f".{target.name}.partial")
            shutil.copyfile(source, partial)
            partial.replace(target)
    write_text(folder / RECIPE, to_yaml(recipe))
    if not (folder / ENVIRONMENT).is_file():
        write_json(folder / ENVIRONMENT, describe())
    return Run(folder)


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
    if folder.is_dir() and not (folder / RECIPE).is_file() and any(folder.iterdir()):
        return "holds other files and no run"
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        return f"cannot be made, because {existing} is a file"
    return None if os.access(existing, os.W_OK | os.X_OK) else f"cannot be written (no permission in {existing})"
