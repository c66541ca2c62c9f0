"""Study files, their registration in every job, and what becomes of a study's runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from circuitune.cli import call
from circuitune.core.csvio import read_rows
from circuitune.core.errors import InputError
from circuitune.core.manifest import sha256_file
from circuitune.core.records import CriticalRow, MethodRow, SummaryRecord, read_record
from circuitune.core.study_records import ClaimRow, EffectRow, TaskEffectRow
from circuitune.experiments.study import Part, Study, export, judged, load_study, prepare, write_results
from circuitune.report import build
from experiments import tiny, tiny_study

ROOT = Path(__file__).parents[2]


def loaded(model: Path, folder: Path, **changes: object) -> Study:
    return load_study(
        tiny_study.write(folder, {**tiny_study.study(model), **changes}, tiny_study.registration(model))
    )


# ---- files ----


def test_the_shipped_study_is_as_registered():
    study = load_study(ROOT / "studies" / "dynamics.yaml")
    assert list(study.recipes) == ["add_sub", "sequence", "complex_ioi", "two_step"]
    for recipe in study.recipes.values():
        assert recipe.contest is None
        assert recipe.tuning.seeds == study.registration.tuning.seeds == tuple(range(10))
    primary = {value.claim for value in study.registration.hypotheses.values() if value.role == "primary"}
    assert primary == {1, 2, 3, 5}


def test_the_composition_study_is_as_registered():
    study = load_study(ROOT / "studies" / "composition.yaml")
    for recipe in study.recipes.values():
        assert recipe.united == ("inner", "outer")
        assert recipe.contest.seeds == tuple(range(10))
        assert {"union", "circuitlora", "uniform", "random"} == {*recipe.contest.entrants}
    arms = {value.rival for value in study.registration.hypotheses.values() if value.arm == "union"}
    assert arms == {"uniform", "random", "circuitlora"}


@pytest.mark.parametrize("path", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_study_has_all_its_registered_tasks(path: Path):
    study = load_study(path)
    assert set(study.recipes) == set(study.registration.tasks)
    assert study.name == path.stem


def test_a_run_is_the_study_s_recipe_with_what_differs(model: Path, tmp_path: Path):
    registered = tiny_study.registration(model)
    registered["tasks"]["sequence"]["training"]["epochs"] = 2
    study = tiny_study.study(model)
    study["runs"][1]["training"] = {"epochs": 2}
    first, second = load_study(tiny_study.write(tmp_path, study, registered)).recipes.values()
    assert (first.name, second.name) == ("tiny-add_sub", "tiny-sequence")
    assert (first.training.epochs, second.training.epochs) == (1, 2)
    assert second.data.task == "sequence"
    assert first.registration == second.registration == sha256_file(tmp_path / "registered" / "registration.yaml")


CONTEST = {"rank": 1, "critical_rank": 2, "random_draws": 1}
Change = Callable[[dict[str, Any], dict[str, Any]], object]
BAD: dict[str, tuple[Change, str]] = {
    "no runs": (lambda study, registered: study.pop("runs"), "field runs: Field required"),
    "an empty list of runs": (lambda study, registered: study.update(runs=[]), "field runs: "),
    "no name": (lambda study, registered: study.pop("name"), "field name: Field required"),
    "no registration": (lambda study, registered: study.pop("registration"), "field registration: Field required"),
    "registration is not there": (lambda study, registered: study.update(registration="no.yaml"), "cannot be read"),
    "an unknown field": (lambda study, registered: study.update(speed=9), "run add_sub, field speed"),
    "an unknown parent": (lambda study, registered: study.update(extends="nothing"), "can extend"),
    "a run without a name": (lambda study, registered: study["runs"][0].pop("name"), "a run, field name"),
    "a run outside the folder": (lambda study, registered: study["runs"][0].update(name="../a"), "a run, field name"),
    "two runs of one name": (lambda study, registered: study["runs"][1].update(study["runs"][0]), "two runs"),
    "a run with another registration": (
        lambda study, registered: study["runs"][0].update(registration="0" * 64),
        "leave it out",
    ),
    "a run that is not registered": (
        lambda study, registered: study["runs"][0].update(name="other"),
        "run other is not registered; the registration has add_sub, sequence",
    ),
    "other data": (
        lambda study, registered: study["runs"][0].update(data={"task": "add_sub", "parameters": {"limit": 50}}),
        "data of run add_sub is not as registered (parameters is {'limit': 50} instead of {'limit': 20",
    ),
    "other training": (
        lambda study, registered: study["runs"][0].update(training={"epochs": 7}),
        "training of run add_sub is not as registered (epochs is 7 instead of 1)",
    ),
    "another rank": (lambda study, registered: study["tuning"].update(rank=4), "tuning of run add_sub"),
    "another circuit": (lambda study, registered: study["discovery"].update(share=0.1), "share is 0.1 instead of"),
    "another seed": (lambda study, registered: study["tuning"].update(seeds=[0, 7]), "seed 7 of run add_sub"),
    "another seed of the contest": (
        lambda study, registered: (
            registered["tasks"]["add_sub"].update(contest={**CONTEST, "seeds": [0, 1]}),
            study["runs"][0].update(contest={**CONTEST, "seeds": [1, 2]}),
        ),
        "seed 2 of run add_sub is not registered",
    ),
    "another revision": (lambda study, registered: study.update(revision="step1000"), "revision of run add_sub"),
    "another precision": (lambda study, registered: study.update(dtype="bfloat16"), "dtype of run add_sub"),
    "another study": (lambda study, registered: registered.update(study="huge"), "its registration is of huge"),
    "a bar where none belongs": (
        lambda study, registered: registered["hypotheses"]["ratio"].update(bar=0.5),
        "bar is the null of the measure faithfulness",
    ),
    "an unknown measure": (
        lambda study, registered: registered["hypotheses"]["ratio"].update(measure="luck"),
        "field hypotheses.ratio.measure",
    ),
    "a rule for more tasks than there are": (
        lambda study, registered: registered["rule"].update(tasks=3),
        "rule.tasks is 3, and there are 2 tasks",
    ),
    "itself": (lambda study, registered: study.update(extends="tiny.yaml"), "and so in the end itself"),
    "a file elsewhere": (lambda study, registered: study.update(extends="../a.yaml"), "must be in the same folder"),
    "a file that is not there": (
        lambda study, registered: study.update(extends="none.yaml"),
        "none.yaml, which study",
    ),
    "several models of other names": (
        lambda study, registered: registered.update(model={"small": "a", "large": "b"}),
        "its registration is of tiny-large, tiny-small",
    ),
    "composition of nothing": (
        lambda study, registered: registered["hypotheses"]["ratio"].update(measure="composition"),
        "hypothesis ratio is of composition, and no task has what that needs",
    ),
    "tasks that are no mapping": (lambda study, registered: registered.update(tasks=[1]), "field tasks"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_study_is_one_sentence(case: str, model: Path, tmp_path: Path):
    study, registered = tiny_study.study(model), tiny_study.registration(model)
    change, message = BAD[case]
    change(study, registered)
    path = tiny_study.write(tmp_path, study, registered)
    with pytest.raises(InputError) as caught:
        load_study(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_studies_share_what_they_extend(model: Path, tmp_path: Path):
    registered, study = tiny_study.registration(model), tiny_study.study(model)
    registered["model"] = {"small": str(model), "large": "nowhere"}
    tiny_study.write(tmp_path, study, registered)
    own = {"extends": "tiny.yaml", "name": "tiny-small", "tuning": {"seeds": [1]}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(own))
    recipes = load_study(tmp_path / "small.yaml").recipes
    assert list(recipes) == ["add_sub", "sequence"]
    assert {recipe.tuning and recipe.tuning.seeds for recipe in recipes.values()} == {(1,)}
    (tmp_path / "large.yaml").write_text(yaml.safe_dump({**own, "name": "tiny-large"}))
    with pytest.raises(InputError, match="model of run add_sub is not as registered"):
        load_study(tmp_path / "large.yaml")


def test_a_task_may_have_its_own_tuning(model: Path, tmp_path: Path):
    registered, study = tiny_study.registration(model), tiny_study.study(model)
    full: dict[str, Any] = {"method": "full", "rank": None, "learning_rate": 1e-5}
    study["runs"][1]["tuning"] = {**full, "seeds": [4]}
    path = tiny_study.write(tmp_path, study, registered)
    with pytest.raises(InputError, match="tuning of run sequence is not as registered"):
        load_study(path)
    registered["tasks"]["sequence"]["tuning"] = {**full, "seeds": [4, 5]}
    registered["tasks"]["sequence"]["contest"] = study["runs"][1]["contest"] = {**CONTEST, "seeds": [9]}
    loaded = load_study(tiny_study.write(tmp_path, study, registered))
    assert loaded.registration.seeds_of("sequence", "ratio") == (4, 5)
    assert loaded.registration.seeds_of("sequence", "accuracy") == (9,)
    assert loaded.registration.seeds_of("add_sub", "ratio") == (0, 1, 2)
    assert loaded.registration.seeds_of("add_sub", "accuracy") == ()


def test_some_runs_alone(model: Path, tmp_path: Path):
    study = loaded(model, tmp_path)
    assert list(study.only(("sequence",)).recipes) == ["sequence"]
    assert study.only(()) == study
    with pytest.raises(InputError, match="has no run lcm; it has add_sub, sequence"):
        study.only(("lcm",))


# ---- rehearsals ----


def test_a_rehearsal_changes_every_run_and_is_not_registered(model: Path, tmp_path: Path):
    study, registered = tiny_study.study(model), tiny_study.registration(model)
    study["runs"][1]["composition"] = registered["tasks"]["sequence"]["composition"] = {
        "parts": {"one": {"task": "lcm"}, "two": {"task": "add_sub", "parameters": {"limit": 30}}}
    }
    path = tiny_study.write(tmp_path, study, registered)
    changes = {"training": {"rows": 30}, "data": {"parameters": {"size": 100}}, "contest": {"seeds": [3]}}
    rehearsed = load_study(path, {**changes, "model": "nano"})
    for name, recipe in rehearsed.recipes.items():
        assert (recipe.model, recipe.registration, recipe.training.rows) == ("nano", None, 30)
        assert recipe.training.epochs == 1
        assert recipe.contest is None  # a rehearsal adds no question
        assert recipe.name == f"tiny-{name}-rehearsal"
        sizes = [data.parameters["size"] for data in (recipe.data, *recipe.composed.values())]
        assert sizes == [100] * (3 if name == "sequence" else 1)
    assert rehearsed.recipes["sequence"].composed["two"].parameters == {"limit": 30, "size": 100}
    assert "training: {rows: 30}" in rehearsed.rehearsed
    assert "model: nano" in rehearsed.rehearsed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"registration": "x"}, "cannot change registration"),
        ({"runs": []}, "cannot change runs"),
        ({"data": {"task": "lcm"}}, "of data the parameters alone"),
        ({"training": {"speed": 1}}, "run add_sub of the rehearsal, field training.speed"),
    ],
)
def test_a_rehearsal_that_cannot_be_is_refused(changes: dict[str, Any], said: str, model: Path, tmp_path: Path):
    path = tiny_study.write(tmp_path, tiny_study.study(model), tiny_study.registration(model))
    with pytest.raises(InputError, match=said):
        load_study(path, changes)


# ---- the registration in every job ----


def test_every_spec_holds_the_registration(model: Path, tmp_path: Path):
    study = loaded(model, tmp_path)
    for part in prepare(study, tmp_path / "out"):
        assert {spec.registration for spec in part.jobs.jobs} == {study.digest}
        assert {spec.kind for spec in part.jobs.jobs} == {"pairs", "train", "discover", "analyse"}
        assert part.jobs.phase1 == part.jobs.methods == ()
    assert not (tmp_path / "out").exists()


def test_a_changed_registration_makes_every_job_stale(model: Path, tmp_path: Path):
    first = prepare(loaded(model, tmp_path), tmp_path / "out")[0]
    run, jobs = tiny.prepared(first.frozen, first.folder)
    before = {path.name for path in (run.folder / "jobs").iterdir()}
    registered = tiny_study.registration(model)
    registered["hypotheses"]["ratio"]["smallest"] = 0.2
    path = tiny_study.write(tmp_path, tiny_study.study(model), registered)
    second = prepare(load_study(path), tmp_path / "out")[0]
    tiny.prepared(second.frozen, second.folder)
    after = {path.name for path in (run.folder / "jobs").iterdir()}
    assert len(after) == len(before) == len(jobs.jobs)
    assert not after & before
    assert {path.name for path in (run.folder / "stale").iterdir()} == before


# ---- runs and results ----


@pytest.fixture(scope="module")
def partial(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, tuple[Part, ...]]:
    """A study whose first run is finished; tests must not change it."""
    folder = tmp_path_factory.mktemp("study")
    study = loaded(model, folder)
    parts = prepare(study, folder / "out")
    tiny.finish(*tiny.prepared(parts[0].frozen, parts[0].folder))
    return study, parts


def test_what_is_there_is_known_and_takes_no_time(partial: tuple[Study, tuple[Part, ...]]):
    first, second = partial[1]
    assert (first.finished, second.finished) == (True, False)
    assert (first.missing, len(second.missing)) == ((), 7)
    assert first.seconds(1) == 0 < second.seconds(2) < second.seconds(1)


def test_tables_of_another_recipe_are_not_there(partial: tuple[Study, tuple[Part, ...]], model: Path, tmp_path: Path):
    folder = partial[1][0].folder.parent
    other = loaded(model, tmp_path, analysis={"random_models": 3})
    assert not prepare(other, folder)[0].finished


def test_a_rehearsal_takes_no_folder_of_the_study(partial: tuple[Study, tuple[Part, ...]]):
    folder = partial[1][0].folder.parent
    before = tiny.content(folder)
    rehearsed = load_study(folder.parent / "tiny.yaml", {"training": {"rows": 40}})
    with pytest.raises(InputError, match="holds runs of a registered study"):
        prepare(rehearsed, folder)
    assert tiny.content(folder) == before


def test_a_verdict_is_of_all_finished_runs_whichever_are_asked_for(
    partial: tuple[Study, tuple[Part, ...]], capsys: pytest.CaptureFixture[str]
):
    study, parts = partial
    folder = parts[0].folder.parent
    assert (
        call(["sweep", str(folder.parent / "tiny.yaml"), "--out", str(folder), "--only", "sequence", "--dry-run"])
        == 0
    )
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown[1:2]] == ["sequence"]
    assert shown[3:] == [claim.sentence for claim in judged(study, parts[:1]).claims]


def test_a_run_without_a_contest_lacks_it_everywhere(partial: tuple[Study, tuple[Part, ...]]):
    folder = partial[1][0].folder
    assert read_rows(folder / "tables" / "methods.csv", MethodRow) == []
    assert read_rows(folder / "tables" / "critical_layers.csv", CriticalRow) == []
    summary = read_record(folder / "summary.json", SummaryRecord)
    assert (summary.findings.contest, summary.findings.where) == ([], [])
    assert "Phase 1" not in " ".join(summary.notes)
    assert "Newcombe" not in " ".join(summary.notes)
    assert summary.title in build(folder).read_text()


def test_a_partial_study_is_judged_provisionally(partial: tuple[Study, tuple[Part, ...]]):
    study, parts = partial
    found = judged(study, parts[:1])
    assert {row.hypothesis: row.outcome for row in found.claims} == {
        "faithful": "undecided",
        "ratio": "undecided",
        "edges": "exploratory",
        "slowing": "undecided",
    }
    assert not any(row.final for row in found.claims)
    assert "of 3 seeds there are add_sub 2, sequence 0" in found.claims[0].sentence
    rates = [row for row in found.effects if row.hypothesis == "edges"]
    assert [row.seed for row in rates] == tiny_study.SEEDS
    assert all(row.effect is not None and row.null is not None for row in rates)
    slowing = [row for row in found.effects if row.hypothesis == "slowing"]
    assert all(row.effect is not None and row.null is not None for row in slowing)


def test_results_are_tables_and_a_page_and_equal_inputs_give_equal_bytes(
    partial: tuple[Study, tuple[Part, ...]], tmp_path: Path
):
    study, parts = partial
    found = judged(study, parts[:1])
    for name in ("one", "two"):
        write_results(study, found, tmp_path / name)
        export(study, parts[:1], found, tmp_path / f"{name} kept")
    assert tiny.content(tmp_path / "one") == tiny.content(tmp_path / "two")
    kept = tiny.content(tmp_path / "one kept")
    assert kept == tiny.content(tmp_path / "two kept")
    assert kept.items() >= tiny.content(tmp_path / "one").items()
    assert kept["add_sub/change.csv"] == (parts[0].folder / "tables" / "change.csv").read_bytes()
    assert read_rows(tmp_path / "one" / "effects.csv", EffectRow) == list(found.effects)
    assert read_rows(tmp_path / "one" / "tasks.csv", TaskEffectRow) == list(found.tasks)
    assert read_rows(tmp_path / "one" / "verdicts.csv", ClaimRow) == list(found.claims)
    page = (tmp_path / "one" / "verdicts.md").read_text()
    assert study.digest in page
    assert all(claim.sentence in page for claim in found.claims)
    assert str(tmp_path) not in page
    assert "| 2, edges | About edge_rate. | exploratory, provisional |" in page
    assert "of 0 |" not in page  # seeds are counted against those that were registered
    assert page.rstrip().endswith("A note.")


def test_the_folder_of_a_run_is_no_folder_for_a_study(partial: tuple[Study, tuple[Part, ...]]):
    study, parts = partial
    with pytest.raises(InputError, match="folder of a single run"):
        prepare(study, parts[0].folder)
