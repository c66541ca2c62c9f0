"""Random circuits and scores of a few small graphs, for the property tests of dynamics."""

from collections.abc import Mapping

import torch
from hypothesis import strategies as st
from torch import Tensor

from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import Circuit, EdgeScores

GRAPHS = (
    Graph(layers=2, heads=2, kv_heads=2, parallel=False),
    Graph(layers=3, heads=2, kv_heads=1, parallel=True),
    Graph(layers=2, heads=2, kv_heads=2, parallel=True, collapsed=True),
)
graphs = st.sampled_from(GRAPHS)


def circuit_of(graph: Graph, seed: int, share: float) -> Circuit:
    """About ``share`` of the edges, unpruned."""
    drawn = torch.rand(graph.edge_mask.shape, generator=torch.Generator().manual_seed(seed))
    return Circuit((drawn < share) & graph.edge_mask, graph)


def scores_of(graph: Graph, seed: int, scale: float = 1.0) -> EdgeScores:
    """Normal scores, 0 where there is no edge."""
    drawn = torch.randn(graph.edge_mask.shape, generator=torch.Generator().manual_seed(seed))
    return EdgeScores(scale * drawn * graph.edge_mask, graph)


def planted(graph: Graph, *edges: str) -> Circuit:
    """The circuit of exactly the named edges."""
    mask = torch.zeros_like(graph.edge_mask)
    for edge in edges:
        source, destination = edge.split("->")
        mask[graph.sources.index(source), graph.destinations.index(destination)] = True
    return Circuit(mask, graph)


def valued(graph: Graph, values: Mapping[str, float]) -> EdgeScores:
    """The scores of the named edges, 0 elsewhere."""
    table = torch.zeros(graph.edge_mask.shape)
    for edge, value in values.items():
        source, destination = edge.split("->")
        table[graph.sources.index(source), graph.destinations.index(destination)] = value
    return EdgeScores(table, graph)


seeds = st.integers(0, 2**31 - 1)
shares = st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])


def circuits_of(recipe: tuple[Graph, list[tuple[int, float]]]) -> list[Circuit]:
    """The circuits of one graph that a drawn recipe stands for, empty and full ones among them."""
    graph, drawn = recipe
    return [circuit_of(graph, seed, share) for seed, share in drawn]


def recipes(circuits: int) -> st.SearchStrategy[tuple[Graph, list[tuple[int, float]]]]:
    """What `circuits_of` makes ``circuits`` circuits from; tensors are not made while Hypothesis draws."""
    return st.tuples(graphs, st.lists(st.tuples(seeds, shares), min_size=circuits, max_size=circuits))


def sampled(
    mean: EdgeScores, pairs: int, noise: float | Tensor, seed: int, *, common: Tensor | None = None
) -> EdgeScores:
    """Scores of single pairs around the mean map: independent noise on every edge, or the ``common`` one times it."""
    drawn = torch.randn(pairs, *mean.values.shape, generator=torch.Generator().manual_seed(seed))
    examples = mean.values + noise * (drawn if common is None else common) * mean.graph.edge_mask
    return EdgeScores(examples.mean(0), mean.graph, None, examples, {"pairs_digest": "of these pairs"})
