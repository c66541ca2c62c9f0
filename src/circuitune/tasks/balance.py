"""How evenly a pair set spreads over its kinds and answers."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from circuitune.tasks.pairs import Pair


@dataclass(frozen=True)
class Balance:
    """What a model could learn without looking at the prompt.

    Attributes:
        kinds: rows of each kind (operator, kind of sequence, ...); empty where the pairs name none.
        answer: the most frequent answer.
        share: its share of all rows; a model that always says it is right that often.
    """

    kinds: dict[str, int]
    answer: str
    share: float

    @property
    def words(self) -> str:
        """One line for people."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.items())
        return f"{f'{kinds}; ' if kinds else ''}most frequent answer {self.answer!r}: {self.share:.1%} of the rows"


def balance(pairs: Iterable[Pair]) -> Balance:
    """Count kinds and answers; of equally frequent answers the first in the order of rows. Needs a row."""
    rows = list(pairs)
    kinds = Counter(pair.kind for pair in rows if pair.kind is not None)
    answer, count = Counter(pair.answer for pair in rows).most_common(1)[0]
    return Balance({kind: kinds[kind] for kind in sorted(kinds)}, answer, count / len(rows))


def surplus(pairs: Sequence[Pair]) -> list[int]:
    """Places of the rows, the last of each kind, without which every kind has as many rows as the rarest."""
    places: dict[str | None, list[int]] = {}
    for place, pair in enumerate(pairs):
        places.setdefault(pair.kind, []).append(place)
    least = min(map(len, places.values()), default=0)
    return sorted(place for own in places.values() for place in own[least:])
