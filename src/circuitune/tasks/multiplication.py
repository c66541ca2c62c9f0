"""Multiplication and division: mul_div (paper.md 2)."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

from circuitune.tasks.arithmetic import INSTRUCTION
from circuitune.tasks.couples import coupled, digits, mirrored, operands
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.parameters import STYLES, Style, one_of, whole_number
from circuitune.tasks.splits import Draw
from circuitune.tasks.templates import Known

_WORDING = re.compile(rf"(?:{re.escape(INSTRUCTION)})?(\d+) ([*/]) (\d+) =")

Couple = tuple[int, int, int]
"""The operand that is kept and two others; in divisions these are the quotients."""


@dataclass(frozen=True)
class MulDiv:
    """Multiplication and division without remainder; the corruption replaces the first operand.

    ``Calculate the result of the following arithmetic expression and provide only the final answer: 36 * 9 =``
    answers `` 324``, corrupted ``... 53 * 9 =``; ``... 324 / 36 =`` answers `` 9``, corrupted ``... 72 / 36 =``,
    another multiple of 36. First factor 2..largest_first, second 2..largest_second; divisor 2..largest_divisor,
    quotient 2..largest_quotient; no answer above ``largest``. As many products as quotients; of ``9 * 36`` and
    ``36 * 9`` one is asked. At most ``size`` rows; the default ranges have about 4,000.
    """

    name: ClassVar[str] = "mul_div"

    largest_first: int = 200
    largest_second: int = 180
    largest_divisor: int = 200
    largest_quotient: int = 200
    largest: int = 999
    style: Style = "full"
    size: int = 5_000

    def __post_init__(self) -> None:
        for name in ("largest_first", "largest_second", "largest_divisor", "largest_quotient"):
            whole_number(self.name, name, getattr(self, name), 3, 1_000)
        whole_number(self.name, "largest", self.largest, 6, 1_000_000)
        one_of(self.name, "style", self.style, STYLES)
        whole_number(self.name, "size", self.size, 4, 1_000_000)

    def generate(self, seed: int = 0) -> PairSet:
        """The rows of one seed, in random order."""
        draw = Draw(seed, self.name)
        products, quotients = draw.shuffled(self._products(draw)), draw.shuffled(self._quotients(draw))
        count = min(self.size // 4, len(products), len(quotients))
        rows = [row for couple in products[:count] for row in self._rows("*", *couple)]
        rows += [row for couple in quotients[:count] for row in self._rows("/", *couple)]
        settings = {"task": self.name, **asdict(self), "seed": seed, "wrong": "given", "balanced": True}
        return PairSet(self.name, tuple(draw.shuffled(rows)), None, settings)

    def fresh(self, pair: Pair, draw: Draw) -> Pair | None:
        """Other operands, the same operator; None where chance finds no corruption as long."""
        sign = pair.kind or "*"
        kept = draw.between(2, self.largest_second if sign == "*" else self.largest_divisor)
        last = min(self.largest_first, self.largest // kept) if sign == "*" else self._last_quotient
        if last < 2:
            return None
        one, times = draw.between(2, last), 1 if sign == "*" else kept
        others = [n for n in range(2, last + 1) if n != one and digits(n * times) == digits(one * times)]
        return self._rows(sign, kept, one, others[draw.below(len(others))])[0] if others else None

    def narrowed(self, largest: int) -> "MulDiv | None":
        """The same task without an answer above `largest`; None where there is none."""
        return replace(self, largest=largest) if 6 <= largest < self.largest else None

    @property
    def _last_quotient(self) -> int:
        return min(self.largest_quotient, self.largest)

    def _products(self, draw: Draw) -> Iterator[Couple]:
        """Couples of products with the same second factor."""
        firsts: defaultdict[int, list[int]] = defaultdict(list)
        for larger in range(2, max(self.largest_first, self.largest_second) + 1):
            for smaller in range(2, min(larger, self.largest // larger) + 1):
                ways = [
                    (a, b)
                    for a, b in ((larger, smaller), (smaller, larger))
                    if a <= self.largest_first and b <= self.largest_second
                ]
                if ways:
                    a, b = ways[draw.below(len(ways))]
                    firsts[b].append(a)
        for second in sorted(firsts):
            for one, other in coupled(firsts[second], digits, draw):
                yield second, one, other

    def _quotients(self, draw: Draw) -> Iterator[Couple]:
        """Couples of quotients with the same divisor."""
        for divisor in range(2, self.largest_divisor + 1):
            shapes = {quotient: digits(divisor * quotient) for quotient in range(2, self._last_quotient + 1)}
            for one, other in coupled(shapes, shapes.__getitem__, draw):
                yield divisor, one, other

    def _rows(self, sign: str, kept: int, one: int, other: int) -> tuple[Pair, Pair]:
        head = INSTRUCTION if self.style == "full" else ""
        times = 1 if sign == "*" else kept
        prompts = [f"{head}{n * times} {sign} {kept} =" for n in (one, other)]
        answers = [f" {n * kept if sign == '*' else n}" for n in (one, other)]
        group = " | ".join(sorted(_group(n * times, sign, kept) for n in (one, other)))
        return mirrored(prompts[0], answers[0], prompts[1], answers[1], group, (sign, sign))


def recognise(prompt: str) -> Known | None:
    """Answer and group of a prompt in the wording of mul_div, either style; None for others and for remainders."""
    match = _WORDING.fullmatch(prompt)
    if match is None:
        return None
    a, b = int(match[1]), int(match[3])
    if match[2] == "/" and (b == 0 or a % b):
        return None
    return Known("mul_div", str(a * b if match[2] == "*" else a // b), _group(a, match[2], b), match[2])


def _group(a: int, sign: str, b: int) -> str:
    """The same for 9 * 36 and 36 * 9."""
    return operands(a, b) if sign == "*" else f"{a} / {b}"
