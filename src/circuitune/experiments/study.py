"""A study: one registration, several runs, and a verdict on each claim from the tables of all of them.

A study file is a recipe with a list of ``runs``, each a name and what differs, and with ``registration``, the path of
the file in which the study said beforehand what it expects. A study's folder:

    <run>/ (an ordinary run folder)  ...  study/{effects,tasks,verdicts}.csv  study/verdicts.md

A rehearsal does a study's runs with another model or smaller counts. Its jobs carry no registration, and whatever it
writes says that its verdicts do not count.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field, JsonValue

from circuitune.core.atomic import remove_partial_files, write_bytes, write_text
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
    inherited,
    merge,
    read_text,
    validated,
)
from circuitune.experiments.registration import Registration, load_registration, require_registered
from circuitune.experiments.run import survey
from circuitune.experiments.specs import JobSpec
from circuitune.experiments.store import RECIPE, Run
from circuitune.experiments.validation import Validator
from circuitune.experiments.verdicts import Tables, Verdicts, judge, read_tables

RESULTS = "study"
"""Folder of the tables that all runs share; no run may have this name."""
VERDICTS = "verdicts.md"
EXPORTED = ("accuracy", "faithfulness", "change", "transitions", "chance", "changed", "stability")
"""Tables of a run that are worth keeping beside the verdicts: small, and enough to reach them again."""
CONTEST = ("methods", "critical_layers")
"""The same of a contest."""


class StudyFile(Record):
    """What a study file has beside the fields of a recipe.

    ``shape``: the model's configuration in Transformers' fields, as far as time and memory depend on it.
    """

    name: Name
    registration: str
    runs: Annotated[tuple[dict[str, JsonValue], ...], Field(min_length=1)]
    shape: dict[str, JsonValue] | None = None


class RunName(Record):
    """The name of a run of a study: its folder, and the task it is registered as."""

    name: Name


@dataclass(frozen=True)
class Study:
    """A study whose file was read: the recipes of its runs by name, each with the registration's sha256.

    ``rehearsed``: what a rehearsal does otherwise than registered, in words; then no recipe has the sha256.
    """

    name: str
    registration: Registration
    digest: str
    recipes: Mapping[str, Recipe]
    shape: Mapping[str, Any] | None = None
    rehearsed: str = ""

    def only(self, names: Collection[str]) -> "Study":
        """The study with these runs alone (all, where none is named); InputError where it has no such run."""
        if odd := set(names) - self.recipes.keys():
            raise InputError(f"The study {self.name} has no run {min(odd)}; it has {', '.join(self.recipes)}.")
        chosen = {name: recipe for name, recipe in self.recipes.items() if not names or name in names}
        return replace(self, recipes=chosen)


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
            *(("composition", "composition_overlap") if recipe.composition and recipe.tuning else ()),
            *(CONTEST if contest else ()),
            *(("rates",) if contest and contest.tried_seeds else ()),
            *(("kept",) if contest and contest.kept else ()),
            *(("text",) if contest and contest.text else ()),
        ]
        return [self.folder / "tables" / f"{name}.csv" for name in names]

    @property
    def finished(self) -> bool:
        """Whether all jobs of this very recipe are complete and its tables are there."""
        if self.missing or not is_complete(self.folder) or not all(path.is_file() for path in self.exported):
            return False
        return _recipe_in(self.folder) == self.frozen.recipe


def load_study(path: Path, changes: Mapping[str, Any] | None = None) -> Study:
    """Read a study file and its registration.

    Args:
        path: of the study file.
        changes: of recipe fields, for a rehearsal; they come after those of each run.

    Raises:
        InputError: no such file, no valid study, or one that is not as registered.
    """
    what = f"Study {path}"
    text = read_text(path, what, "give a YAML file such as studies/dynamics.yaml")
    fields = inherited(text, path, what)
    own = {key: fields.pop(key) for key in StudyFile.model_fields if key in fields}
    study = validated(StudyFile, own, what)
    registration, digest = load_registration(path.parent / study.registration)
    if study.name not in registration.studies:
        of = ", ".join(registration.studies)
        raise InputError(f"{what} is named {study.name}, and its registration is of {of}; fix one.")
    found = _recipes(study, extended(fields, what), path.parent, registration, digest, what)
    read = Study(study.name, registration, digest, found, study.shape)
    return read if changes is None else rehearsal(read, changes, what)


def _recipes(
    study: StudyFile, base: Mapping[str, Any], folder: Path, registration: Registration, digest: str, what: str
) -> dict[str, Recipe]:
    """The recipes of all runs, which are as registered."""
    recipes: dict[str, Recipe] = {}
    for changes in study.runs:
        name, recipe = _recipe(study.name, base, anchored(changes, folder), digest, what)
        if name in recipes or name == RESULTS:
            raise InputError(f"{what}: {name} cannot be the name of {'two runs' if name in recipes else 'a run'}.")
        require_registered(registration, study.name, name, recipe, what)
        recipes[name] = recipe
    return recipes


ASKED = ("tuning", "contest", "robustness", "composition")
"""Questions that a run may leave out; a rehearsal changes them where a run has them, and adds none."""


def rehearsal(study: Study, changes: Mapping[str, Any], what: str) -> Study:
    """The study with ``changes`` to every run, unregistered.

    Of ``data`` the parameters can be changed, for all tasks of a run alike (``size``).

    Raises:
        InputError: a field that a rehearsal cannot change, or a recipe that is then not valid.
    """
    if odd := changes.keys() - (Recipe.model_fields.keys() - {"name", "registration", "format"}):
        raise InputError(f"A rehearsal cannot change {min(odd)}; it changes fields of a recipe such as training.")
    recipes: dict[str, Recipe] = {}
    for name, recipe in study.recipes.items():
        fields = recipe.model_dump(mode="json")
        own = {key: value for key, value in changes.items() if key not in ASKED or fields[key] is not None}
        fitting = _with_parameters(fields, own)
        other = {"name": f"{recipe.name}-rehearsal"[:100], "registration": None}
        recipes[name] = validated(Recipe, {**merge(fields, fitting), **other}, f"{what}, run {name} of the rehearsal")
    said = "; ".join(f"{key}: {_plainly(value)}" for key, value in changes.items())
    return replace(study, recipes=recipes, rehearsed=said or "nothing is changed, but the jobs are not registered")


def _with_parameters(fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes with the parameters of ``data`` in every task that the fields of a recipe name."""
    if "data" not in changes:
        return dict(changes)
    data: object = changes["data"]
    parameters = cast(dict[str, Any], data).get("parameters") if isinstance(data, dict) else None
    if not isinstance(data, dict) or len(cast(dict[str, Any], data)) > 1 or not isinstance(parameters, dict):
        raise InputError(
            "A rehearsal can change of data the parameters alone, such as data: {parameters: {size: 400}}."
        )

    def changed(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        fields = cast(dict[str, Any], value)
        if fields.get("task") is not None:
            return merge(fields, {"parameters": parameters})
        return {key: changed(below) for key, below in fields.items()}

    sections = {key: changed(fields[key]) for key in ("data", "composition", "contest")}
    return merge(sections, {key: value for key, value in changes.items() if key != "data"})


def _plainly(value: object) -> str:
    """A field of a recipe in a sentence."""
    return json.dumps(value).replace('"', "") if not isinstance(value, str) else value


def _recipe(
    study: str, base: Mapping[str, Any], changes: Mapping[str, Any], digest: str, what: str
) -> tuple[str, Recipe]:
    """One run: the study's recipe with what the run changes."""
    name = validated(RunName, {key: changes[key] for key in ("name",) if key in changes}, f"{what}, a run").name
    if "registration" in changes:
        raise InputError(f"{what}, run {name}: the registration is the study's; leave it out of the run.")
    fields = {**merge(base, changes), "name": f"{study}-{name}", "registration": digest}
    return name, validated(Recipe, fields, f"{what}, run {name}")


def prepare(study: Study, folder: Path, *, here: bool = True, only: Collection[str] = ()) -> tuple[Part, ...]:
    """Read and check the inputs of the runs of a study in ``folder``; nothing is written.

    Args:
        study: whose runs.
        folder: of the study.
        here: as in `freeze`.
        only: names of the runs that are asked for (all, where none is named); beside them only those that are
            finished are looked at, of which nothing has to be read.

    Raises:
        InputError: something is wrong with the inputs of a run, or the folder cannot hold the study.
    """
    if (folder / RECIPE).is_file():
        raise InputError(f"{folder} is the folder of a single run; choose another folder for the study.")
    if study.rehearsed and any(_is_registered(folder / name) for name in study.recipes):
        raise InputError(f"{folder} holds runs of a registered study; choose another folder for the rehearsal.")
    asked, validator = study.only(only).recipes, Validator()
    return tuple(
        _part(name, freeze(recipe, here=here, folder=folder / name), folder / name, validator)
        for name, recipe in study.recipes.items()
        if name in asked or is_complete(folder / name)
    )


def _is_registered(folder: Path) -> bool:
    """Whether the folder holds a run of a registered study."""
    found = _recipe_in(folder)
    return found is not None and found.registration is not None


def _recipe_in(folder: Path) -> Recipe | None:
    """The recipe of the run in the folder; None where there is none that can be read."""
    try:
        return Run(folder).recipe
    except InputError:
        return None


def _part(name: str, frozen: Frozen, folder: Path, validator: Validator) -> Part:
    return Part(name, frozen, folder, *survey(frozen, folder, validator))


def judged(study: Study, parts: Sequence[Part]) -> Verdicts:
    """The verdicts from the tables of these runs, which are finished."""
    found = judge(study.registration, {part.name: _tables(part) for part in parts})
    return replace(found, claims=tuple(map(_not_counting, found.claims))) if study.rehearsed else found


def _not_counting(claim: ClaimRow) -> ClaimRow:
    """What a rehearsal makes of a claim: no verdict."""
    outcome = "exploratory" if claim.outcome == "exploratory" else "undecided"
    said = f"Rehearsal, does not count. {claim.sentence}"
    return claim.model_copy(update={"outcome": outcome, "final": False, "sentence": said})


def _tables(part: Part) -> Tables:
    if problems := verify(part.folder):
        raise InputError(f"{problems[0]} The same sweep makes it anew.")
    return read_tables(part.folder / "tables", part.frozen.recipe.discovery.share)


def write_results(study: Study, verdicts: Verdicts, folder: Path) -> None:
    """Write the study's own tables and ``verdicts.md``; equal tables give equal bytes."""
    remove_partial_files(folder, below=False)
    write_rows(folder / "effects.csv", verdicts.effects, EffectRow)
    write_rows(folder / "tasks.csv", verdicts.tasks, TaskEffectRow)
    write_rows(folder / "verdicts.csv", verdicts.claims, ClaimRow)
    write_text(folder / VERDICTS, document(study, verdicts))


def export(study: Study, parts: Sequence[Part], verdicts: Verdicts, folder: Path) -> None:
    """Copy the verdicts and the small tables of the finished runs to a folder that can be kept under version control.

    Raises:
        InputError: the folder's name is that of a file.
    """
    assert not study.rehearsed
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
        _outcomes(study, verdicts.claims),
    ]
    if study.rehearsed:
        blocks[1:1] = [
            f"**A rehearsal: no verdict below counts.** It was not done as registered ({study.rehearsed}); it shows "
            "that everything runs."
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
            _table(rows, registration),
        ]
    text = "\n\n".join([*blocks, *(note.strip() for note in registration.notes)]) + "\n"
    return text.replace("<", "&lt;")  # a registration may be somebody else's


def _outcomes(study: Study, claims: Sequence[ClaimRow]) -> str:
    """What became of every hypothesis, at one glance."""
    lines = ["| claim | hypothesis | outcome |", "|---|---|---|"]
    for claim in claims:
        hypothesis = study.registration.hypotheses[claim.hypothesis].hypothesis.strip()
        outcome = claim.outcome if claim.final else f"{claim.outcome}, provisional"
        lines.append(f"| {claim.claim}, {claim.hypothesis} | {hypothesis} | {outcome} |")
    return "\n".join(lines)


def _table(rows: Sequence[TaskEffectRow], registration: Registration) -> str:
    lines = [
        "| task | seeds | effect | null | difference | interval | p (Holm) | finding |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        interval = "-" if row.low is None else f"{_cell(row.low)} to {_cell(row.high)} ({row.interval})"
        measure = registration.hypotheses[row.hypothesis].measure
        registered = len(registration.seeds_of(row.task, measure))
        cells = [row.task, f"{row.defined} of {registered}", *map(_cell, (row.effect, row.null, row.difference))]
        lines.append(f"| {' | '.join([*cells, interval, _cell(row.p_holm), row.finding])} |")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
