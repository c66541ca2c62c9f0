"""Two operations in a row, and each of them alone (paper.md 2)."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import repeat
from typing import ClassVar, Literal, NamedTuple

from circuitune.tasks.arithmetic import INSTRUCTION, sum_and_difference
from circuitune.tasks.couples import digits, mirrored, operands
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.parameters import STYLES, Style, one_of, whole_number
from circuitune.tasks.splits import Draw
from circuitune.tasks.templates import Known

Corruption = Literal["outer", "first", "second", "operator"]
CORRUPTIONS: tuple[Corruption, ...] = ("outer", "first", "second", "operator")

KINDS = "+ *", "+ /", "- *", "- /"
"""The operator in the bracket and the one behind it."""

TRIES = 20
"""How often another operand in the bracket is drawn before the bracket is given up."""

_WORDING = re.compile(rf"(?:{re.escape(INSTRUCTION)})?\((\d+) ([+-]) (\d+)\) ([*/]) (\d+) =")


Operation = tuple[int, str, int]


class Expression(NamedTuple):
    """``(x inner y) outer z``."""

    x: int
    y: int
    inner: str
    outer: str
    z: int = 0

    @property
    def bracket(self) -> int:
        """What the bracket comes to."""
        return self.x + self.y if self.inner == "+" else self.x - self.y

    @property
    def value(self) -> int:
        """The answer."""
        return self.bracket * self.z if self.outer == "*" else self.bracket // self.z

    @property
    def operation(self) -> Operation:
        """The outer operation alone; 9 * 36 is 36 * 9."""
        first, second = self.bracket, self.z
        return (max(first, second), "*", min(first, second)) if self.outer == "*" else (first, "/", second)

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return f"{self.inner} {self.outer}"

    def __str__(self) -> str:
        return f"({self.x} {self.inner} {self.y}) {self.outer} {self.z} ="


Couple = tuple[Expression, Expression]


class _Used:
    """What the couples so far have used: operands of brackets, outer operations, and answers (`most` times each)."""

    def __init__(self, most: int) -> None:
        self.brackets = set[tuple[int, int]]()
        self._operations, self._answers, self._most = Counter[Operation](), Counter[int](), most

    def add(self, *expressions: Expression) -> None:
        """Count a couple."""
        self.brackets.update((one.x, one.y) for one in expressions)
        self._operations.update(one.operation for one in expressions)
        self._answers.update(one.value for one in expressions)

    def allowed(self, expressions: list[Expression]) -> list[Expression]:
        """Those whose answer is not used up, the seldom asked operations first."""
        rest = [one for one in expressions if self._answers[one.value] < self._most]
        return sorted(rest, key=lambda one: self._operations[one.operation])


@dataclass(frozen=True)
class TwoStep:
    """A sum or difference in a bracket, multiplied or divided without remainder.

    ``Calculate the result of the following arithmetic expression and provide only the final answer: (39 + 65) * 7 =``
    is the study's wording; ours has x > y, as in ``(65 + 39) * 7 =``, which answers `` 728``. ``corruption`` says
    which part is replaced: ``outer`` the last operand (the study's; the bracket is then never exercised),
    ``first`` or ``second`` an operand in the bracket, ``operator`` the sign in the bracket. x 2..largest_first,
    y 1..largest_second, factors 2..largest_factor, divisors from 2, no quotient of 1, no answer above
    ``largest``. The four combinations of operators are equally often; two operands of a bracket are used for one
    couple of prompts only, and stay in one part of a split. At most ``size`` rows.
    """

    name: ClassVar[str] = "two_step"

    corruption: Corruption = "outer"
    largest_first: int = 100
    largest_second: int = 100
    largest_factor: int = 100
    largest: int = 999
    style: Style = "full"
    size: int = 5_000

    def __post_init__(self) -> None:
        one_of(self.name, "corruption", self.corruption, CORRUPTIONS)
        whole_number(self.name, "largest_first", self.largest_first, 10, 1_000)
        whole_number(self.name, "largest_second", self.largest_second, 5, 1_000)
        whole_number(self.name, "largest_factor", self.largest_factor, 3, 1_000)
        whole_number(self.name, "largest", self.largest, 20, 1_000_000)
        one_of(self.name, "style", self.style, STYLES)
        whole_number(self.name, "size", self.size, 8, 1_000_000)

    def generate(self, seed: int = 0) -> PairSet:
        """The rows of one seed, in random order."""
        draw = Draw(seed, TwoStep.name, self.corruption)
        couples = self._couples(draw)
        rows = draw.shuffled(self._rows(couples, draw))
        settings = {"task": self.name, **asdict(self), "seed": seed, "wrong": "given", "balanced": True}
        return PairSet(self.name, tuple(rows), None, settings)

    def fresh(self, pair: Pair, draw: Draw) -> Pair | None:
        """Other operands, the same operators; None where chance finds no corruption as long."""
        couple = self._couple(self._expression(draw, pair.kind or KINDS[0]), draw, _Used(1))
        return _mirrored(self._head, couple)[0] if couple else None

    def narrowed(self, largest: int) -> "TwoStep | None":
        """The same task without an answer above `largest`; None where there is none."""
        return replace(self, largest=largest) if 20 <= largest < self.largest else None

    @property
    def _head(self) -> str:
        return INSTRUCTION if self.style == "full" else ""

    def _expression(self, draw: Draw, kind: str) -> Expression:
        """Random operands of a bracket, the larger first; no last operand yet."""
        inner, outer = kind.split()
        x = draw.between(2, self.largest_first)
        return Expression(x, draw.between(1, min(self.largest_second, x - 1)), inner, outer)

    def _couples(self, draw: Draw) -> list[Couple]:
        """As many couples of each kind, no two operands of a bracket in two of them."""
        kinds = ("+ *", "+ /") if self.corruption == "operator" else KINDS
        wanted, used = self.size // (2 * len(kinds)), _Used(max(2, self.size // 40))
        found: dict[str, list[Couple]] = {kind: [] for kind in kinds}
        every = [
            (x, y) for x in range(2, self.largest_first + 1) for y in range(1, min(self.largest_second, x - 1) + 1)
        ]
        for x, y in draw.shuffled(every):
            for kind in sorted(kinds, key=lambda kind: len(found[kind])):
                if (x, y) in used.brackets or len(found[kind]) >= wanted:
                    continue
                inner, outer = kind.split()
                couple = self._couple(Expression(x, y, inner, outer), draw, used)
                if couple:
                    used.add(*couple)
                    found[kind].append(couple)
        count = min(map(len, found.values()))
        return [couple for couples in found.values() for couple in couples[:count]]

    def _couple(self, bracket: Expression, draw: Draw, used: "_Used") -> Couple | None:
        """A bracket with a last operand, and its corruption; None where chance finds none."""
        wholes = used.allowed(draw.shuffled(bracket._replace(z=z) for z in self._last(bracket)))
        if self.corruption == "outer":
            alike = sorted(wholes[1:], key=lambda other: digits(other.z) != digits(wholes[0].z))
            return (wholes[0], alike[0]) if alike else None
        for other in self._variants(bracket, draw):
            if self.corruption != "operator" and (other.x, other.y) in used.brackets:
                continue
            for whole in wholes:
                corrupted = other._replace(z=whole.z)
                if self._fits(other, whole.z) and used.allowed([corrupted]):
                    return whole, corrupted
        return None

    def _variants(self, one: Expression, draw: Draw) -> Iterator[Expression]:
        """The bracket with the corrupted part replaced, its length kept."""
        if self.corruption == "operator":
            yield one._replace(inner="-" if one.inner == "+" else "+")
            return
        for _ in range(TRIES):
            if self.corruption == "first":
                other = one._replace(x=draw.between(one.y + 1, self.largest_first))
            else:
                other = one._replace(y=draw.between(1, min(self.largest_second, one.x - 1)))
            if other != one and digits(other.x, other.y) == digits(one.x, one.y):
                yield other

    def _last(self, one: Expression) -> list[int]:
        """Last operands that the bracket allows."""
        most = min(self.largest_factor, self.largest // one.bracket) if one.outer == "*" else one.bracket // 2
        return [z for z in range(2, most + 1) if self._fits(one, z)]

    def _fits(self, one: Expression, z: int) -> bool:
        """Whether the bracket, which is not 1, can be followed by this operand."""
        if one.outer == "*":
            return one.bracket > 1 and one.bracket * z <= self.largest
        return one.bracket % z == 0 and one.bracket >= 2 * z

    def _rows(self, couples: list[Couple], draw: Draw) -> list[Pair]:
        return [row for couple in couples for row in _mirrored(self._head, couple)]


@dataclass(frozen=True)
class TwoStepInner(TwoStep):
    """The brackets of two_step alone, as in add_sub: its inner step.

    Row by row from the two_step of the same seed and parameters, each bracket once: ``... (65 + 39) * 7 =`` gives
    ``... 65 + 39 =``, which answers `` 104``; the corruption flips the operator.
    """

    name: ClassVar[str] = "two_step_inner"

    def fresh(self, pair: Pair, draw: Draw) -> Pair:
        """Other operands, the same operator."""
        one = self._expression(draw, KINDS[0])
        return sum_and_difference(self._head, one.x, one.y)[pair.kind == "-"]

    def _rows(self, couples: list[Couple], draw: Draw) -> list[Pair]:
        brackets = dict.fromkeys((one.x, one.y, one.inner) for couple in couples for one in couple)
        return [sum_and_difference(self._head, x, y)[inner == "-"] for x, y, inner in brackets]


@dataclass(frozen=True)
class TwoStepOuter(TwoStep):
    """The outer operations of two_step alone, as in mul_div: its outer step.

    Row by row from the two_step of the same seed and parameters, each operation once: ``... (65 + 39) * 7 =`` gives
    ``... 104 * 7 =``, which answers `` 728``; the corruption replaces the first operand by that of another row.
    Rows without such another are left out. There are fewer divisions than multiplications (686 within 200);
    `check` balances them.
    """

    name: ClassVar[str] = "two_step_outer"

    def fresh(self, pair: Pair, draw: Draw) -> Pair | None:
        """Other operands, the same operator; None where chance finds no corruption as long."""
        kinds = [kind for kind in KINDS if kind.endswith(pair.kind or "*")]
        one, other = (self._expression(draw, kinds[draw.below(2)]) for _ in range(2))
        common = [z for z in self._last(one) if self._fits(other, z)]
        if not common or one.bracket == other.bracket or digits(one.bracket) != digits(other.bracket):
            return None
        z = common[draw.below(len(common))]
        return _operation_row(self._head, one._replace(z=z), other._replace(z=z))

    def _rows(self, couples: list[Couple], draw: Draw) -> list[Pair]:
        alike: defaultdict[tuple[str, int], list[Expression]] = defaultdict(list)
        distinct = {one.operation: one for couple in couples for one in couple}
        for one in distinct.values():
            alike[one.outer, one.z].append(one)
        rows: dict[str, list[Pair]] = {"*": [], "/": []}
        for (outer, _), members in sorted(alike.items()):
            for circle in _circles(sorted(members, key=lambda one: digits(one.bracket))):
                turned = circle[1:] + circle[:1]
                rows[outer] += map(_operation_row, repeat(self._head), circle, turned)
        return [row for own in rows.values() for row in own[: self.size // 2]]


def recognise(prompt: str) -> Known | None:
    """Answer and group of a prompt in the wording of two_step, either style; None for others and for remainders."""
    match = _WORDING.fullmatch(prompt)
    if match is None:
        return None
    one = Expression(int(match[1]), int(match[3]), match[2], match[4], int(match[5]))
    if one.outer == "/" and (one.z == 0 or one.bracket % one.z):
        return None
    return Known("two_step", str(one.value), operands(one.x, one.y), one.kind)


def _mirrored(head: str, couple: Couple) -> tuple[Pair, Pair]:
    one, other = couple
    group = " | ".join(sorted({operands(one.x, one.y), operands(other.x, other.y)}))
    kinds = one.kind, other.kind
    return mirrored(f"{head}{one}", f" {one.value}", f"{head}{other}", f" {other.value}", group, kinds)


def _circles(members: list[Expression]) -> Iterator[list[Expression]]:
    """Twos, and one three where they are odd; a lone one is left out."""
    while len(members) > 1:
        count = 3 if len(members) == 3 else 2
        yield members[:count]
        members = members[count:]


def _operation_row(head: str, one: Expression, other: Expression) -> Pair:
    prompts = [f"{head}{shown.bracket} {shown.outer} {shown.z} =" for shown in (one, other)]
    group = " ".join(map(str, one.operation))
    return Pair(prompts[0], prompts[1], f" {one.value}", f" {other.value}", group, kind=one.outer)
