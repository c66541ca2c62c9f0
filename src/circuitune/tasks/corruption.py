"""Corruptions for prompts that have none, by named strategies.

``another-row``: another prompt of the set with as many tokens and another answer, which is then the wrong one. Rows
are coupled, so that a set can still be split; a row left over borrows the prompt of a couple.

``token``: one token, replaced by another of the same type (a number of as many digits, a capitalised word, a word)
from the set's own prompts: symmetric token replacement (Zhang and Nanda 2024). Only words that differ between prompts
are replaced, never those of the template. The wrong answer is known where the result is another row's prompt.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Literal

from circuitune.core.errors import InputError
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.splits import Draw
from circuitune.tasks.tokens import Tokenizer, prompt_ids

Strategy = Literal["another-row", "token"]
STRATEGIES: tuple[Strategy, ...] = ("another-row", "token")

TRIES = 50
"""How many replacements of a token are tried before a prompt is given up."""

_Answer = tuple[str, int | None]

_WORD = re.compile(r"\d+|[^\W\d_]+")


def corrupted(pairs: PairSet, strategy: Strategy, tokenizer: Tokenizer, seed: int = 0) -> PairSet:
    """The pairs, those without a corruption given one; where none is found, ``corrupted`` stays empty.

    Same arguments, same corruptions. InputError for an unknown strategy.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"There is no corruption {strategy!r}; choose one of {', '.join(STRATEGIES)}.")
    draw = Draw(seed, "corruption", strategy)
    make = another_row if strategy == "another-row" else another_token
    rows = make(pairs.pairs, tokenizer, draw)
    settings = {**pairs.settings, "corruption": strategy, "corruption_seed": seed}
    if any(row.wrong is not None and pair.wrong is None for row, pair in zip(rows, pairs, strict=True)):
        settings["wrong"] = "computed"
    return replace(pairs, pairs=tuple(rows), settings=settings)


def another_row(pairs: Sequence[Pair], tokenizer: Tokenizer, draw: Draw) -> list[Pair]:
    """See the module: couples of rows with equal token length and different answers."""
    rows = list(pairs)
    ids = prompt_ids(tokenizer, [pair.clean for pair in rows])
    lengths: defaultdict[int, list[int]] = defaultdict(list)
    for place in draw.shuffled(place for place, pair in enumerate(rows) if not pair.corrupted):
        lengths[len(ids[place])].append(place)
    for places in lengths.values():
        for one, other in _coupled(places, pairs):
            rows[one] = _with_corruption(pairs[one], pairs[other])
    return rows


def _coupled(places: list[int], pairs: Sequence[Pair]) -> list[tuple[int, int]]:
    """(row, the row that corrupts it): in couples, then leftovers with the rows of other answers in turn.

    In turn, because rows that share a prompt must share a split: one lender for all would bind all of them together.
    """
    waiting: defaultdict[_Answer, list[int]] = defaultdict(list)
    found: list[tuple[int, int]] = []
    for place in places:
        partner = _partner(place, waiting, pairs)
        if partner is None:
            waiting[_answer(pairs[place])].append(place)
        else:
            found += [(place, partner), (partner, place)]
    for answer, left in waiting.items():
        others = [place for place in places if _answer(pairs[place]) != answer]
        lenders = cycle(others)
        for place in left:
            fits = (other for other in islice(lenders, len(others)) if _differ(pairs[place], pairs[other]))
            found += [(place, lender) for lender in islice(fits, 1)]
    return found


def _partner(place: int, waiting: dict[_Answer, list[int]], pairs: Sequence[Pair]) -> int | None:
    """The longest waiting row that fits, taken from the list."""
    for answer, others in waiting.items():
        if answer == _answer(pairs[place]):
            continue
        for position, other in enumerate(others):
            if _differ(pairs[place], pairs[other]):
                return others.pop(position)
    return None


def _differ(one: Pair, other: Pair) -> bool:
    return one.clean != other.clean


def _answer(pair: Pair) -> _Answer:
    return pair.answer, pair.answer_id


def _with_corruption(pair: Pair, other: Pair) -> Pair:
    """The pair with another row as its corruption, a wrong answer of its own kept."""
    if pair.wrong is not None or pair.wrong_id is not None:
        return replace(pair, corrupted=other.clean)
    wrong = other.answer if other.answer_id is None else None
    return replace(pair, corrupted=other.clean, wrong=wrong, wrong_id=other.answer_id)


def another_token(pairs: Sequence[Pair], tokenizer: Tokenizer, draw: Draw) -> list[Pair]:
    """See the module: one token replaced by another of its type."""
    frequency = Counter(word for pair in pairs for word in set(_WORD.findall(pair.clean)))
    pool: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for word in sorted(word for word, count in frequency.items() if count < len(pairs)):
        pool[_type(word)].append(word)
    rows = {pair.clean: pair for pair in pairs}
    return [pair if pair.corrupted else _replaced(pair, pool, rows, tokenizer, draw) for pair in pairs]


def _replaced(
    pair: Pair, pool: dict[tuple[str, int], list[str]], rows: dict[str, Pair], tokenizer: Tokenizer, draw: Draw
) -> Pair:
    places = [match for match in _WORD.finditer(pair.clean) if match[0] in pool.get(_type(match[0]), ())]
    clean = prompt_ids(tokenizer, [pair.clean])[0]
    for _ in range(TRIES if places else 0):
        place = places[draw.below(len(places))]
        choices = pool[_type(place[0])]
        text = pair.clean[: place.start()] + choices[draw.below(len(choices))] + pair.clean[place.end() :]
        other = rows.get(text)
        if other is not None and _answer(other) == _answer(pair):
            continue
        ids = prompt_ids(tokenizer, [text])[0]
        if len(ids) == len(clean) and sum(one != two for one, two in zip(ids, clean, strict=True)) == 1:
            return replace(pair, corrupted=text) if other is None else _with_corruption(pair, other)
    return pair


def _type(word: str) -> tuple[str, int]:
    """Words of one type can stand in for each other."""
    if word.isdigit():
        return "number", len(word)
    return ("name" if word[0].isupper() else "word"), 0
