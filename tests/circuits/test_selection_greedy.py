"""Greedy selection: against the rule spelled out edge by edge, and its invariants."""

import pytest
import torch

from circuits.golden import golden
from circuitune.circuits.graph import Graph
from circuitune.circuits.greedy import greedy
from circuitune.circuits.selection import prune, strongest

GRAPHS = {
    "serial": Graph(3, 4, 4, parallel=False),
    "parallel": Graph(3, 4, 4, parallel=True),
    "grouped": Graph(3, 4, 2, parallel=False),
    "collapsed": Graph(3, 4, 4, parallel=True, collapsed=True),
}


@pytest.fixture(params=GRAPHS)
def graph(request: pytest.FixtureRequest) -> Graph:
    return GRAPHS[request.param]


def scores(graph: Graph, seed: int = 0) -> torch.Tensor:
    values = torch.randn(graph.edge_mask.shape, generator=torch.Generator().manual_seed(seed))
    return values * graph.edge_mask


def spelled_out(values: torch.Tensor, graph: Graph, count: int, absolute: bool) -> torch.Tensor:
    """The rule as it reads: of all edges into reached destinations take the best, then reach its source's inputs."""
    keys = values.abs() if absolute else values
    mask = torch.zeros_like(graph.edge_mask)
    reached = {graph.logits_destination}
    for _ in range(count):
        open_edges = [
            (-float(keys[row, column]), row, column)
            for row, column in (graph.edge_mask & ~mask).nonzero().tolist()
            if column in reached
        ]
        _, row, column = min(open_edges)
        mask[row, column] = True
        reached |= set(graph.feeds[:, row].nonzero().flatten().tolist())
    return mask


@pytest.mark.parametrize("absolute", [True, False])
@pytest.mark.parametrize("count", [0, 1, 7, 40])
def test_it_takes_the_best_edge_that_leads_to_the_logits(graph, count, absolute):
    values = scores(graph, seed=count)
    assert torch.equal(greedy(values, graph, count, absolute=absolute), spelled_out(values, graph, count, absolute))


def test_ties_go_to_the_lower_index(graph):
    values = scores(graph).sign()
    assert torch.equal(greedy(values, graph, 25), spelled_out(values, graph, 25, True))


def test_every_edge_ends_at_the_logits_or_at_a_node_with_an_edge(graph):
    mask = greedy(scores(graph), graph, 30)
    sources = mask.any(1).float()
    entered = graph.feeds.float() @ sources > 0
    entered[graph.logits_destination] = True
    assert not bool((mask.any(0) & ~entered).any())


def test_all_edges_and_more_give_the_whole_graph(graph):
    assert torch.equal(greedy(scores(graph), graph, graph.edges), graph.edge_mask)
    assert torch.equal(greedy(scores(graph), graph, graph.edges + 9), graph.edge_mask)


def test_a_larger_selection_contains_the_smaller(graph):
    values = scores(graph)
    small, large = greedy(values, graph, 20), greedy(values, graph, 50)
    assert int(small.sum()) == 20
    assert not bool((small & ~large).any())


def test_a_shared_key_input_is_reached_by_the_first_head_of_its_group():
    graph = GRAPHS["grouped"]
    values = torch.zeros(graph.edge_mask.shape)
    source, key = graph.sources.index("a2.h1"), graph.destinations.index("a2.kv0<k>")
    values[source, graph.logits_destination] = 2.0
    values[0, key] = 1.0
    mask = greedy(values, graph, 2)
    assert bool(mask[source, graph.logits_destination] & mask[0, key])


@pytest.mark.parametrize("name", ["gpt_neox", "gpt2"])
def test_after_pruning_it_keeps_more_of_what_was_asked_for_than_the_strongest_do(name):
    facts = golden(name)
    values = facts.arrays["eap-ig.logit_diff"]
    heads = facts.model.config.num_attention_heads
    graph = Graph(facts.model.config.num_hidden_layers, heads, heads, name == "gpt_neox")
    assert torch.equal(graph.edge_mask, facts.arrays["edge_mask"].bool())
    for count in (10, 30, 60):
        from_logits = prune(greedy(values, graph, count), graph).sum()
        from_all = prune(strongest(values, graph, count), graph).sum()
        assert from_logits >= from_all
