"""Linear functions continued from three values (paper.md 2)."""

import re
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

from circuitune.tasks.couples import coupled, digits, mirrored
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.parameters import whole_number
from circuitune.tasks.splits import Draw
from circuitune.tasks.templates import Known

_WORDING = re.compile(
    r"There is a function y=(\d+)x\+(\d+)\. Given x=1,2,3,4, y=(\d+),(\d+),(\d+),",
)


@dataclass(frozen=True)
class Function:
    """The fourth value of y = a x + b, whose formula and first three values are given.

    ``There is a function y=5x+75. Given x=1,2,3,4, y=80,85,90,`` answers ``95``, without a space. a in
    1..largest_slope, b in 1..largest_intercept, all equally likely. The corruption keeps a and replaces b,
    and with it every y; the two are each other's corruption. At most ``size`` rows (the default ranges give
    10,000). The study's wording has no instruction to leave out, so there is no short style.
    """

    name: ClassVar[str] = "function"

    largest_slope: int = 20
    largest_intercept: int = 500
    size: int = 10_000

    def __post_init__(self) -> None:
        whole_number(self.name, "largest_slope", self.largest_slope, 1, 1_000)
        whole_number(self.name, "largest_intercept", self.largest_intercept, 2, 10_000)
        whole_number(self.name, "size", self.size, 2, 1_000_000)

    def generate(self, seed: int = 0) -> PairSet:
        """The rows of one seed, in random order."""
        draw = Draw(seed, self.name)
        couples: list[tuple[int, int, int]] = []
        for slope in range(1, self.largest_slope + 1):
            shapes = {b: digits(b, *_values(slope, b)) for b in range(1, self.largest_intercept + 1)}
            couples += [(slope, b, other) for b, other in coupled(shapes, shapes.__getitem__, draw)]
        rows = [pair for couple in draw.shuffled(couples)[: self.size // 2] for pair in _rows(*couple)]
        settings = {"task": self.name, **asdict(self), "seed": seed, "wrong": "given"}
        return PairSet(self.name, tuple(draw.shuffled(rows)), None, settings)

    def fresh(self, pair: Pair, draw: Draw) -> Pair | None:
        """Another function and another corruption of it; None where chance finds no corruption as long."""
        slope = draw.between(1, self.largest_slope)
        b = draw.between(1, self.largest_intercept)
        shape = digits(b, *_values(slope, b))
        others = [
            n for n in range(1, self.largest_intercept + 1) if n != b and digits(n, *_values(slope, n)) == shape
        ]
        return _rows(slope, b, others[draw.below(len(others))])[0] if others else None

    def narrowed(self, largest: int) -> "Function | None":
        """The same task without an answer above `largest`; None where there is none."""
        slope = max(1, min(self.largest_slope, largest // 8))
        intercept = min(self.largest_intercept, largest - 4 * slope)
        if intercept < 2 or (slope, intercept) == (self.largest_slope, self.largest_intercept):
            return None
        return replace(self, largest_slope=slope, largest_intercept=intercept)


def recognise(prompt: str) -> Known | None:
    """Answer and group of a prompt in the wording of function; None for others and for wrong values."""
    match = _WORDING.fullmatch(prompt)
    if match is None:
        return None
    a, b, *shown = (int(number) for number in match.groups())
    values = _values(a, b)
    return Known("function", str(values[3]), f"{a}x+{b}") if list(values[:3]) == shown else None


def _rows(a: int, b: int, other: int) -> tuple[Pair, Pair]:
    group = f"{a}x+{min(b, other)} | {a}x+{max(b, other)}"
    return mirrored(_prompt(a, b), str(_values(a, b)[3]), _prompt(a, other), str(_values(a, other)[3]), group)


def _prompt(a: int, b: int) -> str:
    y1, y2, y3, _ = _values(a, b)
    return f"There is a function y={a}x+{b}. Given x=1,2,3,4, y={y1},{y2},{y3},"


def _values(a: int, b: int) -> tuple[int, int, int, int]:
    return a + b, 2 * a + b, 3 * a + b, 4 * a + b
