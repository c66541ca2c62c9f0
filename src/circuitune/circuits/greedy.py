"""Greedy selection: a circuit grown backwards from the logits, so that every edge in it leads there."""

from heapq import heappop, heappush, heapreplace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from circuitune.circuits.graph import Graph


def greedy(values: Float[Tensor, "S R"], graph: Graph, count: int, *, absolute: bool = True) -> Bool[Tensor, "S R"]:
    """Mask of `count` edges, each the best one whose destination is reached when it is taken (EAP-IG's greedy rule).

    The logits are reached from the start; taking an edge reaches its source, that is, all inputs of that node. A
    key/value head's input is reached with the first query head of its group. Unlike the strongest edges, these
    never end at a node that is not in the circuit, but some may still lie on no path from the input: prune them.

    Args:
        values: scores.
        graph: which entries are edges.
        count: number of edges; more than the graph has gives all of them.
        absolute: rank by magnitude; otherwise by signed score. Ties go to the lower (source, destination) index.
    """
    keys = (values.abs() if absolute else values)[graph.edge_mask]
    # From here on an edge is its rank, best first: comparing whole numbers keeps the heap fast.
    place_of = graph.edge_mask.flatten().nonzero().flatten()[torch.argsort(keys, descending=True, stable=True)]
    width = len(graph.destinations)
    destinations = place_of % width
    source_of, destination_of = (place_of // width).tolist(), destinations.tolist()
    incoming = torch.argsort(destinations, stable=True).tolist()  # by destination, best first
    last = destinations.bincount(minlength=width).cumsum(0).tolist()
    following = [0, *last[:-1]]  # per destination, where in `incoming` its best edge that was not offered yet stands
    inputs_of = [column.nonzero().flatten().tolist() for column in graph.feeds.T]

    heap = list[int]()
    taken = list[int]()
    reached = [False] * width

    def reach(destination: int) -> None:
        reached[destination] = True
        heappush(heap, incoming[following[destination]])
        following[destination] += 1

    reach(graph.logits_destination)
    while heap and len(taken) < count:
        edge = heap[0]
        taken.append(edge)
        destination = destination_of[edge]
        place = following[destination]
        if place < last[destination]:
            heapreplace(heap, incoming[place])
            following[destination] = place + 1
        else:
            heappop(heap)
        for entered in inputs_of[source_of[edge]]:
            if not reached[entered]:
                reach(entered)
    mask = torch.zeros(graph.edge_mask.numel(), dtype=torch.bool)
    mask[place_of[torch.tensor(taken, dtype=torch.long)]] = True
    return mask.view(graph.edge_mask.shape)
