"""Circuits found again with some pairs resampled."""

import pytest

import circuitune as ct
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError
from circuitune.dynamics.measures import overlap
from circuitune.dynamics.robustness import under_noise
from circuitune.models.loading import load
from circuitune.tasks.pairs import PairSet
from circuitune.tasks.perturb import perturbed

SHARE = 0.05


@pytest.fixture(scope="module")
def nano():
    return load("nano")


def scored(nano, calls: list[int] | None = None):
    model, tokenizer = nano

    def score(pairs: PairSet) -> EdgeScores:
        if calls is not None:
            calls.append(len(pairs))
        return ct.attribute(model, ct.encode(pairs, tokenizer), steps=2, per_example=True)

    return score


@pytest.fixture(scope="module")
def pairs() -> PairSet:
    return ct.task("add_sub", limit=100, style="short").split("circuit").sample(30)


def test_the_highest_level_equals_attributing_the_resampled_pairs(nano, pairs) -> None:
    score, tokenizer = scored(nano), nano[1]
    found = under_noise(score, pairs, SHARE, tokenizer=tokenizer, levels=(0.2, 0.6), draws=2, seed=4)
    for draw in range(2):
        noisy = perturbed(pairs, 0.6, seed=8 + draw, tokenizer=tokenizer)
        expected = overlap(score(pairs).top(SHARE), score(noisy).top(SHARE))
        assert found[0.6][draw] == expected


def test_only_the_pairs_and_their_replacements_are_attributed(nano, pairs) -> None:
    calls: list[int] = []
    under_noise(scored(nano, calls), pairs, SHARE, tokenizer=nano[1], levels=(0.1, 0.3, 0.5), draws=3)
    assert calls == [30, 15, 15, 15]


def test_more_noise_changes_more_and_equal_seeds_agree(nano, pairs) -> None:
    def found():
        return under_noise(scored(nano), pairs, SHARE, tokenizer=nano[1], levels=(0.1, 0.9), draws=4, seed=1)

    levels = found()
    assert levels == found()
    low, high = ([one.edges.jaccard for one in levels[level]] for level in (0.1, 0.9))
    assert sum(low) > sum(high)
    assert all(0 <= value <= 1 for value in (*low, *high))


@pytest.mark.parametrize(
    ("levels", "draws", "said"), [((), 1, "a level"), ((0.5,), 0, "0 draws"), ((1.5,), 1, "at most 1")]
)
def test_a_request_that_makes_no_sense_is_refused(nano, pairs, levels, draws, said) -> None:
    with pytest.raises(InputError, match=said):
        under_noise(scored(nano), pairs, SHARE, tokenizer=nano[1], levels=levels, draws=draws)


def test_pairs_of_no_task_cannot_be_resampled(nano, pairs) -> None:
    own = PairSet("mine", tuple(pairs), None, {})
    with pytest.raises(InputError, match="perturb pairs of a task"):
        under_noise(scored(nano), own, SHARE, tokenizer=nano[1])
