"""Which nodes changed: a node's share of all scores, before and after, beside what chance alone makes of it.

    found = bootstrap_change(before, after)                         # intervals
    moved = [node_shares(other) - node_shares(one) for one, other in split_halves(before, after)]
    for node in node_changes(before, after, intervals=found.nodes, halves=moved):
        print(node.node, node.sentence)

The share m of a node is what leaves it, the sum over its edges of |mean score|, over the same sum c of all edges:
layers are weighed so too, in maps scaled to unit L1. With the signs s of the mean scores pair i contributes

    u_i = (a_i - m (l_i - c)) / c,     a_i = sum over the node's edges of s x score_i,     l_i = that of all edges,

and the mean of u_i is m: the linearisation of `edge_tests`, whose test this is too, over clusters of pairs. Over the
nodes of either circuit q values are Benjamini and Hochberg's. A node *changed* where q < 0.05 and its share moved by
more than it does between two halves of the pairs of one model.

Signs are taken as known, and a mean of noise has a magnitude even where what it estimates has none, so noise lends
weak nodes some share in either map. `benchmarks/false_positives.py` counts what is found where only noise differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor

from circuitune.circuits.graph import require_same_graph
from circuitune.circuits.scores import EdgeScores
from circuitune.core.statistics import Floats, Interval
from circuitune.dynamics.bootstrap import Measured
from circuitune.dynamics.edge_tests import LEVEL, paired_test, per_cluster, require_same_pairs
from circuitune.dynamics.fairness import TAIL
from circuitune.dynamics.layers import STUDY_SHARE, sources_among
from circuitune.dynamics.measures import node_shares
from circuitune.dynamics.resampling import clustered, require_examples


@dataclass(frozen=True)
class NodeChange:
    """A node that the circuit before or after holds; shares are of all scores of a map.

    Attributes:
        node: its name, a source of the graph.
        in_before, in_after: whether that circuit holds it.
        before, after: its share.
        interval: of after - before, by bootstrap over pairs.
        statistic: t; 0 where nothing varies and nothing differs.
        p, q: two-sided, and adjusted for all nodes of either circuit.
        halves: what its share differs by between two halves of the pairs, in all but 2.5 % of the comparisons; None
            without any.
        comparisons: how many.
    """

    node: str
    in_before: bool
    in_after: bool
    before: float
    after: float
    interval: Measured
    statistic: float
    p: float
    q: float
    halves: float | None
    comparisons: int

    @property
    def changed(self) -> bool:
        """Whether its share moved by more than chance: the rule of the module's head."""
        return self.q < LEVEL and abs(self.after - self.before) > (self.halves or 0.0)

    @property
    def sentence(self) -> str:
        """The verdict and its numbers, in words."""
        ends = ""
        if isinstance(self.interval, Interval):
            ends = f"95 % interval {_points(self.interval.low)} to {_points(self.interval.high)}; "
        q = "q < 0.001" if self.q < 0.001 else f"q {self.q:.2g}"
        shares = f"was {100 * self.before:.3g} % and is {100 * self.after:.3g} %"
        said = (
            f"{'Beyond' if self.changed else 'Not beyond'} chance: its share of all scores {shares}, "
            f"{_points(self.after - self.before)} points ({ends}{q})."
        )
        if self.halves is None:
            return f"{said} There are too few independent pairs to halve."
        return (
            f"{said} Two halves of the pairs differ by at most {100 * self.halves:.2g} points in 97.5 % of "
            f"{self.comparisons} comparisons."
        )


def node_changes(
    before: EdgeScores,
    after: EdgeScores,
    size: int | float = STUDY_SHARE,
    *,
    intervals: Sequence[Measured],
    halves: Sequence[Float[Tensor, " S"]],
) -> tuple[NodeChange, ...]:
    """The change of every node in the circuit of either map, in the graph's order.

    Args:
        before: scores with their examples.
        after: the same, of the same pairs.
        size: of the circuits, as in `EdgeScores.top`.
        intervals: of every source's change of share (`ChangeIntervals.nodes`).
        halves: what the shares of all sources differ by between two halves of the pairs, for each comparison.

    Raises:
        InputError: scores without examples, of different graphs, or not known to be of the same pairs.
    """
    require_same_graph(before.graph, after.graph)
    require_same_pairs(before, after)
    before, after = clustered([before, after])
    old, new = (sources_among(frozenset(scores.top(size).nodes), scores.graph) for scores in (before, after))
    places = [int(place) for place in (old | new).nonzero()]
    if not places:
        return ()
    _, t, p = paired_test(*(per_cluster(scores, _contributions(scores))[:, places] for scores in (before, after)))
    q = stats.false_discovery_control(p)
    first, second = node_shares(before), node_shares(after)
    bounds = difference_bounds(halves)
    return tuple(
        NodeChange(
            node=before.graph.sources[place],
            in_before=bool(old[place]),
            in_after=bool(new[place]),
            before=float(first[place]),
            after=float(second[place]),
            interval=intervals[place],
            statistic=float(t[n]),
            p=float(p[n]),
            q=float(q[n]),
            halves=None if bounds is None else float(bounds[place]),
            comparisons=len(halves),
        )
        for n, place in enumerate(places)
    )


def difference_bounds(differences: Sequence[Float[Tensor, " S"]]) -> Floats | None:
    """What a difference does not exceed in 97.5 % of the comparisons, whatever its sign; None without any."""
    if not differences:
        return None
    return np.quantile(torch.stack(list(differences)).abs().numpy(), TAIL, axis=0, method="inverted_cdf")


def pairwise_bounds(shares: Float[Tensor, "N S"]) -> Floats | None:
    """`difference_bounds` of every two of N; None below two. The differences of one source at a time are held."""
    if len(shares) < 2:
        return None
    apart = (torch.pdist(own[:, None], p=1).numpy() for own in shares.T.contiguous())
    return np.array([np.quantile(differences, TAIL, method="inverted_cdf") for differences in apart])


def _contributions(scores: EdgeScores) -> Float[Tensor, "n S"]:
    """What every pair contributes to the share of every source, float64: u of the module's head."""
    examples, signs = require_examples(scores), scores.values.sign()
    own = torch.stack([examples[:, place] @ signs[place] for place in range(len(signs))], 1).double()
    whole = scores.values.double().abs().sum()
    if whole == 0:
        return own
    along = own.sum(1, keepdim=True)
    return (own - node_shares(scores) * (along - along.mean())) / whole


def _points(share: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * share:+.2g}"
