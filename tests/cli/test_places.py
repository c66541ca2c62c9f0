"""``--engine``: what fits together, and a queue that does the jobs between two commands."""

import re
from pathlib import Path

import pytest

from circuitune.cli import call
from circuitune.core.csvio import read_rows
from circuitune.core.study_records import ClaimRow
from circuitune.experiments.job import run_job
from cli.test_sweep import one_run
from experiments import tiny


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jobs", "0"], "--jobs 0: at least one worker is needed."),
        (["--address", "auto"], "--address belongs to --engine ray."),
        (["--engine", "slurm", "--address", "auto"], "--address belongs to --engine ray."),
        (["--engine", "cloud"], "cloud"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "sweep"])
def test_options_that_do_not_fit_together_are_refused(
    verb: str, options: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
):
    assert call([verb, *(["tiny.yaml"] if verb == "sweep" else []), *options]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not any(here.iterdir())


def test_without_ray_the_sentence_says_how_to_get_it(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("circuitune.cli.places.find_spec", lambda name: None)
    assert call(["run", "--engine", "ray"]) == 2
    assert capsys.readouterr().err.endswith("install it with: pip install 'circuitune[ray]'.\n")
    assert not any(here.iterdir())


def do_the_queues_work(run: Path) -> None:
    """Every job that the sbatch files name, stage by stage, as a queue would do them."""
    for stage in sorted((run / "slurm").glob("stage-*.sbatch")):
        for name in re.findall(r"^    (\S+) +#", stage.read_text(), re.MULTILINE):
            run_job(run / "jobs" / name)


@pytest.mark.slow
def test_a_run_left_to_a_queue_is_collected_by_the_same_command(
    here: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PATH", "/nowhere")  # no sbatch
    (here / "tiny.yaml").write_text(tiny.RECIPE)
    command = ["run", "--recipe", "tiny.yaml", "--model", str(model), "--out", "run", "--engine", "slurm"]
    assert call(command) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("12 of 12 jobs are to be done. ")
    assert "type: bash run/slurm/submit.sh When they are done, the same command" in shown.out
    assert not (here / "run" / "summary.json").exists()
    do_the_queues_work(here / "run")
    assert call(command) == 0
    assert capsys.readouterr().out.endswith("Report: run/report.html\n")


@pytest.mark.slow
def test_a_study_left_to_a_queue_has_verdicts_once_it_is_collected(
    here: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PATH", "/nowhere")
    one_run(model, here)
    command = ["sweep", "tiny.yaml", "--out", "mine", "--engine", "slurm"]
    assert call(command) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("add_sub: 7 of 7 jobs are to be done.")
    assert shown[1] == "No run is finished yet, so there is no verdict."
    do_the_queues_work(here / "mine" / "add_sub")
    assert call(command) == 0
    claims = read_rows(here / "mine" / "study" / "verdicts.csv", ClaimRow)
    assert capsys.readouterr().out.splitlines() == [claim.sentence for claim in claims]
