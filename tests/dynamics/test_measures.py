"""Each measure by hand, and what must hold of it for any circuits and scores."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError
from circuitune.dynamics.change import compare
from circuitune.dynamics.layers import layer_changes
from circuitune.dynamics.measures import (
    MEASURES,
    both_forms,
    kind_changes,
    mass_change,
    overlap,
    rank_correlation,
    top_overlap,
    top_sizes,
    weighted_jaccard,
)
from dynamics.strategies import GRAPHS, circuit_of, circuits_of, graphs, planted, recipes, scores_of, seeds, valued

SERIAL = GRAPHS[0]


@settings(deadline=None, max_examples=20)
@given(recipes(2))
def test_counts_are_those_of_the_comparison_by_name(recipe):
    before, after = circuits_of(recipe)
    counted, named = overlap(before, after), compare(before, after)
    for counts, change in ((counted.edges, named.edges), (counted.nodes, named.nodes)):
        assert (counts.before, counts.after, counts.kept) == (change.before, change.after, len(change.kept))
        assert (counts.changed, counts.jaccard, counts.rate) == (change.changed, change.jaccard, change.rate)
    assert counted.edges.jaccard == before.jaccard(after)


def test_the_ratio_is_of_the_rates_and_none_without_changed_nodes():
    before = planted(SERIAL, "input->m0", "m0->logits")
    after = planted(SERIAL, "input->m0", "m0->m1", "m1->logits")
    assert overlap(before, after).ratio == (3 / 2) / (1 / 3)
    assert overlap(before, planted(SERIAL, "input->m0", "m0->logits", "input->logits")).ratio is None
    assert MEASURES["ratio"](overlap(planted(SERIAL), after)) is None


def test_weighted_jaccard_by_hand():
    before = valued(SERIAL, {"input->m0": 2.0, "m0->logits": 1.0, "input->logits": -1.0})  # 1/2, 1/4, -1/4
    after = valued(SERIAL, {"input->m0": 10.0, "m0->logits": -5.0, "m1->logits": 5.0})  # 1/2, -1/4, 1/4
    assert weighted_jaccard(before, after) == pytest.approx(0.5 / 1.5)
    zero = valued(SERIAL, {})
    assert weighted_jaccard(zero, zero) == 1.0
    assert weighted_jaccard(zero, after) == 0.0


@settings(deadline=None, max_examples=25)
@given(graphs, seeds, seeds, st.sampled_from([2.0, 64.0, 2.0**-40]))
def test_measures_of_scores_ignore_scale_and_are_symmetric(graph, first, second, scale):
    before, after, grown = scores_of(graph, first), scores_of(graph, second), scores_of(graph, second, scale)
    shared = weighted_jaccard(before, after)
    assert 0 <= shared <= 1
    assert weighted_jaccard(before, grown) == pytest.approx(shared)
    assert weighted_jaccard(after, before) == pytest.approx(shared)
    assert weighted_jaccard(before, before) == pytest.approx(1.0)
    there, back = mass_change(before, grown, 0.3), mass_change(after, before, 0.3)
    assert (there.lost, there.gained, there.moved) == pytest.approx((back.gained, back.lost, back.moved))
    assert mass_change(before, before, 0.3) == (0.0, 0.0, 0.0)
    for over in ("union", "all"):
        rho = rank_correlation(before, after, over, size=0.3)
        assert rho == pytest.approx(rank_correlation(before, grown, over, size=0.3))
        assert rank_correlation(after, before, over, size=0.3) == pytest.approx(rho)


def test_rank_correlation_by_hand():
    before = valued(SERIAL, {"input->m0": 4.0, "m0->logits": 3.0, "input->logits": -2.0, "m0->m1": 1.0})
    turned = EdgeScores(-2 * before.values, SERIAL)
    assert rank_correlation(before, turned, "all") == pytest.approx(1.0)
    assert rank_correlation(before, turned, "all", absolute=False) == pytest.approx(-1.0)
    after = valued(SERIAL, {"input->m0": 3.0, "m0->logits": 4.0, "input->logits": 0.5, "m0->m1": 0.1})
    assert rank_correlation(before, after, "union", size=3) == pytest.approx(1 - 6 * 2 / (3 * 8))


def test_scores_without_differences_have_no_rank_correlation():
    zero = valued(SERIAL, {})
    assert rank_correlation(zero, scores_of(SERIAL, 0), "all") is None
    one = valued(SERIAL, {"input->logits": 1.0})
    assert rank_correlation(one, one, "union", size=1) is None


@pytest.mark.parametrize(
    ("graph", "edges", "sizes"),
    [
        (Graph(24, 16, 16, parallel=True), 231_493, tuple(range(100, 1001, 100))),
        (Graph(8, 8, 8, parallel=True), 6_573, (32, 65, 98, 131, 164, 196, 229, 262, 295, 328)),
        (SERIAL, 46, (1, 2)),
    ],
)
def test_tops_are_the_studys_and_scale_down_to_the_circuit(graph, edges, sizes):
    assert graph.edges == edges
    assert top_sizes(graph) == sizes


def test_top_overlap_by_hand():
    before = valued(SERIAL, {"input->m0": 3.0, "m0->logits": -2.0, "input->logits": 1.0})
    after = valued(SERIAL, {"input->m0": -3.0, "m1->logits": 2.0, "m0->logits": 1.0})
    assert top_overlap(before, after, (1, 2, 3)) == ((1, 1, 1.0), (2, 1, 0.5), (3, 2, 2 / 3))
    for size in (0, 47):
        with pytest.raises(InputError, match="choose a number from 1 to 46"):
            top_overlap(before, after, (size,))


@settings(deadline=None, max_examples=20)
@given(graphs, seeds, seeds)
def test_all_edges_overlap_with_all_edges(graph, first, second):
    shared = top_overlap(scores_of(graph, first), scores_of(graph, second), (1, graph.edges))
    assert shared[1] == (graph.edges, graph.edges, 1.0)


def test_mass_lost_and_gained_by_hand():
    before = valued(SERIAL, {"input->m0": 1.0, "m0->logits": 1.0, "input->logits": 2.0})
    after = valued(SERIAL, {"input->m1": 3.0, "m1->logits": -3.0, "input->logits": 4.0})
    change = mass_change(before, after, 3)
    assert change == pytest.approx((0.5, 0.6, (0.25 + 0.25 + 0.3 + 0.3 + 0.1) / 2))


@settings(deadline=None, max_examples=20)
@given(recipes(2))
def test_kinds_add_up_to_the_whole(recipe):
    before, after = circuits_of(recipe)
    kinds = kind_changes(before, after)
    assert len({(kind.source, kind.destination) for kind in kinds}) == len(kinds)
    assert sum(kind.possible for kind in kinds) == before.graph.edges
    counts = overlap(before, after).edges
    assert sum(kind.kept for kind in kinds) == counts.kept
    assert sum(kind.added + kind.removed for kind in kinds) == counts.changed
    assert sum(kind.before for kind in kinds) == counts.before
    assert sum(kind.after for kind in kinds) == counts.after


def test_kinds_by_hand():
    before = planted(SERIAL, "input->a0.h0<q>", "a0.h0->m1", "m1->logits")
    after = planted(SERIAL, "input->a0.h1<q>", "a0.h0->m1", "m0->logits")
    kinds = {(k.source, k.destination): (k.added, k.removed, k.kept) for k in kind_changes(before, after)}
    assert len(kinds) == 15
    changed = {ends: counts for ends, counts in kinds.items() if any(counts)}
    assert changed == {("input", "q"): (1, 1, 0), ("head", "mlp"): (0, 0, 1), ("mlp", "logits"): (1, 1, 0)}


def test_the_two_forms_are_the_two_comparisons():
    before, after = circuit_of(SERIAL, 1, 0.3), circuit_of(SERIAL, 2, 0.3)
    forms = both_forms(before, after)
    assert forms == (compare(before, after), compare(before.collapse(), after.collapse()))
    merged = both_forms(before.collapse(), after.collapse())
    assert merged == (None, forms.collapsed)


def test_q_to_k_is_no_change_of_the_collapsed_form():
    before = planted(SERIAL, "input->a0.h0<q>", "a0.h0->logits")
    after = planted(SERIAL, "input->a0.h0<k>", "a0.h0->logits")
    forms = both_forms(before, after)
    assert (forms.split.edges.changed, forms.collapsed.edges.changed) == (2, 0)


@given(recipes(2))
@settings(deadline=None, max_examples=20)
def test_kept_by_layer_adds_up(recipe):
    before, after = circuits_of(recipe)
    changes = layer_changes(before, after)
    assume(len(before))
    for side in ("source", "destination"):
        kept = sum(change.kept for change in changes if (change.kind, change.side) == ("edge", side))
        assert kept == int((before.mask & after.mask).sum())


def test_unlike_graphs_are_refused():
    one, other = scores_of(GRAPHS[0], 0), scores_of(GRAPHS[1], 0)
    for measure in (weighted_jaccard, rank_correlation, top_overlap, mass_change):
        with pytest.raises(InputError, match="different graphs"):
            measure(one, other)
    for measure in (overlap, kind_changes):
        with pytest.raises(InputError, match="different graphs"):
            measure(planted(GRAPHS[0]), planted(GRAPHS[1]))
