"""The study's estimate is the ratio under another name, and the verdict follows its rule."""

import pytest
from hypothesis import given, settings

from circuitune.core.errors import InputError
from circuitune.core.statistics import Interval, Undefined
from circuitune.dynamics.bootstrap import bootstrap_change
from circuitune.dynamics.change import compare
from circuitune.dynamics.fairness import node_estimate, verdict
from circuitune.dynamics.measures import overlap
from circuitune.dynamics.nulls import Null, between, disjoint_splits, null
from dynamics.strategies import GRAPHS, circuits_of, planted, recipes, sampled, scores_of

SERIAL = GRAPHS[0]


@settings(deadline=None, max_examples=20)
@given(recipes(2))
def test_the_studys_estimate_restates_the_ratio_of_rates(recipe):
    before, after = circuits_of(recipe)
    change = compare(before, after)
    if not len(before):
        with pytest.raises(InputError, match="before is empty"):
            node_estimate(change)
        return
    estimate, ratio = node_estimate(change), overlap(before, after).ratio
    if ratio is None:
        assert estimate.ratio is estimate.two_ended_ratio is None
        assert "; an estimate from changed nodes needs" in estimate.sentence
    else:
        assert estimate.ratio == pytest.approx(ratio)
        assert estimate.two_ended_ratio == pytest.approx(ratio / 2)


def test_an_estimate_by_hand():
    before = planted(SERIAL, "input->m0", "m0->logits", "input->logits")  # 3 edges, 3 nodes
    after = planted(SERIAL, "input->m1", "m1->logits", "m0->logits")  # m1 is new: it touches two edges of four
    estimate = node_estimate(compare(before, after))
    assert (estimate.changed_edges, estimate.changed_nodes, estimate.touching) == (4, 1, 2)
    assert (estimate.estimate, estimate.ratio, estimate.two_ended_ratio) == (1.0, 4.0, 2.0)
    assert "2 of 4 changed edges touch a changed node (changed nodes: 1)." in estimate.sentence
    assert "4.00 times the study's estimate of changed nodes x E/N (1), which only restates" in estimate.sentence
    assert "with 2E/N, for the two ends of an edge, they are 2.00 times" in estimate.sentence


SEEDS = Null("seed", "ratio", tuple(1 + n / 100 for n in range(20)))  # at most 1.19
SPLITS = Null("split", "ratio", tuple(2 + n / 100 for n in range(10)))  # at most 2.09


@pytest.mark.parametrize(
    ("observed", "nulls", "outcome"),
    [
        (Interval(3.0, 2.2, 4.0), [SEEDS, SPLITS], "more than chance"),
        (Interval(2.0, 1.5, 4.0), [SEEDS], "more than chance"),
        (Interval(2.0, 1.5, 4.0), [SEEDS, SPLITS], "not enough to say"),
        (Interval(1.1, 1.5, 4.0), [SEEDS], "not enough to say"),  # resamples lie higher than the estimate
        (Interval(2.0, 2.2, 4.0), [SEEDS, SPLITS], "not enough to say"),
        (Interval(1.8, 1.5, 2.0), [SEEDS, SPLITS], "no more than chance"),
        (Interval(1.0, 0.5, 1.1), [SEEDS], "no more than chance"),
        (Undefined("no reason"), [SEEDS], "not enough to say"),
        (Interval(3.0, 2.2, 4.0), [], "not enough to say"),
        (Interval(3.0, 2.2, 4.0), [Null("seed", "ratio", (1.0,) * 9)], "not enough to say"),
        (Interval(3.0, 2.2, 4.0), [Null("seed", "ratio", (1.0,) * 9, undefined=1)], "not enough to say"),
        (Interval(3.0, 2.2, 4.0), [Null("seed", "ratio", (1.0,) * 99, undefined=1)], "more than chance"),
    ],
)
def test_the_verdict_follows_its_rule(observed, nulls, outcome):
    found = verdict(observed, nulls)
    assert found.outcome == outcome
    assert found.sentence.startswith(outcome.capitalize().removesuffix("chance"))
    assert found.sentence.endswith(".")


def test_the_sentence_gives_the_numbers_or_what_is_missing():
    assert verdict(Interval(3.0, 2.2, 4.0), [SEEDS, SPLITS]).sentence == (
        "More than another seed and the chance of the pairs: 3 [2.2, 4] against at most 1.19 (seed), 2.09 (split) in "
        "97.5 % of comparisons where that alone differs."
    )
    raised = verdict(Interval(1.1, 1.5, 4.0), [SEEDS]).sentence
    assert raised.startswith("Not enough to say: the estimate does not exceed every bound, 1.1 [1.5, 4]")
    few = verdict(Interval(3.0, 2.2, 4.0), [Null("seed", "ratio", (1.0,) * 3)])
    assert few.sentence == "Not enough to say: the seed null has 3 comparisons, and 10 are needed."


@pytest.mark.parametrize("measures", [("edge_jaccard",), ("edge_rate", "ratio")])
def test_a_verdict_on_a_similarity_or_on_several_measures_is_refused(measures):
    nulls = [Null("seed", measure, (1.0,) * 10) for measure in measures]
    with pytest.raises(InputError, match="one rate or ratio"):
        verdict(Interval(3.0, 2.2, 4.0), nulls)


def test_noise_is_called_noise_and_a_planted_change_is_not():
    base = scores_of(GRAPHS[1], 1)
    before = sampled(base, 40, 0.05, 1)
    nulls = [null("split", between(disjoint_splits(before, 5), 0.3), "edge_rate")]
    other = sampled(scores_of(GRAPHS[1], 2), 40, 0.05, 2)
    changed = bootstrap_change(before, other, size=0.3).measures["edge_rate"]
    assert verdict(changed, nulls).outcome == "more than chance"
    same = bootstrap_change(before, sampled(base, 40, 0.05, 3), size=0.3).measures["edge_rate"]
    assert verdict(same, nulls).outcome != "more than chance"
