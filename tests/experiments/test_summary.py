from pathlib import Path

import pytest

from circuitune.core.csvio import read_rows, write_rows
from circuitune.core.records import ChangeRow, FaithfulnessRow, MethodRow, SummaryRecord, read_record
from circuitune.experiments.plan import Plan
from circuitune.experiments.store import Run
from circuitune.experiments.summary import summarise


@pytest.fixture
def copied(finished: tuple[Run, Plan], tmp_path: Path) -> tuple[Run, Plan]:
    """The finished run with tables one may rewrite; jobs are the finished run's own."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("recipe.yaml", "jobs"):
        (folder / name).symlink_to(finished[0].folder / name)
    (folder / "tables").mkdir()
    for path in (finished[0].folder / "tables").iterdir():
        (folder / "tables" / path.name).write_bytes(path.read_bytes())
    return Run(folder), finished[1]


def said(run: tuple[Run, Plan]) -> str:
    return " ".join(summarise(*run).sentences)


def change(run: Run, changes: dict[str, float], nulls: dict[str, float] | None) -> None:
    """Rewrite change.csv to these rates by kind."""
    path = run.folder / "tables" / "change.csv"
    rows = [
        row.model_copy(update={"rate": (changes if row.role == "change" else nulls or {})[row.kind]})
        for row in read_rows(path, ChangeRow)
        if row.role == "change" or nulls is not None
    ]
    write_rows(path, rows, ChangeRow)


def methods(run: Run, ours: tuple[float, float, float], uniform: tuple[float, float, float], seeds: int = 1) -> None:
    """Rewrite methods.csv to these accuracies and their intervals."""
    path = run.folder / "tables" / "methods.csv"
    values = {"circuitlora": ours, "uniform": uniform, "random": uniform}
    rows = [
        row.model_copy(update={"seed": seed, **dict(zip(("accuracy", "low", "high"), values[row.arm], strict=True))})
        for seed in range(seeds)
        for row in read_rows(path, MethodRow)
    ]
    write_rows(path, rows, MethodRow)


def test_it_is_about_ten_sentences_and_notes(finished: tuple[Run, Plan]):
    summary = read_record(finished[0].folder / "summary.json", SummaryRecord)
    assert len(summary.sentences) == 10
    assert all(sentence.endswith(".") for sentence in summary.sentences)
    assert any("validation" in note for note in summary.notes)


def test_the_sentences_are_the_findings_the_page_shows(finished: tuple[Run, Plan]):
    summary = read_record(finished[0].folder / "summary.json", SummaryRecord)
    found = summary.findings
    assert summary.sentences[1:] == [*found.training, *found.changes, *found.where, *found.contest]
    assert all(sentence.endswith(".") for sentence in found.cautions)


def test_it_can_say_that_change_is_no_larger_than_chance(copied: tuple[Run, Plan]):
    change(copied[0], {"edge": 0.5, "node": 0.2}, {"edge": 0.6, "node": 0.1})
    text = said(copied)
    assert "are 50.0% of the circuit before, those in which two seeds of the same tuning differ 60.0%" in text
    assert "the change is no larger than the null" in text
    assert "Nodes: those that fine-tuning added or removed are 20.0%" in text
    assert "Edges changed 2.5 times as much as nodes" in text
    assert "the ratio is 6.0: no larger than the null, so it is no mark of learning" in text


def test_a_ratio_above_that_between_seeds_is_called_larger(copied: tuple[Run, Plan]):
    change(copied[0], {"edge": 0.8, "node": 0.2}, {"edge": 0.2, "node": 0.1})
    assert "the ratio is 2.0: larger than the null." in said(copied)


def test_without_a_second_seed_it_says_that_there_is_no_null(copied: tuple[Run, Plan]):
    change(copied[0], {"edge": 0.5, "node": 0.2}, None)
    assert "with one seed there is no null to hold that against" in said(copied)


def test_it_can_say_better_no_better_and_worse(copied: tuple[Run, Plan]):
    high, low, middle = (0.9, 0.88, 0.92), (0.5, 0.48, 0.52), (0.89, 0.87, 0.91)
    methods(copied[0], high, low)
    assert "+40.0 points" in said(copied)
    assert ": better than uniform here; another seed may say otherwise" in said(copied)
    methods(copied[0], high, middle)
    assert ": no better than uniform, the test rows cannot tell the two apart" in said(copied)
    methods(copied[0], low, high)
    assert ": worse than uniform here" in said(copied)


def test_few_seeds_are_an_illustration_and_many_are_not(copied: tuple[Run, Plan]):
    assert "one seed: it is an illustration, not a test" in said(copied)
    methods(copied[0], (0.9, 0.88, 0.92), (0.5, 0.48, 0.52), seeds=8)
    assert "rests on 8 seeds." in said(copied)
    assert "illustration" not in said(copied)


def test_undefined_faithfulness_is_said_and_not_hidden(copied: tuple[Run, Plan]):
    path = copied[0].folder / "tables" / "faithfulness.csv"
    rows = [
        row.model_copy(update={"normalized": None, "normalized_low": None, "normalized_high": None, "reason": "why"})
        for row in read_rows(path, FaithfulnessRow)
    ]
    write_rows(path, rows, FaithfulnessRow)
    assert "an undefined share" in said(copied)
