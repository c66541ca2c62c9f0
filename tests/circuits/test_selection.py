"""Selection by size and threshold, and pruning as an invariant."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitune.circuits.graph import Graph
from circuitune.circuits.selection import above, edge_count, prune, strongest
from circuitune.core.errors import InputError

GRAPHS = [Graph(3, 4, 4, parallel=True), Graph(3, 4, 4, parallel=False), Graph(2, 4, 2, parallel=False)]


def random_mask(graph: Graph, seed: int, density: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return graph.edge_mask & (torch.rand(graph.edge_mask.shape, generator=generator) < density)


def on_a_path(mask: torch.Tensor, graph: Graph) -> torch.Tensor:
    """Edges on a path from input to logits, by walking: an independent statement of what pruning keeps."""
    sources, destinations = mask.shape
    forward, backward = {0}, set()
    for source in range(1, sources):
        entered = [r for r in range(destinations) if graph.feeds[r, source]]
        if any(mask[s, r] for s in forward for r in entered):
            forward.add(source)
    for source in reversed(range(sources)):
        leads = [r for r in range(destinations) if mask[source, r]]
        if any(r == graph.logits_destination or any(graph.feeds[r, s] for s in backward) for r in leads):
            backward.add(source)
    kept = torch.zeros_like(mask)
    for s, r in mask.nonzero().tolist():
        ahead = r == graph.logits_destination or any(graph.feeds[r, u] and u in forward for u in backward)
        kept[s, r] = s in forward and s in backward and ahead
    return kept


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(GRAPHS), st.integers(0, 10_000), st.floats(0.01, 0.5))
def test_pruning_keeps_exactly_the_edges_on_a_path(graph, seed, density):
    mask = random_mask(graph, seed, density)
    pruned = prune(mask, graph)
    assert torch.equal(pruned, on_a_path(mask, graph))
    assert torch.equal(prune(pruned, graph), pruned)
    assert not bool((pruned & ~mask).any())


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(GRAPHS), st.integers(0, 10_000), st.integers(0, 60))
def test_the_strongest_edges_are_those_no_other_edge_beats(graph, seed, count):
    values = torch.randn(graph.edge_mask.shape, generator=torch.Generator().manual_seed(seed)) * graph.edge_mask
    for absolute in (True, False):
        mask = strongest(values, graph, count, absolute=absolute)
        keys = values.abs() if absolute else values
        assert int(mask.sum()) == count
        rest = graph.edge_mask & ~mask
        if count:
            assert float(keys[mask].min()) >= float(keys[rest].max())


def test_ties_go_to_the_lower_index():
    graph = GRAPHS[0]
    mask = strongest(torch.ones(graph.edge_mask.shape), graph, 3)
    assert mask.nonzero().tolist() == graph.edge_mask.nonzero()[:3].tolist()


@pytest.mark.parametrize(
    ("size", "count"), [(7, 7), (0, 0), (10**9, 250), (1.0, 250), (0.05, 12), (1e-9, 1), (0.2, 50)]
)
def test_sizes_are_counts_or_shares(size, count):
    assert edge_count(size, GRAPHS[0]) == count


@pytest.mark.parametrize("size", [-1, 0.0, 1.5, -0.1, True, float("nan")])
def test_an_impossible_size_is_refused(size):
    with pytest.raises(InputError, match=r"share in \(0, 1\]"):
        edge_count(size, GRAPHS[0])


def test_a_threshold_keeps_what_reaches_it():
    graph = GRAPHS[0]
    values = torch.randn(graph.edge_mask.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(above(values, graph, 0.7), (values.abs() >= 0.7) & graph.edge_mask)
    assert torch.equal(above(values, graph, 0.7, absolute=False), (values >= 0.7) & graph.edge_mask)
