"""Maps of resampled pairs, from the scores of single pairs; no model is run again.

Pairs that are each other's corruption have equal scores (logit difference, midpoint rule, interchange), so two of
them tell no more than one. What is drawn, split and counted are therefore clusters of pairs (`EncodedPairs.groups`).

A map's scores are means over pairs, so the maps of all resamples are one matrix product: weights [resamples, n] times
scores [n, sources x destinations].
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitune.circuits.graph import require_same_graph
from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError
from circuitune.core.seeding import numpy_generator

RESAMPLES = 200

_CHUNK_BYTES = 64 * 2**20
"""Memory for the resampled maps of one chunk, all models together."""


def require_examples(scores: EdgeScores) -> Float[Tensor, "n S R"]:
    """The scores of single pairs.

    Raises:
        InputError: they were not kept, or are of fewer than two pairs or two clusters of them.
    """
    if scores.examples is None:
        raise InputError(
            "These scores hold means only, and chance needs the scores of every pair; "
            "make them with attribute(..., per_example=True)."
        )
    if len(scores.examples) < 2:
        raise InputError(f"Chance between pairs needs two pairs or more; the scores are of {len(scores.examples)}.")
    if scores.groups is not None and bool((scores.groups == scores.groups[0]).all()):
        raise InputError(
            f"Chance between pairs needs two independent ones, and all {len(scores.examples)} pairs share prompts or "
            "groups; add unrelated pairs."
        )
    return scores.examples


def clusters(scores: EdgeScores) -> Int[Tensor, " n"]:
    """The cluster of every pair, numbered from 0; each pair is its own where the scores hold no groups.

    Raises:
        InputError: as `require_examples`.
    """
    n = len(require_examples(scores))
    return (
        torch.arange(n)
        if scores.groups is None
        else torch.as_tensor(np.unique(scores.groups.numpy(), return_inverse=True)[1])
    )


def cluster_count(scores: EdgeScores) -> int:
    """How many clusters the pairs form.

    Raises:
        InputError: as `require_examples`.
    """
    return int(clusters(scores).max()) + 1


def clustered(maps: Sequence[EdgeScores]) -> list[EdgeScores]:
    """The maps, those of the same pairs with the same groups: the first that any of them has."""

    def known(scores: EdgeScores) -> Tensor | None:
        same = (other.groups for other in maps if other is scores or same_pairs(other, scores))
        return next((groups for groups in same if groups is not None), None)

    return [replace(scores, groups=known(scores)) for scores in maps]


def same_pairs(first: EdgeScores, second: EdgeScores) -> bool:
    """Whether two maps are known to be of the same pairs in the same order, by number and digest.

    Maps that hold no digest (foreign ones, or built by hand) may be of any pairs, so they equal none.
    """
    one, other = (scores.settings.get("pairs_digest") for scores in (first, second))
    return one is not None and one == other and len(require_examples(first)) == len(require_examples(second))


def resampled(maps: Sequence[EdgeScores], resamples: int = RESAMPLES, *, seed: int = 0) -> Iterator[list[EdgeScores]]:
    """Bootstrap over clusters of pairs: as many drawn with replacement, the maps of their means, a list per resample.

    Maps of the same pairs (by their digest) get the same draws, so that comparisons stay paired; maps of other
    pairs, or without a digest, are drawn independently.

    Args:
        maps: scores of one graph, with their examples.
        resamples: how many.
        seed: of the draws; the same seed gives the same bytes.

    Raises:
        InputError: scores without examples or of different graphs.
    """
    for scores in maps:
        require_same_graph(maps[0].graph, scores.graph)
    maps = clustered(maps)
    weights = [_draws(scores, place, resamples, seed) for place, scores in enumerate(maps)]
    flat = [require_examples(scores).flatten(1).float() for scores in maps]
    rows = max(1, _CHUNK_BYTES // (4 * sum(examples.shape[1] for examples in flat)))
    for start in range(0, resamples, rows):
        chunk = [part[start : start + rows] @ examples for part, examples in zip(weights, flat, strict=True)]
        for values in zip(*chunk, strict=True):
            yield [_like(scores, value) for scores, value in zip(maps, values, strict=True)]


def _draws(scores: EdgeScores, place: int, resamples: int, seed: int) -> Float[Tensor, "B n"]:
    """Weight of each pair: how often its cluster is drawn, multinomial counts with equal chances, to a sum of 1."""
    own = clusters(scores)
    n = cluster_count(scores)
    digest = scores.settings.get("pairs_digest")
    rng = numpy_generator(seed, "bootstrap over pairs", *([place, "no digest"] if digest is None else [digest]))
    counts = torch.as_tensor(rng.multinomial(n, [1 / n] * n, size=resamples), dtype=torch.float32)[:, own]
    return counts / counts.sum(1, keepdim=True)


def _like(scores: EdgeScores, values: Tensor) -> EdgeScores:
    return replace(scores, values=values.view(scores.values.shape), completeness=None, examples=None, groups=None)
