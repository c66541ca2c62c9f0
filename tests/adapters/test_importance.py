import math

import pytest
import torch

from circuitune.adapters.importance import Importance
from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError


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
