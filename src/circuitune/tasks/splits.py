"""Four disjoint parts of a pair set, and draws that come out the same everywhere.

Rows that share a group, a prompt or a corrupted prompt are connected (union-find), and connected rows stay
together: nothing a model was trained on is seen again, from either side, in another part.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, TypeVar

from circuitune.core.errors import InputError

Part = Literal["train", "circuit", "validation", "test"]
SHARES: dict[Part, float] = {"train": 0.6, "circuit": 0.1, "validation": 0.1, "test": 0.2}
"""The parts of a pair set and their shares of its rows."""

T = TypeVar("T")


def assign(keys: Sequence[tuple[str, ...]], seed: int) -> list[Part]:
    """The part of every row; rows that share any of their keys get the same one.

    Larger components first, equal ones in an order hashed from the seed, each goes where the part would be
    least overfull afterwards; as long as there are four components no part stays empty. InputError otherwise.
    """
    components = connected(keys)
    if len(components) < len(SHARES):
        raise InputError(
            f"{len(keys)} rows that share prompts or groups make {len(components)} independent sets; "
            f"four parts (train, circuit, validation, test) need at least {len(SHARES)}: add unrelated rows."
        )
    components.sort(key=lambda rows: (-len(rows), _hashed(seed, min(min(keys[row]) for row in rows))))
    filled: Counter[Part] = Counter()
    parts: list[Part] = ["train"] * len(keys)
    for place, rows in enumerate(components):
        part = _choose(len(rows), filled, components_left=len(components) - place)
        filled[part] += len(rows)
        for row in rows:
            parts[row] = part
    return parts


def _choose(size: int, filled: Counter[Part], components_left: int) -> Part:
    empty: list[Part] = [part for part in SHARES if not filled[part]]
    choices: list[Part] = empty if components_left == len(empty) else list(SHARES)
    overfull = {part: (filled[part] + size) / SHARES[part] for part in choices}
    return min(choices, key=lambda part: overfull[part])


def connected(keys: Sequence[tuple[str, ...]]) -> list[list[int]]:
    """Rows in sets that share no key with each other; each set ascending, sets in order of their first row."""
    parent: dict[str, str] = {}
    for row in keys:
        first = _root(parent, row[0])
        for other in row[1:]:
            parent[_root(parent, other)] = first
    components: dict[str, list[int]] = {}
    for index, row in enumerate(keys):
        components.setdefault(_root(parent, row[0]), []).append(index)
    return list(components.values())


def _root(parent: dict[str, str], key: str) -> str:
    parent.setdefault(key, key)
    while parent[key] != key:
        parent[key] = parent[parent[key]]
        key = parent[key]
    return key


def _hashed(seed: int, text: str) -> str:
    return hashlib.sha256(f"{seed}\n{text}".encode()).hexdigest()


class Draw:
    """Random choices with the same outcome on every machine and Python version.

    Of the standard generator only ``random()`` under a string seed is guaranteed to stay as it is; everything
    here is made of it.
    """

    def __init__(self, seed: int, *labels: str) -> None:
        self._random = random.Random("\n".join((str(seed), *labels))).random

    def below(self, limit: int) -> int:
        """A whole number in 0..limit-1."""
        return int(self._random() * limit)

    def between(self, low: int, high: int) -> int:
        """A whole number in low..high, both included."""
        return low + self.below(high - low + 1)

    def shuffled(self, items: Iterable[T]) -> list[T]:
        """The items in a random order."""
        keyed = [(self._random(), place, item) for place, item in enumerate(items)]
        return [item for _, _, item in sorted(keyed, key=lambda entry: entry[:2])]

    def some(self, items: Sequence[T], count: int) -> list[T]:
        """``count`` different places of a sequence (which may be a long range), in random order."""
        if count * 2 >= len(items):
            return self.shuffled(items)[:count]
        places: dict[int, None] = {}
        while len(places) < count:
            places.setdefault(self.below(len(items)))
        return [items[place] for place in places]
