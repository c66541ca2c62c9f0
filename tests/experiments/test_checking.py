import json
import shutil
from pathlib import Path

import pytest

from circuitune.cli import call
from circuitune.core.errors import InputError
from circuitune.core.manifest import COMPLETE, complete
from circuitune.experiments import store
from circuitune.experiments.checking import FINISHED, check, stale_jobs
from circuitune.experiments.inputs import freeze
from circuitune.experiments.ledger import LEDGER, keep
from circuitune.experiments.plan import Plan
from circuitune.experiments.run import conclude
from circuitune.experiments.specs import folder_name
from circuitune.experiments.store import INPUTS, RECIPE, SPEC, Run
from circuitune.experiments.study import RESULTS
from circuitune.tasks.registry import task
from experiments import tiny


@pytest.fixture
def copy(finished: tuple[Run, Plan], tmp_path: Path) -> tuple[Run, Plan]:
    shutil.copytree(finished[0].folder, tmp_path / "run")
    return Run(tmp_path / "run"), finished[1]


def flip(path: Path, place: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_finished_run_is_whole(finished: tuple[Run, Plan]):
    found = check(finished[0].folder)
    assert not found.broken
    assert found.checked.keys() == {f"jobs/{job.folder.name}" for job in finished[0].jobs} | {FINISHED}
    assert (found.remove, found.stale, found.again) == ([], [], [])


def test_every_changed_byte_is_found_and_what_it_names_makes_the_run_whole(copy: tuple[Run, Plan]):
    run, jobs = copy
    before = tiny.content(run.folder)
    scores = next(run.folder.glob("jobs/circuits-*/scores/*.safetensors"))
    flip(scores)
    (run.job(jobs.pairs).folder / "test.jsonl").unlink()
    flip(run.folder / "tables" / "change.csv")
    shutil.rmtree(run.job(jobs.analyses[0]).folder)
    found = check(run.folder)
    damaged = (scores.parent.parent, run.job(jobs.pairs).folder, run.job(jobs.analyses[0]).folder)
    assert found.broken.keys() == {f"jobs/{folder.name}" for folder in damaged} | {FINISHED}
    assert found.remove == [str(scores.parent.parent)]  # the others are not complete, so they are done again anyway
    assert found.again == [f"circuitune run --recipe {run.folder / RECIPE} --out {run.folder}"]
    for folder in found.remove:
        shutil.rmtree(folder)
    run.prepare(jobs.jobs)
    tiny.finish(run, jobs)
    assert tiny.content(run.folder) == before
    assert not check(run.folder).broken


@pytest.mark.parametrize("name", [RECIPE, "summary.json", "tables/accuracy.csv"])
def test_recipe_summary_and_tables_are_covered(name: str, copy: tuple[Run, Plan]):
    flip(copy[0].folder / name, 5)
    assert check(copy[0].folder).broken


def test_a_run_without_jobs_says_so(copy: tuple[Run, Plan], capsys: pytest.CaptureFixture[str]):
    run, _ = copy
    shutil.rmtree(run.folder / "jobs")
    assert "nothing of it was done" in check(run.folder).broken["jobs"][0]
    assert call(["runs", "check", str(run.folder)]) == 1
    said = capsys.readouterr()
    assert f"give circuitune run --recipe {run.folder / RECIPE} --out {run.folder}." in said.err
    assert "remove" not in said.err


def test_a_run_that_was_not_finished_says_so(copy: tuple[Run, Plan]):
    (copy[0].folder / COMPLETE).unlink()
    assert check(copy[0].folder).broken.keys() == {FINISHED}


def test_a_damaged_recipe_is_named(copy: tuple[Run, Plan]):
    (copy[0].folder / RECIPE).write_text("{")
    assert check(copy[0].folder).broken.keys() == {RECIPE}


def test_copies_of_users_files_are_covered(model: Path, tmp_path: Path):
    rows = [f"{pair.clean},{pair.corrupted},{pair.answer.strip()}" for pair in task("add_sub", limit=20)][:200]
    (tmp_path / "mine.csv").write_text("\n".join(["clean,corrupted,label", *rows]))
    recipe = tiny.recipe(model, tmp_path, file=str(tmp_path / "mine.csv"))
    run, jobs = tiny.prepared(freeze(recipe), tmp_path / "run")
    (inside,) = (run.folder / INPUTS).glob("*/mine.csv")
    flip(inside)
    name = inside.relative_to(run.folder).as_posix()
    assert "has changed" in check(run.folder).broken[name][0]
    with pytest.raises(InputError, match="has changed since the run began"):
        tiny.finish(run, jobs)
    with pytest.raises(InputError, match="has changed since the run began"):
        freeze(run.recipe.model_copy(update={"data": run.recipe.data.model_copy(update={"file": str(inside)})}))
    inside.unlink()
    assert "is missing" in check(run.folder).broken[name][0]
    tiny.prepared(freeze(recipe), run.folder)
    assert check(run.folder).checked[name] == []


def test_stale_jobs_are_named_and_whole(
    copy: tuple[Run, Plan], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run, _ = copy
    for module in ("store", "checking"):
        monkeypatch.setattr(f"circuitune.experiments.{module}.NUMERICS", store.NUMERICS + 1)
    found = check(run.folder)
    assert found.stale == stale_jobs(run) == [job.folder.name for job in run.jobs]
    assert not found.broken
    with pytest.raises(InputError, match="is stale: its numbers are those of version"):
        _ = run.jobs[0].spec
    assert call(["runs", "check", str(run.folder)]) == 0
    assert "Stale: " in capsys.readouterr().out
    assert call(["runs", "list", str(run.folder.parent), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)[0]["stale"] == len(run.jobs)
    assert "the same recipe puts them aside" in said.err


def test_what_is_missing_is_named_beside_what_is_stale(copy: tuple[Run, Plan]):
    run, jobs = copy
    old = run.job(jobs.tuning[0])
    spec = old.spec.model_copy(update={"numerics": store.NUMERICS + 1})
    folder = old.folder.rename(old.folder.with_name(folder_name(spec)))
    (folder / SPEC).write_text(spec.model_dump_json())
    complete(folder)
    gone = run.job(jobs.analyses[0]).folder
    shutil.rmtree(gone)
    found = check(run.folder)
    assert found.stale == [folder.name]
    assert found.broken[f"jobs/{gone.name}"] == [f"{gone} is missing."]
    assert f"jobs/{old.folder.name}" not in found.broken  # it is not missing but stale


def test_a_studys_tables_without_their_seal_are_not_finished(finished: tuple[Run, Plan], tmp_path: Path):
    shutil.copytree(finished[0].folder, tmp_path / "one")
    (tmp_path / RESULTS).mkdir()
    (tmp_path / RESULTS / "verdicts.csv").write_text("hypothesis\n")
    found = check(tmp_path)
    assert found.broken.keys() == {RESULTS}
    assert "study is not finished" in found.broken[RESULTS][0]
    assert found.again == ["circuitune sweep, as before"]
    complete(tmp_path / RESULTS)
    assert not check(tmp_path).broken


def test_a_study_is_checked_with_its_runs_and_ledgers(finished: tuple[Run, Plan], tmp_path: Path):
    for name in ("one", "two"):
        shutil.copytree(finished[0].folder, tmp_path / name)
        keep(Run(tmp_path / name), finished[1].jobs, tmp_path / name / LEDGER)
    assert not check(tmp_path).broken
    flip(tmp_path / "two" / LEDGER, 40)
    (tmp_path / "one" / "jobs" / finished[0].job(finished[1].pairs).folder.name / SPEC).unlink()
    found = check(tmp_path)
    assert {name.split("/")[0] for name in found.broken} == {"one", "two"}
    assert f"two/{LEDGER}" in found.broken


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="is no run folder and holds none"):
        check(tmp_path)


def test_tables_are_not_made_of_a_job_that_changed(copy: tuple[Run, Plan]):
    run, jobs = copy
    table = run.job(jobs.methods[0]).folder / "accuracy.csv"
    text = table.read_text()
    table.write_text(text.replace("0.", "1.", 1))  # another number, still a table
    with pytest.raises(InputError, match=r"accuracy\.csv has changed"):
        conclude(run, jobs)
