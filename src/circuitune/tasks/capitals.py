"""Capitals of countries, asked by analogy (paper.md 2)."""

import re
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from circuitune.tasks.countries import CAPITALS, COMMON
from circuitune.tasks.couples import coupled, mirrored
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.parameters import one_of, whole_number
from circuitune.tasks.splits import Draw
from circuitune.tasks.templates import Known

_WORDING = re.compile(r"If (.+) corresponds to (.+), then (.+) corresponds to")


@dataclass(frozen=True)
class CapitalCountry:
    """The capital of a country, after the example of another.

    ``If Moldova corresponds to Chisinau, then France corresponds to`` answers `` Paris``; the corruption asks for
    another country. ``asked="common"`` asks for the 27 countries that are one token, as their capitals are, for
    the Pythia, GPT-2 and nano tokenizers, and takes the others as examples; ``asked="all"`` asks for two thirds
    of all countries of the table (``countries.py`` says where it comes from) and takes every third as an example.
    No prompt is in two parts of a split; with ``unseen="countries"`` no asked country is either, so that the test
    part asks for capitals that training did not show (and a part of "common" has few countries). At most ``size``
    rows.
    """

    name: ClassVar[str] = "capital_country"

    asked: Literal["common", "all"] = "common"
    unseen: Literal["prompts", "countries"] = "prompts"
    size: int = 5_000

    def __post_init__(self) -> None:
        one_of(self.name, "asked", self.asked, ("common", "all"))
        one_of(self.name, "unseen", self.unseen, ("prompts", "countries"))
        whole_number(self.name, "size", self.size, 2, 1_000_000)

    def generate(self, seed: int = 0) -> PairSet:
        """The rows of one seed, in random order."""
        draw = Draw(seed, self.name)
        asked, examples = self._roles()
        fixed = coupled(asked, _shape, draw)
        every = [
            (example, *couple)
            for example in examples
            for couple in (fixed if self.unseen == "countries" else coupled(asked, _shape, draw))
        ]
        rows = [row for story in draw.shuffled(every)[: self.size // 2] for row in self._rows(*story)]
        settings = {"task": self.name, **asdict(self), "seed": seed, "wrong": "given"}
        return PairSet(self.name, tuple(draw.shuffled(rows)), None, settings)

    def fresh(self, pair: Pair, draw: Draw) -> Pair | None:
        """Another example and other countries (with ``unseen="countries"`` the same two)."""
        matches = [_WORDING.fullmatch(prompt) for prompt in (pair.clean, pair.corrupted)]
        asked, examples = self._roles()
        one, other = draw.some(asked, 2)
        if self.unseen == "countries":
            one, other = (match[3] if match else "" for match in matches)
        if not {one, other} <= set(asked) or _shape(one) != _shape(other):
            return None
        return self._rows(examples[draw.below(len(examples))], one, other)[0]

    def _roles(self) -> tuple[list[str], list[str]]:
        """Countries that are asked for, and countries that are examples."""
        every = sorted(CAPITALS)
        asked = COMMON if self.asked == "common" else [country for n, country in enumerate(every) if n % 3]
        return list(asked), [country for country in every if country not in asked]

    def _rows(self, example: str, one: str, other: str) -> tuple[Pair, Pair]:
        prompts = [
            f"If {example} corresponds to {CAPITALS[example]}, then {country} corresponds to"
            for country in (one, other)
        ]
        couple = " or ".join(sorted((one, other)))
        group = couple if self.unseen == "countries" else f"{example}: {couple}"
        return mirrored(prompts[0], f" {CAPITALS[one]}", prompts[1], f" {CAPITALS[other]}", group)


def recognise(prompt: str) -> Known | None:
    """Answer and group of a prompt in the wording of capital_country; None for others and unknown countries."""
    match = _WORDING.fullmatch(prompt)
    if match is None or match[3] not in CAPITALS:
        return None
    return Known("capital_country", CAPITALS[match[3]], f"{match[1]}: {match[3]}")


def _shape(country: str) -> tuple[int, ...]:
    """Words of the country and of its capital."""
    return len(country.split()), len(CAPITALS[country].split())
