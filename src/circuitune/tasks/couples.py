"""Pairs that are each other's corruption.

Corrupting at random would tie all prompts of a task together and leave nothing to split. So prompts are
coupled first, and every couple gives two rows: each member clean once, with the other as its corruption.
"""

from collections.abc import Callable, Iterable
from math import isqrt
from typing import TypeVar

from circuitune.tasks.pairs import Pair
from circuitune.tasks.splits import Draw

T = TypeVar("T")


def mirrored(
    one: str,
    one_answer: str,
    other: str,
    other_answer: str,
    group: str,
    kinds: tuple[str | None, str | None] = (None, None),
) -> tuple[Pair, Pair]:
    """The two rows of a couple of prompts with their answers and kinds."""
    return (
        Pair(one, other, one_answer, other_answer, group, kind=kinds[0]),
        Pair(other, one, other_answer, one_answer, group, kind=kinds[1]),
    )


def coupled(items: Iterable[T], shape: Callable[[T], tuple[int, ...]], draw: Draw) -> list[tuple[T, T]]:
    """Random couples, of equal shape as far as possible; an odd one out is left over.

    Shapes are counts of digits: prompts of one shape are likely to have equally many tokens.
    """
    ordered = sorted(draw.shuffled(items), key=shape)
    return list(zip(ordered[::2], ordered[1::2], strict=False))


def digits(*numbers: int) -> tuple[int, ...]:
    """How many digits each number has."""
    return tuple(len(str(number)) for number in numbers)


def number_pair(place: int) -> tuple[int, int]:
    """Number pair a >= b >= 1 at a place in the order (1, 1), (2, 1), (2, 2), (3, 1), ..."""
    a = (isqrt(8 * place + 1) + 1) // 2  # the largest a with a (a - 1) / 2 <= place
    return a, place - a * (a - 1) // 2 + 1


def operands(a: int, b: int) -> str:
    """The group of two operands, whichever comes first."""
    return f"{max(a, b)} and {min(a, b)}"
