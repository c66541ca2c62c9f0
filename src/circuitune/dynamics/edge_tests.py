"""Which single edges changed by more than the pairs explain: one t test per edge, false discoveries controlled.

What is scaled: each map of mean scores has L1 norm c = sum over edges of |mean score|; all scores of its single pairs
are divided by that one number, so that the map of the scaled means has L1 norm 1 (raw scores grow in fine-tuning).
c comes from the same pairs, and its error is part of the difference's: c = mean over pairs of
l_i = sum over edges of sign(mean score) x score_i, so pair i contributes to the scaled mean v = mean score / c

    u_i = (score_i - v (l_i - c)) / c,        mean over pairs u_i = v,

the usual linearisation of a ratio of means. The test is Student's on u_i(after) - u_i(before) over pairs, or Welch's
where the pairs are not the same. Pairs of one cluster, such as each other's corruptions, count once, by their mean.
Over the edges of either circuit q values are Benjamini and Hochberg's (1995).
An edge *changed* where q < 0.05 and one circuit has it but not the other.

The edges of either circuit were chosen by the scores they are tested on. That does no harm to circuits that pairs
determine well, but where noise decides who is in, those chosen differ more than chance: of pure noise (Jaccard of
the circuits 0.14) 17 % of them have p < 0.05. `false_positives` measures it on halves of the pairs; with
family="all" q values are over all edges of the graph, which nothing has chosen, and fewer changes are found.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import stats
from torch import Tensor

from circuitune.circuits.graph import require_same_graph
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.errors import InputError
from circuitune.core.seeding import derived_seed, numpy_generator
from circuitune.core.statistics import Floats, Interval, wilson
from circuitune.dynamics.layers import STUDY_SHARE
from circuitune.dynamics.nulls import disjoint_splits
from circuitune.dynamics.resampling import cluster_count, clustered, clusters, require_examples, same_pairs

Family: TypeAlias = Literal["union", "all"]

LEVEL = 0.05
"""False discovery rate at which an edge counts as changed."""

_CHUNK = 8_000_000
"""Single scores held at once in float64 (64 MB per map)."""


@dataclass(frozen=True, eq=False)
class EdgeTests:
    """Tests of the edges in either of two circuits.

    Attributes:
        before, after: the circuits.
        difference: float64 [U], after - before of the scaled means, over the U edges of either circuit in the
            order of (source, destination).
        statistic: float64 [U], t; 0 where nothing varies and nothing differs.
        p: float64 [U], two-sided.
        q: float64 [U], p adjusted for all edges of the family.
        paired: whether the pairs are the same.
        level: below which q counts.
    """

    before: Circuit
    after: Circuit
    difference: Floats
    statistic: Floats
    p: Floats
    q: Floats
    paired: bool
    level: float

    @cached_property
    def union(self) -> Circuit:
        """The edges tested."""
        return self.before | self.after

    @cached_property
    def changed(self) -> Circuit:
        """The edges that changed: q below the level, and in one circuit only."""
        mask = torch.zeros_like(self.union.mask)
        mask[self.union.mask] = torch.as_tensor(self.q < self.level)
        return Circuit(mask & (self.before ^ self.after).mask, self.union.graph)

    @property
    def added(self) -> Circuit:
        """The changed edges that only the circuit after has."""
        return self.changed & self.after

    @property
    def removed(self) -> Circuit:
        """The changed edges that only the circuit before has."""
        return self.changed & self.before

    @property
    def raw_count(self) -> int:
        """Edges in one circuit only, tested or not: what a comparison of sets counts."""
        return len(self.before ^ self.after)

    @property
    def tested_count(self) -> int:
        """Edges that changed."""
        return len(self.changed)

    @property
    def significant_count(self) -> int:
        """Edges whose score differs (q below the level), also those that both circuits have."""
        return int((self.q < self.level).sum())


def edge_tests(
    before: EdgeScores,
    after: EdgeScores,
    size: int | float = STUDY_SHARE,
    *,
    paired: bool = True,
    family: Family = "union",
    level: float = LEVEL,
) -> EdgeTests:
    """Test every edge in the circuit of either map.

    Args:
        before: scores with their examples.
        after: the same.
        size: of the circuits, as in `EdgeScores.top`.
        paired: the two are of the same pairs. Otherwise the pairs must be others (disjoint), as many in both:
            noise adds to an L1 norm, and more so with fewer pairs.
        family: the edges that q values are adjusted for: the "union" of the circuits, or "all" of the graph.
        level: below which q counts.

    Raises:
        InputError: scores without examples, of different graphs, or of other pairs (or without their digest) where
            ``paired``.
    """
    require_same_graph(before.graph, after.graph)
    if paired:
        require_same_pairs(before, after)
    before, after = clustered([before, after])
    first, second = before.top(size), after.top(size)
    union = (first | second).mask
    tested = union if family == "union" else before.graph.edge_mask
    results = _t_tests(before, after, tested, paired)
    q = stats.false_discovery_control(results[2]) if results.size else results[2]
    difference, statistic, p, q = np.stack([*results, q])[:, union[tested].numpy()]
    return EdgeTests(first, second, difference, statistic, p, q, paired, level)


def require_same_pairs(before: EdgeScores, after: EdgeScores) -> None:
    """Raise InputError unless the two maps are known to be of the same pairs."""
    if not same_pairs(before, after):
        unknown = any(scores.settings.get("pairs_digest") is None for scores in (before, after))
        raise InputError(
            f"The two maps are {'not known to be of the same' if unknown else 'of different'} pairs"
            f"{' (settings hold no pairs_digest)' if unknown else ''}, so their pairs cannot be subtracted one from "
            "another; attribute both models on the same pairs, or ask for the unpaired test with paired=False."
        )


@dataclass(frozen=True)
class FalsePositives:
    """How often the tests find a change where there is none: between two disjoint halves of one model's pairs.

    Attributes:
        draws: how many times the pairs were halved.
        single: share of draws in which one edge, drawn at random from those tested, has p below the level, with
            its 95 % binomial (Wilson) interval.
        family: share of draws in which any edge has q below the level; where nothing changed this is the false
            discovery rate.
        raw_count: mean number of edges that one half's circuit has and the other's has not.
        tested_count: mean number of edges found to have changed; all are false.
        level: the nominal level of both.
    """

    draws: int
    single: Interval
    family: Interval
    raw_count: float
    tested_count: float
    level: float

    @property
    def nominal(self) -> bool:
        """Whether the interval of the single rate contains the nominal level."""
        return self.single.low <= self.level <= self.single.high

    @property
    def sentence(self) -> str:
        """Both rates beside their nominal level, in words."""
        rates = (f"{rate.estimate:.3f} [{rate.low:.3f}, {rate.high:.3f}]" for rate in (self.single, self.family))
        single, family = rates
        return (
            f"In {self.draws} draws of two halves of the same pairs a single edge has p < {self.level} at a rate of "
            f"{single}, which {'contains' if self.nominal else 'does not contain'} the nominal level; some edge has "
            f"q < {self.level} at a rate of {family}. On average {self.raw_count:.1f} edges are in one circuit only "
            f"and {self.tested_count:.2f} are found to have changed."
        )


def false_positives(
    scores: EdgeScores,
    draws: int = 200,
    size: int | float = STUDY_SHARE,
    *,
    family: Family = "union",
    seed: int = 0,
    level: float = LEVEL,
) -> FalsePositives:
    """Halve the pairs at random, many times, and test the halves against each other.

    Raises:
        InputError: scores without examples, of fewer than four clusters of pairs, or no draws.
    """
    if draws < 1 or cluster_count(scores) < 4:
        raise InputError(
            "False positives are counted over one draw or more of halves of two independent pairs or more; got "
            f"{draws} draws, {cluster_count(scores)} pairs."
        )
    rng = numpy_generator(seed, "false positives")
    halves = (disjoint_splits(scores, 2, seed=derived_seed(seed, "halves", draw)) for draw in range(draws))
    counts = np.zeros(4, dtype=np.int64)
    for one, other in halves:  # one test at a time: each holds two halves of all pairs' scores while it runs
        test = edge_tests(one, other, size, paired=False, family=family, level=level)
        single = len(test.p) > 0 and bool(rng.choice(test.p) < level)
        counts += [single, test.significant_count > 0, test.raw_count, test.tested_count]
    singles, found, raw, tested = counts.tolist()
    return FalsePositives(draws, wilson(singles, draws), wilson(found, draws), raw / draws, tested / draws, level)


def unit_examples(scores: EdgeScores, edges: Bool[Tensor, "S R"]) -> Float[Tensor, "n U"]:
    """The scores of single pairs on the scale of the unit L1 map: u of the module's head, float64 [n, edges].

    Their mean over pairs is the map scaled to unit L1. A map of zeros stays.

    Raises:
        InputError: scores without examples.
    """
    examples = require_examples(scores)
    mean = scores.values.double()
    whole = mean.abs().sum()
    if whole == 0:
        return examples[:, edges].double()
    along = (examples.flatten(1) @ scores.values.sign().flatten()).double()
    own = (along - along.mean())[:, None] * (mean[edges] / whole)
    return (examples[:, edges].double() - own) / whole


def _t_tests(before: EdgeScores, after: EdgeScores, edges: Bool[Tensor, "S R"], paired: bool) -> Floats:
    """Difference, t and p of the chosen edges, stacked [3, edges], some edges at a time."""
    places = edges.flatten().nonzero().flatten()
    size = max(1, _CHUNK // max(len(require_examples(before)), len(require_examples(after))))
    parts = [np.zeros((3, 0))]
    for start in range(0, len(places), size):
        mask = torch.zeros_like(edges)
        mask.view(-1)[places[start : start + size]] = True
        old, new = (per_cluster(scores, unit_examples(scores, mask)) for scores in (before, after))
        parts.append(paired_test(old, new) if paired else _welch(old, new))
    return np.concatenate(parts, axis=1)


def per_cluster(scores: EdgeScores, values: Float[Tensor, "n U"]) -> Floats:
    """Values of single pairs, float64 [n, U] -> of clusters of pairs [clusters, U], with the same mean.

    A cluster's deviation from the mean counts by its share of the pairs; where all are of one size it is its mean.
    """
    if scores.groups is None:
        return values.numpy()
    own, count, mean = clusters(scores), cluster_count(scores), values.mean(0)
    sums = torch.zeros(count, values.shape[1], dtype=values.dtype).index_add_(0, own, values - mean)
    return (mean + sums * (count / len(values))).numpy()


def paired_test(before: Floats, after: Floats) -> Floats:
    """Student's test of after - before over rows: difference, t, p, stacked [3, columns]."""
    difference = after - before
    n = len(difference)
    return _student(difference.mean(0), difference.var(0, ddof=1) / n, np.float64(n - 1))


def _welch(before: Floats, after: Floats) -> Floats:
    """Welch's test for two sets of rows, with Satterthwaite's degrees of freedom."""
    parts = [values.var(0, ddof=1) / len(values) for values in (before, after)]
    variance = parts[0] + parts[1]
    spread = parts[0] ** 2 / (len(before) - 1) + parts[1] ** 2 / (len(after) - 1)
    freedom = np.divide(variance**2, spread, out=np.ones_like(variance), where=spread > 0)
    return _student(after.mean(0) - before.mean(0), variance, freedom)


def _student(difference: Floats, variance: Floats, freedom: Floats | np.float64) -> Floats:
    certain = np.where(difference == 0, 0.0, np.copysign(np.inf, difference))  # where nothing varies
    statistic = np.divide(difference, np.sqrt(variance), out=certain, where=variance > 0)
    return np.stack([difference, statistic, 2 * stats.t.sf(np.abs(statistic), freedom)])
