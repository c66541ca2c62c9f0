"""The null between seeds is the same comparison, once per pair of seeds."""

import pytest

from circuitune.core.errors import InputError
from circuitune.dynamics.change import change_rows, compare, cumulative_between
from circuitune.dynamics.layers import layer_rows
from circuitune.dynamics.nulls import null_rows, seed_nulls
from dynamics.strategies import GRAPHS, circuit_of, scores_of

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
