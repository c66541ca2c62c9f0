import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from circuitune.core.errors import InputError
from circuitune.core.locking import locked
from circuitune.core.manifest import COMPLETE
from circuitune.experiments.inputs import freeze
from circuitune.experiments.plan import Plan
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


def test_check_finds_every_changed_byte(finished: tuple[Run, Plan], tmp_path: Path):
    folder = tmp_path / "copy"
    shutil.copytree(finished[0].folder, folder)
    assert not any(Run.open(folder).check().values())
    scores = next(folder.glob("jobs/circuits-*/scores/*.safetensors"))
    data = bytearray(scores.read_bytes())
    data[-1] ^= 1
    scores.write_bytes(data)
    (folder / "jobs" / next(iter(folder.glob("jobs/pairs-*"))).name / "test.jsonl").unlink()
    problems = {name: found for name, found in Run.open(folder).check().items() if found}
    assert {name.rsplit("-", 1)[0] for name in problems} == {scores.parent.parent.name.rsplit("-", 1)[0], "pairs"}


def test_a_run_folder_can_be_moved(finished: tuple[Run, Plan], tmp_path: Path):
    shutil.copytree(finished[0].folder, tmp_path / "elsewhere")
    run = Run.open(tmp_path / "elsewhere")
    assert run.recipe == finished[0].recipe
    assert all(run.job(spec).complete for spec in finished[1].jobs)


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


def test_a_second_process_is_told_that_the_folder_is_taken(tmp_path: Path):
    script = (
        "from pathlib import Path\nimport sys\nfrom circuitune.core.locking import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    assert holder.stdin
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match="Another process is working"), locked(tmp_path):
        pass
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    with locked(tmp_path):  # a dead process holds nothing
        pass


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
