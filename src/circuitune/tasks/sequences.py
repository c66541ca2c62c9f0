"""Arithmetic and geometric sequences (paper.md 2)."""

import re
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Literal

from circuitune.tasks.couples import coupled, digits, mirrored
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.parameters import STYLES, Style, one_of, whole_number
from circuitune.tasks.splits import Draw
from circuitune.tasks.templates import Known

ARITHMETIC, GEOMETRIC = "arithmetic", "geometric"

INSTRUCTION = "Derive the following sequence: "

CHANGES = range(1, 101)
"""What the study's corruption adds to one term."""

_WORDING = re.compile(rf"(?:{re.escape(INSTRUCTION)})?(\d+), (\d+), (\d+), (\d+),")


@dataclass(frozen=True)
class _Progression:
    """Five terms, and a name such as ``4 +3`` or ``4 *3``."""

    name: str
    terms: tuple[int, ...]

    @property
    def kind(self) -> str:
        return GEOMETRIC if "*" in self.name else ARITHMETIC


@dataclass(frozen=True)
class Sequence:
    """Four terms of a sequence; the answer is the fifth.

    ``Derive the following sequence: 4, 8, 16, 32,`` answers `` 64``; ``style="short"`` gives ``4, 8, 16, 32,``.
    Arithmetic: start 1..largest_start, step 1..largest_step; geometric: start 1..largest_geometric_start, ratio
    2..largest_ratio; no term above ``largest``. Corruption ``valid``: another sequence with the same first term,
    whose fifth term is ``wrong``; the two are each other's corruption. Corruption ``term`` (the study's): 1..100
    added to the third or fourth term, which leaves no right answer (``wrong`` is None). At most ``size`` rows.
    Geometric sequences are few (24 up to 999, 78 with any start): by default all that fit are taken and the
    other rows are arithmetic; ``kinds="balanced"`` takes as many of each, which is few rows;
    ``"arithmetic"`` or ``"geometric"`` takes one kind alone.
    """

    name: ClassVar[str] = "sequence"

    corruption: Literal["valid", "term"] = "valid"
    kinds: Literal["all", "balanced", "arithmetic", "geometric"] = "all"
    style: Style = "full"
    largest: int = 999
    largest_start: int = 500
    largest_step: int = 100
    largest_geometric_start: int = 10
    largest_ratio: int = 10
    size: int = 10_000

    def __post_init__(self) -> None:
        one_of(self.name, "corruption", self.corruption, ("valid", "term"))
        one_of(self.name, "kinds", self.kinds, ("all", "balanced", "arithmetic", "geometric"))
        one_of(self.name, "style", self.style, STYLES)
        whole_number(self.name, "largest", self.largest, 20, 1_000_000)
        whole_number(self.name, "largest_start", self.largest_start, 1, 10_000)
        whole_number(self.name, "largest_step", self.largest_step, 1, 10_000)
        whole_number(self.name, "largest_geometric_start", self.largest_geometric_start, 1, 10_000)
        whole_number(self.name, "largest_ratio", self.largest_ratio, 2, 100)
        whole_number(self.name, "size", self.size, 2, 1_000_000)

    def generate(self, seed: int = 0) -> PairSet:
        """The rows of one seed, in random order."""
        draw = Draw(seed, self.name, self.corruption)
        rows = self._valid(draw) if self.corruption == "valid" else self._term(draw)
        wrong = "given" if self.corruption == "valid" else "none"
        settings = {"task": self.name, **asdict(self), "seed": seed, "wrong": wrong}
        if self.kinds == "balanced":
            settings["balanced"] = True
        return PairSet(self.name, tuple(draw.shuffled(rows)), None, settings)

    def fresh(self, pair: Pair, draw: Draw) -> Pair | None:
        """Another sequence of the same kind, corrupted in the same way; None where chance finds none as long."""
        last = self.largest_geometric_start if pair.kind == GEOMETRIC else self.largest_start
        every = self._progressions(draw.between(1, last))
        own = [progression for progression in every if progression.kind == pair.kind]
        if not own:
            return None
        one = own[draw.below(len(own))]
        if self.corruption == "term":
            return self._term_row(one, draw)
        others = [other for other in every if other != one and digits(*other.terms) == digits(*one.terms)]
        return self._couple_rows(one, others[draw.below(len(others))])[0] if others else None

    def narrowed(self, largest: int) -> "Sequence | None":
        """The same task without a term above `largest`; None where there is none."""
        return replace(self, largest=largest) if 20 <= largest < self.largest else None

    def _valid(self, draw: Draw) -> list[Pair]:
        couple_up = _one_of_each if self.kinds == "balanced" else _alike
        couples = [couple for start in self._starts() for couple in couple_up(self._progressions(start), draw)]
        geometric_first = sorted(draw.shuffled(couples), key=lambda couple: couple[0].kind != GEOMETRIC)
        return [pair for couple in geometric_first[: self.size // 2] for pair in self._couple_rows(*couple)]

    def _couple_rows(self, one: _Progression, other: _Progression) -> tuple[Pair, Pair]:
        group = " | ".join(sorted((one.name, other.name)))
        prompts = self._prompt(one.terms), self._prompt(other.terms)
        kinds = one.kind, other.kind
        return mirrored(prompts[0], f" {one.terms[4]}", prompts[1], f" {other.terms[4]}", group, kinds)

    def _term(self, draw: Draw) -> list[Pair]:
        every = [progression for start in self._starts() for progression in self._progressions(start)]
        chosen = sorted(draw.shuffled(every), key=lambda progression: progression.kind != GEOMETRIC)
        if self.kinds == "balanced":
            count = min(self.size // 2, *Counter(one.kind for one in chosen).values())
            chosen = chosen[:count] + chosen[-count:]
        return [self._term_row(progression, draw) for progression in chosen[: self.size]]

    def _term_row(self, progression: _Progression, draw: Draw) -> Pair:
        shown = list(progression.terms[:4])
        place = draw.between(2, 3)
        shown[place] += draw.between(CHANGES[0], min(CHANGES[-1], self.largest - shown[place]))
        prompts = self._prompt(progression.terms), self._prompt(shown)
        return Pair(*prompts, f" {progression.terms[4]}", None, progression.name, kind=progression.kind)

    def _starts(self) -> range:
        """First terms in ascending order."""
        if self.kinds == "geometric":
            return range(1, self.largest_geometric_start + 1)
        return range(1, max(self.largest_start, self.largest_geometric_start) + 1)

    def _progressions(self, start: int) -> list[_Progression]:
        ratios = range(2, self.largest_ratio + 1) if start <= self.largest_geometric_start else ()
        steps = range(1, self.largest_step + 1) if start <= self.largest_start else ()
        found = [_Progression(f"{start} *{q}", tuple(start * q**n for n in range(5))) for q in ratios]
        found += [_Progression(f"{start} +{step}", tuple(start + step * n for n in range(5))) for step in steps]
        return [one for one in found if one.terms[4] <= self.largest and self.kinds in ("all", "balanced", one.kind)]

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
        return Known("sequence", str(x4 + x4 - x3), f"{x1} {x2 - x1:+}", ARITHMETIC)
    if x1 and x2 % x1 == 0 and x2 * x2 == x1 * x3 and x2 * x3 == x1 * x4:
        return Known("sequence", str(x4 * (x2 // x1)), f"{x1} *{x2 // x1}", GEOMETRIC)
    return None


def _alike(progressions: list[_Progression], draw: Draw) -> list[tuple[_Progression, _Progression]]:
    """Couples of equal shape as far as possible."""
    return coupled(progressions, _shape, draw)


def _one_of_each(progressions: list[_Progression], draw: Draw) -> list[tuple[_Progression, _Progression]]:
    """Couples of a geometric and an arithmetic sequence, of equal counts of digits where there is one."""
    free = draw.shuffled(one for one in progressions if one.kind == ARITHMETIC)
    couples: list[tuple[_Progression, _Progression]] = []
    for one in progressions:
        if one.kind == GEOMETRIC and free:
            free.sort(key=lambda other: digits(*other.terms) != digits(*one.terms))
            couples.append((one, free.pop(0)))
    return couples


def _shape(progression: _Progression) -> tuple[int, ...]:
    """Geometric ones first, so that they are coupled with each other as far as possible."""
    return (0 if progression.kind == GEOMETRIC else 1, *digits(*progression.terms))
