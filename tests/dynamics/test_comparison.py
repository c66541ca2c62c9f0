"""Compared with all that chance can do: what is planted is found, noise is not, and what is missing is said."""

import json
from dataclasses import replace

import pytest
import torch

from circuitune.circuits.graph import Graph
from circuitune.core.errors import InputError
from circuitune.dynamics.bootstrap import bootstrap_change, circuit_stability
from circuitune.dynamics.comparison import QUESTIONS, Comparison, compare_with_chance
from circuitune.dynamics.edge_tests import edge_tests
from circuitune.dynamics.rewiring import rewired_overlaps
from dynamics.strategies import GRAPHS, sampled, scores_of

GRAPH = Graph(layers=3, heads=4, kv_heads=4, parallel=False)
SIZE = 0.2
BASE = scores_of(GRAPH, 0)


def altered(seed=5, share=0.3):
    """The base with this share of its edges drawn anew."""
    drawn = torch.rand(BASE.values.shape, generator=torch.Generator().manual_seed(seed)) < share
    return replace(BASE, values=torch.where(drawn, scores_of(GRAPH, seed).values, BASE.values))


def pairs(mean=BASE, *, noise=0.3, seed=1, count=40):
    return sampled(mean, count, noise, seed)


def test_a_planted_change_is_more_than_chance_and_named():
    before, after = pairs(noise=0.1), pairs(altered(share=0.5), noise=0.1, seed=2)
    found = compare_with_chance(before, after, size=SIZE)
    assert found.verdicts["edge_rate"].outcome == "more than chance"
    assert found.missing == ()
    real = BASE.top(SIZE) ^ altered(share=0.5).top(SIZE)
    assert found.chance is not None
    assert found.chance.tests is not None
    assert found.chance.tests.changed.jaccard(real) > 0.8
    assert found.sentences[0].startswith("Do the sets of edges differ? More than the chance of the pairs: ")


def test_edges_that_changed_are_named_where_the_sets_could_differ_by_other_pairs():
    found = compare_with_chance(pairs(noise=1.0), pairs(altered(), noise=1.0, seed=2), size=SIZE)
    assert found.verdicts["edge_rate"].outcome != "more than chance"
    assert found.sentences[1].startswith("Do single edges differ? Yes: of 21 edges in one circuit only, 9 changed ")
    assert "The models differ there, though" in found.sentences[1]


def test_noise_is_not():
    found = compare_with_chance(pairs(noise=4.0), pairs(noise=4.0, seed=2), size=SIZE)
    assert found.change.edges.changed > 0
    assert found.verdicts["edge_rate"].outcome != "more than chance"
    assert "unstable" in found.sentences[-1]


def test_a_circuit_before_that_pairs_hardly_determine_is_no_evidence_of_change():
    """Splits of the model after alone, which agree, would say that it differs from noise by more than chance."""
    before, after = pairs(noise=8.0), pairs(noise=0.1, seed=2)
    found = compare_with_chance(before, after, size=SIZE)
    assert found.chance is not None
    alone = found.chance.splits["edge_rate"].values[20:]  # those of the model after
    assert max(alone) < found.change.edges.rate
    assert found.verdicts["edge_rate"].outcome != "more than chance"


def test_its_parts_are_those_of_the_single_functions():
    before, after = pairs(), pairs(altered(), seed=2)
    found = compare_with_chance(before, after, size=SIZE, seed=3)
    assert found.chance is not None
    assert found.chance.intervals == bootstrap_change(before, after, size=SIZE, seed=3)
    assert found.chance.tests is not None
    assert found.chance.tests.changed == edge_tests(before, after, SIZE).changed
    assert found.chance.after.jaccards == circuit_stability(after, SIZE, seed=3).jaccards
    assert len(found.chance.splits["edge_rate"].values) == 40
    draws = rewired_overlaps(before.top(SIZE), after.top(SIZE), 100, seed=3)
    assert found.rewired["edge_jaccard"].values == tuple(one.edges.jaccard for one in draws)


def test_the_same_seed_gives_the_same_record():
    before, after = pairs(), pairs(altered(), seed=2)
    one, again = (compare_with_chance(before, after, size=SIZE).to_record() for _ in range(2))
    assert one == again
    assert json.loads(json.dumps(one, allow_nan=False)) == one


def test_equal_scores_have_not_changed():
    found = compare_with_chance(pairs(), pairs(), size=SIZE)
    assert {verdict.outcome for verdict in found.verdicts.values()} == {"no more than chance"}
    assert all(found.verdicts[measure].sentence.startswith("No change: ") for measure in QUESTIONS)
    assert "share more edges than their degrees alone explain: Jaccard 1 " in " ".join(found.sentences)
    json.dumps(found.to_record(), allow_nan=False)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda scores: replace(scores, examples=None), "none after; make them with"),
        (lambda scores: scores.top(SIZE), "none after; make them with"),
        (lambda scores: replace(scores, examples=scores.examples[:1]), "(after): Chance between pairs needs two"),
        (lambda scores: replace(scores, groups=torch.zeros(40, dtype=torch.int64)), "share prompts or groups"),
    ],
    ids=["means", "circuit", "one pair", "one group"],
)
def test_without_pairs_it_counts_and_says_what_is_missing(change, sentence):
    before, after = pairs(), pairs(altered(), seed=2)
    found, whole = (compare_with_chance(before, one, size=SIZE) for one in (change(after), after))
    assert found.chance is None
    assert found.change == whole.change
    assert found.rewired == whole.rewired
    assert len(found.missing) == 1
    assert sentence in found.missing[0]
    assert found.sentences[-1] == found.missing[0]
    assert found.verdicts["edge_rate"].outcome == "not enough to say"
    json.dumps(found.to_record(), allow_nan=False)


def test_few_pairs_have_error_bars_but_no_split_null():
    found = compare_with_chance(pairs(count=5), pairs(altered(), seed=2, count=5), size=SIZE)
    assert "it needs 6 independent pairs or more, and there are 5" in found.missing[0]
    assert found.to_record()["measures"]["edge_rate"]["low"] is not None
    assert "there is no null" in found.verdicts["edge_rate"].sentence


def test_other_pairs_are_compared_but_not_edge_by_edge():
    other = replace(pairs(altered(), seed=2), settings={"pairs_digest": "others"})
    found = compare_with_chance(pairs(), other, size=SIZE)
    assert found.to_record()["tests"] is None
    assert found.missing == (
        "No tests of single edges: the two are not known to be of the same pairs; score both on the same ones.",
    )


def test_groups_of_one_side_count_for_both():
    groups = torch.arange(40) // 2
    known = replace(pairs(), groups=groups)
    after = pairs(altered(), seed=2)
    one, both = (compare_with_chance(known, other, size=SIZE) for other in (after, replace(after, groups=groups)))
    assert one.to_record() == both.to_record()


def test_empty_circuits_say_nothing():
    nothing = replace(BASE, values=torch.zeros_like(BASE.values))
    empty = nothing.threshold(1.0)
    found: Comparison = compare_with_chance(empty, empty)
    assert found.verdicts["edge_rate"].sentence == (
        "Not enough to say: a circuit of this size is empty once it is pruned."
    )
    json.dumps(found.to_record(), allow_nan=False)
    json.dumps(compare_with_chance(empty, BASE.top(SIZE)).to_record(), allow_nan=False)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="200 resamples or more; got 20"):
        compare_with_chance(pairs(), pairs(), resamples=20)
    with pytest.raises(InputError):
        compare_with_chance(pairs(), scores_of(GRAPHS[0], 1))


def test_maps_made_in_different_ways_are_not_passed_for_different_models():
    before, after = pairs(), pairs(seed=2)
    other = replace(after, settings={**after.settings, "metric": "kl"})
    before = replace(before, settings={**before.settings, "metric": "logit_diff"})
    missing = compare_with_chance(before, other, size=SIZE).missing
    assert any("metric logit_diff and kl" in sentence for sentence in missing)
