"""Least common multiples after one example (paper.md 2)."""

import re
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from math import gcd, lcm
from typing import ClassVar

from circuitune.tasks.couples import coupled, digits, mirrored, operands
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.parameters import STYLES, Style, one_of, whole_number
from circuitune.tasks.splits import Draw
from circuitune.tasks.templates import Known

INSTRUCTION = "Calculate the least common multiple (LCM) of two numbers. "
KINDS = "multiple", "coprime", "common factor"

_WORDING = re.compile(
    rf"(?:{re.escape(INSTRUCTION)})?(LCM\((\d+), (\d+)\) = (\d+)), LCM\((\d+), (\d+)\) =",
)

Numbers = tuple[int, int]


@dataclass(frozen=True)
class Lcm:
    """The least common multiple of two numbers, after the example of another two of the same kind.

    ``Calculate the least common multiple (LCM) of two numbers. LCM(20, 15) = 60, LCM(25, 30) =`` answers `` 150``,
    corrupted ``... LCM(20, 15) = 60, LCM(48, 72) =``; ``style="short"`` begins at the first ``LCM(``. Three kinds,
    equally often: one number is a multiple of the other, they are coprime, or they share a factor without either
    dividing the other. Numbers 2..largest_operand, no LCM above ``largest``. Two numbers are asked once, in one
    order; those that serve as examples, a tenth of each kind, are never asked. At most ``size`` rows.
    """

    name: ClassVar[str] = "lcm"

    largest_operand: int = 500
    largest: int = 999
    style: Style = "full"
    size: int = 5_000

    def __post_init__(self) -> None:
        whole_number(self.name, "largest_operand", self.largest_operand, 10, 1_000)
        whole_number(self.name, "largest", self.largest, 30, 1_000_000)
        one_of(self.name, "style", self.style, STYLES)
        whole_number(self.name, "size", self.size, 6, 1_000_000)

    def generate(self, seed: int = 0) -> PairSet:
        """The rows of one seed, in random order."""
        draw = Draw(seed, self.name)
        couples = {kind: draw.shuffled(self._couples(kind, draw)) for kind in KINDS}
        count = min(self.size // 6, *map(len, couples.values()))
        rows = [row for kind in KINDS for couple in couples[kind][:count] for row in self._rows(*couple)]
        settings = {"task": self.name, **asdict(self), "seed": seed, "wrong": "given", "balanced": True}
        return PairSet(self.name, tuple(draw.shuffled(rows)), None, settings)

    def fresh(self, pair: Pair, draw: Draw) -> Pair | None:
        """Other questions of the same kind after the same example; None where chance finds no couple as long."""
        match = _WORDING.fullmatch(pair.clean)
        if match is None:
            return None
        numbers = _numbers(self.largest_operand, self.largest)[_kind(int(match[5]), int(match[6]))]
        one, other = (numbers[place] for place in draw.some(range(len(numbers)), 2))
        if digits(*one) != digits(*other) or lcm(*one) == lcm(*other):
            return None
        return self._rows((int(match[2]), int(match[3])), one, other)[0]

    def narrowed(self, largest: int) -> "Lcm | None":
        """The same task without an LCM above `largest`; None where there is none."""
        return replace(self, largest=largest) if 30 <= largest < self.largest else None

    def _couples(self, kind: str, draw: Draw) -> list[tuple[Numbers, Numbers, Numbers]]:
        """An example and two questions, all of one kind."""
        ordered = draw.shuffled(_numbers(self.largest_operand, self.largest)[kind])
        turned = [(b, a) if draw.below(2) else (a, b) for a, b in ordered]
        cut = len(turned) // 10 + 1
        examples, asked = turned[:cut], turned[cut:]
        couples = coupled(asked, lambda numbers: digits(*numbers), draw)
        return [
            (examples[draw.below(cut)], one, other) for one, other in couples if lcm(*one) != lcm(*other)
        ]  # fmt: skip

    def _rows(self, example: Numbers, one: Numbers, other: Numbers) -> tuple[Pair, Pair]:
        head = INSTRUCTION if self.style == "full" else ""
        shown = f"{head}LCM({example[0]}, {example[1]}) = {lcm(*example)}"
        prompts = [f"{shown}, LCM({a}, {b}) =" for a, b in (one, other)]
        group = " | ".join(sorted((operands(*one), operands(*other))))
        kinds = _kind(*one), _kind(*other)
        return mirrored(prompts[0], f" {lcm(*one)}", prompts[1], f" {lcm(*other)}", group, kinds)


def recognise(prompt: str) -> Known | None:
    """Answer and group of a prompt in the wording of lcm, either style; None for others and after a wrong example."""
    match = _WORDING.fullmatch(prompt)
    if match is None:
        return None
    first, second, said, a, b = (int(number) for number in match.groups()[1:])
    if not min(a, b) or lcm(first, second) != said:
        return None
    return Known("lcm", str(lcm(a, b)), operands(a, b), _kind(a, b))


def _kind(a: int, b: int) -> str:
    common = gcd(a, b)
    return "multiple" if common == min(a, b) else "coprime" if common == 1 else "common factor"


@lru_cache(maxsize=8)
def _numbers(largest_operand: int, largest: int) -> dict[str, list[Numbers]]:
    """All two different numbers of each kind, the smaller first."""
    found: dict[str, list[Numbers]] = {kind: [] for kind in KINDS}
    for b in range(3, largest_operand + 1):
        for a in range(2, b):
            if lcm(a, b) <= largest:
                found[_kind(a, b)].append((a, b))
    return found
