"""``circuitune sweep`` as a user starts it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from circuitune.cli import call
from circuitune.core.csvio import read_rows
from circuitune.core.study_records import ClaimRow
from experiments import tiny, tiny_study


def one_run(model: Path, folder: Path) -> Path:
    """A study of one run."""
    study, registered = tiny_study.study(model), tiny_study.registration(model)
    study["runs"] = study["runs"][:1]
    del registered["tasks"]["sequence"]
    registered["rule"]["tasks"] = 1
    return tiny_study.write(folder, study, registered)


def test_a_dry_run_says_what_there_is_to_do_and_writes_nothing(
    here: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    tiny_study.write(here, tiny_study.study(model), tiny_study.registration(model))
    before = tiny.content(here)
    assert call(["sweep", "tiny.yaml", "--dry-run"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in shown[1:3]] == [["add_sub", "7", "0"], ["sequence", "7", "0"]]
    assert "of work are left, 2 at a time." in shown[3]
    assert shown[4] == "No run is finished yet, so there is no verdict."
    assert tiny.content(here) == before


def test_a_run_s_bad_input_is_found_before_anything_is_done(
    here: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    study, registered = tiny_study.study(model), tiny_study.registration(model)
    data: dict[str, Any] = {"task": "alchemy"}
    study["runs"][1]["data"] = registered["tasks"]["sequence"]["data"] = data
    tiny_study.write(here, study, registered)
    before = tiny.content(here)
    assert call(["sweep", "tiny.yaml"]) == 2
    assert "alchemy" in capsys.readouterr().err.splitlines()[-1]
    assert tiny.content(here) == before


def test_what_is_not_asked_for_is_not_read(here: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    study, registered = tiny_study.study(model), tiny_study.registration(model)
    data: dict[str, Any] = {"task": "alchemy"}
    study["runs"][1]["data"] = registered["tasks"]["sequence"]["data"] = data
    tiny_study.write(here, study, registered)
    assert call(["sweep", "tiny.yaml", "--only", "add_sub", "--dry-run"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:2]] == ["add_sub"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.yaml"], "Study none.yaml cannot be read"),
        (["broken.yaml"], "is not valid YAML"),
        (["recipe.yaml"], "field registration: Field required"),
        (["tiny.yaml", "--jobs", "0"], "at least one worker"),
        (["tiny.yaml", "--dry-run", "--export", "kept"], "either --dry-run"),
        (["tiny.yaml", "--export", "broken.yaml"], "is a file; give a folder"),
        (["tiny.yaml", "--out", "broken.yaml"], "broken.yaml is a file"),
        (["tiny.yaml", "--only", "lcm"], "has no run lcm"),
        (["tiny.yaml", "--teraflops", "9"], "--teraflops belongs to --dry-run"),
        (["tiny.yaml", "--model", "nano", "--export", "kept"], "A rehearsal is not exported"),
        (["tiny.yaml", "--rehearse", "none.yaml"], "--rehearse none.yaml cannot be read"),
        (["tiny.yaml", "--out", "run"], "run is the folder of a single run"),
    ],
)
def test_bad_requests_are_one_sentence(
    arguments: list[str], message: str, here: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    one_run(model, here)
    (here / "broken.yaml").write_text("a: [")
    (here / "recipe.yaml").write_text(yaml.safe_dump({"extends": "default", "name": "mine"}))
    (here / "run").mkdir()
    (here / "run" / "recipe.yaml").write_text("")
    before = tiny.content(here)
    assert call(["sweep", *arguments]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("circuitune: ")
    assert message in last
    assert tiny.content(here) == before


def test_a_shape_is_enough_for_a_dry_run(here: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    study, registered = tiny_study.study(model), tiny_study.registration(model)
    study["shape"] = {"model_type": "gpt_neox", "num_hidden_layers": 40, "hidden_size": 64, "num_attention_heads": 4}
    study["model"] = registered["model"] = "nowhere/large"
    tiny_study.write(here, study, registered)
    before = tiny.content(here)
    assert call(["sweep", "tiny.yaml", "--dry-run", "--teraflops", "0.001"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in shown[1:3]] == [["add_sub", "7"], ["sequence", "7"]]
    hours = [float(line.split()[-1]) for line in shown[1:3]]
    assert all(hours)
    assert shown[3].startswith(f"14 jobs, about {sum(hours):.1f} GPU hours")
    assert "Assumed: 0.001 x 1e12 operations a second" in shown[4]
    assert call(["sweep", "tiny.yaml", "--dry-run", "--model", str(model), "--only", "sequence"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown[1:2]] == ["sequence"]
    assert shown[-1] == f"A rehearsal: model: {model}; revision: null."
    assert tiny.content(here) == before


def test_a_model_of_another_shape_is_refused(here: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    study = {**tiny_study.study(model), "shape": {"model_type": "gpt_neox", "num_hidden_layers": 4}}
    tiny_study.write(here, study, tiny_study.registration(model))
    assert call(["sweep", "tiny.yaml"]) == 2
    assert "shape: num_hidden_layers is 4, and" in capsys.readouterr().err.splitlines()[-1]
    assert not (here / "runs").exists()


@pytest.mark.slow
def test_a_rehearsal_says_that_it_does_not_count(here: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    one_run(model, here)
    (here / "small.yaml").write_text(yaml.safe_dump({"tuning": {"seeds": [0]}, "training": {"rows": 40}}))
    assert call(["sweep", "tiny.yaml", "--rehearse", "small.yaml"]) == 0
    assert all(line.startswith("Rehearsal, does not count.") for line in capsys.readouterr().out.splitlines())
    document = (here / "runs" / "tiny-rehearsal" / "study" / "verdicts.md").read_text()
    assert "no verdict below counts.** It was not done as registered (training: {rows: 40}; tuning:" in document


@pytest.mark.slow
def test_a_whole_study_ends_with_verdicts_and_resumes(tmp_path: Path, model: Path):
    one_run(model, tmp_path)
    command = [sys.executable, "-c", "from circuitune.cli import main; main()", "sweep", "tiny.yaml", "--out", "mine"]
    first = subprocess.run(
        [*command, "--export", "kept"], cwd=tmp_path, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert first.returncode == 0, first.stderr
    claims = read_rows(tmp_path / "mine" / "study" / "verdicts.csv", ClaimRow)
    assert first.stdout.splitlines() == [claim.sentence for claim in claims]
    assert "2 seeds of 3 are there" in claims[0].sentence
    assert (tmp_path / "mine" / "add_sub" / "report.html").is_file()
    assert (tmp_path / "kept" / "add_sub" / "faithfulness.csv").is_file()
    assert "[7/7]" in first.stderr

    before = tiny.content(tmp_path)
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "All are done already." in again.stderr
    assert again.stderr.count("kept from before") == 7
    assert again.stdout == first.stdout
    assert tiny.content(tmp_path) == before

    dry = subprocess.run([*command, "--dry-run"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert dry.stdout.endswith(first.stdout)
