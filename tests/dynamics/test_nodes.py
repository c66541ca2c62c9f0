"""A node's planted change is found, its error is that of a jackknife, and where nothing changed the tests say so."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError
from circuitune.core.statistics import Interval, wilson
from circuitune.dynamics.bootstrap import bootstrap_change
from circuitune.dynamics.comparison import split_halves
from circuitune.dynamics.measures import node_shares
from circuitune.dynamics.nodes import NodeChange, difference_bounds, node_changes, pairwise_bounds
from dynamics.strategies import sampled, scores_of, valued

GRAPH = Graph(layers=4, heads=2, kv_heads=2, parallel=True)
GROWN = "a1.h0"


def heavy(seed: int) -> EdgeScores:
    """A map with a few strong edges and many weak ones, as circuits have."""
    drawn = scores_of(GRAPH, seed)
    return EdgeScores(drawn.values.sign() * torch.exp(2 * drawn.values.abs()) * GRAPH.edge_mask, GRAPH)


def planted(pairs: int = 40, noise: float = 0.5) -> tuple[EdgeScores, EdgeScores]:
    """Two maps of the same pairs; in the second all edges that leave one head are three times as strong."""
    mean = heavy(1)
    after = mean.values.clone()
    after[GRAPH.sources.index(GROWN)] *= 3
    return sampled(mean, pairs, noise, 1), sampled(EdgeScores(after, GRAPH), pairs, noise, 2)


def changes_of(before: EdgeScores, after: EdgeScores, size: float = 0.5) -> dict[str, NodeChange]:
    """All that a run's analysis does for its nodes, by name."""
    found = bootstrap_change(before, after, size=size)
    moved = [node_shares(other) - node_shares(one) for one, other in split_halves(before, after)]
    return {node.node: node for node in node_changes(before, after, size, intervals=found.nodes, halves=moved)}


def test_a_node_whose_edges_grew_is_found_with_its_interval_and_the_null_far_below():
    before, after = planted()
    nodes = changes_of(before, after)
    held = {*before.top(0.5).nodes, *after.top(0.5).nodes} - {"logits"}
    assert list(nodes) == [name for name in GRAPH.sources if name in held]
    grown = nodes[GROWN]
    assert grown.changed
    assert grown.sentence.startswith("Beyond chance: its share of all scores was ")
    assert isinstance(grown.interval, Interval)
    assert grown.interval.low < grown.after - grown.before == pytest.approx(grown.interval.estimate)
    assert grown.interval.low > grown.halves > 0
    assert grown.comparisons == 40
    own = before.values[GRAPH.sources.index(GROWN)].abs().sum() / before.values.abs().sum()
    assert grown.before == pytest.approx(float(own), rel=1e-5)
    assert grown.after - grown.before == max(node.after - node.before for node in nodes.values())


def test_the_error_of_the_test_is_that_of_a_jackknife():
    before, after = planted(30)
    nodes = changes_of(before, after)
    n = len(before.examples)
    drawn = [
        node_shares(_without(after, pair)) - node_shares(_without(before, pair)) for pair in range(n)
    ]  # each pair left out once
    errors = torch.stack(drawn).std(0, correction=0) * math.sqrt(n - 1)
    for node in nodes.values():
        error = (node.after - node.before) / node.statistic
        assert error == pytest.approx(float(errors[GRAPH.sources.index(node.node)]), rel=0.1)


def _without(scores: EdgeScores, pair: int) -> EdgeScores:
    examples = torch.cat([scores.examples[:pair], scores.examples[pair + 1 :]])
    return replace(scores, values=examples.double().mean(0), examples=None)


def test_fresh_data_without_change_is_called_changed_at_the_nominal_rate():
    """100 draws of 25 pairs, in which every other edge's mean is within its noise."""
    mean = heavy(2)
    p, found = [], 0
    for draw in range(100):
        before, after = (sampled(mean, 25, 3.0, 2 * draw + side) for side in (0, 1))
        changes = node_changes(before, after, 1.0, intervals=[Interval(0, 0, 0)] * len(GRAPH.sources), halves=[])
        p.append([node.p for node in changes])
        found += any(node.changed for node in changes)
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.02)
    assert wilson(found, 100).low <= 0.05


def test_rows_that_say_the_same_twice_count_once():
    def doubled(scores: EdgeScores) -> EdgeScores:
        groups = torch.arange(len(scores.examples)).repeat_interleave(2)
        return replace(scores, examples=scores.examples.repeat_interleave(2, 0), groups=groups)

    single = planted(20)
    once, twice = changes_of(*single), changes_of(*map(doubled, single))
    assert once.keys() == twice.keys()
    for name, node in once.items():
        assert twice[name].p == pytest.approx(node.p, rel=1e-3)


def test_what_moves_no_more_than_halves_do_is_not_beyond_chance():
    before, after = planted()
    intervals = bootstrap_change(before, after, size=0.5).nodes
    wide = [torch.full((len(GRAPH.sources),), -0.9, dtype=torch.float64)] * 40
    found = node_changes(before, after, 0.5, intervals=intervals, halves=wide)
    assert min(node.q for node in found) < 0.001
    assert not any(node.changed for node in found)
    assert all(node.sentence.startswith("Not beyond chance: ") for node in found)


def test_bounds_of_every_two_are_those_of_their_differences():
    shares = torch.rand(9, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bounds = pairwise_bounds(shares)
    assert bounds is not None
    assert bounds.tolist() == difference_bounds([b - a for a, b in combinations(shares, 2)]).tolist()
    assert pairwise_bounds(shares[:1]) is None


def test_too_few_pairs_to_halve_are_said_and_the_test_decides_alone():
    nodes = changes_of(*planted(5, 0.01))
    assert nodes[GROWN].halves is None
    assert nodes[GROWN].changed
    assert nodes[GROWN].sentence.endswith("There are too few independent pairs to halve.")


def test_other_pairs_and_empty_circuits():
    before, after = planted(8)
    other = replace(after, settings={"pairs_digest": "of others"})
    with pytest.raises(InputError, match="of different pairs"):
        node_changes(before, other, 0.5, intervals=[], halves=[])
    loose = sampled(valued(GRAPH, {"a0.h0->m1": 1.0}), 8, 0.0, 1)  # on no path from the input
    assert node_changes(loose, loose, 1, intervals=[], halves=[]) == ()
