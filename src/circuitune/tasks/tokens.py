"""What this room asks of a tokenizer: ids of prompts, and of answers as they follow their prompt."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from circuitune.core.errors import InputError
from circuitune.tasks.pairs import Pair, PairSet


class Tokenizer(Protocol):
    """Any Transformers tokenizer."""

    def __call__(self, text: list[str], *, add_special_tokens: bool = True) -> Any:
        """A mapping with ``input_ids``, one list per text."""
        ...

    def decode(self, token_ids: list[int]) -> Any:
        """The text of a list of ids."""
        ...


def prompt_ids(tokenizer: Tokenizer, prompts: Sequence[str]) -> list[list[int]]:
    """Token ids of each prompt, with the special tokens that the tokenizer adds by default."""
    return tokenizer(list(prompts))["input_ids"] if prompts else []


def answer_ids(tokenizer: Tokenizer, prompts: Sequence[str], answers: Sequence[str]) -> list[list[int]]:
    """Token ids of each answer as the continuation of its prompt, without special tokens.

    Read off the joined text, because some tokenizers (SentencePiece) split a lone " 70" differently; where
    the joined text does not begin with the prompt's own tokens, the answer's tokens alone.
    """
    if not prompts:
        return []
    before = prompt_ids(tokenizer, prompts)
    joined = prompt_ids(tokenizer, [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)])
    alone: list[list[int]] = tokenizer(list(answers), add_special_tokens=False)["input_ids"]
    return [
        whole[len(head) :] if whole[: len(head)] == head and len(whole) > len(head) else answer
        for head, whole, answer in zip(before, joined, alone, strict=True)
    ]


def decoded(pairs: PairSet, tokenizer: Tokenizer) -> PairSet:
    """The same pairs with answers that a file gave as token ids turned into text; others are kept."""
    if all(pair.answer_id is None for pair in pairs):
        return pairs
    return replace(pairs, pairs=tuple(_decoded(pair, tokenizer) for pair in pairs))


def _decoded(pair: Pair, tokenizer: Tokenizer) -> Pair:
    if pair.answer_id is None:
        return pair
    answer = _continuation(pair, pair.answer_id, tokenizer)
    wrong = None if pair.wrong_id is None else _continuation(pair, pair.wrong_id, tokenizer)
    return replace(pair, answer=answer, wrong=wrong, answer_id=None, wrong_id=None)


def _continuation(pair: Pair, token: int, tokenizer: Tokenizer) -> str:
    """The text one token adds after the prompt."""
    before = prompt_ids(tokenizer, [pair.clean])[0]
    try:
        head, whole = str(tokenizer.decode(before)), str(tokenizer.decode([*before, token]))
    except (OverflowError, IndexError, TypeError) as error:
        raise InputError(
            f"Row {pair.row}: token id {token} is not in this tokenizer's vocabulary; "
            "give the answers as text (column answer) or load the model the ids were made for."
        ) from error
    if not whole.startswith(head) or len(whole) == len(head):
        raise InputError(
            f"Row {pair.row}: token id {token} adds no text in this tokenizer; "
            "give the answers as text (column answer) or load the model the ids were made for."
        )
    return whole[len(head) :]
