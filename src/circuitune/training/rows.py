"""Training rows: a prompt, and loss on nothing but the tokens of its answer.

The last token of the prompt predicts the answer's first token, the answer's first its second, and so on. So a row is
the prompt and all but the answer's last token, and only these positions have a label. Rows are padded on the right,
where a causal model's real tokens cannot see it; a batch carries only the positions that have a label in some row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from circuitune.core.errors import InputError
from circuitune.models.encoding import EncodedPairs

IGNORED = -100
"""Label of a position that has no loss."""


@dataclass(frozen=True)
class AnswerRows(Dataset[int]):
    """All rows, encoded once; as a dataset it hands out row numbers, which `batch` turns into tensors.

    Attributes:
        tokens: int64 [B, P]; 0 behind a row's end.
        labels: int64 [B, P]; at each position the answer's token that follows it, else -100.
        lengths: tokens per row.
    """

    tokens: Tensor
    labels: Tensor
    lengths: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> int:
        return index

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """The given rows, cut to the longest.

        Returns ``input_ids`` [B, P]; ``attention_mask`` [B, P], only if something is padded; ``positions`` [U] that
        have a label in some row, and their ``labels`` [B, U].
        """
        lengths = [self.lengths[index] for index in indices]
        longest = max(lengths)
        rows = torch.tensor(indices)
        labels_BP = self.labels[rows, :longest]
        positions = (labels_BP != IGNORED).any(0).nonzero()[:, 0]
        batch = {
            "input_ids": self.tokens[rows, :longest],
            "positions": positions,
            "labels": labels_BP[:, positions],
        }
        if min(lengths) < longest:
            batch["attention_mask"] = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
        return batch


def answer_rows(inputs: EncodedPairs) -> AnswerRows:
    """Training rows from the clean prompts and their answers."""
    rows: list[tuple[list[int], list[int]]] = []
    for index in range(len(inputs)):
        prompt = inputs.clean[index] if inputs.mask is None else inputs.clean[index][inputs.mask[index]]
        answer = [token for token in inputs.answer[index].reshape(-1).tolist() if token != IGNORED]
        tokens = prompt.tolist() + answer[:-1]
        rows.append((tokens, [IGNORED] * (len(prompt) - 1) + answer))
    lengths = tuple(len(tokens) for tokens, _ in rows)
    tokens_BP = torch.zeros(len(rows), max(lengths), dtype=torch.int64)
    labels_BP = torch.full_like(tokens_BP, IGNORED)
    for index, (tokens, labels) in enumerate(rows):
        tokens_BP[index, : len(tokens)] = torch.tensor(tokens)
        labels_BP[index, : len(labels)] = torch.tensor(labels)
    return AnswerRows(tokens_BP, labels_BP, lengths)


def require_context(inputs: EncodedPairs, positions: int | None, name: str) -> None:
    """InputError where a prompt and what is run of its answer are longer than a model reads (None: any length)."""
    answers = (inputs.answer.reshape(len(inputs), -1) != IGNORED).sum(1)
    lengths = inputs.lengths() + answers - 1
    if positions is not None and int(lengths.max()) > positions:
        raise InputError(
            f"Pair {int(lengths.argmax()) + 1} of {name} has {int(lengths.max())} tokens and the model reads at most "
            f"{positions}; shorten it or leave it out."
        )
