import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.csvio import read_rows
from circuitune.core.records import (
    AccuracyRow,
    ChangeRow,
    CircuitRow,
    CriticalRow,
    FaithfulnessRow,
    LayerRow,
    MethodRow,
    TransitionRow,
)
from circuitune.experiments.plan import Plan
from circuitune.experiments.store import Run
from circuitune.experiments.tables import critical, write_tables
from circuitune.report.live import tables_of
from circuitune.report.payload import read_tables
from experiments.tiny import content

TABLES = {
    "accuracy": AccuracyRow,
    "faithfulness": FaithfulnessRow,
    "change": ChangeRow,
    "transitions": TransitionRow,
    "layers": LayerRow,
    "critical_layers": CriticalRow,
    "methods": MethodRow,
    "circuits": CircuitRow,
}


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_there_and_readable(finished: tuple[Run, Plan], name: str):
    assert read_rows(finished[0].folder / "tables" / f"{name}.csv", TABLES[name])


def test_what_a_killed_writer_of_tables_left_goes_with_the_next_writing(finished: tuple[Run, Plan], tmp_path: Path):
    folder = shutil.copytree(finished[0].folder, tmp_path / "run")
    before = content(folder)
    for left in ("tables/.kinds.csv.28f6c989b0bf.partial", ".summary.json.99a77124ba38.partial"):
        (folder / left).write_text("half a ro")
    write_tables(Run(folder), finished[1])
    assert content(folder) == before


def test_while_a_run_is_at_work_its_jobs_have_the_rows_that_its_tables_will_have(
    finished: tuple[Run, Plan], tmp_path: Path
):
    folder = shutil.copytree(finished[0].folder, tmp_path / "run")
    whole = read_tables(folder)
    shutil.rmtree(folder / "tables")
    (folder / "COMPLETE.json").unlink()  # comes after the tables
    found = tables_of(folder)
    assert set(found) == {"accuracy", "faithfulness", "circuits"}
    for name, rows in found.items():
        assert len(rows) > 3
        assert sorted(map(repr, rows)) == sorted(map(repr, whole[name]))


def test_change_holds_every_seed_and_the_null_between_them(finished: tuple[Run, Plan]):
    run, jobs = finished
    rows = read_rows(run.folder / "tables" / "change.csv", ChangeRow)
    assert [(row.role, row.kind) for row in rows] == [
        ("change", "node"),
        ("change", "edge"),
        ("change", "node"),
        ("change", "edge"),
        ("null", "node"),
        ("null", "edge"),
    ]
    assert (rows[1].before, rows[1].after) == ("tune seed 0 step 0", "tune seed 0 step 3")
    assert (rows[5].before, rows[5].after) == ("tune seed 0 step 3", "tune seed 1 step 3")
    first, second = (
        set(Circuit.load(run.job(job).folder / "circuits" / "step-00003.safetensors").edges)
        for job in jobs.tuning_circuits
    )
    assert rows[5].added == len(second - first)
    assert rows[5].rate == len(first ^ second) / len(first)


def test_transitions_add_up_to_the_cumulative_rate(finished: tuple[Run, Plan]):
    tables = finished[0].folder / "tables"
    change = read_rows(tables / "change.csv", ChangeRow)
    steps = read_rows(tables / "transitions.csv", TransitionRow)
    for kind, row in (("node", change[0]), ("edge", change[1])):
        rates = [step.rate or 0 for step in steps if step.label == "tune seed 0" and step.kind == kind]
        assert row.cumulative == pytest.approx(sum(rates))


def test_layers_add_up_to_the_change(finished: tuple[Run, Plan]):
    tables = finished[0].folder / "tables"
    change = read_rows(tables / "change.csv", ChangeRow)[1]
    layers = read_rows(tables / "layers.csv", LayerRow)
    for side in ("source", "destination"):
        own = [
            row for row in layers if row.comparison == change.comparison and row.kind == "edge" and row.side == side
        ]
        assert sum(row.added for row in own) == change.added
        assert sum(row.removed for row in own) == change.removed


def test_critical_layers_are_those_of_the_trained_plan(finished: tuple[Run, Plan]):
    tables = finished[0].folder / "tables"
    rows = read_rows(tables / "critical_layers.csv", CriticalRow)
    assert {row.rule for row in rows} == {"released", "normalised"}
    chosen = [row.layer for row in sorted(rows, key=lambda row: row.place) if row.rule == "released" and row.chosen]
    method = read_rows(tables / "methods.csv", MethodRow)[0]
    assert method.layers == " ".join(map(str, chosen))


def test_every_seed_has_critical_layers_of_its_own(finished: tuple[Run, Plan]):
    run, jobs = finished
    rows = list(critical(run, replace(jobs, phase1_circuits=jobs.tuning_circuits)))  # circuits of two seeds
    first, second = ([row for row in rows if row.seed == seed] for seed in (0, 1))
    assert rows == first + second
    assert len(first) == len(second) == 2 * 3  # two rules, three layers
    assert [row.importance for row in first] != [row.importance for row in second]


def test_methods_have_equal_size_as_planned_and_as_trained(finished: tuple[Run, Plan]):
    rows = read_rows(finished[0].folder / "tables" / "methods.csv", MethodRow)
    assert [row.arm for row in rows] == ["circuitlora", "uniform", "random"]
    assert all(row.parameters == row.planned for row in rows)
    assert len({row.parameters for row in rows}) == 1
    assert {row.steps for row in rows} == {3}


def test_circuits_lie_where_the_table_says(finished: tuple[Run, Plan]):
    run, _ = finished
    rows = read_rows(run.folder / "tables" / "circuits.csv", CircuitRow)
    assert {row.role for row in rows} == {"tune", "phase1"}
    for row in rows:
        assert len(Circuit.load(run.folder / row.circuit)) == row.edges
        assert len(EdgeScores.load(run.folder / row.scores).top(row.share).nodes) == row.nodes
