"""Pairs that say the same twice are counted once, wherever chance between pairs is measured."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from circuitune.circuits.attribution import attribute
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError
from circuitune.core.statistics import Interval
from circuitune.dynamics.bootstrap import bootstrap_change
from circuitune.dynamics.edge_tests import edge_tests, false_positives
from circuitune.dynamics.nulls import disjoint_splits
from circuitune.dynamics.resampling import cluster_count, resampled
from circuitune.models.encoding import encode
from circuitune.models.loading import load
from circuitune.tasks.registry import task
from dynamics.strategies import GRAPHS, sampled, scores_of

GRAPH = GRAPHS[1]


def doubled(scores: EdgeScores) -> EdgeScores:
    """Every row twice, marked as one cluster each."""
    examples = scores.examples.repeat_interleave(2, 0)
    groups = 10 + torch.arange(len(scores.examples)).repeat_interleave(2)
    return replace(scores, examples=examples, groups=groups)


def two_maps(pairs=20):
    base, other = scores_of(GRAPH, 1), scores_of(GRAPH, 2)
    moved = replace(base, values=base.values + 0.2 * other.values)
    return sampled(base, pairs, 1.0, 1), sampled(moved, pairs, 1.0, 2)


@pytest.mark.parametrize("paired", [True, False])
def test_duplicated_rows_give_the_p_values_of_single_ones(paired):
    single = two_maps()
    once = edge_tests(*single, 0.3, paired=paired)
    twice = edge_tests(*map(doubled, single), 0.3, paired=paired)
    assert np.allclose(twice.p, once.p, rtol=1e-4)
    assert np.allclose(twice.difference, once.difference, atol=1e-6)
    unmarked = edge_tests(*(replace(doubled(scores), groups=None) for scores in single), 0.3, paired=paired)
    assert np.median(unmarked.p / once.p) < 0.8  # what the clusters are for


def test_duplicated_rows_give_the_intervals_of_single_ones():
    single = two_maps()
    once = bootstrap_change(*single, size=0.3)
    twice = bootstrap_change(*map(doubled, single), size=0.3)
    for name in ("edge_rate", "edge_jaccard", "weighted_jaccard"):
        one, two = once.measures[name], twice.measures[name]
        assert isinstance(one, Interval)
        assert (two.estimate, two.low, two.high) == pytest.approx((one.estimate, one.low, one.high), rel=1e-4)


def test_halves_never_share_a_cluster():
    scores, _ = two_maps(9)
    twice = doubled(scores)
    parts = disjoint_splits(twice, 3, seed=4)
    owned = [set(part.groups.tolist()) for part in parts]
    assert [len(own) for own in owned] == [3, 3, 3]
    assert not owned[0] & owned[1] | owned[0] & owned[2] | owned[1] & owned[2]
    for one, two in zip(disjoint_splits(scores, 3, seed=4), parts, strict=True):
        torch.testing.assert_close(two.values, one.values)
        assert len(two.examples) == 2 * len(one.examples)
    with pytest.raises(InputError, match="9 independent pairs cannot be split into 10 parts; choose 2 to 9"):
        disjoint_splits(twice, 10)


def test_false_positives_of_duplicated_rows_are_those_of_single_ones():
    scores, _ = two_maps(16)
    assert false_positives(doubled(scores), 30, 0.3) == false_positives(scores, 30, 0.3)
    with pytest.raises(InputError, match="3 pairs"):
        false_positives(doubled(two_maps(3)[0]), 2)


def test_clusters_of_unequal_size_keep_the_difference_of_the_maps():
    groups = torch.tensor([0] * 5 + [1, 2, 2, 3, 4, 4, 4, 5, 6, 7, 8, 8, 9, 9, 9])
    before, after = (replace(scores, groups=groups) for scores in two_maps())
    plain = edge_tests(*two_maps(), 0.3)
    found = edge_tests(before, after, 0.3)
    assert np.allclose(found.difference, plain.difference)
    assert not np.allclose(found.p, plain.p)


def test_maps_of_the_same_pairs_share_the_groups_that_one_of_them_knows():
    first, second = map(doubled, two_maps())
    bare = replace(second, groups=None)
    assert np.array_equal(edge_tests(first, bare, 0.3).p, edge_tests(first, second, 0.3).p)
    for known, unknown in zip(resampled([first, second], 5), resampled([first, bare], 5), strict=True):
        assert all(torch.equal(one.values, other.values) for one, other in zip(known, unknown, strict=True))


def test_pairs_that_are_all_tied_say_nothing_about_chance():
    scores, _ = two_maps(4)
    with pytest.raises(InputError, match="all 4 pairs share prompts or groups"):
        edge_tests(replace(scores, groups=torch.zeros(4, dtype=torch.int64)), scores)


def test_couples_of_an_own_task_count_once():
    """Each row of a couple is the other's corruption, and at the midpoint both have the same score."""
    model, tokenizer = load("nano")
    inputs = encode(task("add_sub", limit=8), tokenizer)
    scores = attribute(model, inputs, steps=1, quadrature="midpoint", per_example=True)
    assert scores.groups is not None
    assert torch.equal(scores.groups, inputs.groups)
    assert attribute(model, inputs, method="eap", per_example=False).groups is None
    couples = [(scores.groups == number).nonzero()[:, 0].tolist() for number in scores.groups.unique()]
    assert 2 * len(couples) == len(inputs) == 2 * cluster_count(scores)
    for one, other in couples:
        assert torch.equal(inputs.clean[one], inputs.corrupted[other])
        torch.testing.assert_close(scores.examples[one], scores.examples[other], atol=1e-4, rtol=1e-3)
