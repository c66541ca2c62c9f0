"""Counts by layer add up to the whole, shares are of the right thing, and each rule is right by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError, MachineError
from circuitune.dynamics.layers import (
    RULES,
    HeavyEdge,
    critical_layers,
    critical_rows,
    heaviest_edges,
    layer_changes,
    layer_importance,
    layer_rows,
)
from dynamics.strategies import GRAPHS, circuit_of, circuits_of, graphs, planted, recipes, scores_of, seeds

SERIAL = GRAPHS[0]


def select(changes, kind, side):
    return [change for change in changes if (change.kind, change.side) == (kind, side)]


def scores(graph: Graph, **edges: float) -> EdgeScores:
    values = torch.zeros(graph.edge_mask.shape)
    for edge, value in edges.items():
        source, destination = edge.split("->")
        values[graph.sources.index(source), graph.destinations.index(destination)] = value
    return EdgeScores(values, graph)


@settings(deadline=None)
@given(recipes(2))
def test_edges_by_layer_add_up_to_the_whole_from_either_side(recipe):
    circuits = circuits_of(recipe)
    before, after = circuits
    changes = layer_changes(before, after)
    for side in ("source", "destination"):
        part = select(changes, "edge", side)
        assert sum(change.possible for change in part) == before.graph.edges
        assert sum(change.before for change in part) == len(before)
        assert sum(change.after for change in part) == len(after)
        assert sum(change.added for change in part) == int((after.mask & ~before.mask).sum())
        assert sum(change.removed for change in part) == int((before.mask & ~after.mask).sum())


@settings(deadline=None)
@given(recipes(2))
def test_source_nodes_by_layer_add_up_to_the_circuits_nodes_without_logits(recipe):
    circuits = circuits_of(recipe)
    before, after = circuits
    part = select(layer_changes(before, after), "node", "source")
    old, new = (set(circuit.nodes) - {"logits"} for circuit in circuits)
    assert sum(change.possible for change in part) == len(before.graph.sources)
    assert sum(change.before for change in part) == len(old)
    assert sum(change.after for change in part) == len(new)
    assert sum(change.added for change in part) == len(new - old)
    assert sum(change.removed for change in part) == len(old - new)


@settings(deadline=None)
@given(recipes(2))
def test_shares_are_of_what_was_absent_and_of_what_was_present(recipe):
    circuits = circuits_of(recipe)
    for change in layer_changes(*circuits):
        absent = change.possible - change.before
        assert change.before + change.added - change.removed == change.after
        assert (change.share_absent_added is None) == (absent == 0)
        assert (change.share_present_removed is None) == (change.before == 0)
        if absent:
            assert change.share_absent_added == change.added / absent <= 1
        if change.before:
            assert change.share_present_removed == change.removed / change.before <= 1


@given(graphs)
def test_every_layer_is_listed_once(graph):
    changes = layer_changes(planted(graph), planted(graph))
    for kind in ("node", "edge"):
        assert [c.layer for c in select(changes, kind, "source")] == list(range(-1, graph.layers))
        assert [c.layer for c in select(changes, kind, "destination")] == list(range(graph.layers + 1))


def test_layer_changes_by_hand():
    before = planted(SERIAL, "input->a0.h0<q>", "a0.h0->m1", "m1->logits")
    after = planted(SERIAL, "input->a0.h0<q>", "input->a0.h0<v>", "a0.h0->logits")
    changes = layer_changes(before, after)
    by_source = {c.layer: (c.before, c.added, c.removed) for c in select(changes, "edge", "source")}
    assert by_source == {-1: (1, 1, 0), 0: (1, 1, 1), 1: (1, 0, 1)}
    by_destination = {c.layer: (c.before, c.added, c.removed) for c in select(changes, "edge", "destination")}
    assert by_destination == {0: (1, 1, 0), 1: (1, 0, 1), 2: (1, 1, 1)}
    writers = {c.layer: (c.possible, c.before, c.added, c.removed) for c in select(changes, "node", "source")}
    assert writers == {-1: (1, 1, 0, 0), 0: (3, 1, 0, 0), 1: (3, 1, 0, 1)}
    readers = {c.layer: (c.possible, c.before, c.added) for c in select(changes, "node", "destination")}
    assert readers == {0: (7, 1, 1), 1: (7, 1, 0), 2: (1, 1, 0)}


def test_a_full_layer_cannot_gain_and_an_empty_one_cannot_lose():
    full, empty = circuit_of(SERIAL, 0, 1.0), planted(SERIAL)
    assert all(change.share_absent_added is None for change in layer_changes(full, empty))
    assert all(change.share_present_removed is None for change in layer_changes(empty, full))
    assert all(change.share_absent_added == 1.0 for change in layer_changes(empty, full))


def test_rows_carry_counts_and_shares():
    changes = layer_changes(circuit_of(SERIAL, 1, 0.5), circuit_of(SERIAL, 2, 0.5))
    rows = layer_rows(changes, comparison="tune", role="change")
    assert len(rows) == len(changes)
    for row, change in zip(rows, changes, strict=True):
        assert (row.kind, row.side, row.layer) == (change.kind, change.side, change.layer)
        assert (row.possible, row.before, row.after) == (change.possible, change.before, change.after)
        assert (row.added, row.removed) == (change.added, change.removed)
        assert row.share_absent_added == change.share_absent_added
        assert row.share_present_removed == change.share_present_removed


# Three layers; scores that are exact in binary. Differences: 2 (input to layer 1), 4 (layer 0 to logits), 1 (1 to 2).
THREE = Graph(layers=3, heads=2, kv_heads=2, parallel=False)
BEFORE = scores(THREE, **{"input->m1": 1.0, "a0.h1->logits": -1.0, "m1->a2.h0<v>": 2.0})
AFTER = scores(THREE, **{"input->m1": -1.0, "a0.h1->logits": 3.0, "m1->a2.h0<v>": 3.0, "m2->logits": 1.0})


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("released", [6.0, 1.0, 1.0]),
        ("destination", [0.0, 2.0, 6.0]),
        ("both", [6.0, 3.0, 7.0]),
        ("before", [2.0, 2.0, 0.0]),
        ("after", [4.0, 3.0, 1.0]),
        ("normalised", [1 / 8 + 1 / 4 + 3 / 8 + 1 / 4, 1 / 8, 1 / 8]),
    ],
)
def test_rules_by_hand(rule, expected):
    importance = layer_importance(BEFORE, AFTER, rule)
    assert importance.dtype == torch.float64
    assert importance.tolist() == pytest.approx(expected, abs=1e-15)


def test_the_heaviest_edges_by_hand():
    """Heaviest first; an edge that weighs nothing is not named."""
    found = heaviest_edges(BEFORE, AFTER, "released", [1, 0], 3)
    assert found == [
        HeavyEdge(1, "m1->a2.h0<v>", 1.0, 1.0),
        HeavyEdge(0, "a0.h1->logits", 4.0, 4 / 6),
        HeavyEdge(0, "input->m1", 2.0, 2 / 6),
    ]
    assert heaviest_edges(BEFORE, AFTER, "released", [0], 1) == found[1:2]


@pytest.mark.parametrize("rule", RULES)
def test_the_edges_of_a_layer_add_up_to_its_importance(rule):
    importance = layer_importance(BEFORE, AFTER, rule).tolist()
    found = heaviest_edges(BEFORE, AFTER, rule, range(3), BEFORE.values.numel())
    for layer in range(3):
        own = [edge for edge in found if edge.layer == layer]
        assert sum(edge.weight for edge in own) == pytest.approx(importance[layer])
        assert sum(edge.share for edge in own) == pytest.approx(float(importance[layer] > 0))


def test_the_released_rule_is_the_default():
    assert layer_importance(BEFORE, AFTER).tolist() == layer_importance(BEFORE, AFTER, "released").tolist()


def test_the_count_rule_counts_edges_that_enter_or_leave_the_top_five_percent():
    """5 of 100 edges; those of score 0 among the five lie on no path and are pruned."""
    before = scores(THREE, **{"input->m0": 9.0, "m0->logits": -8.0, "input->logits": 1.0})
    after = scores(THREE, **{"input->m1": 0.9, "m1->logits": 0.8, "input->logits": 0.1})
    assert THREE.edges == 100
    assert layer_importance(before, after, "count").tolist() == [3.0, 1.0, 0.0]


@settings(deadline=None)
@given(graphs, seeds, seeds)
def test_differences_are_booked_once_whichever_end_takes_them(graph, first, second):
    before, after = scores_of(graph, first), scores_of(graph, second)
    whole = float((after.values.double() - before.values.double()).abs().sum())
    for rule, times in (("released", 1), ("destination", 1), ("both", 2)):
        assert float(layer_importance(before, after, rule).sum()) == pytest.approx(times * whole)


@settings(deadline=None)
@given(graphs, seeds, seeds, st.sampled_from([2.0, 64.0, 2.0**-40]))
def test_the_normalised_rule_ignores_scale_and_the_released_does_not(graph, first, second, scale):
    before, after = scores_of(graph, first), scores_of(graph, second)
    grown = scores_of(graph, second, scale)
    normalised = layer_importance(before, grown, "normalised")
    assert normalised.tolist() == pytest.approx(layer_importance(before, after, "normalised").tolist())
    assert layer_importance(before, before, "normalised").sum() == 0
    assert layer_importance(before, grown).tolist() != pytest.approx(layer_importance(before, after).tolist())


def test_scores_of_zero_need_no_scaling():
    zero = EdgeScores(torch.zeros(SERIAL.edge_mask.shape), SERIAL)
    importance = layer_importance(zero, scores_of(SERIAL, 1), "normalised")
    assert float(importance.sum()) == pytest.approx(1.0)


def test_an_unknown_rule_is_refused_with_the_list():
    with pytest.raises(InputError, match="'best' is no rule") as caught:
        layer_importance(BEFORE, AFTER, "best")
    assert all(rule in str(caught.value) for rule in RULES)


def test_scores_of_unlike_graphs_are_refused():
    with pytest.raises(InputError, match="different graphs"):
        layer_importance(BEFORE, scores_of(SERIAL, 0))


def test_critical_layers_come_by_importance_and_ties_by_layer():
    assert critical_layers([1.0, 3.0, 2.0, 3.0], 3) == (1, 3, 2)
    assert critical_layers(torch.tensor([0.0, 0.0, 0.0]), 2) == (0, 1)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.data())
def test_critical_layers_are_the_k_largest(values, data):
    k = data.draw(st.integers(1, len(values)))
    chosen = critical_layers(values, k)
    rest = [value for layer, value in enumerate(values) if layer not in chosen]
    assert len(set(chosen)) == k
    assert not rest or min(values[layer] for layer in chosen) >= max(rest)
    assert chosen == critical_layers(values, len(values))[:k]


@pytest.mark.parametrize("k", [0, 4, -1])
def test_a_number_of_critical_layers_the_model_does_not_have_is_refused(k):
    with pytest.raises(InputError, match="choose a number from 1 to 3"):
        critical_layers([1.0, 2.0, 3.0], k)


def test_an_importance_that_is_not_finite_is_a_machine_error():
    with pytest.raises(MachineError, match="not finite"):
        critical_layers([1.0, float("nan")], 1)


def test_critical_rows_give_every_layer_its_place():
    rows = critical_rows("released", [1.0, 3.0, 2.0, 3.0], 2, seed=7)
    assert {(row.seed, row.rule) for row in rows} == {(7, "released")}
    assert [(row.layer, row.importance, row.place, row.chosen) for row in rows] == [
        (0, 1.0, 4, False),
        (1, 3.0, 1, True),
        (2, 2.0, 3, False),
        (3, 3.0, 2, True),
    ]
