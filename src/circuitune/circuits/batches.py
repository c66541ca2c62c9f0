"""Rows in groups the model can run without padding and without repeating the start they share."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitune.circuits.metrics import Metric
from circuitune.circuits.reduce import world
from circuitune.models.encoding import EncodedPairs


@dataclass(frozen=True)
class Batch:
    """Rows of one length whose clean and corrupted prompts first differ at the same position.

    Attributes:
        clean, corrupted: token ids, no padding.
        answer, wrong: ids of the last `tokens` positions' answers; `wrong` may be None.
        answer_set, wrong_set: sets of single-token answers padded with -100, or None.
        rows: where these examples stand in the user's pairs.
        shared: number of leading positions on which every clean prompt equals its corrupted one.
        counted: False for a row that another process counts (see `circuits.reduce`).
    """

    clean: Int[Tensor, "B P"]
    corrupted: Int[Tensor, "B P"]
    answer: Int[Tensor, "B T"]
    wrong: Int[Tensor, "B T"] | None
    answer_set: Int[Tensor, "B k"] | None
    wrong_set: Int[Tensor, "B j"] | None
    rows: Int[Tensor, " B"]
    shared: int
    counted: bool = True

    def __len__(self) -> int:
        return len(self.rows)

    def split(self, rows: int) -> "list[Batch]":
        """The same rows in batches of at most so many."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        starts = range(0, len(self), rows)
        return [replace(self, **{n: value[start : start + rows] for n, value in tensors.items()}) for start in starts]

    @property
    def positions(self) -> int:
        """Positions that differ, or come after one that does: what has to be run."""
        return self.clean.shape[1] - self.shared

    @property
    def tokens(self) -> int:
        """Last positions whose logits count: one per token of the answer."""
        return self.answer.shape[1]

    def losses(
        self, metric: Metric, logits: Float[Tensor, "B T V"], clean: Float[Tensor, "B T V"]
    ) -> Float[Tensor, " B"]:
        """The metric's loss per example, summed over the answer's tokens."""
        if metric.sets:
            right = self.answer if self.answer_set is None else self.answer_set
            wrong = self.wrong if self.wrong_set is None else self.wrong_set
            return metric.loss(logits[:, -1], clean[:, -1], right, wrong)
        wrong = None if self.wrong is None else self.wrong.flatten()
        each = metric.loss(logits.flatten(0, 1), clean.flatten(0, 1), self.answer.flatten(), wrong)
        return each.view(len(self), -1).sum(1)

    def correct(self, logits: Float[Tensor, "B T V"]) -> Bool[Tensor, " B"]:
        """Whether every token of the answer (any answer of the set) has the highest logit."""
        best = logits.argmax(-1)
        return (best == self.answer).all(1) if self.answer_set is None else (best == self.answer_set).any(1)


def batches(
    inputs: EncodedPairs, device: torch.device, positions_per_batch: int, *, share_prefix: bool = True
) -> Iterator[Batch]:
    """Split `inputs` into batches of at most `positions_per_batch` run positions (at least one row each).

    Padding is stripped, so it never reaches the model and cannot change a score. Rows keep their order inside a
    group of equal (length, first difference, answer tokens). Under `torchrun` a process gets its share of each batch.
    """
    inputs = inputs.cpu()
    lengths = inputs.lengths()
    answer = inputs.answer if inputs.answer.ndim == 2 else inputs.answer[:, None]
    wrong = inputs.wrong[:, None] if inputs.wrong is not None and inputs.wrong.ndim == 1 else inputs.wrong
    tokens = (answer >= 0).sum(1)
    starts = torch.zeros_like(lengths) if inputs.mask is None else inputs.mask.int().argmax(1)
    # At least the positions whose logits count are run, also where nothing differs.
    first = torch.minimum(inputs.first_difference(), lengths - tokens) * int(share_prefix)
    for length, shared, kept in torch.stack([lengths, first, tokens], 1).unique(dim=0).tolist():
        rows = ((lengths == length) & (first == shared) & (tokens == kept)).nonzero()[:, 0]

        def take(ids: Tensor | None, part: Tensor, most: int | None = None) -> Tensor | None:
            return None if ids is None else ids[part][:, :most].to(device)

        rank, size = world()
        for whole in rows.split(size * max(1, positions_per_batch // (length - shared))):
            own = whole[rank::size]
            part = own if len(own) else whole[:1]
            columns = starts[part, None] + torch.arange(length)
            yield Batch(
                clean=inputs.clean[part].gather(1, columns).to(device),
                corrupted=inputs.corrupted[part].gather(1, columns).to(device),
                answer=answer[part][:, :kept].to(device),
                wrong=take(wrong, part, kept),
                answer_set=take(inputs.answer_set, part),
                wrong_set=take(inputs.wrong_set, part),
                rows=part,
                shared=shared,
                counted=len(own) > 0,
            )
