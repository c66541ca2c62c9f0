"""Rewiring keeps degrees and nodes and forgets everything else; random circuits keep their size alone."""

import hashlib
from collections import Counter
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from scipy import stats

from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import Circuit
from circuitune.circuits.selection import prune
from circuitune.core.errors import InputError
from circuitune.dynamics.measures import overlap
from circuitune.dynamics.rewiring import random_circuit, random_overlaps, rewired, rewired_overlaps
from dynamics.strategies import GRAPHS, circuit_of, circuits_of, planted, recipes

SERIAL = GRAPHS[0]
NANO = Graph(layers=8, heads=8, kv_heads=8, parallel=True)


def uneven(graph: Graph, seed: int, share: float = 0.05) -> Circuit:
    """A circuit of hubs and of seldom used nodes."""
    rng = torch.Generator().manual_seed(seed)
    out = torch.randn(len(graph.sources), 1, generator=rng)
    into = torch.randn(1, len(graph.destinations), generator=rng)
    weight = out + into + torch.randn(graph.edge_mask.shape, generator=rng)
    cut = weight[graph.edge_mask].quantile(1 - share)
    return Circuit((weight >= cut) & graph.edge_mask, graph)


@settings(deadline=None, max_examples=20)
@given(recipes(1))
def test_degrees_and_nodes_stay_and_edges_are_real(recipe):
    (circuit,) = circuits_of(recipe)
    for other in rewired(circuit, 3, trades=5):
        assert torch.equal(other.mask.sum(0), circuit.mask.sum(0))
        assert torch.equal(other.mask.sum(1), circuit.mask.sum(1))
        assert other.nodes == circuit.nodes  # and Circuit refuses a mask with an entry that is no edge


@settings(deadline=None, max_examples=20)
@given(recipes(1))
def test_a_pruned_circuit_stays_pruned(recipe):
    (circuit,) = circuits_of(recipe)
    pruned = Circuit(prune(circuit.mask, circuit.graph), circuit.graph)
    for other in rewired(pruned, 2, trades=5):
        assert torch.equal(prune(other.mask, other.graph), other.mask)


def test_every_circuit_of_the_same_degrees_comes_equally_often():
    """Three sources with one edge each, to three destinations that all may read them: six circuits."""
    sources, ends = ("input", "a0.h0", "a0.h1"), ("a1.h0<q>", "a1.h1<q>", "logits")
    start = planted(SERIAL, *(f"{source}->{end}" for source, end in zip(sources, ends, strict=True)))
    possible = {frozenset(f"{s}->{e}" for s, e in zip(sources, order, strict=True)) for order in permutations(ends)}
    drawn = Counter(frozenset(circuit.edges) for circuit in rewired(start, 1200, trades=20))
    assert set(drawn) == possible
    assert stats.chisquare(list(drawn.values())).pvalue > 0.001


def test_zeros_of_the_graph_do_not_cut_the_chain():
    """m0 reaches the second layer only: the swap of the other two must still be found, and the rest be kept out."""
    start = planted(SERIAL, "input->a0.h0<q>", "m0->m1", "a0.h0->logits")
    drawn = {frozenset(circuit.edges) for circuit in rewired(start, 200, trades=20)}
    assert drawn == {
        frozenset({"input->a0.h0<q>", "m0->m1", "a0.h0->logits"}),
        frozenset({"input->a0.h0<q>", "m0->logits", "a0.h0->m1"}),
    }


def test_chains_mix_wherever_they_start():
    """From the circuit, and from one at the end of a long chain: the same overlap with a third circuit."""
    start, other = uneven(NANO, 1), uneven(NANO, 2)
    (far,) = rewired(start, 1, trades=600, seed=9)
    assert start.jaccard(far) < 0.8
    near = [circuit.jaccard(other) for circuit in rewired(start, 60, seed=1)]
    away = [circuit.jaccard(other) for circuit in rewired(far, 60, seed=2)]
    assert stats.ks_2samp(near, away).pvalue > 0.01
    stay = [circuit.jaccard(start) for circuit in rewired(start, 60, seed=3)]
    leave = [circuit.jaccard(start) for circuit in rewired(far, 60, seed=4)]
    assert stats.ks_2samp(stay, leave).pvalue > 0.01


def test_hubs_alone_explain_more_overlap_than_size_alone():
    before, after = uneven(NANO, 1), uneven(NANO, 1, share=0.06)
    degrees = rewired_overlaps(before, after, 30)
    sizes = random_overlaps(before, after, 30)
    observed = overlap(before, after)
    assert min(counts.edges.kept for counts in degrees) > max(counts.edges.kept for counts in sizes)
    assert max(counts.edges.kept for counts in degrees) < observed.edges.kept
    for counts in degrees:
        assert counts.nodes == observed.nodes
        assert (counts.edges.before, counts.edges.after) == (len(before), len(after))


def test_a_circuit_and_itself_are_rewired_independently():
    circuit = uneven(NANO, 1)
    assert all(counts.edges.jaccard < 0.9 for counts in rewired_overlaps(circuit, circuit, 5))


def test_the_same_seed_gives_the_same_bytes():
    circuit = uneven(NANO, 1)

    def digest(seed):
        parts = (other.mask.numpy().tobytes() for other in rewired(circuit, 5, seed=seed, trades=10))
        return hashlib.sha256(b"".join(parts)).hexdigest()

    assert digest(0) == digest(0) != digest(1)
    assert random_circuit(NANO, 50, seed=3) == random_circuit(NANO, 50, seed=3) != random_circuit(NANO, 50, seed=4)


def test_random_circuits_overlap_as_the_hypergeometric_law_says():
    before, after = circuit_of(NANO, 1, 0.1), circuit_of(NANO, 2, 0.2)
    kept = [counts.edges.kept for counts in random_overlaps(before, after, 100)]
    law = stats.hypergeom(NANO.edges, len(before), len(after))
    assert abs(sum(kept) / 100 - law.mean()) < 4 * law.std() / 10
    assert all(len(random_circuit(NANO, size)) == size for size in (0, 1, NANO.edges))


def test_nothing_to_rewire_stays():
    for circuit in (planted(SERIAL), circuit_of(SERIAL, 0, 1.0), planted(SERIAL, "input->logits")):
        assert all(other == circuit for other in rewired(circuit, 3))


def test_bad_requests_are_refused():
    with pytest.raises(InputError, match="at least one draw; got 0"):
        rewired_overlaps(planted(SERIAL), planted(SERIAL), 0)
    with pytest.raises(InputError, match="at least one draw; got 0"):
        random_overlaps(planted(SERIAL), planted(SERIAL), 0)
    with pytest.raises(InputError, match="different graphs"):
        rewired_overlaps(planted(SERIAL), planted(GRAPHS[1]))
    with pytest.raises(InputError, match="choose a number from 0 to 46"):
        random_circuit(SERIAL, 47)
