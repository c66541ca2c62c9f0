"""A contest of every arm on the tiny model: equal sizes, learning rates chosen on validation, costs counted."""

import re
from statistics import fmean
from typing import get_args

import pytest
from peft import LoraConfig

from circuitune.circuits.scores import EdgeScores
from circuitune.core.csvio import read_rows
from circuitune.core.errors import InputError
from circuitune.core.records import (
    AccuracyRow,
    KeptRow,
    MethodRow,
    RankPlanRecord,
    RateRow,
    SummaryRecord,
    TextRow,
    TrainedRecord,
    read_record,
)
from circuitune.dynamics.composition import union_scores
from circuitune.dynamics.layers import layer_importance
from circuitune.experiments.arms import WAYS
from circuitune.experiments.artefacts import PLAN, TRAINED, by_step
from circuitune.experiments.plan import Plan, plan
from circuitune.experiments.recipe import Recipe, Rival, load_recipe
from circuitune.experiments.specs import ModelRef, TrainSpec, folder_name
from circuitune.experiments.store import Run
from experiments import tiny

RIVALS = get_args(Rival)
KEPT = {"ioi": {"task": "ioi", "parameters": {"size": 200}}}
CONTEST = {
    "seeds": [0],
    "rivals": RIVALS,
    "rates": [0.05, 0.01],
    "own_rates": {"full": [0.001]},
    "rate_seeds": [7, 8],
    "random_draws": 1,
    "kept": KEPT,
    "kept_pairs": 10,
    "transfer": "ioi",
    "phase1_rank": 1,
}
TEXT = "Ann has a hat.\n\ncount up by 2 : 2 4 6 8\n3 to 5, 4 to 6\n"
PARTS = {name: {"task": name, "parameters": {"size": 400, "style": "short"}} for name in ("add_sub", "mul_div")}


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Plan]:
    folder = tmp_path_factory.mktemp("contest")
    model = tiny.save_model(folder / "model")
    recipe = tiny.recipe(model, folder)
    (folder / "text.txt").write_text(TEXT)
    contest = {**recipe.model_dump()["contest"], **CONTEST, "text": {"file": str(folder / "text.txt")}}
    changes = {**recipe.model_dump(), "tuning": None, "contest": contest, "composition": {"parts": PARTS}}
    return tiny.finished(type(recipe).model_validate(changes), folder / "run")


def _methods(contest: tuple[Run, Plan]) -> dict[str, MethodRow]:
    rows = read_rows(contest[0].folder / "tables" / "methods.csv", MethodRow)
    return {row.arm: row for row in rows}


def _trained(run: Run, job: TrainSpec) -> TrainedRecord:
    return read_record(run.job(job).folder / TRAINED, TrainedRecord)


@pytest.mark.slow
def test_every_arm_takes_part_once(contest: tuple[Run, Plan]):
    rows = read_rows(contest[0].folder / "tables" / "methods.csv", MethodRow)
    assert [row.arm for row in rows] == ["circuitlora", "uniform", "random", *RIVALS]
    assert set(WAYS) == {row.arm for row in rows}


@pytest.mark.slow
def test_all_arms_but_full_have_no_more_parameters_than_circuitlora(contest: tuple[Run, Plan]):
    rows = _methods(contest)
    ours = rows["circuitlora"].parameters
    by_layer = {
        "uniform",
        "compute",
        "random",
        "base",
        "after",
        "bottom",
        "first",
        "gradient",
        "weights",
        "warm",
        "union",
        "transfer",
        "alphas",
        "eva_compute",
        "data_compute",
    }
    for arm, row in rows.items():
        if arm in by_layer:
            assert row.parameters == ours, arm
        elif arm not in ("full", "adalora"):
            assert 0.8 * ours <= row.parameters <= ours, arm
    assert rows["full"].parameters > 10 * ours
    assert rows["adalora"].peak > rows["adalora"].parameters


@pytest.mark.slow
def test_the_learning_rate_is_the_best_on_the_validation_split(contest: tuple[Run, Plan]):
    run, jobs = contest
    tried = read_rows(run.folder / "tables" / "rates.csv", RateRow)
    for job in jobs.methods:
        own = [row for row in tried if row.arm == job.arm]
        means = {rate: fmean(row.accuracy for row in own if row.learning_rate == rate) for rate in job.rates}
        taken = _trained(run, job).learning_rate
        assert means[taken] == max(means.values())
        assert {row.learning_rate for row in own if row.chosen} == {taken}
    for job in jobs.tried:
        assert {row.split for row in read_rows(run.job(job).folder / "accuracy.csv", AccuracyRow)} == {"validation"}


@pytest.mark.slow
def test_the_cost_of_choosing_ranks_is_counted(contest: tuple[Run, Plan]):
    rows = _methods(contest)
    phase1 = next(job for job in contest[1].phase1 if job.seed == 0)
    short = _trained(contest[0], phase1).training_flops
    assert short > 0
    for free in ("uniform", "random", "first", "mlp", "adalora", "full"):
        assert rows[free].allocation_flops == 0, free
    assert 0 < rows["base"].allocation_flops == rows["after"].allocation_flops - short
    assert rows["circuitlora"].allocation_flops == 2 * rows["base"].allocation_flops + short
    assert short < rows["weights"].allocation_flops < 1.01 * short  # and the norms of its products
    assert rows["gradient"].allocation_flops > 0
    assert rows["data"].allocation_flops > 0
    assert rows["base_modules"].allocation_flops == rows["base"].allocation_flops
    assert rows["alphas"].allocation_flops == rows["circuitlora"].allocation_flops
    run, jobs = contest
    parts = [job for job in jobs.parts if job.seed == 0]
    assert [job.part for job in parts] == [*PARTS, "ioi"]
    flops = [_trained(run, job).training_flops for job in parts]
    assert rows["union"].allocation_flops > sum(flops[:-1])
    assert rows["transfer"].allocation_flops > flops[-1]
    assert rows["eva"].training_flops > rows["uniform"].training_flops * 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("longer", "rival"), [("compute", "circuitlora"), ("eva_compute", "eva"), ("data_compute", "data")]
)
def test_a_longer_rival_spends_what_the_other_spent(contest: tuple[Run, Plan], longer: str, rival: str):
    rows = _methods(contest)
    other = rows[rival].allocation_flops + rows[rival].training_flops
    step = rows["uniform"].training_flops / rows["uniform"].steps
    assert rows[longer].steps > rows["uniform"].steps
    assert other - 1.5 * step <= rows[longer].training_flops <= other + 0.5 * step


@pytest.mark.slow
def test_layers_come_from_where_the_arm_says(contest: tuple[Run, Plan]):
    run, jobs = contest
    plans = {
        job.arm: read_record(run.job(job).folder / PLAN, RankPlanRecord)
        for job in jobs.methods
        if (run.job(job).folder / PLAN).is_file()
    }
    assert plans["first"].critical_layers == [0]
    importance = plans["circuitlora"].importance
    assert importance is not None
    assert plans["bottom"].critical_layers == [importance.values.index(min(importance.values))]
    assert plans["warm"].ranks == plans["faster"].ranks == plans["circuitlora"].ranks
    assert {name.split(".")[3] for name, rank in plans["mlp"].ranks.items() if rank} == {"mlp"}
    sources = {plan.importance.rule for plan in plans.values() if plan.importance}
    assert {"before", "after", "first", "gradient probe, by layer", "weight change, by layer"} <= sources


@pytest.mark.slow
def test_united_layers_are_those_of_the_parts_circuits(contest: tuple[Run, Plan]):
    run, jobs = contest
    own = next(job for job in jobs.methods if job.arm == "union")
    united = [job for job in jobs.part_circuits if job.seed == 0 and job.part in PARTS]
    maps = [by_step(run.job(job).folder / "scores") for job in united]
    before, after = (union_scores([EdgeScores.load(paths[place]) for paths in maps]) for place in (0, -1))
    importance = layer_importance(before, after, "released")
    record = read_record(run.job(own).folder / PLAN, RankPlanRecord)
    assert record.importance is not None
    assert record.importance.values == pytest.approx(importance.tolist())
    assert {spec.rows for spec in jobs.other_pairs if spec.label.removeprefix("pairs-") in PARTS} == {120}
    assert all(spec.stage == "tune" for spec in (*jobs.parts, *jobs.part_circuits))


@pytest.mark.slow
def test_borrowed_layers_are_those_of_the_other_task(contest: tuple[Run, Plan]):
    run, jobs = contest
    own = next(job for job in jobs.methods if job.arm == "transfer")
    lent = next(job for job in jobs.part_circuits if (job.seed, job.part) == (0, "ioi"))
    paths = by_step(run.job(lent).folder / "scores")
    importance = layer_importance(EdgeScores.load(paths[0]), EdgeScores.load(paths[-1]), "released")
    record = read_record(run.job(own).folder / PLAN, RankPlanRecord)
    assert record.critical_layers == [int(importance.argmax())]


@pytest.mark.slow
def test_planned_alphas_keep_even_ranks(contest: tuple[Run, Plan]):
    run, jobs = contest
    plans, configs = {}, {}
    for job in jobs.methods:
        if job.arm in ("circuitlora", "uniform", "alphas"):
            plans[job.arm] = read_record(run.job(job).folder / PLAN, RankPlanRecord).ranks
            last = by_step(run.job(job).folder / "checkpoints")[-1]
            configs[job.arm] = LoraConfig.from_pretrained(last)
    assert plans["alphas"] == plans["uniform"] != plans["circuitlora"]
    own = configs["alphas"]
    alphas = {name: own.alpha_pattern.get(f"^{re.escape(name)}", own.lora_alpha) for name in plans["alphas"]}
    assert alphas == {name: 2 * rank for name, rank in plans["circuitlora"].items()}


@pytest.mark.slow
def test_a_text_is_measured_before_and_after(contest: tuple[Run, Plan]):
    rows = read_rows(contest[0].folder / "tables" / "text.csv", TextRow)
    assert [row.arm for row in rows] == ["circuitlora", "uniform", "random", *RIVALS]
    assert {row.passages for row in rows} == {3}
    assert len({(row.tokens, row.before) for row in rows}) == 1
    assert len({row.after for row in rows}) > 10


@pytest.mark.slow
def test_forgetting_is_measured_from_the_same_start(contest: tuple[Run, Plan]):
    rows = read_rows(contest[0].folder / "tables" / "kept.csv", KeptRow)
    assert [row.arm for row in rows] == ["circuitlora", "uniform", "random", *RIVALS]
    assert {(row.task, row.examples) for row in rows} == {("ioi", 10)}
    fresh = {row.before for row in rows if row.arm != "warm"}  # the warm start has phase 1 behind it
    assert len(fresh) == 1


@pytest.mark.slow
def test_the_summary_speaks_of_the_contest_alone(contest: tuple[Run, Plan]):
    summary = read_record(contest[0].folder / "summary.json", SummaryRecord)
    assert not summary.findings.changes
    assert any(sentence.startswith("Beside uniform LoRA, in points") for sentence in summary.findings.contest)
    assert "uniform LoRA" in summary.sentences[-1]
    assert "phase 1 of seed 0" in summary.findings.where[0]


def test_a_field_that_is_not_set_changes_no_name():
    names = [folder_name(_first(load_recipe("default", {"contest": {"kept": kept}}))) for kept in ({}, KEPT)]
    assert names[0] == folder_name(_first(load_recipe("default")))
    assert names[0] != names[1]


def _first(recipe: Recipe) -> TrainSpec:
    return plan(recipe, ModelRef(name="m", fingerprint="0" * 64)).methods[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rivals": ["base", "base"]}, "a rival comes twice"),
        ({"rivals": ["best"]}, "contest.rivals"),
        ({"own_rates": {"full": [1e-3]}}, "give rates too"),
        ({"rates": [0.1], "own_rates": {"full": [1e-3]}}, "not among the rivals"),
        ({"rates": [0.1], "rate_seeds": [0]}, "other seeds"),
        ({"rivals": ["warm"]}, "phase1_rank must not be larger"),
        ({"rivals": ["transfer"]}, "need each other"),
        ({"transfer": "ioi"}, "need each other"),
        ({"kept": {"test": {"task": "ioi"}}}, "a part of the run's own pairs"),
        ({"rivals": ["transfer"], "transfer": "ioi"}, "not among the kept tasks"),
    ],
)
def test_a_contest_that_cannot_be_is_refused(changes: dict[str, object], said: str):
    with pytest.raises(InputError, match=said):
        load_recipe("default", {"contest": changes})


def test_a_recipe_without_tuning_needs_a_contest():
    with pytest.raises(InputError, match="there is nothing to do"):
        load_recipe("default", {"tuning": None, "contest": None})
    with pytest.raises(InputError, match="look at the tuning"):
        load_recipe("default", {"tuning": None, "robustness": {}})
    with pytest.raises(InputError, match="look at the tuning"):
        load_recipe("default", {"tuning": None, "composition": {"parts": PARTS}})


def test_a_union_needs_parts():
    with pytest.raises(InputError, match="add composition"):
        load_recipe("default", {"contest": {"rivals": ["union"]}})
    recipe = load_recipe("default", {"contest": {"rivals": ["union"]}, "composition": {"parts": PARTS}})
    assert recipe.united == tuple(PARTS)
    assert load_recipe("default", {"composition": {"parts": PARTS}}).united == ()
