"""A study: one registration, several runs, and a verdict on each claim from the tables of all of them.

A study file is a recipe with a list of ``runs``, each a name and what differs, and with ``registration``, the path of
the file in which the study said beforehand what it expects. A study's folder:

    <run>/ (an ordinary run folder)  ...  study/{effects,tasks,verdicts}.csv  study/verdicts.md
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, JsonValue

from circuitune.core.atomic import write_bytes, write_text
from circuitune.core.csvio import write_rows
from circuitune.core.errors import InputError
from circuitune.core.manifest import is_complete, verify
from circuitune.core.records import Record
from circuitune.core.study_records import ClaimRow, EffectRow, TaskEffectRow
from circuitune.experiments.estimate import Size, estimate
from circuitune.experiments.inputs import Frozen, freeze
from circuitune.experiments.plan import Plan
from circuitune.experiments.recipe import (
    Name,
    Recipe,
    anchored,
    extended,
    merge,
    parsed,
    read_text,
    to_yaml,
    validated,
)
from circuitune.experiments.registration import Registration, load_registration, require_registered
from circuitune.experiments.run import survey
from circuitune.experiments.specs import JobSpec
from circuitune.experiments.store import RECIPE, Run
from circuitune.experiments.verdicts import Tables, Verdicts, judge, read_tables

RESULTS = "study"
"""Folder of the tables that all runs share; no run may have this name."""
VERDICTS = "verdicts.md"
EXPORTED = ("accuracy", "faithfulness", "change", "transitions", "chance", "changed", "stability")
"""Tables of a run that are worth keeping beside the verdicts: small, and enough to reach them again."""
CONTEST = ("methods", "critical_layers")
"""The same of a contest."""


class StudyFile(Record):
    """What a study file has beside the fields of a recipe."""

    name: Name
    registration: str
    runs: Annotated[tuple[dict[str, JsonValue], ...], Field(min_length=1)]


class RunName(Record):
    """The name of a run of a study: its folder, and the task it is registered as."""

    name: Name


@dataclass(frozen=True)
class Study:
    """A study whose file was read: the recipes of its runs by name, each with the registration's sha256."""

    name: str
    registration: Registration
    digest: str
    recipes: Mapping[str, Recipe]


@dataclass(frozen=True)
class Part:
    """One run of a study in its folder; its inputs have been read and checked."""

    name: str
    frozen: Frozen
    folder: Path
    jobs: Plan
    size: Size

    @property
    def missing(self) -> tuple[JobSpec, ...]:
        """Jobs that are not complete."""
        return tuple(spec for spec in self.jobs.jobs if not Run(self.folder).job(spec).complete)

    def seconds(self, workers: int) -> float:
        """How long the missing jobs will take."""
        return estimate(self.missing, self.jobs.jobs, workers, self.size)

    @property
    def exported(self) -> list[Path]:
        """The tables that `export` copies."""
        recipe, contest = self.frozen.recipe, self.frozen.recipe.contest
        names = [
            *(EXPORTED if recipe.tuning else ()),
            *(("robustness",) if recipe.robustness else ()),
            *(("composition", "composition_overlap") if recipe.composition else ()),
            *(CONTEST if contest else ()),
            *(("rates",) if contest and contest.rates else ()),
            *(("kept",) if contest and contest.kept else ()),
        ]
        return [self.folder / "tables" / f"{name}.csv" for name in names]

    @property
    def finished(self) -> bool:
        """Whether all jobs of this very recipe are complete and its tables are there."""
        if self.missing or not is_complete(self.folder) or not all(path.is_file() for path in self.exported):
            return False
        return (self.folder / RECIPE).read_text(encoding="utf-8") == to_yaml(self.frozen.recipe)


def load_study(path: Path) -> Study:
    """Read a study file and its registration.

    Raises:
        InputError: no such file, no valid study, or one that is not as registered.
    """
    what = f"Study {path}"
    text = read_text(path, what, "give a YAML file such as studies/dynamics.yaml")
    fields = anchored(parsed(text, what), path.parent)
    own = {key: fields.pop(key) for key in ("registration", "runs", "name") if key in fields}
    study = validated(StudyFile, own, what)
    registration, digest = load_registration(path.parent / study.registration)
    if registration.study != study.name:
        raise InputError(f"{what} is named {study.name}, and its registration is of {registration.study}; fix one.")
    base = extended(fields, what)
    recipes: dict[str, Recipe] = {}
    for changes in study.runs:
        name, recipe = _recipe(study.name, base, anchored(changes, path.parent), digest, what)
        if name in recipes or name == RESULTS:
            raise InputError(f"{what}: {name} cannot be the name of {'two runs' if name in recipes else 'a run'}.")
        require_registered(registration, name, recipe, what)
        recipes[name] = recipe
    return Study(study.name, registration, digest, recipes)


def _recipe(
    study: str, base: Mapping[str, Any], changes: Mapping[str, Any], digest: str, what: str
) -> tuple[str, Recipe]:
    """One run: the study's recipe with what the run changes."""
    name = validated(RunName, {key: changes[key] for key in ("name",) if key in changes}, f"{what}, a run").name
    if "registration" in changes:
        raise InputError(f"{what}, run {name}: the registration is the study's; leave it out of the run.")
    fields = {**merge(base, changes), "name": f"{study}-{name}", "registration": digest}
    return name, validated(Recipe, fields, f"{what}, run {name}")


def prepare(study: Study, folder: Path, *, here: bool = True) -> tuple[Part, ...]:
    """Read and check the inputs of all runs of a study in ``folder``; nothing is written. ``here``: as in `freeze`.

    Raises:
        InputError: something is wrong with the inputs of a run, or the folder cannot hold the study.
    """
    if (folder / RECIPE).is_file():
        raise InputError(f"{folder} is the folder of a single run; choose another folder for the study.")
    return tuple(
        _part(name, freeze(recipe, here=here, folder=folder / name), folder / name)
        for name, recipe in study.recipes.items()
    )


def _part(name: str, frozen: Frozen, folder: Path) -> Part:
    return Part(name, frozen, folder, *survey(frozen, folder))


def judged(study: Study, parts: Sequence[Part]) -> Verdicts:
    """The verdicts from the tables of these runs, which are finished."""
    return judge(study.registration, {part.name: _tables(part) for part in parts})


def _tables(part: Part) -> Tables:
    if problems := verify(part.folder):
        raise InputError(f"{problems[0]} The same sweep makes it anew.")
    return read_tables(part.folder / "tables", part.frozen.recipe.discovery.share)


def write_results(study: Study, verdicts: Verdicts, folder: Path) -> None:
    """Write the study's own tables and ``verdicts.md``; equal tables give equal bytes."""
    write_rows(folder / "effects.csv", verdicts.effects, EffectRow)
    write_rows(folder / "tasks.csv", verdicts.tasks, TaskEffectRow)
    write_rows(folder / "verdicts.csv", verdicts.claims, ClaimRow)
    write_text(folder / VERDICTS, document(study, verdicts))


def export(study: Study, parts: Sequence[Part], verdicts: Verdicts, folder: Path) -> None:
    """Copy the verdicts and the small tables of the finished runs to a folder that can be kept under version control.

    Raises:
        InputError: the folder's name is that of a file.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--export {folder} is a file; give a folder.")
    write_results(study, verdicts, folder)
    for part in parts:
        for path in part.exported:
            write_bytes(folder / part.name / path.name, path.read_bytes())


def document(study: Study, verdicts: Verdicts) -> str:
    """The verdicts as Markdown."""
    registration = study.registration
    blocks = [
        f"# Study {study.name}",
        f"{registration.question.strip()} Registered before the runs; sha256 of the registration: `{study.digest}`.",
        "Computed by `circuitune sweep` from the tables beside this file.",
    ]
    for claim in verdicts.claims:
        hypothesis = registration.hypotheses[claim.hypothesis]
        rows = [row for row in verdicts.tasks if row.hypothesis == claim.hypothesis]
        blocks += [
            f"## {claim.hypothesis} (claim {claim.claim}, {hypothesis.role}): {claim.outcome}",
            hypothesis.hypothesis.strip(),
            f"Effect: {hypothesis.effect.strip()} Null: {hypothesis.against.strip()} "
            f"Smallest effect: {hypothesis.smallest:g}.",
            claim.sentence,
            _table(rows),
        ]
    return "\n\n".join([*blocks, *(note.strip() for note in registration.notes)]) + "\n"


def _table(rows: Sequence[TaskEffectRow]) -> str:
    lines = [
        "| task | seeds | effect | null | difference | interval | p (Holm) | finding |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        interval = "-" if row.low is None else f"{_cell(row.low)} to {_cell(row.high)} ({row.interval})"
        cells = [row.task, f"{row.defined} of {row.seeds}", *map(_cell, (row.effect, row.null, row.difference))]
        lines.append(f"| {' | '.join([*cells, interval, _cell(row.p_holm), row.finding])} |")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
