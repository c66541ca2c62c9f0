import math
from itertools import product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from circuitune.adapters.allocators import ALLOCATORS, even, levels, two_level, water_filling
from circuitune.core.errors import InputError

importances = st.one_of(st.just(0.0), st.floats(1e-9, 1e9), st.integers(1, 5).map(float))


@st.composite
def problems(draw, *, equal_costs=False, limit=None):
    """Importance, costs, limits and a budget between one rank of the cheapest module and full rank of all."""
    count = draw(st.integers(1, 8))
    importance = draw(st.lists(importances, min_size=count, max_size=count))
    assume(max(importance) > 0)
    one = draw(st.integers(1, 60))
    costs = [one] * count if equal_costs else draw(st.lists(st.integers(1, 60), min_size=count, max_size=count))
    top = draw(st.integers(1, 12))
    limits = (
        [limit or top] * count if equal_costs else draw(st.lists(st.integers(1, 12), min_size=count, max_size=count))
    )
    full = sum(cost * most for cost, most in zip(costs, limits, strict=True))
    return importance, costs, limits, draw(st.integers(min(costs), full))


def spent(ranks, costs):
    return sum(rank * cost for rank, cost in zip(ranks, costs, strict=True))


@settings(max_examples=200, deadline=None)
@given(problem=problems(), name=st.sampled_from(sorted(ALLOCATORS)))
def test_all_of_the_budget_is_spent_but_less_than_one_rank_of_what_can_take_one(problem, name):
    importance, costs, limits, budget = problem
    ranks = ALLOCATORS[name](importance, costs, limits, budget)
    assert all(0 <= rank <= most for rank, most in zip(ranks, limits, strict=True))
    growing = [cost for rank, cost, most in zip(ranks, costs, limits, strict=True) if rank < most]
    assert 0 <= budget - spent(ranks, costs) < min(growing, default=1)


@settings(max_examples=200, deadline=None)
@given(problem=problems(equal_costs=True), name=st.sampled_from(sorted(ALLOCATORS)))
def test_the_more_important_of_equal_modules_never_gets_less(problem, name):
    importance = problem[0]
    ranks = ALLOCATORS[name](*problem)
    for one, other in product(range(len(ranks)), repeat=2):
        if importance[one] > importance[other] * (1 + 1e-9):
            assert ranks[one] >= ranks[other]
        if importance[one] == importance[other]:
            assert abs(ranks[one] - ranks[other]) <= 1


@settings(max_examples=200, deadline=None)
@given(problem=problems(), scale=st.floats(1e-6, 1e6), name=st.sampled_from(sorted(ALLOCATORS)))
def test_the_scale_of_an_importance_does_not_matter(problem, scale, name):
    importance, *rest = problem
    assert ALLOCATORS[name](importance, *rest) == ALLOCATORS[name]([scale * value for value in importance], *rest)


def test_proportional_ranks_are_proportional_where_that_comes_out_even():
    assert ALLOCATORS["proportional"]([4, 1, 0, 3], [10, 10, 10, 10], [99] * 4, 160) == [8, 2, 0, 6]


def test_what_a_full_module_cannot_take_goes_to_the_others_in_proportion():
    assert ALLOCATORS["proportional"]([100, 2, 1], [10, 10, 10], [4, 99, 99], 160) == [4, 8, 4]


def test_water_filling_reaches_the_textbook_level():
    # 1 + r = level x importance / cost, with importance 8, 4, 1, equal costs and 10 ranks: level 1 + r = 8, 4, 1.
    assert water_filling([8, 4, 1], [5, 5, 5], [99] * 3, 50) == [7, 3, 0]


def gain(importance, ranks):
    return math.fsum(value * math.log1p(rank) for value, rank in zip(importance, ranks, strict=True))


def best(importance, costs, limits, budget):
    choices = product(*(range(limit + 1) for limit in limits))
    return max(gain(importance, ranks) for ranks in choices if spent(ranks, costs) <= budget)


@settings(max_examples=60, deadline=None)
@given(
    importance=st.lists(st.floats(0.01, 100), min_size=3, max_size=3),
    costs=st.one_of(st.just([3, 3, 3]), st.lists(st.integers(1, 9), min_size=3, max_size=3)),
    share=st.floats(0, 1),
)
def test_water_filling_is_as_good_as_any_allocation(importance, costs, share):
    limits = [5, 5, 5]
    budget = max(min(costs), int(share * 5 * sum(costs)))
    reached = gain(importance, water_filling(importance, costs, limits, budget))
    most = best(importance, costs, limits, budget)
    slack = 0 if len(set(costs)) == 1 else max(importance) * math.log(2)  # the gain of one rank
    assert most - slack <= reached + 1e-9 * most
    assert reached <= most * (1 + 1e-9)


@settings(max_examples=200, deadline=None)
@given(problem=problems(), rank=st.integers(0, 3), data=st.data())
def test_two_levels_spend_the_budget_on_the_critical_modules(problem, rank, data):
    importance, costs, limits, budget = problem
    limits = [most + rank for most in limits]
    budget += rank * sum(costs)
    count = data.draw(st.integers(1, len(costs)))
    ranks = two_level(importance, costs, limits, budget, rank=rank, count=count)
    growing = [cost for place, cost, most in zip(ranks, costs, limits, strict=True) if place < most]
    assert 0 <= budget - spent(ranks, costs) < min(growing, default=1)
    assert all(rank <= place <= most for place, most in zip(ranks, limits, strict=True))


def test_two_levels_within_a_budget_are_the_plain_levels_where_that_comes_out_even():
    importance, costs = [1, 9, 5, 0], [10, 10, 20, 20]
    plain = levels(importance, rank=2, critical_rank=7, count=2)
    assert plain == [2, 7, 7, 2]
    assert two_level(importance, costs, [99] * 4, spent(plain, costs), rank=2, count=2) == plain


@pytest.mark.parametrize("name", sorted(ALLOCATORS))
@pytest.mark.parametrize(
    ("importance", "budget", "message"),
    [
        ([1, -1], 20, "negative"),
        ([0, 0], 20, "one is positive"),
        ([1, 2], 9, r"one rank of the cheapest module \(10\)"),
        ([1, 2], 121, r"full rank of every module \(120\)"),
    ],
)
def test_what_cannot_be_allocated_is_refused(name, importance, budget, message):
    with pytest.raises(InputError, match=message):
        ALLOCATORS[name](importance, [10, 20], [4, 4], budget)


def test_two_levels_below_the_ordinary_rank_are_refused():
    with pytest.raises(InputError, match=r"below rank 3 for every module \(90\)"):
        two_level([1, 2], [10, 20], [4, 4], 80, rank=3, count=1)


def test_even_ranks_are_refused_below_one_rank():
    with pytest.raises(InputError, match="cheapest module"):
        even([10, 20], 9)
