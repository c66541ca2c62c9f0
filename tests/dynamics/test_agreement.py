"""Agreement of rules and tasks by hand, and when the final set is found."""

from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitune.core.errors import InputError
from circuitune.dynamics.agreement import agreement, expected_jaccard, found_at, importances, set_overlap
from circuitune.dynamics.layers import RULES, layer_importance
from dynamics.strategies import GRAPHS, scores_of


def test_agreement_by_hand():
    result = agreement({"a": [4.0, 3.0, 2.0, 1.0], "b": [4.0, 2.0, 3.0, 1.0], "flat": [1.0] * 4}, 2)
    assert result.names == ("a", "b", "flat")
    assert result.kendall[0] == (pytest.approx(1.0), pytest.approx(4 / 6), None)
    assert result.jaccard == ((1.0, 1 / 3, 1.0), (1 / 3, 1.0, 1 / 3), (1.0, 1 / 3, 1.0))


def test_every_rule_gives_every_layer():
    before, after = scores_of(GRAPHS[0], 1), scores_of(GRAPHS[0], 2)
    values = importances(before, after)
    assert values.keys() == RULES.keys()
    for rule, importance in values.items():
        assert torch.equal(importance, layer_importance(before, after, rule))
    assert agreement(values, 1).names == tuple(RULES)


@pytest.mark.parametrize(("layers", "k"), [(6, 2), (5, 5), (7, 1)])
def test_expected_overlap_is_the_mean_over_all_sets(layers, k):
    first = set(range(k))
    values = [len(first & set(other)) / len(first | set(other)) for other in combinations(range(layers), k)]
    assert expected_jaccard(layers, k) == pytest.approx(sum(values) / len(values))


def test_overlap_of_tasks():
    assert set_overlap({"add_sub": (0, 4, 6), "lcm": (0, 3, 4)}) == ((1.0, 0.5), (0.5, 1.0))


def test_found_at_by_hand():
    assert found_at([(0, 1), (1, 2), (2, 1), (1, 2)]) == (1, (1 / 3, 1.0, 1.0, 1.0))
    assert found_at([(1, 2), (0, 1), (1, 2)]) == (2, (1.0, 1 / 3, 1.0))
    assert found_at([(3,)]) == (0, (1.0,))
    with pytest.raises(InputError, match="no checkpoint"):
        found_at([])


@settings(max_examples=40)
@given(st.lists(st.sets(st.integers(0, 3), min_size=2, max_size=2), min_size=1, max_size=8))
def test_the_set_stays_once_found(sets):
    found = found_at(sets)
    assert all(value == 1.0 for value in found.jaccards[found.at :])
    assert found.at == 0 or found.jaccards[found.at - 1] < 1.0


def test_unlike_importances_are_refused():
    with pytest.raises(InputError, match=r"same layers; got \[2, 3\]"):
        agreement({"a": [1.0, 2.0], "b": [1.0, 2.0, 3.0]}, 1)
    with pytest.raises(InputError, match=r"got \[\]"):
        agreement({}, 1)
    with pytest.raises(InputError, match="from 1 to 2"):
        agreement({"a": [1.0, 2.0]}, 3)
