"""The null between seeds is the same comparison, once per pair of seeds; nulls of all kinds share one form."""

import math
from itertools import combinations

import pytest
import torch

from circuitune.core.errors import InputError
from circuitune.dynamics.change import change_rows, compare, cumulative_between
from circuitune.dynamics.layers import layer_rows
from circuitune.dynamics.measures import overlap
from circuitune.dynamics.nulls import Null, between, disjoint_splits, null, null_rows, seed_nulls
from circuitune.dynamics.rewiring import random_overlaps, rewired_overlaps
from dynamics.strategies import GRAPHS, circuit_of, planted, sampled, scores_of

GRAPH = GRAPHS[0]


def test_every_two_seeds_are_compared_once_by_the_same_comparison():
    circuits = {seed: circuit_of(GRAPH, seed, 0.5) for seed in (7, 0, 3)}
    nulls = seed_nulls(circuits)
    assert [(null.first, null.second) for null in nulls] == [(0, 3), (0, 7), (3, 7)]
    assert all(null.change == compare(circuits[null.first], circuits[null.second]) for null in nulls)


def test_scores_are_cut_to_the_share():
    scores = {seed: scores_of(GRAPH, seed) for seed in (0, 1)}
    (null,) = seed_nulls(scores, share=0.5)
    assert null.change == compare(scores[0].top(0.5), scores[1].top(0.5))


def test_one_seed_has_no_null():
    with pytest.raises(InputError, match="at least two seeds; got 1"):
        seed_nulls({0: circuit_of(GRAPH, 0, 0.5)})


def test_rows_are_those_of_a_change_but_for_their_role_and_name():
    circuits = {seed: circuit_of(GRAPH, seed, 0.5) for seed in (0, 1, 2)}
    nulls = seed_nulls(circuits)
    labels = {seed: f"tune seed {seed} step 50" for seed in circuits}
    series = {seed: [circuit_of(GRAPH, 9, 0.5), circuit] for seed, circuit in circuits.items()}
    changes, layers = null_rows(nulls, comparison="tuned", labels=labels, series=series)
    assert len({row.comparison for row in changes}) == 3
    first, rate = "tuned, seed 0 against seed 1", cumulative_between(series[0], series[1])
    assert changes[:2] == change_rows(
        nulls[0].change,
        comparison=first,
        role="null",
        before=labels[0],
        after=labels[1],
        cumulative=rate,
    )
    # With one checkpoint after the start the cumulative null is the two circuits' difference over the start's size.
    assert changes[1].cumulative == pytest.approx((changes[1].added + changes[1].removed) / len(series[0][0]))
    assert [row for row in layers if row.comparison == first] == layer_rows(
        nulls[0].change.layers, comparison=first, role="null"
    )
    assert {row.role for row in layers} == {"null"}


def test_all_nulls_have_one_form():
    circuits = [circuit_of(GRAPH, seed, 0.5) for seed in range(3)]
    pairwise = between(circuits)
    assert pairwise == tuple(overlap(*pair) for pair in combinations(circuits, 2))
    nulls = [
        null("split", pairwise, "edge_jaccard"),
        null("rewired", rewired_overlaps(circuits[0], circuits[1], 20), "edge_jaccard"),
        null("random", random_overlaps(circuits[0], circuits[1], 20), "edge_jaccard"),
    ]
    assert [len(one.values) for one in nulls] == [3, 20, 20]
    assert nulls[0].values == tuple(one.jaccard(other) for one, other in combinations(circuits, 2))


def test_a_null_is_summed_up_by_hand():
    values = Null("seed", "edge_rate", (1.0, 2.0, 3.0, 6.0))
    assert (values.mean, values.quantile(0.5), values.quantile(0.51)) == (3.0, 2.0, 3.0)
    empty = Null("seed", "ratio", ())
    assert empty.mean is empty.quantile(0.5) is None


def test_a_comparison_without_a_value_counts_as_infinitely_large():
    some = Null("seed", "ratio", (1.0, 2.0, 3.0), undefined=2)
    assert [some.quantile(level) for level in (0.2, 0.6, 0.61, 1.0)] == [1.0, 3.0, math.inf, math.inf]
    assert some.mean is None


def test_comparisons_without_a_value_are_counted():
    same, other = planted(GRAPH, "input->m0", "m0->logits"), planted(GRAPH, "input->m1", "m1->logits")
    ratios = null("seed", between([same, same, other]), "ratio")
    assert (ratios.values, ratios.undefined) == ((3.0, 3.0), 1)


def test_scores_are_cut_before_they_are_compared():
    scores = [scores_of(GRAPH, seed) for seed in range(2)]
    assert between(scores, 0.4) == between([value.top(0.4) for value in scores])


def test_splits_are_disjoint_and_each_is_the_mean_of_its_pairs():
    scores = sampled(scores_of(GRAPH, 1), 11, 1.0, 2)
    parts = disjoint_splits(scores, 3, seed=4)
    assert [len(part.examples) for part in parts] == [3, 3, 3]
    rows = [tuple(row.flatten().tolist()) for part in parts for row in part.examples]
    assert len(set(rows)) == 9
    assert set(rows) <= {tuple(row.flatten().tolist()) for row in scores.examples}
    for part in parts:
        assert torch.allclose(part.values, part.examples.mean(0), atol=1e-6)
        assert part.settings["pairs"] == 3
    assert len({part.settings["pairs_digest"] for part in parts}) == 3
    again, others = disjoint_splits(scores, 3, seed=4), disjoint_splits(scores, 3, seed=5)
    assert all(torch.equal(one.examples, other.examples) for one, other in zip(parts, again, strict=True))
    assert not torch.equal(parts[0].examples, others[0].examples)


def test_a_null_that_cannot_be_made_is_refused():
    scores = sampled(scores_of(GRAPH, 1), 5, 1.0, 2)
    for parts in (0, 1, 6):
        with pytest.raises(InputError, match=f"cannot be split into {parts} parts; choose 2 to 5"):
            disjoint_splits(scores, parts)
    with pytest.raises(InputError, match=r"per_example=True"):
        disjoint_splits(scores_of(GRAPH, 1), 2)
    with pytest.raises(InputError, match="at least two circuits; got 1"):
        between([scores])
    with pytest.raises(InputError, match="'likeness' is no measure"):
        null("seed", [], "likeness")
