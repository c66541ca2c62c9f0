"""Resamples are means over drawn pairs; a planted change is seen, and what is not sure is called unstable."""

import hashlib
import math
from dataclasses import replace
from itertools import product

import pytest
import torch

from circuitune.circuits.graph import Graph
from circuitune.circuits.selection import prune
from circuitune.core.errors import InputError
from circuitune.core.statistics import Interval, Undefined
from circuitune.dynamics.bootstrap import bootstrap_change, circuit_stability, layer_stability, percentile
from circuitune.dynamics.measures import MEASURES, overlap
from circuitune.dynamics.resampling import resampled
from dynamics.strategies import GRAPHS, sampled, scores_of, valued

SERIAL = GRAPHS[0]
LAYERS = Graph(layers=4, heads=2, kv_heads=2, parallel=True)


def strong(graph: Graph, seed: int):
    """A map whose edges are well apart: magnitudes 1, 2, 3, ... in random order."""
    drawn = scores_of(graph, seed)
    order = drawn.values[graph.edge_mask].argsort()
    values = torch.zeros_like(drawn.values)
    ranks = torch.empty(graph.edges)
    ranks[order] = torch.arange(1, graph.edges + 1).float()
    values[graph.edge_mask] = ranks
    return replace(drawn, values=values)


def test_resampled_maps_are_means_over_as_many_drawn_pairs():
    scores = sampled(scores_of(SERIAL, 1), 3, 1.0, 2)
    drawn = list(product(range(3), repeat=3))
    possible = torch.stack([scores.examples[list(rows)].mean(0).flatten() for rows in drawn])
    maps = torch.stack([drawn.values.flatten() for (drawn,) in resampled([scores], 300)])
    distance, nearest = (maps[:, None] - possible).abs().amax(2).min(1)
    assert float(distance.max()) < 1e-5
    assert len({tuple(sorted(drawn[place])) for place in nearest.tolist()}) == 10
    assert torch.allclose(maps.mean(0), scores.values.flatten(), atol=4 / math.sqrt(3 * 300))


def test_the_same_pairs_are_drawn_together_and_others_are_not():
    scores = sampled(scores_of(SERIAL, 1), 12, 1.0, 2)
    other = replace(scores, settings={"pairs_digest": "of others"})
    for one, again, apart in resampled([scores, replace(scores), other], 5):
        assert torch.equal(one.values, again.values)
        assert not torch.equal(one.values, apart.values)


def test_maps_without_a_digest_are_drawn_apart():
    """No digest says nothing about the pairs, so two maps without one are not taken for the same pairs."""
    scores = sampled(scores_of(SERIAL, 1), 12, 1.0, 2)
    for settings in ({}, {"pairs_digest": None}):
        bare = replace(scores, settings=settings)
        assert all(not torch.equal(one.values, other.values) for one, other in resampled([bare, bare], 5))


def test_the_same_seed_gives_the_same_bytes():
    scores = sampled(scores_of(SERIAL, 1), 12, 1.0, 2)

    def digest(seed):
        parts = (drawn.values.numpy().tobytes() for (drawn,) in resampled([scores], 20, seed=seed))
        return hashlib.sha256(b"".join(parts)).hexdigest()

    assert digest(0) == digest(0) != digest(1)


def test_chunks_do_not_change_the_maps(monkeypatch):
    scores = sampled(scores_of(SERIAL, 1), 12, 1.0, 2)
    whole = torch.stack([drawn.values for (drawn,) in resampled([scores], 30)])
    monkeypatch.setattr("circuitune.dynamics.resampling._CHUNK_BYTES", 4 * scores.values.numel() * 7)
    parts = torch.stack([drawn.values for (drawn,) in resampled([scores], 30)])
    assert torch.allclose(whole, parts, atol=1e-6)


def test_without_noise_intervals_are_points():
    before, after = sampled(strong(SERIAL, 1), 5, 0.0, 0), sampled(strong(SERIAL, 2), 5, 0.0, 0)
    result = bootstrap_change(before, after, size=0.3, rule="normalised")
    counts = overlap(before.top(0.3), after.top(0.3))
    for name, measure in MEASURES.items():
        if measure(counts) is not None:
            assert result.measures[name] == Interval(*[measure(counts)] * 3)
    assert len(result.importance) == SERIAL.layers
    assert all(layer.high - layer.low < 1e-6 for layer in result.importance)
    assert isinstance(result.measures["weighted_jaccard"], Interval)


def test_an_interval_holds_a_planted_change():
    """A tenth of the edges change places with edges of other strength; the noise is far below the gaps."""
    before = strong(LAYERS, 1)
    values = before.values.clone()
    flat = values[LAYERS.edge_mask]
    flat[: LAYERS.edges // 10] = flat[: LAYERS.edges // 10].flip(0)
    values[LAYERS.edge_mask] = flat
    after = replace(before, values=values)
    truth = overlap(before.top(0.3), after.top(0.3))
    noise = torch.randn(30, *values.shape, generator=torch.Generator().manual_seed(3))
    result = bootstrap_change(
        sampled(before, 30, 2.0, 0, common=noise), sampled(after, 30, 2.0, 0, common=noise), size=0.3
    )
    for name in ("edge_rate", "edge_jaccard"):
        interval = result.measures[name]
        assert interval.low <= MEASURES[name](truth) <= interval.high
    assert result.measures["edge_rate"].low > 0


def test_a_circuit_that_noise_decides_is_unstable_and_a_clear_one_is_not():
    sure = circuit_stability(sampled(strong(LAYERS, 1), 20, 0.1, 1), 0.3)
    assert sure.mean == pytest.approx(1.0, abs=0.05)
    assert not sure.unstable
    unsure = circuit_stability(sampled(valued(LAYERS, {}), 20, 1.0, 1), 0.3)
    assert unsure.unstable
    assert unsure.mean == pytest.approx(sum(unsure.jaccards) / 200)
    assert len(unsure.jaccards) == 200


def test_the_consensus_keeps_what_most_resamples_select():
    result = circuit_stability(sampled(strong(LAYERS, 1), 20, 15.0, 1), 0.3)
    consensus = result.consensus()
    assert 0 < len(consensus) < LAYERS.edges
    assert bool((result.frequency[consensus.mask] >= 0.8).all())
    assert torch.equal(consensus.mask, prune(result.frequency >= 0.8, LAYERS))
    assert len(result.consensus(1.0)) <= len(consensus) <= len(result.consensus(0.1))
    assert 0 <= float(result.frequency.min()) <= float(result.frequency.max()) <= 1


def test_layers_are_stable_where_one_changes_and_unstable_where_none_does():
    base = scores_of(LAYERS, 1)
    changed = base.values.clone()
    changed[torch.tensor(LAYERS.source_layer) == 2] *= 5
    before = sampled(base, 20, 0.05, 1)
    found = layer_stability(before, sampled(replace(base, values=changed), 20, 0.05, 2), 1)
    assert (found.layers, found.frequency, found.mean) == ((2,), (0.0, 0.0, 1.0, 0.0), 1.0)
    assert not found.unstable
    even = torch.zeros_like(changed)
    even[1:, -1] = 1.0  # as many noisy edges in every layer
    silent = sampled(valued(LAYERS, {}), 20, 0.0, 1)
    by_chance = layer_stability(silent, sampled(valued(LAYERS, {}), 20, even, 3), 2)
    assert by_chance.unstable
    assert sum(by_chance.frequency) == pytest.approx(2.0)
    assert by_chance.mean == pytest.approx(sum(by_chance.jaccards) / 200)


def test_percentiles_by_hand():
    assert percentile(0.5, [value / 100 for value in range(1, 101)], 0.9) == Interval(0.5, 0.05, 0.95)
    assert percentile(None, [1.0, 2.0]) == Undefined("it is not defined on the pairs themselves")
    # Two of a hundred that are not defined count as large and lie beyond the interval; six lie in it.
    assert percentile(1.0, [None] * 2 + [1.0] * 98) == Interval(1.0, 1.0, 1.0)
    assert percentile(1.0, [None] * 6 + [1.0] * 94) == Undefined("it is not defined in 6 of 100 resamples")


def test_means_alone_are_refused_with_the_way_out():
    bare, kept = scores_of(SERIAL, 1), sampled(scores_of(SERIAL, 1), 4, 1.0, 2)
    for call in (
        lambda: bootstrap_change(kept, bare),
        lambda: circuit_stability(bare),
        lambda: layer_stability(bare, kept, 1),
    ):
        with pytest.raises(InputError, match=r"attribute\(\.\.\., per_example=True\)"):
            call()


def test_what_gives_no_interval_is_refused():
    scores = sampled(scores_of(SERIAL, 1), 4, 1.0, 2)
    with pytest.raises(InputError, match="200 resamples or more; got 50"):
        bootstrap_change(scores, scores, resamples=50)
    with pytest.raises(InputError, match="two pairs or more"):
        circuit_stability(sampled(scores_of(SERIAL, 1), 1, 1.0, 2))
    with pytest.raises(InputError, match="at least one resample"):
        circuit_stability(scores, resamples=0)
    with pytest.raises(InputError, match="different graphs"):
        bootstrap_change(scores, sampled(scores_of(GRAPHS[1], 1), 4, 1.0, 2))
