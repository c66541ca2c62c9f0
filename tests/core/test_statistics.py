import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_1samp

from circuitune.core.errors import MachineError
from circuitune.core.statistics import (
    Interval,
    Undefined,
    bootstrap_ratio,
    t_interval,
    wilson,
)

finite = st.floats(-1e6, 1e6)


@settings(deadline=None)
@given(st.integers(1, 5000), st.floats(0, 1), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_equals_scipys(n, share, level):
    successes = round(share * n)
    expected = binomtest(successes, n).proportion_ci(level, method="wilson")
    interval = wilson(successes, n, level)
    assert interval.estimate == successes / n
    assert interval.low == pytest.approx(expected.low, abs=1e-12)
    assert interval.high == pytest.approx(expected.high, abs=1e-12)
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 3), (4, 3)])
def test_wilson_refuses_what_is_no_count(successes, n):
    with pytest.raises(ValueError, match="successes"):
        wilson(successes, n)


def coverage(make_interval, truth, repeats):
    inside = [(i := make_interval(trial)).low <= truth <= i.high for trial in range(repeats)]
    return sum(inside) / repeats


def test_bootstrap_ratio_covers_the_true_ratio_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    denominator = rng.normal(2.0, 1.0, size=(400, 100))
    numerator = 0.8 * denominator + rng.normal(0.0, 0.5, size=(400, 100))
    covered = coverage(lambda trial: bootstrap_ratio(numerator[trial], denominator[trial], 400, seed=trial), 0.8, 400)
    assert 0.90 <= covered <= 0.98


def test_bootstrap_ratio_resamples_pairs():
    """With numerator = 0.8 denominator every paired resample has the same ratio; unpaired ones would not."""
    denominator = np.random.default_rng(2).normal(2.0, 1.0, size=100)
    interval = bootstrap_ratio(0.8 * denominator, denominator)
    assert isinstance(interval, Interval)
    assert (interval.low, interval.high) == (pytest.approx(0.8), pytest.approx(0.8))


def test_examples_that_come_in_couples_count_once():
    """Each value twice: as single examples they would make an interval too narrow by the root of two."""
    rng = np.random.default_rng(5)
    denominator = rng.normal(2.0, 1.0, size=200)
    numerator = 0.8 * denominator + rng.normal(0.0, 0.5, size=200)
    single, doubled, coupled = (
        bootstrap_ratio(numerator, denominator),
        bootstrap_ratio(np.repeat(numerator, 2), np.repeat(denominator, 2)),
        bootstrap_ratio(np.repeat(numerator, 2), np.repeat(denominator, 2), groups=np.repeat(np.arange(200), 2)),
    )
    assert isinstance(single, Interval)
    assert isinstance(doubled, Interval)
    assert isinstance(coupled, Interval)
    assert coupled.low == pytest.approx(single.low)
    assert coupled.high == pytest.approx(single.high)
    assert doubled.high - doubled.low < 0.8 * (single.high - single.low)
    assert bootstrap_ratio([1.0, 2.0], [1.0, 1.0], groups=[7, 7]) == Undefined(
        "one independent example has no interval"
    )


def test_bootstrap_ratio_is_the_ratio_of_means_not_the_mean_of_ratios():
    interval = bootstrap_ratio([1.0] * 50, [1e-9] + [2.0] * 49)
    assert isinstance(interval, Interval)
    assert interval.estimate == pytest.approx(50 / 98)


def test_bootstrap_ratio_says_why_a_denominator_around_zero_gives_none():
    denominator = np.random.default_rng(3).normal(0.0, 1.0, size=100)
    result = bootstrap_ratio(np.ones(100), denominator)
    assert isinstance(result, Undefined)
    assert "contains 0" in result.reason
    assert isinstance(bootstrap_ratio(np.ones(5), np.zeros(5)), Undefined)
    assert bootstrap_ratio([1.0], [2.0]) == Undefined("one independent example has no interval")


def test_bootstrap_ratio_survives_a_resample_whose_denominator_is_zero():
    """Three ones among twenty zeros: hundreds of the 2,000 resamples draw none, yet the level leaves them out."""
    denominator = np.array([1.0] * 3 + [0.0] * 20)
    result = bootstrap_ratio(np.ones(23), denominator, level=0.5)
    assert isinstance(result, Interval)
    assert np.isfinite([result.low, result.high]).all()
    assert result.low <= result.estimate <= result.high


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0.1, 1e6), min_size=2, max_size=30), st.integers(0, 100))
def test_bootstrap_ratio_is_deterministic_and_stays_within_the_data(values, seed):
    interval = bootstrap_ratio(values, [2.0] * len(values), 200, seed)
    assert interval == bootstrap_ratio(values, [2.0] * len(values), 200, seed)
    assert isinstance(interval, Interval)
    slack = 1e-9 * (1 + max(values))
    assert min(values) - slack <= 2 * interval.low <= 2 * interval.high <= max(values) + slack


def test_many_examples_are_resampled_in_parts():
    values = np.random.default_rng(4).normal(1.0, 1.0, size=30_000)
    interval = bootstrap_ratio(values, np.ones(30_000), 300)
    assert isinstance(interval, Interval)
    half = 1.96 / np.sqrt(30_000)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.2)


@settings(deadline=None)
@given(st.lists(finite, min_size=2, max_size=20, unique=True))
def test_t_interval_equals_scipys(values):
    expected = ttest_1samp(values, 0.0).confidence_interval(0.95)
    interval = t_interval(values)
    assert isinstance(interval, Interval)
    assert (interval.low, interval.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_one_seed_has_no_interval():
    assert t_interval([0.7]) == Undefined("one value has no interval")
    assert t_interval([0.7, 0.7]) == Interval(0.7, 0.7, 0.7)


@pytest.mark.parametrize("function", [t_interval, lambda v: bootstrap_ratio(v, [1.0, 1.0, 1.0])])
def test_values_that_are_not_finite_are_a_machine_error(function):
    with pytest.raises(MachineError, match="1 of 3 measured values"):
        function([1.0, float("nan"), 2.0])


def test_values_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="shape"):
        t_interval([])
    with pytest.raises(ValueError, match="shape"):
        t_interval([[1.0]])
    with pytest.raises(ValueError, match="denominators"):
        bootstrap_ratio([1.0, 2.0], [1.0])
