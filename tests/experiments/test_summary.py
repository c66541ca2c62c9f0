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
    assert len(summary.sentences) == 11
    assert all(sentence.endswith(".") for sentence in summary.sentences)
    assert any("validation" in note for note in summary.notes)


def test_what_the_summary_says_in_full_is_found_in_its_section(finished: tuple[Run, Plan]):
    summary = read_record(finished[0].folder / "summary.json", SummaryRecord)
    found = summary.findings
    assert {*found.training, *found.where[:1]} <= {*summary.sentences}
    assert all(sentence.endswith(".") for sentence in found.cautions)


def test_it_says_by_which_rule_the_layers_were_chosen(copied: tuple[Run, Plan]):
    text = said(copied)
    assert "those of the released rule, which counts the change of score of all edges that leave the layer." in text
    assert "the normalised rule counts the change" in text


def test_it_says_how_many_pairs_are_trained_on_and_what_is_trained(finished: tuple[Run, Plan]):
    summary = read_record(finished[0].folder / "summary.json", SummaryRecord)
    assert "pairs, of which 120 are trained on" in summary.sentences[0]
    assert summary.notes[0].startswith("Model: ")
    assert "LoRA of rank" in summary.notes[1]


def test_it_can_say_that_change_is_no_larger_than_chance(copied: tuple[Run, Plan]):
    change(copied[0], {"edge": 0.5, "node": 0.2}, {"edge": 0.6, "node": 0.1})
    text = said(copied)
    assert "Edges changed no more than chance explains: fine-tuning added or removed 50.0% of" in text
    assert "no more than another seed makes (60.0%)" in text
    assert "edges changed 2.5 times as much as nodes" in text
    assert "no more than another seed makes (6.0)" in text
    changes = summarise(*copied).findings.changes
    assert "held against another seed alone, the change is no larger than the null" in changes[0]
    assert "the ratio is 6.0: no larger than the null, so it is no mark of learning" in changes[2]


def test_a_ratio_above_that_between_seeds_is_called_larger(copied: tuple[Run, Plan]):
    change(copied[0], {"edge": 0.8, "node": 0.2}, {"edge": 0.2, "node": 0.1})
    assert "the ratio is 2.0: larger than the null." in summarise(*copied).findings.changes[2]
    assert "more than another seed makes (2.0)" in said(copied)


def test_without_a_second_seed_it_says_that_there_is_no_null(copied: tuple[Run, Plan]):
    change(copied[0], {"edge": 0.5, "node": 0.2}, None)
    assert "Edges are not shown to have changed more than chance explains" in said(copied)
    assert "Without a second seed nobody can say how much" in said(copied)


def test_it_can_say_better_no_better_and_worse(copied: tuple[Run, Plan]):
    def contest() -> str:
        return summarise(*copied).findings.contest[0]

    high, low, middle = (0.9, 0.88, 0.92), (0.5, 0.48, 0.52), (0.89, 0.87, 0.91)
    methods(copied[0], high, low)
    assert "+40.0 points" in contest()
    assert ": better than uniform here; another seed may say otherwise" in contest()
    assert (
        "CircuitLoRA is promising, not proven: CircuitLoRA (more rank in the layers whose edges changed most) is 40.0"
        in said(copied)
    )
    methods(copied[0], high, middle)
    assert ": no better than uniform, the test rows cannot tell the two apart" in contest()
    assert "changed most) is 1.0 points above uniform LoRA" in said(copied)
    methods(copied[0], low, high)
    assert ": worse than uniform here" in contest()
    assert "changed most) is 40.0 points below uniform LoRA" in said(copied)


def test_few_seeds_are_an_illustration_and_many_are_not(copied: tuple[Run, Plan]):
    assert "one seed: it is an illustration, not a test" in summarise(*copied).findings.contest[-1]
    assert "Run more seeds" in said(copied)
    methods(copied[0], (0.9, 0.88, 0.92), (0.5, 0.48, 0.52), seeds=8)
    assert summarise(*copied).findings.contest[-1].endswith("rests on 8 seeds.")
    assert "Use CircuitLoRA on this task" in said(copied)
    assert "Run more seeds" not in said(copied)


def test_undefined_faithfulness_is_said_and_not_hidden(copied: tuple[Run, Plan]):
    path = copied[0].folder / "tables" / "faithfulness.csv"
    rows = [
        row.model_copy(update={"normalized": None, "normalized_low": None, "normalized_high": None, "reason": "why"})
        for row in read_rows(path, FaithfulnessRow)
    ]
    write_rows(path, rows, FaithfulnessRow)
    assert "how much it reproduces cannot be measured" in said(copied)
    rows = [row.model_copy(update={"normalized": 0.9, "reason": ""}) if row.step else row for row in rows]
    write_rows(path, rows, FaithfulnessRow)
    assert "reproduces 90.0% of the model's effect after the tuning" in said(copied)
    assert "Before the tuning this cannot be measured" in said(copied)
