"""``circuitune plan`` on saved scores."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.modules import linear_modules
from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.cli import call
from circuitune.models.anatomy import anatomy_of
from circuitune.models.loading import load

FILES = ["before.safetensors", "after.safetensors"]
LEVELS = ["--rank", "1", "--critical-rank", "5", "--critical-layers", "1"]


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
    options = [*LEVELS, "--allocator", allocator, "--budget", "3000", "--gate", "off", *by]
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


@pytest.mark.filterwarnings("always:The choice of")
def test_the_gate_says_what_it_found(scored: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    """One of three layers: clear, and yet a draw finds it in a third of all cases."""
    capsys.readouterr()
    assert call(["plan", *FILES, *LEVELS, "--model", str(model)]) == 0
    shown = capsys.readouterr()
    assert "a random draw agrees as well in 33.33% of cases" in shown.out
    assert "warning: The choice of 1 of 3 layers is stable and no more than chance" in shown.err
    assert call(["plan", *FILES, *LEVELS, "--model", str(model), "--gate", "uniform", "--json"]) == 0
    shown = capsys.readouterr()
    assert "So the plan is uniform" in shown.err
    result = json.loads(shown.out)
    ranks = RankPlan.load(scored / "circuit_plan.json").ranks.values()
    assert max(ranks) - min(ranks) <= 1
    assert result["gate"]["passed"] is False
    assert result["gate"]["stability"] == 1


def test_means_cannot_be_looked_at(scored: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    means = [f"means-{name}" for name in FILES]
    result = planned(capsys, model, *means, *LEVELS)
    assert result["gate"]["passed"] is None
    assert "per_example=True" in result["gate"]["reason"]
    assert call(["plan", *means, *LEVELS, "--model", str(model), "--gate", "uniform"]) == 2
    assert "per_example=True" in capsys.readouterr().err


def test_a_budget_that_cannot_be_spent_is_refused(scored: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    assert call(["plan", *FILES, *LEVELS, "--model", str(model), "--budget", "10"]) == 2
    assert "below rank 1 for every module" in capsys.readouterr().err
