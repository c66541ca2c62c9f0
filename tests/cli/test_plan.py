"""``circuitune plan`` on saved scores and on training data."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from circuitune.adapters.allocation import RankPlan, rank_plan
from circuitune.adapters.completions import MAX_TOKENS, ROWS
from circuitune.adapters.data_plan import STEPS
from circuitune.adapters.modules import linear_modules
from circuitune.adapters.verdicts import EVEN, FROM_DATA
from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.cli import call
from circuitune.cli.plan import DataOptions
from circuitune.dynamics.composition import union_scores
from circuitune.models.anatomy import anatomy_of
from circuitune.models.loading import load

FILES = ["before.safetensors", "after.safetensors"]
ORDINARY = ["--rank", "1", "--critical-layers", "1"]
LEVELS = [*ORDINARY, "--critical-rank", "5"]


@pytest.fixture
def scored(here: Path, model: Path) -> Path:
    """The current folder with scores of single pairs before and after a change of what layer 2's MLP writes."""
    graph = Graph.of(anatomy_of(load(model)[0]))
    generator = torch.Generator().manual_seed(0)
    for name, change in zip(FILES, (0, 5), strict=True):
        examples = 0.1 * torch.randn(30, *graph.edge_mask.shape, generator=generator) * graph.edge_mask
        examples[:, graph.mlp_source(2)] += change * graph.edge_mask[graph.mlp_source(2)]
        EdgeScores(examples.mean(0), graph, examples=examples).save(here / name)
        EdgeScores(examples.mean(0), graph).save(here / f"means-{name}")
    return here


def planned(capsys: pytest.CaptureFixture[str], model: Path, *arguments: str) -> Any:
    capsys.readouterr()
    assert call(["plan", *arguments, "--model", str(model), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_two_levels_by_layer(scored: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    result = planned(capsys, model, *FILES, *LEVELS, "--gate", "off")
    assert result["critical_layers"] == [2]
    assert [layer["rank"] for layer in result["layers"]] == [1, 1, 5]
    assert result["gate"] is None
    assert [edge["layer"] for edge in result["heaviest_edges"]] == [2, 2, 2]
    assert any(edge["edge"] == "m2->logits" for edge in result["heaviest_edges"])
    assert RankPlan.load(scored / "circuit_plan.json").count == result["parameters"]


def test_the_base_circuit_alone(scored: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    result = planned(capsys, model, "after.safetensors", *LEVELS, "--gate", "off")
    assert result["critical_layers"] == [2]
    assert RankPlan.load(scored / "circuit_plan.json").provenance["rule"] == "before"
    assert call(["plan", "after.safetensors", "--model", str(model), "--rule", "released", *LEVELS]) == 2
    assert "needs the scores after fine-tuning" in capsys.readouterr().err


@pytest.mark.parametrize("allocator", ["two-level", "proportional", "water-filling"])
@pytest.mark.parametrize("by", [[], ["--modules"]], ids=["layers", "modules"])
def test_a_budget_is_kept(
    allocator: str, by: list[str], scored: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    options = [
        *(ORDINARY if allocator == "two-level" else []),
        "--allocator",
        allocator,
        "--budget",
        "3000",
        "--gate",
        "off",
        *by,
    ]
    result = planned(capsys, model, *FILES, *options)
    modules = linear_modules(load(model)[0])
    plan = RankPlan.load(scored / "circuit_plan.json")
    assert 3000 - min(module.rank_cost for module in modules.values()) < result["parameters"] <= 3000
    assert result["budget"] == 3000
    most = max(plan.ranks.values())
    best = [name for name, rank in plan.ranks.items() if rank == most > min(plan.ranks.values())]
    assert any(name.startswith("gpt_neox.layers.2.") for name in best)
    assert "gpt_neox.layers.2.mlp.dense_4h_to_h" in best or not by
    rows = result.get("layers") or result["modules"]
    assert max(row["rank"] for row in rows) == most


@pytest.mark.parametrize(("size", "rank"), [([], 8), (["--rank", "3"], 3)])
def test_with_nothing_to_plan_from_ranks_are_even(
    size: list[str], rank: int, here: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    result = planned(capsys, model, *size)
    plan = RankPlan.load(here / "circuit_plan.json")
    assert set(plan.ranks.values()) == {rank}
    assert {layer["rank"] for layer in result["layers"]} == {rank}
    assert (result["critical_layers"], result["gate"], result["contest"]) == ([], None, EVEN)
    assert call(["plan", "--model", str(model)]) == 0
    assert f"Even ranks, as nothing was named to plan from (scores, or --dataset): {EVEN}" in capsys.readouterr().out


def test_even_ranks_fill_a_budget(here: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    result = planned(capsys, model, "--budget", "3000")
    costs = [module.rank_cost for module in linear_modules(load(model)[0]).values()]
    assert 3000 - min(costs) < result["parameters"] == RankPlan.load(here / "circuit_plan.json").count <= 3000


def test_scores_of_several_steps_are_united(scored: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    graph = Graph.of(anatomy_of(load(model)[0]))
    still, moved = torch.ones(graph.edge_mask.shape) * graph.edge_mask, graph.edge_mask.float()
    moved[graph.mlp_source(0)] *= 200  # a step whose change lies elsewhere
    EdgeScores(still, graph).save(scored / "other-before.safetensors")
    EdgeScores(moved, graph).save(scored / "other-after.safetensors")
    others = ["other-before.safetensors", "other-after.safetensors"]
    options = ["--rank", "1", "--critical-layers", "2", "--critical-rank", "5", "--gate", "off"]
    both = planned(capsys, model, *FILES, "--unite", *others, *options)
    assert set(both["critical_layers"]) == {0, 2}
    united = [
        union_scores([EdgeScores.load(pair[0]), EdgeScores.load(pair[1])]) for pair in zip(FILES, others, strict=True)
    ]
    expected = rank_plan(*united, rank=1, critical_rank=5, critical_layers=2, gate="off", model=load(model)[0])
    assert RankPlan.load(scored / "circuit_plan.json").ranks == expected.ranks
    assert call(["plan", *FILES, "--unite", others[0], "--model", str(model)]) == 2
    assert "--unite has 1 files; of each step give BEFORE and AFTER" in capsys.readouterr().err


@pytest.mark.filterwarnings("always:The choice of")
def test_the_gate_says_what_it_found(scored: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    """One of three layers: clear, and yet a draw finds it in a third of all cases."""
    capsys.readouterr()
    assert call(["plan", *FILES, *LEVELS, "--model", str(model)]) == 0
    shown = capsys.readouterr()
    assert "a random draw agrees as well in 33.33% of cases" in shown.out
    assert "warning: The choice of 1 of 3 layers is stable, but no more than chance" in shown.err
    assert call(["plan", *FILES, *LEVELS, "--model", str(model), "--gate", "uniform", "--json"]) == 0
    shown = capsys.readouterr()
    assert "So the plan is uniform" in shown.err
    result = json.loads(shown.out)
    ranks = RankPlan.load(scored / "circuit_plan.json").ranks.values()
    assert max(ranks) - min(ranks) <= 1
    assert result["gate"]["passed"] is False
    assert result["gate"]["stability"] == 1


SHORT = ["--task", "add_sub", "--set", "style=short"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_one_map_is_held_against_random_weights_on_its_own_pairs(
    here: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    found = ["--model", str(model), "--pairs-count", "8", "--steps", "2", "--metric", "logit_diff", "--per-example"]
    assert call(["discover", *SHORT, *found, "--out", "base"]) == 0
    scores = "base/scores.safetensors"
    untried = planned(capsys, model, scores, *LEVELS)["gate"]
    assert untried["random_weights"] == []
    capsys.readouterr()
    assert call(["plan", scores, *LEVELS, *SHORT, "--model", str(model), "--json"]) == 0
    shown = capsys.readouterr()
    assert "the gate scores 5 models with random weights on 8 pairs each" in shown.err
    assert len(json.loads(shown.out)["gate"]["random_weights"]) == 5
    assert RankPlan.load(here / "circuit_plan.json").provenance["gate.random_models"] == 5
    assert call(["plan", scores, *LEVELS, "--task", "ioi", "--model", str(model)]) == 2
    assert "The scores were made on other pairs (8 of them)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["before.safetensors", "--gate", "off"], "with --gate off nobody looks"),
        (FILES, "the rule released looks at a change, not at one map alone"),
        (["--dataset", "sft.jsonl"], "with --dataset the gate takes its rows"),
        (["before.safetensors", "--unite", "after.safetensors"], "united scores are of several sets of pairs"),
    ],
)
def test_pairs_that_nothing_is_scored_on_are_refused(
    arguments: list[str], message: str, scored: Path, capsys: pytest.CaptureFixture[str]
):
    assert call(["plan", *arguments, *SHORT]) == 2
    assert f"--task names pairs for models with random weights, and {message}; leave" in capsys.readouterr().err
    assert not (scored / "circuit_plan.json").exists()


def test_scores_that_do_not_say_their_pairs_try_nothing(
    scored: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    assert call(["plan", "before.safetensors", *LEVELS, *SHORT, "--model", str(model)]) == 2
    assert "do not say how and on which pairs" in capsys.readouterr().err


def test_means_cannot_be_looked_at(scored: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    means = [f"means-{name}" for name in FILES]
    result = planned(capsys, model, *means, *LEVELS)
    assert result["gate"]["passed"] is None
    assert "per_example=True" in result["gate"]["reason"]
    assert call(["plan", *means, *LEVELS, "--model", str(model), "--gate", "uniform"]) == 2
    assert "per_example=True" in capsys.readouterr().err


def test_a_budget_that_cannot_be_spent_is_refused(scored: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    assert call(["plan", *FILES, *ORDINARY, "--model", str(model), "--budget", "10"]) == 2
    assert "below rank 1 for every module" in capsys.readouterr().err


# ---- training data ----


@pytest.fixture
def data(here: Path) -> Path:
    """The current folder with 30 rows of prompt and completion."""
    rows = [{"prompt": f"{row} + 5 =", "completion": f" {row + 5}, {row}"} for row in range(1, 31)]
    (here / "sft.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return here


DATA = ["--dataset", "sft.jsonl", "--steps", "2", "--gate", "off"]


def test_training_data_in_place_of_scores(data: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    assert call(["plan", *DATA, "--model", str(model), "--rows", "20", "--budget", "3000"]) == 0
    shown = capsys.readouterr()
    assert "20 of 30 rows of sft.jsonl." in shown.err
    assert "4 forward and 2 backward passes over each: as much as training on 53 such rows" in shown.err
    assert shown.err.index("Cost:") < shown.err.index("Scoring")
    assert f"Against uniform LoRA of the same size: {FROM_DATA}" in shown.out
    assert "Budget 3,000: " in shown.out
    plan = RankPlan.load(data / "circuit_plan.json")
    assert 2900 < plan.count <= 3000
    assert plan.provenance["model"] == str(model)
    scores = EdgeScores.load(data / "circuit_scores.safetensors")
    assert scores.settings["loss"] == "completion nll per token"


@pytest.mark.parametrize("by", ["modules", "layers"])
@pytest.mark.parametrize("ablation", ["mean", "interchange"])
def test_what_is_critical_and_what_ablates(
    by: str, ablation: str, data: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    result = planned(capsys, model, *DATA, "--by", by, "--ablation", ablation)
    assert result["rows"]["used"] == result["cost"]["rows"] == 30
    assert result["contest"] == FROM_DATA
    assert by in result
    assert len(result["critical_layers"]) == (by == "layers")


def test_the_defaults_are_the_librarys():
    options = DataOptions()
    assert (options.rows, options.max_tokens, options.steps) == (ROWS, MAX_TOKENS, STEPS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rule", "before"], "--rule needs something to plan from"),
        (["--set", "limit=3"], "--set needs something to plan from"),
        (["--rank", "0"], "--rank 0 trains nothing"),
        (["--rank", "1000"], "would get rank 1000, and its weight has"),
        (["--budget", "9000000"], "give a lower --budget"),
        (["--critical-rank", "4"], "--critical-rank needs something to plan from"),
        (["--rank", "2", "--budget", "3000"], "give one of the two"),
        (["before.safetensors", *DATA], "either a file of scores or --dataset"),
        ([*DATA, "--rank", "4"], "--rank belongs to plans from scores"),
        ([*DATA, "--critical-rank", "4"], "--critical-rank belongs to plans from scores"),
        ([*DATA, "--by", "layers", "--modules"], "--by layers and --modules contradict"),
        (["s.safetensors", "--by", "modules"], "--by belongs to plans from training data"),
        (["s.safetensors", "--rows", "3"], "--rows belongs to plans from training data"),
        (["s.safetensors", "--critical-rank", "12", "--budget", "3000"], "leave out --critical-rank"),
        ([*DATA, "--unite", "s.safetensors"], "--unite belongs to plans from scores"),
        (
            ["s.safetensors", "--rank", "4", "--budget", "3000", "--allocator", "proportional"],
            "--allocator proportional has no levels; leave out --rank",
        ),
        ([*DATA, "--critical-layers", "0"], "0 critical layers of 3"),
        ([*DATA, "--budget", "10"], "A budget of 10 parameters"),
        ([*DATA, "--rows", "3"], "at least 10 rows"),
        (["--dataset", "none.jsonl"], "none.jsonl does not exist"),
        (["--dataset", "bad.jsonl"], "bad.jsonl, row 2, has 'prompt', and neither"),
    ],
)
def test_what_is_wrong_with_data_is_one_sentence(
    arguments: list[str], message: str, data: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    row = json.dumps({"prompt": "1 + 5 =", "completion": " 6"})
    (data / "bad.jsonl").write_text(f'{row}\n{{"prompt": "1 + 5 ="}}\n')
    assert call(["plan", *arguments, "--model", str(model)]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("circuitune: ") == 1
    assert not (data / "circuit_plan.json").exists()
