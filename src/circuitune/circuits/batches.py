"""Rows in groups the model can run without padding and without repeating the start they share."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from circuitune.models.encoding import EncodedPairs


@dataclass(frozen=True)
class Batch:
    """Rows of one length whose clean and corrupted prompts first differ at the same position.

    Attributes:
        clean, corrupted: token ids, no padding.
        answer, wrong: token ids; `wrong` may be None.
        rows: where these examples stand in the user's pairs.
        shared: number of leading positions on which every clean prompt equals its corrupted one.
    """

    clean: Int[Tensor, "B P"]
    corrupted: Int[Tensor, "B P"]
    answer: Int[Tensor, " B"]
    wrong: Int[Tensor, " B"] | None
    rows: Int[Tensor, " B"]
    shared: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def positions(self) -> int:
        """Positions that differ, or come after one that does: what has to be run."""
        return self.clean.shape[1] - self.shared


def batches(
    inputs: EncodedPairs, device: torch.device, positions_per_batch: int, *, share_prefix: bool = True
) -> Iterator[Batch]:
    """Split `inputs` into batches of at most `positions_per_batch` run positions (at least one row each).

    Padding is stripped, so it never reaches the model and cannot change a score. Rows keep their order inside a
    group of equal (length, first difference).
    """
    inputs = inputs.cpu()
    lengths = inputs.lengths()
    starts = torch.zeros_like(lengths) if inputs.mask is None else inputs.mask.int().argmax(1)
    # At least the last position is run, also where nothing differs.
    first = torch.minimum(inputs.first_difference(), lengths - 1) * int(share_prefix)
    for length, shared in torch.stack([lengths, first], 1).unique(dim=0).tolist():
        rows = ((lengths == length) & (first == shared)).nonzero()[:, 0]
        for part in rows.split(max(1, positions_per_batch // (length - shared))):
            columns = starts[part, None] + torch.arange(length)
            yield Batch(
                clean=inputs.clean[part].gather(1, columns).to(device),
                corrupted=inputs.corrupted[part].gather(1, columns).to(device),
                answer=inputs.answer[part].to(device),
                wrong=None if inputs.wrong is None else inputs.wrong[part].to(device),
                rows=part,
                shared=shared,
            )
