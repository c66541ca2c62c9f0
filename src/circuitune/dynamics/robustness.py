"""Is a circuit the task's, or that of the pairs it was found on? (reference paper, section 5: robustness, stability)

    def score(pairs): return ct.attribute(model, ct.encode(pairs, tokenizer), per_example=True)
    noisy = under_noise(score, pairs, tokenizer=tokenizer)      # level -> one Overlap per draw
    parts = between(disjoint_splits(score(pairs), 5))           # one Overlap per couple of parts, from `nulls`

A similarity says nothing by itself: ask the same of a model with random weights (`models.versions.untrained`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from circuitune.circuits.scores import EdgeScores
from circuitune.core.errors import InputError
from circuitune.dynamics.layers import STUDY_SHARE
from circuitune.dynamics.measures import Overlap, overlap
from circuitune.dynamics.resampling import require_examples
from circuitune.tasks.pairs import PairSet
from circuitune.tasks.perturb import perturbed
from circuitune.tasks.splits import Draw
from circuitune.tasks.tokens import Tokenizer

Score = Callable[[PairSet], EdgeScores]
"""Edge scores of pairs, with their examples in the order of the pairs."""

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shares of the pairs that are resampled; the study takes 0.1 to 0.9."""


def under_noise(
    score: Score,
    pairs: PairSet,
    share: float = STUDY_SHARE,
    *,
    tokenizer: Tokenizer,
    levels: Sequence[float] = LEVELS,
    draws: int = 3,
    seed: int = 0,
    avoid: Iterable[PairSet] = (),
) -> Mapping[float, tuple[Overlap, ...]]:
    """The circuit of the pairs against the one found with some of them resampled by their task's own noise.

    A map is the mean of its examples, so only the pairs and their replacements are attributed: 1 + `draws` times the
    largest level, instead of once per level and draw. Within a draw a higher level replaces what a lower one did.

    Args:
        score: gives edge scores with their examples.
        pairs: of a task that says how it is resampled (`tasks.perturb`).
        share: size of the circuits.
        tokenizer: the model's; replacements hold its rules.
        levels: shares of the pairs to resample, each above 0 and at most 1.
        draws: how many times.
        seed: of the draws.
        avoid: sets whose prompts must not come up, such as those that the model was trained or is tested on.

    Returns:
        Level -> the comparison of every draw, the circuit of the pairs as they are first.

    Raises:
        InputError: no level or draw, pairs that cannot be resampled that far, scores without examples.
    """
    if not levels or draws < 1:
        raise InputError(f"Noise needs a level and a draw; got {len(levels)} levels and {draws} draws.")
    whole = score(pairs)
    examples, others = require_examples(whole), tuple(avoid)
    own, found = whole.top(share), dict[float, list[Overlap]]((level, []) for level in levels)
    for draw in range(draws):
        noisy = perturbed(pairs, max(levels), seed=seed * draws + draw, tokenizer=tokenizer, avoid=others)
        places = _order(pairs, noisy, seed, draw)
        new = score(replace(noisy, pairs=tuple(noisy[place] for place in places)))
        assert new.examples is not None
        moved = new.examples.double() - examples[places].double()
        for level in levels:
            mixed = _shifted(whole, moved[: round(level * len(pairs))].sum(0) / len(pairs))
            found[level].append(overlap(own, mixed.top(share)))
    return {level: tuple(overlaps) for level, overlaps in found.items()}


def _order(pairs: PairSet, noisy: PairSet, seed: int, draw: int) -> list[int]:
    """The places of the resampled pairs, in random order."""
    changed = [place for place, (old, new) in enumerate(zip(pairs, noisy, strict=True)) if old != new]
    return list(Draw(seed, "noise", str(draw)).shuffled(changed))


def _shifted(scores: EdgeScores, change: Tensor) -> EdgeScores:
    return EdgeScores((scores.values.double() + change).to(torch.float32), scores.graph)
