"""Arithmetic in one step: add_sub (paper.md 2)."""

import re
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

from circuitune.tasks.couples import mirrored, number_pair, operands
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.parameters import STYLES, Style, one_of, whole_number
from circuitune.tasks.splits import Draw
from circuitune.tasks.templates import Known

INSTRUCTION = "Calculate the result of the following arithmetic expression and provide only the final answer: "

_WORDING = re.compile(rf"(?:{re.escape(INSTRUCTION)})?(\d+) ([+-]) (\d+) =")


@dataclass(frozen=True)
class AddSub:
    """Addition and subtraction; the corruption flips the operator.

    ``Calculate the result of the following arithmetic expression and provide only the final answer: 46 + 24 =``
    answers `` 70``, corrupted ``... 46 - 24 =``; with ``style="short"`` the prompt is ``46 + 24 =``. Operands
    a >= b in 1..limit; an operand pair gives one row per operator, and both stay in one part of a split. At
    most ``size`` rows: the default takes all 5,050 operand pairs of limit 100 and samples those of larger limits.
    """

    name: ClassVar[str] = "add_sub"

    limit: int = 100
    style: Style = "full"
    size: int = 10_100

    def __post_init__(self) -> None:
        whole_number(self.name, "limit", self.limit, 2, 100_000)
        whole_number(self.name, "size", self.size, 2, 1_000_000)
        one_of(self.name, "style", self.style, STYLES)

    def generate(self, seed: int = 0) -> PairSet:
        """The rows of one seed, in random order."""
        draw = Draw(seed, self.name)
        places = draw.some(range(self._universe), min(self.size // 2, self._universe))
        rows = [pair for place in places for pair in self._rows(*number_pair(place))]
        settings = {"task": self.name, **asdict(self), "seed": seed, "wrong": "given"}
        return PairSet(self.name, tuple(draw.shuffled(rows)), None, settings)

    def fresh(self, pair: Pair, draw: Draw) -> Pair:
        """Other operands, the same operator."""
        rows = self._rows(*number_pair(draw.below(self._universe)))
        return rows[pair.kind == "-"]

    def narrowed(self, largest: int) -> "AddSub | None":
        """The same task without an answer above `largest`; None where there is none."""
        return replace(self, limit=largest // 2) if 4 <= largest < 2 * self.limit else None

    @property
    def _universe(self) -> int:
        """How many operand pairs there are."""
        return self.limit * (self.limit + 1) // 2

    def _rows(self, a: int, b: int) -> tuple[Pair, Pair]:
        return sum_and_difference(INSTRUCTION if self.style == "full" else "", a, b)


def sum_and_difference(head: str, a: int, b: int) -> tuple[Pair, Pair]:
    """The two rows of two operands, the sum first."""
    plus, minus = f"{head}{a} + {b} =", f"{head}{a} - {b} ="
    return mirrored(plus, f" {a + b}", minus, f" {a - b}", operands(a, b), ("+", "-"))


def recognise(prompt: str) -> Known | None:
    """Answer and group of a prompt in the wording of add_sub, either style; None for others."""
    match = _WORDING.fullmatch(prompt)
    if match is None:
        return None
    a, b = int(match[1]), int(match[3])
    return Known("add_sub", str(a + b if match[2] == "+" else a - b), operands(a, b), match[2])
