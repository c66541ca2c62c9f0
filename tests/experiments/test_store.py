import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from circuitune.core.errors import InputError
from circuitune.core.formats import RUN
from circuitune.core.locking import LOCK, locked
from circuitune.core.manifest import COMPLETE
from circuitune.experiments.checking import check
from circuitune.experiments.inputs import freeze
from circuitune.experiments.job import run_job
from circuitune.experiments.plan import Plan
from circuitune.experiments.run import conclude
from circuitune.experiments.store import RECIPE, SPEC, Run, check_destination, create
from experiments import tiny


@pytest.fixture
def empty(model: Path, tmp_path: Path) -> tuple[Run, Plan]:
    return tiny.prepared(freeze(tiny.recipe(model, tmp_path)), tmp_path / "run")


def test_a_job_that_decides_cannot_read_the_test_split(finished: tuple[Run, Plan]):
    run, jobs = finished
    assert len(run.job(jobs.phase1[0]).pairs("validation")) > 0
    with pytest.raises(InputError, match="cannot read the test split"):
        run.job(jobs.phase1[0]).pairs("test")
    assert len(run.job(jobs.tuning[0]).pairs("test")) == 40


def test_a_job_needs_complete_inputs(empty: tuple[Run, Plan]):
    run, jobs = empty
    with pytest.raises(InputError, match="not complete"):
        run.job(jobs.tuning[0]).pairs("train")


def test_progress_is_none_while_a_worker_clears_what_was_left(
    empty: tuple[Run, Plan], monkeypatch: pytest.MonkeyPatch
):
    run, jobs = empty
    job = run.job(jobs.tuning[0])
    listed, folder = Path.iterdir, job.folder / "checkpoints"

    def cleared(path: Path):
        if path == folder and path.is_dir():
            shutil.rmtree(path)
        return listed(path)

    assert job.progress() == 0
    (folder / "step-00000").mkdir(parents=True)
    assert 0 < job.progress() < 1
    monkeypatch.setattr(Path, "iterdir", cleared)
    assert job.progress() == 0
    assert not folder.exists()


def test_an_edited_spec_is_refused(empty: tuple[Run, Plan]):
    run, jobs = empty
    path = run.job(jobs.tuning[0]).folder / SPEC
    spec = json.loads(path.read_text())
    spec["seed"] = 7
    path.write_text(json.dumps(spec))
    with pytest.raises(InputError, match="not the spec its folder is named after"):
        _ = run.job(jobs.tuning[0]).spec


@pytest.mark.parametrize("damage", ["", "{", '{"kind": "other"}'])
def test_a_damaged_spec_is_refused(empty: tuple[Run, Plan], damage: str):
    run, jobs = empty
    (run.job(jobs.pairs).folder / SPEC).write_text(damage)
    with pytest.raises(InputError, match="run the recipe again"):
        _ = run.job(jobs.pairs).spec


def test_a_run_folder_can_be_moved_with_the_lock_of_a_killed_process(finished: tuple[Run, Plan], tmp_path: Path):
    shutil.copytree(finished[0].folder, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / LOCK).write_text("process 1 on another machine")
    next((tmp_path / "elsewhere" / "jobs").iterdir()).joinpath(LOCK).touch()
    run = Run.open(tmp_path / "elsewhere")
    assert run.recipe == finished[0].recipe
    assert all(run.job(spec).complete for spec in finished[1].jobs)
    with locked(run.folder):
        tiny.finish(run, finished[1])
    assert not check(run.folder).broken


@pytest.mark.parametrize("year", [1975, 2090])
def test_no_time_of_a_file_decides_anything(year: int, finished: tuple[Run, Plan], tmp_path: Path):
    shutil.copytree(finished[0].folder, tmp_path / "run")
    run, jobs = Run.open(tmp_path / "run"), finished[1]
    for path in run.folder.rglob("*"):
        os.utime(path, (365.25 * 86400 * (year - 1970),) * 2)
    before = tiny.content(run.folder)
    folder = run.job(jobs.phase1_circuits[0]).folder
    (folder / COMPLETE).unlink()  # this one is done again from older, or newer, inputs; the others are not
    times = {path: path.stat().st_mtime_ns for path in run.job(jobs.tuning[0]).folder.rglob("*")}
    tiny.finish(run, jobs)
    assert tiny.content(run.folder) == before
    assert times == {path: path.stat().st_mtime_ns for path in run.job(jobs.tuning[0]).folder.rglob("*")}


def test_jobs_of_another_recipe_are_put_aside_and_come_back(finished: tuple[Run, Plan], tmp_path: Path, model: Path):
    shutil.copytree(finished[0].folder, tmp_path / "run")
    run, jobs = Run.open(tmp_path / "run"), finished[1]
    fewer = [spec for spec in jobs.jobs if spec not in jobs.methods]
    run.prepare(fewer)
    assert not run.job(jobs.methods[0]).folder.exists()
    assert all(run.job(spec).complete for spec in fewer)
    run.prepare(jobs.jobs)
    assert all(run.job(spec).complete for spec in jobs.jobs)


def test_progress_counts_checkpoints(empty: tuple[Run, Plan], finished: tuple[Run, Plan]):
    run, jobs = empty
    job = run.job(jobs.tuning[0])
    assert job.progress() == 0
    (job.folder / "checkpoints" / "step-00000").mkdir(parents=True)
    assert job.progress() == pytest.approx(1 / 3)
    assert finished[0].job(jobs.tuning[0]).progress() == 1


class TestDestination:
    def test_a_file_where_a_folder_belongs(self, tmp_path: Path):
        (tmp_path / "taken").write_text("x")
        with pytest.raises(InputError, match="is a file"):
            check_destination(tmp_path / "taken")
        with pytest.raises(InputError, match="is a file"):
            check_destination(tmp_path / "taken" / "below")

    def test_a_folder_of_other_things(self, tmp_path: Path):
        (tmp_path / "thesis.tex").write_text("x")
        with pytest.raises(InputError, match="holds other files"):
            check_destination(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    def test_what_a_process_killed_at_its_start_leaves_is_no_obstacle(self, model: Path, tmp_path: Path):
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / LOCK).touch()
        (folder / ".0123456789ab.partial").touch()
        check_destination(folder)
        (folder / LOCK).unlink()
        frozen = freeze(tiny.recipe(model, tmp_path))
        create(folder, frozen.recipe, {})
        (folder / RECIPE).unlink()  # killed before the recipe was written
        check_destination(folder)

    def test_an_unwritable_folder(self, model: Path, tmp_path: Path):
        frozen = freeze(tiny.recipe(model, tmp_path))
        with pytest.raises(InputError, match="/proc/circuitune"):
            create(Path("/proc/circuitune/run"), frozen.recipe, {})

    @pytest.mark.parametrize("mode", ["555", "000"])
    def test_a_folder_without_permission(self, mode: str):
        script = (
            "import os, tempfile\nfrom pathlib import Path\n"
            "from circuitune.core.errors import InputError\n"
            "from circuitune.experiments.store import check_destination\n"
            "with tempfile.TemporaryDirectory() as name:\n"
            f"    os.chmod(name, 0o{mode})\n"
            "    if os.geteuid() == 0:\n"
            "        os.setresuid(65534, 65534, 0)\n"  # root may write everywhere, nobody may not
            "    try:\n        check_destination(Path(name) / 'run')\n"
            "    except InputError as error:\n        print(error)\n"
            "    if os.getresuid()[2] == 0:\n        os.setresuid(0, 0, 0)\n"
            "    os.chmod(name, 0o700)\n"
        )
        said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        assert "ermission" in said
        assert "choose another folder" in said

    def test_an_existing_run_is_taken_over(self, finished: tuple[Run, Plan]):
        check_destination(finished[0].folder)


def test_a_run_of_a_newer_version_is_refused_with_its_number(finished: tuple[Run, Plan], tmp_path: Path):
    shutil.copytree(finished[0].folder, tmp_path / "run")
    (tmp_path / "run" / RUN).write_text('{"format": 2, "circuitune": "3.1", "something": "new"}')
    for read in (Run.open, check_destination, check):
        with pytest.raises(InputError, match=r"format 2, which circuitune 3\.1 began; this version reads .* up to 1"):
            read(tmp_path / "run")


@pytest.mark.parametrize("damage", ["", "[]", '{"format": 0, "circuitune": ""}', '{"format": "x", "circuitune": ""}'])
def test_a_damaged_format_is_refused(damage: str, finished: tuple[Run, Plan], tmp_path: Path):
    shutil.copytree(finished[0].folder, tmp_path / "run")
    (tmp_path / "run" / RUN).write_text(damage)
    with pytest.raises(InputError, match=RUN):
        Run.open(tmp_path / "run")


def test_a_run_begun_before_there_was_a_format_is_read(finished: tuple[Run, Plan], tmp_path: Path):
    shutil.copytree(finished[0].folder, tmp_path / "run")
    (tmp_path / "run" / RUN).unlink()
    assert Run.open(tmp_path / "run").recipe == finished[0].recipe


def test_a_file_of_a_finished_job_that_changed_is_not_built_upon(finished: tuple[Run, Plan], tmp_path: Path):
    shutil.copytree(finished[0].folder, tmp_path / "run")
    run, jobs = Run(tmp_path / "run"), finished[1]
    trained, circuits = run.job(jobs.phase1[0]).folder, run.job(jobs.phase1_circuits[0]).folder
    weights = trained / "checkpoints" / "step-00003" / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1  # PEFT would load it without a word
    weights.write_bytes(data)
    (circuits / COMPLETE).unlink()
    with pytest.raises(InputError, match=r"adapter_model.safetensors has changed.* Remove .*phase1.*; the same"):
        run_job(circuits)
    with pytest.raises(InputError, match="has changed"):
        conclude(run, jobs)
    shutil.rmtree(trained)
    run.prepare(jobs.jobs)
    tiny.finish(run, jobs)
    assert tiny.content(run.folder) == tiny.content(finished[0].folder)


def test_a_folder_without_recipe_is_no_run(tmp_path: Path):
    with pytest.raises(InputError, match=RECIPE):
        Run.open(tmp_path)


def test_complete_needs_every_file_at_its_size(finished: tuple[Run, Plan], tmp_path: Path):
    shutil.copytree(finished[0].folder, tmp_path / "run")
    job = Run(tmp_path / "run").job(finished[1].pairs)
    assert job.complete
    with (job.folder / "train.jsonl").open("a") as file:
        file.write("\n")
    assert not job.complete
    (job.folder / COMPLETE).unlink()
    assert not job.complete
