"""Circuits found again with other pairs, and united from other tasks, as jobs of a run."""

from pathlib import Path
from typing import Any

import pytest

from circuitune.core.chance_records import RobustnessRow, TunedCompositionRow, TunedTopOverlapRow
from circuitune.core.csvio import read_rows
from circuitune.core.errors import InputError
from circuitune.core.records import SummaryRecord, read_record
from circuitune.experiments.inputs import freeze, reference
from circuitune.experiments.job import run_job
from circuitune.experiments.plan import Plan, plan
from circuitune.experiments.recipe import Recipe, load_recipe
from circuitune.experiments.specs import ComposeSpec, folder_name
from circuitune.experiments.store import Run
from circuitune.experiments.tables import write_generality
from circuitune.experiments.validation import Validator
from experiments import tiny

SMALL: dict[str, object] = {"style": "short", "size": 400}
ASKED: dict[str, Any] = {
    "contest": None,
    "tuning": {"seeds": [0]},
    "data": {"task": "two_step", "parameters": SMALL},
    "robustness": {"noise": [0.25, 0.75], "draws": 2, "parts": 3},
    "composition": {
        "parts": {
            "inner": {"task": "two_step_inner", "parameters": SMALL},
            "outer": {"task": "two_step_outer", "parameters": SMALL},
        },
        "unrelated": {
            "ioi": {"task": "ioi", "parameters": {"size": 400}},
            "comparison": {"task": "comparison", "parameters": {"size": 400}},
        },
        "draws": 2,
    },
}


def asked(model: Path, folder: Path, **changes: object) -> Recipe:
    path = folder / "asked.yaml"
    path.write_text(tiny.RECIPE)
    return load_recipe(path, {"model": str(model), **ASKED, **changes})


@pytest.fixture(scope="module")
def run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Plan]:
    folder = tmp_path_factory.mktemp("generality")
    return tiny.finished(asked(model, folder), folder / "run")


def test_every_model_is_held_against_noise_and_parts(run: tuple[Run, Plan]):
    rows = read_rows(run[0].folder / "tables" / "robustness.csv", RobustnessRow)
    assert {(row.model, row.kind, row.level) for row in rows} == {
        (model, kind, level)
        for model in ("before", "after", "random")
        for kind, level in (("noise", 0.25), ("noise", 0.75), ("parts", None))
    }
    for row in rows:
        assert row.comparisons == (2 if row.kind == "noise" else 3)
        assert 0 <= row.edge_low <= row.edge_jaccard <= row.edge_high <= 1


def test_the_union_has_as_many_edges_as_the_tasks_own_circuit(run: tuple[Run, Plan]):
    rows = read_rows(run[0].folder / "tables" / "composition.csv", TunedCompositionRow)
    own = {row.share: row.edges for row in rows if row.kind == "whole"}
    assert set(own) >= {0.01, 0.1, 0.2}  # 0.2 is the share of this recipe's circuits
    assert {row.kind for row in rows} >= {"union", "plain union", "intersection", "part", "unrelated", "random"}
    assert all(row.edges <= own[row.share] for row in rows if not row.kind.startswith("plain"))
    assert {row.name for row in rows if row.kind == "union"} == {"inner + outer"}
    overlaps = read_rows(run[0].folder / "tables" / "composition_overlap.csv", TunedTopOverlapRow)
    assert {(row.first, row.second) for row in overlaps} >= {("inner + outer", "two_step"), ("inner", "outer")}


def test_the_summary_says_both(run: tuple[Run, Plan]):
    found = read_record(run[0].folder / "summary.json", SummaryRecord).findings
    assert "25% of 6 pairs resampled" in found.robust[0]
    assert "75% of 6 pairs resampled" in found.robust[0]
    assert "with random weights" in found.robust[0]
    assert found.composition[0].startswith("tune seed 0: At 20 % of all edges")


@pytest.mark.slow
def test_both_jobs_give_the_same_bytes_again(run: tuple[Run, Plan]):
    store, jobs = run
    for spec in (*jobs.robustness, *jobs.compositions):
        job = store.job(spec)
        before = tiny.content(job.folder)
        (job.folder / "COMPLETE.json").unlink()
        run_job(job.folder)
        assert tiny.content(job.folder) == before


def test_a_recipe_that_no_longer_asks_leaves_no_old_table(model: Path, tmp_path: Path, run: tuple[Run, Plan]):
    store, jobs = run
    tables = tmp_path / "run" / "tables"
    tables.mkdir(parents=True)
    for name in ("robustness", "composition", "composition_overlap"):
        (tables / f"{name}.csv").write_bytes((store.folder / "tables" / f"{name}.csv").read_bytes())
    silent = asked(model, tmp_path, robustness=None, composition=None)
    write_generality(Run(tmp_path / "run"), plan(silent, jobs.pairs.model))
    assert not list(tables.iterdir())


def test_the_composition_knows_its_inputs_by_content(model: Path, tmp_path: Path):
    first = plan(asked(model, tmp_path), reference(str(model), None))
    (job,) = first.compositions
    assert isinstance(job, ComposeSpec)
    assert set(job.inputs.values()) == {
        folder_name(spec) for spec in (first.pairs, *first.tuning, *first.tuning_circuits, *first.other_pairs)
    }
    parts = {**ASKED["composition"]["parts"], "outer": {"task": "mul_div", "parameters": SMALL}}
    second = plan(
        asked(model, tmp_path, composition={**ASKED["composition"], "parts": parts}), reference(str(model), None)
    )
    assert folder_name(second.compositions[0]) != folder_name(job)
    assert folder_name(second.robustness[0]) == folder_name(first.robustness[0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"composition": {"parts": {"one": {"task": "ioi"}}}}, "composition.parts"),
        ({"composition": {"unrelated": {"inner": {"task": "ioi"}}}}, "inner is both a part and unrelated"),
        ({"composition": {"parts": {"a": {"task": "nothing"}, "b": {"task": "ioi"}}}}, "no task 'nothing'"),
        ({"robustness": {"noise": [0]}}, "robustness.noise"),
    ],
)
def test_a_recipe_that_cannot_be_done_is_refused_before_anything_is_written(
    model: Path, tmp_path: Path, changes: dict[str, Any], said: str
):
    wrong = {key: {**ASKED[key], **value} for key, value in changes.items()}
    with pytest.raises(InputError, match=said):
        Validator().size(freeze(asked(model, tmp_path, **wrong)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_data_that_cannot_be_resampled_is_refused_with_the_way_out(model: Path, tmp_path: Path):
    pairs = tmp_path / "own.csv"
    lines = [f"{a} {b} =,{b} {a} =,{a}" for a in range(10, 30) for b in range(40, 44)]
    pairs.write_text("clean,corrupted,answer\n" + "\n".join(lines) + "\n")
    recipe = asked(model, tmp_path, data={"file": str(pairs)}, composition=None)
    with pytest.raises(InputError, match="perturb pairs of a task"):
        Validator().size(freeze(recipe), tmp_path / "run")
