"""``circuitune run`` as a user starts it: a process of its own, two workers, a report at the end."""

import subprocess
import sys
from pathlib import Path

import pytest

from circuitune.core.records import SummaryRecord, read_record
from experiments import tiny

COMMAND = [sys.executable, "-c", "from circuitune.cli import main; main()", "run"]


@pytest.mark.slow
def test_a_whole_run_ends_with_summary_and_report_and_resumes(tmp_path: Path, model: Path):
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(tiny.RECIPE)
    command = [*COMMAND, "--recipe", str(recipe), "--model", str(model), "--out", "mine"]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    summary = read_record(tmp_path / "mine" / "summary.json", SummaryRecord)
    lines = first.stdout.splitlines()
    assert lines[0] == summary.title
    assert lines[1:-1] == [f"- {sentence}" for sentence in summary.sentences]
    assert lines[-1] == "Report: mine/report.html"
    page = (tmp_path / "mine" / "report.html").read_text()
    assert summary.findings.changes[0] in page
    assert model.name in page
    assert str(model) not in page
    assert str(model) in (tmp_path / "mine" / "recipe.yaml").read_text()
    assert "12 to do, 2 at a time: about" in first.stderr
    assert "[12/12]" in first.stderr
    assert "left" in first.stderr

    before = tiny.content(tmp_path / "mine")
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "all are done already" in again.stderr
    assert again.stdout == first.stdout
    assert tiny.content(tmp_path / "mine") == before


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ([], "nano-add_sub"),
        (["--quick"], "nano-add_sub-quick"),
        (["--full"], "nano-add_sub-full"),
        (["--task", "sequence"], "nano-sequence"),
        (["--task", "sequence", "--quick"], "nano-sequence-quick"),
        (["--model", "some/thing"], "thing-add_sub"),
        (["--pairs", "my pairs.csv"], "nano-my_pairs"),
    ],
)
def test_the_folder_s_name_says_what_is_in_it(
    options: list[str], name: str, here: Path, monkeypatch: pytest.MonkeyPatch
):
    from circuitune.cli import call
    from circuitune.core.errors import InputError

    (here / "my pairs.csv").write_text("clean,corrupted,answer\n")
    asked: list[Path] = []

    def stop(frozen: object, folder: Path, *rest: object) -> None:
        asked.append(folder)
        raise InputError("enough")

    monkeypatch.setattr("circuitune.experiments.run.conduct", stop)
    monkeypatch.setattr("circuitune.experiments.inputs.freeze", lambda recipe, **_: recipe)
    assert call(["run", *options]) == 2
    assert asked == [Path("runs") / name]
