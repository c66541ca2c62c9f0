"""Schedules pick checkpoints that are there; rates per step are the transition's over its steps."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitune.core.errors import InputError
from circuitune.dynamics.change import cumulative_rate
from circuitune.dynamics.series import schedule, transition_rates
from dynamics.strategies import GRAPHS, circuit_of, circuits_of, planted, recipes

SERIAL = GRAPHS[0]
series_of_steps = st.lists(st.integers(0, 5000), min_size=2, max_size=20, unique=True).map(sorted)


def test_schedules_by_hand():
    steps = (0, 1, 3, 7, 10, 15, 20, 30, 31)
    assert [steps[place] for place in schedule(steps, 4, "even")] == [0, 10, 20, 31]
    assert [steps[place] for place in schedule(steps, 6, "log")] == [0, 1, 3, 7, 15, 31]


@given(series_of_steps, st.integers(2, 30), st.sampled_from(["even", "log"]))
def test_a_schedule_keeps_both_ends_and_takes_each_checkpoint_once(steps, count, spacing):
    chosen = schedule(steps, count, spacing)
    assert (chosen[0], chosen[-1]) == (0, len(steps) - 1)
    assert all(one < other for one, other in pairwise(chosen))
    assert len(chosen) <= count


@given(st.integers(2, 40))
def test_as_many_as_there_are_on_their_own_schedule_is_all(count):
    assert schedule([100 + 10 * place for place in range(count)], count) == tuple(range(count))


@settings(deadline=None, max_examples=20)
@given(recipes(3))
def test_rates_per_transition_add_up_to_the_cumulative_rate(recipe):
    circuits = circuits_of(recipe)
    rates, whole = transition_rates(circuits, (0, 10, 14)), cumulative_rate(circuits)
    if whole.edges is None:
        assert all(rate.edge_rate is rate.edge_rate_per_step is None for rate in rates)
        return
    assert sum(rate.edge_rate for rate in rates) == pytest.approx(whole.edges)
    assert sum(rate.node_rate for rate in rates) == pytest.approx(whole.nodes)
    assert sum(rate.edge_rate_per_step * steps for rate, steps in zip(rates, (10, 4), strict=True)) == pytest.approx(
        whole.edges
    )


def test_rates_by_hand():
    first, second = planted(SERIAL, "input->m0", "m0->logits"), planted(SERIAL, "input->m1", "m1->logits")
    (rate,) = transition_rates([first, second], (5, 25))
    assert (rate.step_from, rate.step_to) == (5, 25)
    assert (rate.edge_rate, rate.node_rate) == (2.0, 2 / 3)
    assert (rate.edge_rate_per_step, rate.node_rate_per_step) == pytest.approx((0.1, 2 / 60))


def test_bad_series_are_refused():
    circuits = [circuit_of(SERIAL, seed, 0.5) for seed in range(3)]
    with pytest.raises(InputError, match="increasing steps"):
        transition_rates(circuits, (0, 10, 10))
    with pytest.raises(InputError, match="3 circuits at 2 steps"):
        transition_rates(circuits, (0, 10))
    with pytest.raises(InputError, match="two or more checkpoints"):
        schedule([5], 2)
    with pytest.raises(InputError, match="at least two checkpoints; 1 were"):
        schedule([0, 5], 1)
