"""The overlap of two circuits that their degrees alone explain, and the overlap of random circuits of their size.

A circuit is a bipartite graph from sources to destinations. Rewiring it at random keeps the out-degree of every
source and the in-degree of every destination, and uses real edges only. It is done by global curveball trades:
sources are paired at random, and each pair deals the destinations that only one has, and both may have, anew.
Curveball trades are Strona et al. 2014 (Nature Communications 5:4114), their uniform limit Carstens 2015 (Physical
Review E 91:042812), trades of all rows at once Carstens et al. 2018 (global curveball trades, ESA 2018).

Structural zeros can cut such a chain into parts. Here they cannot: a destination reads all sources before some point,
so of two sources the earlier may have every destination of the later. The earliest source of an alternating cycle
may therefore have each destination on it, and one of these chords closes a swap of two edges that brings one circuit
nearer to the other. Every circuit of the same degrees is reached.

A rewired circuit has the nodes of the original, and is pruned if the original is: both follow from the degrees.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from circuitune.circuits.graph import Graph, require_same_graph
from circuitune.circuits.scores import Circuit
from circuitune.core.errors import InputError
from circuitune.core.seeding import numpy_generator
from circuitune.dynamics.measures import Overlap, overlap

Places: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

TRADES = 150
"""Global trades from a circuit to a draw.

Of the study's released circuits (9,153 and 8,397 edges) the overlap no longer moves after 20, the share of edges that
stay where they were after 100 to 150.
"""

_CHUNK = 2_000_000
"""Edges of all chains that are traded at once."""


def rewired(
    circuit: Circuit, draws: int, *, seed: int = 0, trades: int = TRADES, label: str = ""
) -> Iterator[Circuit]:
    """Random circuits with the degrees of `circuit`, each the end of a chain of its own.

    Args:
        circuit: where every chain starts.
        draws: how many, 1 or more.
        seed: of the chains.
        trades: global trades per chain.
        label: chains of other labels are independent.

    Raises:
        InputError: no draws.
    """
    if draws < 1:
        raise InputError(f"Rewiring needs at least one draw; got {draws}.")
    size = max(1, _CHUNK // max(1, len(circuit)))
    for start in range(0, draws, size):
        chains = _Chains.of(circuit, min(size, draws - start))
        rng = numpy_generator(seed, "rewired", label, start)
        for _ in range(trades):
            chains.trade(rng)
        settings = {**circuit.settings, "rewired": trades}
        yield from (Circuit(torch.as_tensor(mask.copy()), circuit.graph, None, settings) for mask in chains.masks)


def rewired_overlaps(
    before: Circuit, after: Circuit, draws: int = 200, *, seed: int = 0, trades: int = TRADES
) -> tuple[Overlap, ...]:
    """Overlap of the two circuits, each rewired independently: what degrees alone explain.

    The nodes of both stay what they are, so only the number of edges kept varies.

    Raises:
        InputError: circuits of different graphs, or no draws.
    """
    observed = overlap(before, after)
    first = rewired(before, draws, seed=seed, trades=trades, label="before")
    second = rewired(after, draws, seed=seed, trades=trades, label="after")
    kept = (int((one.mask & other.mask).sum()) for one, other in zip(first, second, strict=True))
    return tuple(observed._replace(edges=observed.edges._replace(kept=count)) for count in kept)


def random_overlaps(before: Circuit, after: Circuit, draws: int = 200, *, seed: int = 0) -> tuple[Overlap, ...]:
    """Overlap of two independent uniform draws of as many edges as the two circuits have, not pruned.

    Raises:
        InputError: circuits of different graphs, or no draws.
    """
    require_same_graph(before.graph, after.graph)
    if draws < 1:
        raise InputError(f"Random circuits need at least one draw; got {draws}.")
    firsts = (random_circuit(before.graph, len(before), seed=seed, label=f"before {draw}") for draw in range(draws))
    seconds = (random_circuit(after.graph, len(after), seed=seed, label=f"after {draw}") for draw in range(draws))
    return tuple(overlap(first, second) for first, second in zip(firsts, seconds, strict=True))


def random_circuit(graph: Graph, edges: int, *, seed: int = 0, label: str = "") -> Circuit:
    """A uniform draw of that many of the graph's edges, not pruned; other labels give independent draws.

    Raises:
        InputError: more edges than the graph has, or a negative number.
    """
    if not 0 <= edges <= graph.edges:
        raise InputError(f"{edges} random edges of {graph.edges}: choose a number from 0 to {graph.edges}.")
    rng = numpy_generator(seed, "random circuit", label)
    chosen = np.zeros(graph.edges, dtype=np.bool_)
    chosen[rng.choice(graph.edges, edges, replace=False)] = True
    mask = torch.zeros_like(graph.edge_mask)
    mask[graph.edge_mask] = torch.as_tensor(chosen)
    return Circuit(mask, graph, None, {"selection": "random", "size": edges, "seed": seed})


@dataclass(frozen=True)
class _Chains:
    """Several copies of a circuit on their way through trades; the arrays change in place.

    Attributes: masks: bool [chains, S, R]. chain, source, destination: int64 [chains x edges], one entry per
    edge of every copy. allowed: bool [S, R]. active: the sources that can trade: some edges, but not all.
    """

    masks: Bools
    chain: Places
    source: Places
    destination: Places
    allowed: Bools
    active: Places

    @classmethod
    def of(cls, circuit: Circuit, chains: int) -> "_Chains":
        mask, allowed = circuit.mask.numpy(), circuit.graph.edge_mask.numpy()
        degree, full = mask.sum(1), allowed.sum(1)
        source, destination = mask.nonzero()
        return cls(
            masks=np.repeat(mask[None], chains, axis=0),
            chain=np.repeat(np.arange(chains), len(source)),
            source=np.tile(source, chains),
            destination=np.tile(destination, chains),
            allowed=allowed,
            active=((degree > 0) & (degree < full)).nonzero()[0],
        )

    def trade(self, rng: np.random.Generator) -> None:
        """One global trade in every chain: each active source with one partner (an odd one out sits still)."""
        partner, pair = self._pairs(rng)
        other = partner[self.chain, self.source]
        free = self.allowed[other, self.destination] & ~self.masks[self.chain, other, self.destination]
        (traded,) = free.nonzero()
        group = pair[self.chain[traded], self.source[traded]]
        # Shuffle who owns what inside each pair: the owners in random order go to the edges in their old order.
        shuffled = self.source[traded[np.argsort(group + rng.random(len(group)))]]
        edges = traded[np.argsort(group, kind="stable")]
        self.masks[self.chain[edges], self.source[edges], self.destination[edges]] = False
        self.source[edges] = shuffled
        self.masks[self.chain[edges], self.source[edges], self.destination[edges]] = True

    def _pairs(self, rng: np.random.Generator) -> tuple[Places, Places]:
        """Partner of every source (itself, if none), and a number that the two of a pair share: [chains, S]."""
        chains, sources = self.masks.shape[:2]
        order = rng.permuted(np.tile(self.active, (chains, 1)), axis=1)
        rows: Places = np.arange(chains, dtype=np.int64)[:, None]
        paired = order.shape[1] // 2 * 2
        left, right = order[:, 0:paired:2], order[:, 1:paired:2]
        partner: Places = np.tile(np.arange(sources, dtype=np.int64), (chains, 1))
        partner[rows, left], partner[rows, right] = right, left
        return partner, rows * sources + np.minimum(partner, np.arange(sources, dtype=np.int64))
