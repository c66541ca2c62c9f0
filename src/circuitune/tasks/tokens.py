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
    ids = _ids(tokenizer, set(prompts), special=True)
    return [ids[prompt] for prompt in prompts]


def answer_ids(tokenizer: Tokenizer, prompts: Sequence[str], answers: Sequence[str]) -> list[list[int]]:
    """Token ids of each answer as the continuation of its prompt, without special tokens.

    Some tokenizers (SentencePiece) split a lone " 70" differently than after a prompt, so the ids are read
    off the answer joined to the prompt's last word; where the two merge, they are the answer's alone.
    """
    ends = (_last_word(prompt) for prompt in prompts)
    places = list(zip(ends, answers, strict=True))
    texts = {text for end, answer in places for text in (end, end + answer, answer)}
    ids = _ids(tokenizer, texts, special=False)

    def continuation(end: str, answer: str) -> list[int]:
        head, whole = ids[end], ids[end + answer]
        merged = whole[: len(head)] != head or len(whole) == len(head)
        return ids[answer] if merged else whole[len(head) :]

    return [continuation(*place) for place in places]


def set_ids(tokenizer: Tokenizer, prompts: Sequence[str], members: Sequence[tuple[str, ...]]) -> list[list[int]]:
    """For each prompt the ids of those members of its answer set that are one token there, each id once."""
    keys = [(_last_word(prompt), texts) for prompt, texts in zip(prompts, members, strict=True)]
    places = list(dict.fromkeys((end, text) for end, texts in set(keys) for text in texts))
    rows = answer_ids(tokenizer, [end for end, _ in places], [text for _, text in places])
    unknown: int | None = getattr(tokenizer, "unk_token_id", None)
    single = {place: row[0] for place, row in zip(places, rows, strict=True) if len(row) == 1 and row[0] != unknown}
    found = {
        (end, texts): list(dict.fromkeys(single[end, text] for text in texts if (end, text) in single))
        for end, texts in set(keys)
    }
    return [found[key] for key in keys]


def _last_word(prompt: str) -> str:
    """The last word with the white space on both its sides."""
    words = prompt.rsplit(maxsplit=1)
    return prompt[max(prompt.rindex(words[-1]) - 1, 0) :] if words else prompt


def _ids(tokenizer: Tokenizer, texts: set[str], special: bool) -> dict[str, list[int]]:
    """Ids of texts, each tokenised once: prompts recur as corruptions, answers recur everywhere."""
    if not texts:
        return {}
    ordered = sorted(texts)
    try:
        rows: list[list[int]] = tokenizer(ordered, add_special_tokens=special)["input_ids"]
    except Exception as error:  # what the tokenizers library raises for text it has no token for
        raise InputError(
            f"The tokenizer cannot split these pairs ({error}); use pairs made of its vocabulary."
        ) from error
    return dict(zip(ordered, rows, strict=True))


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
