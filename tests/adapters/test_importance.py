import math
import re

import pytest
import torch

from circuitune.adapters.importance import Importance, ModuleImportance
from circuitune.adapters.modules import linear_modules
from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError
from circuitune.dynamics.layers import RULES, layer_importance
from circuitune.models.anatomy import anatomy_of
from circuitune.testing import tiny_model


def test_layers_whose_edges_change_most_are_on_top():
    graph = Graph(layers=4, heads=2, kv_heads=2, parallel=True)
    before = torch.zeros(len(graph.sources), len(graph.destinations))
    after = before.clone()
    after[graph.sources.index("m2"), graph.logits_destination] = -5
    after[graph.sources.index("a1.h0"), graph.logits_destination] = 3
    importance = Importance.from_scores(EdgeScores(before, graph), EdgeScores(after, graph))
    assert importance.values == (0, 3, 5, 0)
    assert importance.rule == "released"
    assert importance.top(2) == (2, 1)


def test_ties_go_to_the_lower_layer():
    assert Importance((1.0, 2.0, 2.0, 0.0), "test").top(3) == (1, 2, 0)


def test_depth_rules():
    assert Importance.first(5).top(2) == (0, 1)
    assert Importance.last(5).top(2) == (4, 3)


def test_random_draws_reach_every_layer_and_depend_on_the_seed_alone():
    draws = [frozenset(Importance.random(4, seed).top(2)) for seed in range(100)]
    assert len(set(draws)) == 6
    assert all(draws.count(draw) > 4 for draw in set(draws))
    assert Importance.random(4, 3) == Importance.random(4, 3)


@pytest.mark.parametrize("values", [(), (1.0, math.nan), (math.inf,)])
def test_refuses_what_cannot_be_ordered(values):
    with pytest.raises(InputError):
        Importance(values, "test")


def test_the_reversed_order_takes_the_least_important_first():
    importance = Importance((1e9, 1.0, 1e-9, 5.0), "test").reversed()
    assert importance.top(4) == (2, 1, 3, 0)
    assert importance.rule == "test, reversed"


def scores(graph, **values):
    """Scores that are 0 but at these edges, named source__destination with _ for what Python refuses."""
    map_ = torch.zeros(len(graph.sources), len(graph.destinations))
    for name, value in values.items():
        source, destination = name.split("__")
        places = {re.sub(r"\W", "_", node).strip("_"): place for place, node in enumerate(graph.destinations)}
        map_[graph.sources.index(source.replace("_", ".")), places[destination]] = value
    return EdgeScores(map_, graph)


def test_the_base_circuit_alone_gives_an_importance():
    graph = Graph(layers=2, heads=2, kv_heads=2, parallel=True)
    before = scores(graph, a0_h1__m1=-3.0, m1__logits=2.0)
    importance = Importance.from_scores(before)
    assert (importance.values, importance.rule) == ((3, 2), "before")
    assert Importance.from_scores(before, scores(graph), "before").values == importance.values
    with pytest.raises(InputError, match="'released' needs the scores after fine-tuning"):
        Importance.from_scores(before, rule="released")


# ---- by module ----


def by_name(importance):
    return {name.removeprefix("model.layers."): value for name, value in importance.values.items() if value}


@pytest.fixture(scope="module")
def llama():
    return tiny_model("llama", layers=2, heads=4, kv_heads=2)


@pytest.fixture(scope="module")
def graph(llama):
    return Graph.of(anatomy_of(llama))


@pytest.mark.parametrize(
    ("edge", "modules"),
    [
        ("input__a0_h1_q", ["0.self_attn.q_proj"]),
        ("input__a0_kv1_k", ["0.self_attn.k_proj"]),
        ("m0__a1_kv0_v", ["0.mlp.down_proj", "1.self_attn.v_proj"]),
        ("a0_h3__m1", ["0.self_attn.o_proj", "1.mlp.gate_proj", "1.mlp.up_proj"]),
        ("a1_h0__logits", ["1.self_attn.o_proj"]),
        ("input__logits", []),
    ],
)
def test_an_edge_counts_for_the_modules_at_both_of_its_ends(llama, graph, edge, modules):
    before, after = scores(graph), scores(graph, **{edge: -2.0, "m1__logits": 1.0})
    expected = dict.fromkeys(modules, 2.0) | {"1.mlp.down_proj": 1.0}
    assert by_name(ModuleImportance.from_scores(llama, before, after)) == expected


@pytest.mark.parametrize("family", ["gpt_neox", "gpt2"])
def test_fused_projections_take_q_k_and_v_together(family):
    model = tiny_model(family, layers=2)
    graph = Graph.of(anatomy_of(model))
    after = scores(graph, input__a1_h0_q=1.0, input__a1_h2_k=2.0, input__a1_h0_v=4.0)
    found = ModuleImportance.from_scores(model, scores(graph), after).values
    fused = next(name for name, module in linear_modules(model).items() if module.layer == 1 and "q" in module.reads)
    assert {name for name, value in found.items() if value} == {fused}
    assert found[fused] == 7


def test_all_rules_go_by_module(llama, graph):
    generator = torch.Generator().manual_seed(0)
    maps = [
        EdgeScores(torch.randn(graph.edge_mask.shape, generator=generator) * graph.edge_mask, graph) for _ in "ab"
    ]
    found = {rule: ModuleImportance.from_scores(llama, *maps, rule) for rule in RULES}
    assert all(importance.rule == rule for rule, importance in found.items())
    assert found["released"].values == found["destination"].values == found["both"].values
    assert found["before"].values == ModuleImportance.from_scores(llama, maps[0]).values
    assert found["count"].top(3) != found["after"].top(3)
    # What the modules that write have in a layer is what the layer has by its sources, the input aside.
    layers = layer_importance(*maps, "released")
    wanted = float(layers[1])
    writers = [name for name, module in linear_modules(llama).items() if module.writes and module.layer == 1]
    assert sum(found["released"].values[name] for name in writers) == pytest.approx(wanted, rel=1e-12)


def test_an_edge_of_collapsed_scores_counts_for_q_k_and_v(llama, graph):
    after = scores(graph, input__a0_h1_q=3.0).collapse()
    found = by_name(ModuleImportance.from_scores(llama, scores(graph).collapse(), after))
    assert found == dict.fromkeys((f"0.self_attn.{letter}_proj" for letter in "qkv"), 3.0)


def test_scores_of_another_model_are_refused(llama):
    other = Graph(layers=3, heads=4, kv_heads=2, parallel=False)
    with pytest.raises(InputError, match="another model shape"):
        ModuleImportance.from_scores(llama, scores(other), scores(other))


def test_module_controls(llama):
    mlp = ModuleImportance.mlp_only(llama)
    assert set(by_name(mlp)) == {f"{n}.mlp.{part}_proj" for n in range(2) for part in ("gate", "up", "down")}
    draws = [ModuleImportance.random(llama, seed) for seed in range(5)]
    assert draws[0] == ModuleImportance.random(llama, 0)
    assert len({draw.top(3) for draw in draws}) > 1
    assert draws[0].reversed().top(14) == draws[0].top(14)[::-1]
    with pytest.raises(InputError, match="no linear modules"):
        ModuleImportance.mlp_only(tiny_model("mixtral"))
    with pytest.raises(InputError, match="15 critical modules of 14"):
        mlp.top(15)
