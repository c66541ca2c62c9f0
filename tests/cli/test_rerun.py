"""``circuitune rerun``: one arm of a contest with what it depends on, and nothing else."""

from pathlib import Path

import pytest

from circuitune.cli import call
from circuitune.core.csvio import read_rows, write_rows
from circuitune.core.records import MethodRow
from circuitune.experiments.plan import plan
from circuitune.experiments.recipe import load_recipe
from circuitune.experiments.specs import ModelRef, folder_name
from circuitune.experiments.store import Run
from experiments import tiny_study

CONTEST = {"seeds": [0, 1], "rank": 1, "critical_rank": 2, "random_draws": 1, "rivals": ["first"]}


def contested(model: Path, folder: Path) -> Path:
    """A study of one run with a contest alone."""
    study, registered = tiny_study.study(model), tiny_study.registration(model)
    study |= {"runs": study["runs"][:1], "tuning": None, "contest": CONTEST}
    task = registered["tasks"]["add_sub"] | {"contest": CONTEST}
    hypothesis = tiny_study.hypothesis("accuracy", arm="circuitlora", rival="uniform")
    registered |= {"tasks": {"add_sub": task}, "tuning": None, "hypotheses": {"it": hypothesis}}
    registered["rule"]["tasks"] = 1
    return tiny_study.write(folder, study, registered)


def test_an_arm_needs_what_its_ranks_come_from():
    recipe = load_recipe(
        "default", {"tuning": None, "contest": {"rivals": ["compute", "first"], "rates": [0.1, 0.2]}}
    )
    jobs = plan(recipe, ModelRef(name="m", fingerprint="0" * 64))
    for arm, kinds in {"first": {"pairs", "train"}, "compute": {"pairs", "train", "discover"}}.items():
        needed = jobs.needed(jobs.of_arm(arm))
        names = [folder_name(job) for job in needed]
        assert all(set(job.inputs.values()) <= set(names[:place]) for place, job in enumerate(needed))
        assert {job.kind for job in needed} == kinds
        arms = {job.arm for job in needed if job.kind == "train"}
        assert arms == ({arm} if arm == "first" else {"phase1", "circuitlora", "compute"})
    assert [job.seed for job in jobs.of_arm("first", (0,))] == [0]


def test_whoever_takes_no_part_is_named(here: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    contested(model, here)
    for arguments, said in (
        (["add_sub", "best"], "best takes no part in this run; it has circuitlora, uniform, random, first."),
        (["add_sub", "first", "--seeds", "7"], "Seed 7 takes no part in this run; it has 0, 1."),
        (["lcm", "first"], "has no run lcm"),
        (["add_sub", "first", "--published", "none"], "none/add_sub/methods.csv is not there"),
    ):
        assert call(["rerun", "tiny.yaml", *arguments]) == 2
        assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (here / "runs").exists()


@pytest.mark.slow
def test_an_arm_is_done_beside_what_was_published_and_the_study_goes_on(
    here: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    contested(model, here)
    assert call(["rerun", "tiny.yaml", "add_sub", "first", "--seeds", "1"]) == 0
    shown = capsys.readouterr().out.splitlines()
    run = Run(here / "runs" / "tiny" / "add_sub")
    done = [job.folder.name.rsplit("-", 1)[0] for job in run.jobs if job.complete]
    assert done == ["pairs", "train-first-seed1"]
    assert not (run.folder / "tables").exists()

    assert call(["sweep", "tiny.yaml", "--export", "kept"]) == 0
    capsys.readouterr()
    rows = read_rows(here / "kept" / "add_sub" / "methods.csv", MethodRow)
    own = next(row for row in rows if (row.arm, row.seed) == ("first", 1))
    assert shown[1].split()[4] == f"{own.accuracy:.4f}"
    assert call(["rerun", "tiny.yaml", "add_sub", "first", "--published", "kept", "--out", "again"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in told[1:]] == ["+0.0000", "+0.0000"]  # the same machine, so the same weights

    write_rows(here / "kept" / "add_sub" / "methods.csv", [row for row in rows if row.seed == 0], MethodRow)
    assert call(["rerun", "tiny.yaml", "add_sub", "first", "--published", "kept", "--out", "again"]) == 0
    assert [line.split()[-2:] for line in capsys.readouterr().out.splitlines()[2:]] == [["-", "-"]]
