"""Arithmetic in one step: add_sub (paper.md 2)."""

import re
from dataclasses import asdict, dataclass
from typing import ClassVar

from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.parameters import STYLES, Style, one_of, whole_number
from circuitune.tasks.splits import Draw
from circuitune.tasks.templates import Known

INSTRUCTION = "Calculate the result of the following arithmetic expression and provide only the final answer: "

_ADD_SUB = re.compile(rf"(?:{re.escape(INSTRUCTION)})?(\d+) ([+-]) (\d+) =")


@dataclass(frozen=True)
class AddSub:
    """Addition and subtraction of two numbers; the corruption flips the operator.

    ``Calculate the result ... final answer: 24 + 46 =`` answers `` 70``; with ``style="short"`` the prompt is
    ``24 + 46 =``. Operands a >= b in 1..limit; every operand pair gives two rows, one per operator, each the
    other's corruption, so operators are balanced and a split never separates them. At most ``size`` rows; the
    default takes all 5,050 operand pairs of limit 100 and samples those of larger limits.
    """

    name: ClassVar[str] = "add_sub"

    limit: int = 100
    style: Style = "full"
    size: int = 10_100

    def __post_init__(self) -> None:
        whole_number(self.name, "limit", self.limit, 2, 100_000)
        whole_number(self.name, "size", self.size, 2, 10_000_000)
        one_of(self.name, "style", self.style, STYLES)

    def generate(self, seed: int = 0) -> PairSet:
        """The rows of one seed, in random order."""
        draw = Draw(seed, self.name)
        universe = self.limit * (self.limit + 1) // 2
        chosen = draw.some(range(universe), min(self.size // 2, universe))
        rows = [pair for place in chosen for pair in self._rows(*_operands(place))]
        settings = {"task": self.name, **asdict(self), "seed": seed, "wrong": "given"}
        return PairSet(self.name, tuple(draw.shuffled(rows)), None, settings)

    def _rows(self, a: int, b: int) -> tuple[Pair, Pair]:
        instruction = INSTRUCTION if self.style == "full" else ""
        plus, minus = f"{instruction}{a} + {b} =", f"{instruction}{a} - {b} ="
        total, rest, group = f" {a + b}", f" {a - b}", _group(a, b)
        return Pair(plus, minus, total, rest, group), Pair(minus, plus, rest, total, group)


def recognise(prompt: str) -> Known | None:
    """The bare answer and the group of a prompt in the wording of add_sub, either style; None for others."""
    match = _ADD_SUB.fullmatch(prompt)
    if match is None:
        return None
    a, b = int(match[1]), int(match[3])
    return Known("add_sub", str(a + b if match[2] == "+" else a - b), _group(a, b))


def _operands(place: int) -> tuple[int, int]:
    """Operand pair number ``place`` in the order (1, 1), (2, 1), (2, 2), (3, 1), ..."""
    a = 1
    step = 1 << place.bit_length()
    while step:  # the largest a with a (a - 1) / 2 <= place, in whole numbers
        if (a + step) * (a + step - 1) // 2 <= place:
            a += step
        step >>= 1
    return a, place - a * (a - 1) // 2 + 1


def _group(a: int, b: int) -> str:
    return f"{max(a, b)} and {min(a, b)}"
