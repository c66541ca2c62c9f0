"""Indirect object identification: who is given something (Wang et al. 2023), a control that models know already."""

import re
from dataclasses import asdict, dataclass
from math import perm
from typing import ClassVar

from circuitune.tasks.complex_ioi import KINDS, NAMES, take
from circuitune.tasks.couples import mirrored
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.parameters import whole_number
from circuitune.tasks.splits import Draw
from circuitune.tasks.templates import Known

_TEMPLATES = (
    "When {one} and {two} went to the {place}, {giver} gave a {thing} to",
    "After {one} and {two} went to the {place}, {giver} gave a {thing} to",
    "While {one} and {two} were at the {place}, {giver} gave a {thing} to",
    "Then, {one} and {two} went to the {place}. {giver} gave a {thing} to",
)
_PLACES = "bank beach church farm garden hospital hotel house library market office park school shop store"
_THINGS = "ball book bottle cake camera coat coin cup drink hat key lamp letter pencil phone ring watch"
PLACES, THINGS = tuple(_PLACES.split()), tuple(_THINGS.split())

_WORDINGS = tuple(re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>\\w+)", re.escape(template))) for template in _TEMPLATES)
_STORIES = perm(len(NAMES), 2) * len(PLACES) * len(THINGS) * len(_TEMPLATES)


@dataclass(frozen=True)
class Ioi:
    """Two people are somewhere and one gives the other something: to whom?

    ``When Mary and John went to the store, John gave a drink to`` answers `` Mary``. The corruption lets the other
    one give (`` John``); the two are each other's corruption, so the first-named person gives as often as the
    second. At most ``size`` rows; one story gives two, which stay in one part of a split.
    """

    name: ClassVar[str] = "ioi"

    size: int = 10_000

    def __post_init__(self) -> None:
        whole_number(self.name, "size", self.size, 2, 1_000_000)

    def generate(self, seed: int = 0) -> PairSet:
        """The rows of one seed, in random order."""
        draw = Draw(seed, self.name)
        rows = [row for place in draw.some(range(_STORIES), self.size // 2) for row in _rows(place)]
        settings = {"task": self.name, **asdict(self), "seed": seed, "wrong": "given"}
        return PairSet(self.name, tuple(draw.shuffled(rows)), None, settings)

    def fresh(self, pair: Pair, draw: Draw) -> Pair:
        """Another story with the same person, first- or second-named, as its answer."""
        return _rows(draw.below(_STORIES))[pair.kind == "second"]


def recognise(prompt: str) -> Known | None:
    """Answer and group of a prompt in a wording of ioi; None for others, and where neither of the two gives."""
    for template, wording in zip(_TEMPLATES, _WORDINGS, strict=True):
        match = wording.fullmatch(prompt)
        if match is None or match["one"] == match["two"] or match["giver"] not in (match["one"], match["two"]):
            continue
        first = match["giver"] == match["two"]
        group = _group(template, match["one"], match["two"], match["place"], match["thing"])
        return Known("ioi", match["one" if first else "two"], group, KINDS[0 if first else 1])
    return None


def _rows(place: int) -> tuple[Pair, Pair]:
    """The two rows of a story, given by its place among all of them; the first answers the first-named person."""
    place, (one, two) = take(place, NAMES, 2)
    place, (where,) = take(place, PLACES, 1)
    place, (thing,) = take(place, THINGS, 1)
    _, (template,) = take(place, _TEMPLATES, 1)
    prompts = [
        template.format(one=one, two=two, place=where, thing=thing, giver=giver) for giver in (two, one)
    ]  # fmt: skip
    group = _group(template, one, two, where, thing)
    return mirrored(prompts[0], f" {one}", prompts[1], f" {two}", group, KINDS)


def _group(template: str, one: str, two: str, place: str, thing: str) -> str:
    """The same for both orders of the two people."""
    first, second = sorted((one, two))
    return template.format(one=first, two=second, place=place, thing=thing, giver="one")
