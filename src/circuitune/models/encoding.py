"""A ``PairSet`` as token ids: what the engine, training and accuracy run on."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from circuitune.core.errors import InputError
from circuitune.core.notebook import line
from circuitune.tasks.pairs import PairSet
from circuitune.tasks.splits import connected
from circuitune.tasks.tokens import Tokenizer, answer_ids, decoded, prompt_ids, set_ids

PADDING = -100
"""Fills the places of shorter answers, as in the labels of Transformers."""


@dataclass(frozen=True, eq=False)
class EncodedPairs:
    """Prompts, corruptions and answers as token ids; can be built from tensors alone.

    ``clean`` and ``corrupted``: int64 [n, positions], of equal length row by row; ``mask``: bool
    [n, positions], True = real token, padded on one side (None: nothing is padded). ``answer``: int64 [n], or
    [n, tokens] padded with -100; ``wrong``: the same shape, or None. Where many single tokens are right,
    ``answer_set`` has them all and ``wrong_set`` the wrong ones: int64 [n, k], each with a k of its own, padded
    with -100; then ``answer`` is [n]. ``groups``: int64 [n], equal for rows that are not independent of each other
    (None: all are); no model sees it and the digest leaves it out. InputError where they do not fit.
    """

    clean: Int[Tensor, "n positions"]
    corrupted: Int[Tensor, "n positions"]
    answer: Int[Tensor, "n"] | Int[Tensor, "n tokens"]
    wrong: Int[Tensor, "n"] | Int[Tensor, "n tokens"] | None = None
    mask: Bool[Tensor, "n positions"] | None = None
    answer_set: Int[Tensor, "n k"] | None = None
    wrong_set: Int[Tensor, "n j"] | None = None
    groups: Int[Tensor, "n"] | None = None

    def __repr__(self) -> str:
        rows, positions = self.clean.shape
        return line("EncodedPairs", [f"{rows:,} pairs of at most {positions:,} tokens"])

    def __post_init__(self) -> None:
        for name in ("clean", "corrupted", "answer", "wrong", "answer_set", "wrong_set"):
            tensor: Tensor | None = getattr(self, name)
            if tensor is not None and tensor.dtype != torch.int64:
                raise InputError(f"{name} must hold int64 token ids, not {tensor.dtype}.")
        if self.clean.ndim != 2 or 0 in self.clean.shape:
            raise InputError(f"clean must be [n, positions], not {list(self.clean.shape)}.")
        if self.corrupted.shape != self.clean.shape:
            raise InputError(
                f"corrupted is {list(self.corrupted.shape)} and clean {list(self.clean.shape)}; "
                "they must have one shape (pad both alike and give a mask)."
            )
        if self.groups is not None and (self.groups.dtype != torch.int64 or self.groups.shape != (len(self),)):
            raise InputError(
                f"groups must be int64 [{len(self)}], one number per row, not {self.groups.dtype} "
                f"{list(self.groups.shape)}."
            )
        self._check_answers()
        self._check_sets()
        self._check_mask()

    def _check_answers(self) -> None:
        shape = self.answer.shape
        if self.answer.ndim not in (1, 2) or shape[0] != len(self) or 0 in shape:
            raise InputError(f"answer must be [{len(self)}] or [{len(self)}, tokens], not {list(shape)}.")
        if self.wrong is not None and self.wrong.shape != shape:
            raise InputError(
                f"wrong is {list(self.wrong.shape)} and answer {list(shape)}; "
                f"they must have one shape (pad the shorter with {PADDING})."
            )
        for name, ids in (("answer", self.answer), ("wrong", self.wrong)):
            if ids is not None and bool((ids.reshape(len(self), -1)[:, 0] < 0).any()):
                raise InputError(f"{name} has a row without a token; padding ({PADDING}) belongs at the end.")

    def _check_sets(self) -> None:
        if (self.answer_set is None) != (self.wrong_set is None):
            raise InputError("answer_set and wrong_set belong together; give both or none.")
        for name, ids in (("answer_set", self.answer_set), ("wrong_set", self.wrong_set)):
            if ids is None:
                continue
            if ids.ndim != 2 or ids.shape[0] != len(self) or 0 in ids.shape:
                raise InputError(f"{name} must be [{len(self)}, ids], not {list(ids.shape)}.")
            if bool((ids[:, 0] < 0).any()):
                raise InputError(f"{name} has a row without a token; padding ({PADDING}) belongs at the end.")
            if self.answer.ndim != 1:
                raise InputError(f"{name} holds single tokens, and these answers have several; leave it out.")

    def _check_mask(self) -> None:
        if self.mask is None:
            return
        if self.mask.dtype != torch.bool or self.mask.shape != self.clean.shape:
            raise InputError(
                f"mask must be bool {list(self.clean.shape)}, not {self.mask.dtype} {list(self.mask.shape)}."
            )
        changes = (self.mask[:, 1:] != self.mask[:, :-1]).sum(1)
        if bool((changes > 1).any()) or not bool(self.mask.any(1).all()):
            raise InputError("mask must mark at least one token in every row and pad rows on one side only.")

    def __len__(self) -> int:
        return self.clean.shape[0]

    def cpu(self) -> "EncodedPairs":
        """The same pairs in main memory."""
        return self._each(lambda tensor: tensor.cpu())

    def _each(self, change: Callable[[Tensor], Tensor]) -> "EncodedPairs":
        """The same change made to every tensor there is."""
        tensors = (getattr(self, field.name) for field in fields(self))
        return EncodedPairs(*(None if tensor is None else change(tensor) for tensor in tensors))  # type: ignore[arg-type]

    def require_context(self, positions: int | None) -> None:
        """InputError where a prompt has more tokens than a model reads (`positions`; None: any number)."""
        lengths = self.lengths()
        if positions is not None and int(lengths.max()) > positions:
            raise InputError(
                f"Prompt {int(lengths.argmax()) + 1} has {int(lengths.max())} tokens and the model reads at most "
                f"{positions}; shorten it or leave it out."
            )

    def rows(self, indices: slice | Sequence[int] | Tensor) -> "EncodedPairs":
        """The chosen rows, as wide as before."""
        places = torch.arange(len(self))[indices if isinstance(indices, slice) else torch.as_tensor(indices)]

        return self._each(lambda tensor: tensor[places.to(tensor.device)])

    def lengths(self) -> Int[Tensor, "n"]:
        """Number of real tokens of each prompt."""
        if self.mask is None:
            return torch.full((len(self),), self.clean.shape[1], device=self.clean.device)
        return self.mask.sum(1)

    def first_difference(self) -> Int[Tensor, "n"]:
        """Position, counted without padding, of the first token in which clean and corrupted differ.

        The row's length where they do not differ.
        """
        different = self.clean != self.corrupted
        if self.mask is None:
            return torch.where(different.any(1), different.int().argmax(1), different.shape[1])
        padding_before = self.mask.int().argmax(1)
        different = different & self.mask
        return torch.where(different.any(1), different.int().argmax(1) - padding_before, self.lengths())

    @property
    def digest(self) -> str:
        """SHA-256 of all ids and the mask: equal inputs, equal digest (sets count only where there are any).

        Groups do not count: they say how rows depend on each other, not what a model reads.
        """
        content = hashlib.sha256()
        sets = () if self.answer_set is None else (self.answer_set, self.wrong_set)
        for tensor in (self.clean, self.corrupted, self.answer, self.wrong, self.mask, *sets):
            if tensor is None:
                content.update(b"none;")
                continue
            numbers = tensor.detach().to("cpu", torch.int64).numpy()
            content.update(f"{list(numbers.shape)};".encode())
            content.update(numbers.astype("<i8").tobytes())
        return content.hexdigest()


def encode(pairs: PairSet, tokenizer: Tokenizer) -> EncodedPairs:
    """Token ids of a pair set.

    Prompts carry the special tokens that the tokenizer adds by default and are padded on the right (no mask
    where nothing is); answers carry none. ``answer`` and ``wrong`` are [n] where every one is a single token;
    ``wrong`` is None unless every pair has one, and so are the sets of answers, from which members that this
    tokenizer splits are left out. Rows that share a group or a prompt (`PairSet.ties`) get one number in ``groups``:
    where each is the other's corruption, they say the same twice. InputError where a pair's prompts differ in token
    length, a set has no member of one token, or there is no pair.
    """
    if not len(pairs):
        raise InputError(f"{pairs.name} has no pairs to encode; choose another part or more rows.")
    pairs = decoded(pairs, tokenizer)
    prompts = [pair.clean for pair in pairs]
    clean = prompt_ids(tokenizer, prompts)
    corrupted = prompt_ids(tokenizer, [pair.corrupted for pair in pairs])
    for pair, one, other in zip(pairs, clean, corrupted, strict=True):
        if len(one) != len(other):
            raise InputError(
                f"{pairs.name}: the prompt {pair.clean!r} has {len(one)} tokens and its corruption {len(other)}; "
                "leave such rows out with circuitune.tasks.checks.check."
            )
    answers = answer_ids(tokenizer, prompts, [pair.answer for pair in pairs])
    wrong_texts = [pair.wrong for pair in pairs if pair.wrong is not None]
    wrongs = answer_ids(tokenizer, prompts, wrong_texts) if len(wrong_texts) == len(pairs) else None
    tokens = max(len(ids) for ids in answers + (wrongs or []))
    lengths = torch.tensor([len(ids) for ids in clean])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    return EncodedPairs(
        _padded(clean, mask.shape[1], _filler(tokenizer)),
        _padded(corrupted, mask.shape[1], _filler(tokenizer)),
        _answers(answers, tokens),
        None if wrongs is None else _answers(wrongs, tokens),
        None if bool(mask.all()) else mask,
        *_sets(pairs, prompts, tokenizer),
        groups=_groups(pairs),
    )


def _groups(pairs: PairSet) -> Int[Tensor, "n"]:
    groups = torch.zeros(len(pairs), dtype=torch.int64)
    for number, rows in enumerate(connected(pairs.ties)):
        groups[rows] = number
    return groups


def _sets(pairs: PairSet, prompts: list[str], tokenizer: Tokenizer) -> tuple[Tensor | None, Tensor | None]:
    """Ids of the right and of the wrong answers, each padded; None unless every pair has both sets."""
    right = [pair.answer_set for pair in pairs if pair.answer_set is not None]
    wrong = [pair.wrong_set for pair in pairs if pair.wrong_set is not None]
    if len(right) < len(pairs) or len(wrong) < len(pairs):
        return None, None
    ids = [set_ids(tokenizer, prompts, members) for members in (right, wrong)]
    for place, pair in enumerate(pairs):
        if not all(rows[place] for rows in ids):
            raise InputError(
                f"{pairs.name}: {pair.clean!r} has no right or no wrong answer of one token; "
                "leave such rows out with circuitune.tasks.checks.check."
            )
    one, other = (_padded(rows, max(map(len, rows)), PADDING) for rows in ids)
    return one, other


def _filler(tokenizer: Tokenizer) -> int:
    """An id for masked places; which one cannot matter."""
    return getattr(tokenizer, "pad_token_id", None) or 0


def _padded(rows: list[list[int]], width: int, filler: int) -> Int[Tensor, "n width"]:
    return torch.tensor([row + [filler] * (width - len(row)) for row in rows])


def _answers(rows: list[list[int]], tokens: int) -> Tensor:
    padded = _padded(rows, tokens, PADDING)
    return padded[:, 0] if tokens == 1 else padded
