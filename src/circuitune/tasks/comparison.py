"""Which of two numbers is larger (paper.md 2)."""

import re
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from typing import ClassVar

from circuitune.tasks.couples import mirrored, number_pair, operands
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.parameters import whole_number
from circuitune.tasks.splits import Draw
from circuitune.tasks.templates import Known

_WORDING = re.compile(r"Is (\d+) ([<>=]) (\d+)\? Answer:")

_ORDER = ("L > S", "S > L"), ("S < L", "L < S"), ("L > S", "L < S"), ("S < L", "S > L")
"""Couples (yes, no) of a larger and a smaller number: operands swapped twice, operator changed twice."""

_AGAINST_EQUAL = ("L > S", "L = S"), ("S < L", "S = L")
_EQUAL = ("L = S", "L > S"), ("L = S", "L < S")
"""For L = S: the only questions whose true answer to ``=`` is yes."""


@dataclass(frozen=True)
class Comparison:
    """Whether a comparison of two numbers holds.

    ``Is 121 > 112? Answer:`` answers `` yes``, the other answer is `` no``; operators ``>``, ``<`` and ``=``,
    operands 1..largest. The corruption swaps the operands or changes the operator, always so that the answer
    differs; the two are each other's corruption, so answers are balanced, within each operator too. One row in
    six asks ``=`` (fewer where all equal operands are used up), the others ``>`` or ``<`` equally often. At most
    ``size`` rows; one operand pair gives two, which stay in one part of a split.
    """

    name: ClassVar[str] = "comparison"

    largest: int = 999
    size: int = 10_000

    def __post_init__(self) -> None:
        whole_number(self.name, "largest", self.largest, 2, 100_000)
        whole_number(self.name, "size", self.size, 2, 1_000_000)

    def generate(self, seed: int = 0) -> PairSet:
        """The rows of one seed, in random order."""
        draw = Draw(seed, self.name)
        universe = self.largest * (self.largest - 1) // 2
        equal_count = min(self.size // 12, self.largest, universe)
        equal = [(number, number) for number in draw.some(range(1, self.largest + 1), equal_count)]
        places = draw.some(range(universe), min(self.size // 2 - equal_count, universe))
        unequal = [(a + 1, b) for a, b in map(number_pair, places)]
        rows = [
            *_rows(equal, _EQUAL),
            *_rows(unequal[:equal_count], _AGAINST_EQUAL),
            *_rows(unequal[equal_count:], _ORDER),
        ]
        settings = {"task": self.name, **asdict(self), "seed": seed, "wrong": "given"}
        return PairSet(self.name, tuple(draw.shuffled(rows)), None, settings)

    def fresh(self, pair: Pair, draw: Draw) -> Pair | None:
        """Other operands in the places of these, operator and corruption kept; None for a pair in other words."""
        clean, corrupted = _WORDING.fullmatch(pair.clean), _WORDING.fullmatch(pair.corrupted)
        if clean is None or corrupted is None:
            return None
        larger, smaller = draw.some(range(1, self.largest + 1), 2)
        larger, smaller = max(larger, smaller), min(larger, smaller)
        if clean[1] == clean[3]:
            smaller = larger
        new = {max(clean[1], clean[3], key=int): larger, min(clean[1], clean[3], key=int): smaller}
        prompts = [f"Is {new[m[1]]} {m[2]} {new[m[3]]}? Answer:" for m in (clean, corrupted)]
        return replace(pair, clean=prompts[0], corrupted=prompts[1], group=operands(larger, smaller), row=None)


def recognise(prompt: str) -> Known | None:
    """Answer and group of a prompt in the wording of comparison; None for others."""
    match = _WORDING.fullmatch(prompt)
    if match is None:
        return None
    a, b = int(match[1]), int(match[3])
    holds = {">": a > b, "<": a < b, "=": a == b}[match[2]]
    return Known("comparison", "yes" if holds else "no", operands(a, b), match[2])


def _rows(numbers: list[tuple[int, int]], couples: tuple[tuple[str, str], ...]) -> list[Pair]:
    """Two rows per operand pair, the kinds of couples in turn."""
    rows: list[Pair] = []
    for (larger, smaller), (yes, no) in zip(numbers, cycle(couples), strict=False):
        right, false = _prompt(yes, larger, smaller), _prompt(no, larger, smaller)
        rows += mirrored(right, " yes", false, " no", operands(larger, smaller), (yes[2], no[2]))
    return rows


def _prompt(comparison: str, larger: int, smaller: int) -> str:
    return f"Is {comparison.replace('L', str(larger)).replace('S', str(smaller))}? Answer:"
