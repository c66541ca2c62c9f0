"""Indirect objects told apart by what each person wants (paper.md 2)."""

import re
from dataclasses import asdict, dataclass
from math import perm
from typing import ClassVar

from circuitune.tasks.couples import mirrored
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.parameters import whole_number
from circuitune.tasks.splits import Draw
from circuitune.tasks.templates import Known

_NAMES = (
    "Adam Alan Alice Amy Andrew Anna Anthony Brian Charles Daniel David Diana Donald Edward Emily Emma Eric "
    "Frank George Grace Helen Henry Jack Jacob James Jane Jason Jessica John Julia Karen Kate Kelly Kevin "
    "Laura Linda Lisa Maria Mark Mary Nancy Paul Peter Rachel Richard Robert Ryan Sarah Simon Susan Thomas Tom"
)
_OBJECTS = (
    "bag ball basket bell blanket book bottle bowl box brush camera cap card chair clock coat coin cup drum "
    "flag fork glass guitar hammer hat key knife lamp map mirror nail needle pan paper pen pencil phone pillow "
    "plate radio ring rope shirt spoon stick stone table tape tent torch towel watch"
)
NAMES = tuple(_NAMES.split())
"""Names that, after a space, are one token for the Pythia, GPT-2 and nano tokenizers."""
OBJECTS = tuple(_OBJECTS.split())
"""Objects of which the same holds."""

KINDS = "first", "second"
"""Which of the two people is the answer."""

_STORIES = perm(len(NAMES), 3) * perm(len(OBJECTS), 2)

_WORDING = re.compile(r"(\w+) needed (\w+), (\w+) wanted (\w+), (\w+) handed (\w+) to")


@dataclass(frozen=True)
class ComplexIoi:
    """Two people want two objects and a third person hands one over: to whom?

    ``Robert needed brush, Kelly wanted pan, Daniel handed brush to`` answers `` Robert``. The corruption hands
    over the other object (`` Kelly``); the two are each other's corruption, so the first and the second person
    are the answer equally often. At most ``size`` rows; one story gives two, which stay in one part of a split.
    """

    name: ClassVar[str] = "complex_ioi"

    size: int = 10_000

    def __post_init__(self) -> None:
        whole_number(self.name, "size", self.size, 2, 1_000_000)

    def generate(self, seed: int = 0) -> PairSet:
        """The rows of one seed, in random order."""
        draw = Draw(seed, self.name)
        stories = draw.some(range(_STORIES), self.size // 2)
        rows = [pair for place in stories for pair in _rows(place)]
        settings = {"task": self.name, **asdict(self), "seed": seed, "wrong": "given"}
        return PairSet(self.name, tuple(draw.shuffled(rows)), None, settings)

    def fresh(self, pair: Pair, draw: Draw) -> Pair:
        """Another story with the same person, first or second, as its answer."""
        return _rows(draw.below(_STORIES))[pair.kind == "second"]


def recognise(prompt: str) -> Known | None:
    """Answer and group of a prompt in the wording of complex_ioi; None for others and for a third object."""
    match = _WORDING.fullmatch(prompt)
    if match is None:
        return None
    one, first, two, second, giver, handed = match.groups()
    if first == second or handed not in (first, second):
        return None
    kind = "first" if handed == first else "second"
    return Known("complex_ioi", one if handed == first else two, _group(one, first, two, second, giver), kind)


def _rows(place: int) -> tuple[Pair, Pair]:
    """The two rows of a story, given by its place among all of them."""
    place, (one, two, giver) = take(place, NAMES, 3)
    _, (first, second) = take(place, OBJECTS, 2)
    scene = f"{one} needed {first}, {two} wanted {second}, {giver} handed"
    group = _group(one, first, two, second, giver)
    return mirrored(f"{scene} {first} to", f" {one}", f"{scene} {second} to", f" {two}", group, KINDS)


def take(place: int, words: tuple[str, ...], count: int) -> tuple[int, list[str]]:
    """``count`` different words, one digit of a mixed-radix number each; and what is left of the number."""
    left, taken = list(words), list[str]()
    for _ in range(count):
        place, index = divmod(place, len(left))
        taken.append(left.pop(index))
    return place, taken


def _group(one: str, first: str, two: str, second: str, giver: str) -> str:
    """The same for both orders of the two people."""
    return ", ".join((*sorted((f"{one} {first}", f"{two} {second}")), giver))
