"""Years that come later (Hanna et al. 2023), a control that models know already: many answers are right."""

import re
from dataclasses import asdict, dataclass
from typing import ClassVar

from circuitune.core.errors import InputError
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.parameters import whole_number
from circuitune.tasks.splits import Draw
from circuitune.tasks.templates import Known

_EVENTS = (
    "alliance battle campaign conflict contract crisis custom decline dispute drought exhibition expedition famine "
    "festival journey mission plan project reign rise siege strike tour treaty trip voyage war"
)
EVENTS = tuple(_EVENTS.split())
YEARS = range(2, 99)
"""The last two digits of the first year: at least one wrong and one right year are left after 01."""

_WORDING = re.compile(r"The (\w+) lasted from the year (\d\d)(\d\d) to the year (\d\d)")
_LATER = [tuple(f"{n:02d}" for n in range(year + 1, 100)) for year in range(100)]
_OTHERS = [tuple(f"{n:02d}" for n in range(year + 1)) for year in range(100)]


@dataclass(frozen=True)
class GreaterThan:
    """The last two digits of a year that must be later than another.

    ``The war lasted from the year 1732 to the year 17`` answers any of ``33`` to ``99`` (``answer_set``), and none
    of ``00`` to ``32`` (``wrong_set``); ``answer`` is one later year and ``wrong`` one that is not, drawn at random.
    The corruption begins in the year 01 of the century, after which (almost) any year can follow. Centuries
    first_century..last_century, in which the usual tokenizers make two tokens of a year. At most ``size`` rows;
    those of one event and century share their corruption and stay in one part of a split.
    """

    name: ClassVar[str] = "greater_than"

    first_century: int = 14
    last_century: int = 17
    size: int = 5_000

    def __post_init__(self) -> None:
        whole_number(self.name, "first_century", self.first_century, 10, 20)
        whole_number(self.name, "last_century", self.last_century, 10, 20)
        whole_number(self.name, "size", self.size, 2, 1_000_000)
        if self.last_century < self.first_century:
            raise InputError(
                f"{self.name}: last_century ({self.last_century}) must not be before first_century "
                f"({self.first_century})."
            )

    def generate(self, seed: int = 0) -> PairSet:
        """The rows of one seed, in random order."""
        draw = Draw(seed, self.name)
        universe = range(self._universe)
        rows = [self._row(place, draw) for place in draw.some(universe, min(self.size, self._universe))]
        settings = {"task": self.name, **asdict(self), "seed": seed, "wrong": "given"}
        return PairSet(self.name, tuple(rows), None, settings)

    def fresh(self, pair: Pair, draw: Draw) -> Pair:
        """Another event and other years."""
        return self._row(draw.below(self._universe), draw)

    @property
    def _universe(self) -> int:
        """How many prompts there are."""
        return len(EVENTS) * (self.last_century - self.first_century + 1) * len(YEARS)

    def _row(self, place: int, draw: Draw) -> Pair:
        place, year = divmod(place, len(YEARS))
        century, event = divmod(place, len(EVENTS))
        year, century = YEARS[year], self.first_century + century
        return Pair(
            _prompt(EVENTS[event], century, year),
            _prompt(EVENTS[event], century, 1),
            f"{draw.between(year + 1, 99):02d}",
            f"{draw.between(2, year):02d}",
            f"{EVENTS[event]} {century}",
            answer_set=_LATER[year],
            wrong_set=_OTHERS[year],
        )


def recognise(prompt: str) -> Known | None:
    """Answers and group of a prompt in the wording of greater_than; None for others, and where no year is later."""
    match = _WORDING.fullmatch(prompt)
    if match is None or match[2] != match[4] or match[3] == "99":
        return None
    year = int(match[3])
    return Known("greater_than", _LATER[year][0], f"{match[1]} {match[2]}", None, _LATER[year], _OTHERS[year])


def _prompt(event: str, century: int, year: int) -> str:
    return f"The {event} lasted from the year {century}{year:02d} to the year {century}"
