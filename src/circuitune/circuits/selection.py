"""From scores to a set of edges: the strongest, then pruned to those on a path from the input to the logits."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitune.circuits.graph import Graph
from circuitune.core.errors import InputError


def edge_count(size: int | float, graph: Graph) -> int:
    """Number of edges meant by `size`: an int is a count, a float in (0, 1] a share of all edges, at least one.

    Raises:
        InputError: a negative count, a share outside (0, 1], or a bool.
    """
    if isinstance(size, bool) or (isinstance(size, float) and not 0 < size <= 1) or size < 0:
        raise InputError(f"A circuit's size is a count of edges or a share in (0, 1]; got {size!r}.")
    if isinstance(size, float):
        # The tolerance keeps 0.07 * 100 at 7 although its product in binary is just below.
        return max(1, math.floor(size * graph.edges + 1e-9))
    return min(size, graph.edges)


def strongest(
    values: Float[Tensor, "S R"], graph: Graph, count: int, *, absolute: bool = True
) -> Bool[Tensor, "S R"]:
    """Mask of the `count` edges of highest score (of highest magnitude if `absolute`).

    Ties are broken by the edge's (source, destination) index, so the result never depends on the sort.
    """
    keys = (values.abs() if absolute else values)[graph.edge_mask]
    order = torch.argsort(keys, descending=True, stable=True)[:count]
    chosen = torch.zeros_like(keys, dtype=torch.bool)
    chosen[order] = True
    mask = torch.zeros_like(graph.edge_mask)
    mask[graph.edge_mask] = chosen
    return mask


def above(
    values: Float[Tensor, "S R"], graph: Graph, threshold: float, *, absolute: bool = True
) -> Bool[Tensor, "S R"]:
    """Mask of the edges whose score (magnitude if `absolute`) is at least `threshold`."""
    return ((values.abs() if absolute else values) >= threshold) & graph.edge_mask


def prune(mask: Bool[Tensor, "S R"], graph: Graph) -> Bool[Tensor, "S R"]:
    """Drop every edge that lies on no path from ``input`` to ``logits`` inside `mask`.

    A node stays while it has an incoming edge (the input needs none) and an outgoing one; a head is entered by any
    of its q, k and v inputs, a key/value head's input enters every query head of its group. Never refilled, so the
    result can be smaller than `mask`, and pruning it again changes nothing.
    """
    feeds = graph.feeds.float()
    is_input = torch.zeros(len(graph.sources), dtype=torch.bool)
    is_input[0] = True
    pruned = mask & graph.edge_mask
    while True:
        entered = (pruned.any(0).float() @ feeds > 0) | is_input
        left = pruned.any(1)
        alive = entered & left
        useful = feeds @ alive.float() > 0
        useful[graph.logits_destination] = True
        kept = pruned & alive[:, None] & useful[None, :]
        if torch.equal(kept, pruned):
            return kept
        pruned = kept
