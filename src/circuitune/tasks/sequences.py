"""Arithmetic and geometric sequences (paper.md 2)."""

import re
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from circuitune.tasks.couples import coupled, digits, mirrored
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.parameters import STYLES, Style, one_of, whole_number
from circuitune.tasks.splits import Draw
from circuitune.tasks.templates import Known

INSTRUCTION = "Derive the following sequence: "

GEOMETRIC_STARTS = range(1, 11)
RATIOS = range(2, 11)
CHANGES = range(1, 101)
"""What the study's corruption adds to one term."""

_WORDING = re.compile(rf"(?:{re.escape(INSTRUCTION)})?(\d+), (\d+), (\d+), (\d+),")


@dataclass(frozen=True)
class _Progression:
    """Five terms, and a name such as ``4 +3`` or ``4 *3``."""

    name: str
    terms: tuple[int, ...]

    @property
    def geometric(self) -> bool:
        return "*" in self.name


@dataclass(frozen=True)
class Sequence:
    """Four terms of a sequence; the answer is the fifth.

    ``Derive the following sequence: 4, 8, 16, 32,`` answers `` 64``; ``style="short"`` gives ``4, 8, 16, 32,``.
    Arithmetic: start 1..largest_start, step 1..largest_step; geometric: start 1..10, ratio 2..10; no term
    above ``largest``. Corruption ``valid``: another sequence with the same first term, whose fifth term is
    ``wrong``; the two are each other's corruption. Corruption ``term`` (the study's): 1..100 added to the
    third or fourth term, which leaves no right answer (``wrong`` is None). At most ``size`` rows. Geometric
    sequences are few (24 up to 999): all that fit are taken, the other rows are arithmetic.
    """

    name: ClassVar[str] = "sequence"

    corruption: Literal["valid", "term"] = "valid"
    style: Style = "full"
    largest: int = 999
    largest_start: int = 500
    largest_step: int = 100
    size: int = 10_000

    def __post_init__(self) -> None:
        one_of(self.name, "corruption", self.corruption, ("valid", "term"))
        one_of(self.name, "style", self.style, STYLES)
        whole_number(self.name, "largest", self.largest, 20, 1_000_000)
        whole_number(self.name, "largest_start", self.largest_start, 1, 10_000)
        whole_number(self.name, "largest_step", self.largest_step, 1, 10_000)
        whole_number(self.name, "size", self.size, 2, 1_000_000)

    def generate(self, seed: int = 0) -> PairSet:
        """The rows of one seed, in random order."""
        draw = Draw(seed, self.name, self.corruption)
        rows = self._valid(draw) if self.corruption == "valid" else self._term(draw)
        wrong = "given" if self.corruption == "valid" else "none"
        settings = {"task": self.name, **asdict(self), "seed": seed, "wrong": wrong}
        return PairSet(self.name, tuple(draw.shuffled(rows)), None, settings)

    def _valid(self, draw: Draw) -> list[Pair]:
        couples = [
            couple
            for start in range(1, self.largest_start + 1)
            for couple in coupled(self._progressions(start), _shape, draw)
        ]
        geometric_first = sorted(draw.shuffled(couples), key=lambda couple: not couple[0].geometric)
        return [pair for couple in geometric_first[: self.size // 2] for pair in self._couple_rows(*couple)]

    def _couple_rows(self, one: _Progression, other: _Progression) -> tuple[Pair, Pair]:
        group = " | ".join(sorted((one.name, other.name)))
        return mirrored(
            self._prompt(one.terms), f" {one.terms[4]}", self._prompt(other.terms), f" {other.terms[4]}", group
        )

    def _term(self, draw: Draw) -> list[Pair]:
        every = [
            progression for start in range(1, self.largest_start + 1) for progression in self._progressions(start)
        ]
        chosen = sorted(draw.shuffled(every), key=lambda progression: not progression.geometric)[: self.size]
        return [self._term_row(progression, draw) for progression in chosen]

    def _term_row(self, progression: _Progression, draw: Draw) -> Pair:
        shown = list(progression.terms[:4])
        place = draw.between(2, 3)
        shown[place] += draw.between(CHANGES[0], min(CHANGES[-1], self.largest - shown[place]))
        answer = f" {progression.terms[4]}"
        return Pair(self._prompt(progression.terms), self._prompt(shown), answer, None, progression.name)

    def _progressions(self, start: int) -> list[_Progression]:
        ratios = RATIOS if start in GEOMETRIC_STARTS else ()
        found = [_Progression(f"{start} *{q}", tuple(start * q**n for n in range(5))) for q in ratios]
        for step in range(1, self.largest_step + 1):
            found.append(_Progression(f"{start} +{step}", tuple(start + step * n for n in range(5))))
        return [progression for progression in found if progression.terms[4] <= self.largest]

    def _prompt(self, terms: tuple[int, ...] | list[int]) -> str:
        head = INSTRUCTION if self.style == "full" else ""
        return f"{head}{', '.join(str(term) for term in terms[:4])},"


def recognise(prompt: str) -> Known | None:
    """Answer and group of four terms of a sequence, either style; None for others and where no rule fits."""
    match = _WORDING.fullmatch(prompt)
    if match is None:
        return None
    x1, x2, x3, x4 = (int(term) for term in match.groups())
    if x2 - x1 == x3 - x2 == x4 - x3:
        return Known("sequence", str(x4 + x4 - x3), f"{x1} {x2 - x1:+}")
    if x1 and x2 % x1 == 0 and x2 * x2 == x1 * x3 and x2 * x3 == x1 * x4:
        return Known("sequence", str(x4 * (x2 // x1)), f"{x1} *{x2 // x1}")
    return None


def _shape(progression: _Progression) -> tuple[int, ...]:
    """Geometric ones first, so that they are coupled with each other as far as possible."""
    return (0 if progression.geometric else 1, *digits(*progression.terms))
