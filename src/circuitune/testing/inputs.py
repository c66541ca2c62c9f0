"""Pairs of random token ids."""

import torch

from circuitune.models.encoding import EncodedPairs
from circuitune.testing.models import VOCABULARY


def random_pairs(
    count: int = 12, *, positions: int = 9, first_difference: int = 4, common: int = 0, seed: int = 0
) -> EncodedPairs:
    """Pairs whose clean and corrupted prompts differ at `first_difference` and, later, wherever chance says.

    Args:
        count: number of pairs.
        positions: tokens per prompt.
        first_difference: first position on which clean and corrupted differ.
        common: leading positions that are the same in all pairs.
        seed: of the token ids.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randint(3, VOCABULARY, shape, generator=generator)

    clean = draw(count, positions)
    clean[:, :common] = clean[:1, :common]
    corrupted = clean.clone()
    corrupted[:, first_difference] = 3 + (clean[:, first_difference] - 3 + 1) % (VOCABULARY - 3)
    tail = draw(count, positions - first_difference - 1)
    changed = torch.rand(tail.shape, generator=generator) < 0.3
    corrupted[:, first_difference + 1 :] = torch.where(changed, tail, clean[:, first_difference + 1 :])
    answer = draw(count)
    wrong = 3 + (answer - 3 + 1 + draw(count) % (VOCABULARY - 4)) % (VOCABULARY - 3)
    return EncodedPairs(clean, corrupted, answer, wrong)
