"""The table every experiment starts from: prompts, their corruptions and the answers, as text."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from circuitune.core.errors import InputError
from circuitune.core.manifest import canonical_json
from circuitune.core.notebook import line
from circuitune.tasks.splits import SHARES, Draw, Part, assign

if TYPE_CHECKING:
    from circuitune.tasks.chat import ChatTokenizer


@dataclass(frozen=True)
class Pair:
    """A prompt and its corruption.

    ``answer`` and ``wrong`` are exactly the text that follows the prompt, leading space included; ``wrong``
    answers the corrupted prompt (None where that has no answer). Pairs of one ``group`` (the same operands,
    say) never land in different parts. ``row`` is the 1-based data row of the file a pair came from.
    ``answer_id`` and ``wrong_id`` stand in for texts that a file gives as token ids: then ``answer`` is ""
    until ``tokens.decoded`` fills it in. ``kind`` is what balance is counted by, an operator say. Where many
    answers are right, ``answer_set`` holds all of them and ``wrong_set`` the wrong ones; ``answer`` and
    ``wrong`` are one of each.
    """

    clean: str
    corrupted: str
    answer: str
    wrong: str | None
    group: str
    row: int | None = None
    answer_id: int | None = None
    wrong_id: int | None = None
    kind: str | None = None
    answer_set: tuple[str, ...] | None = None
    wrong_set: tuple[str, ...] | None = None


@dataclass(frozen=True)
class PairSet:
    """Pairs, the part of a split they are (None: not split), and the settings that made them."""

    name: str
    pairs: tuple[Pair, ...]
    part: Part | None = None
    settings: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])

    def __repr__(self) -> str:
        example = f"{self.pairs[0].clean!r}, {self.pairs[0].answer!r}" if self.pairs else ""
        part = "" if self.part is None else f" of the {self.part} part"
        return line("PairSet", [f"{self.name}, {len(self):,} pairs{part}", example])

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def __getitem__(self, index: int) -> Pair:
        return self.pairs[index]

    def split(self, part: Part, seed: int = 0) -> "PairSet":
        """One of four disjoint parts: train .6, circuit .1, validation .1, test .2 of the rows.

        No group, prompt or corrupted prompt is in two parts of the same seed. InputError for another part's
        name, a set that is a part already, or fewer than four independent groups.
        """
        if part not in SHARES:
            raise InputError(f"{part!r} is no part of a split; choose one of {', '.join(SHARES)}.")
        if self.part is not None:
            raise InputError(f"{self.name} is already the {self.part} part; split the whole set.")
        parts = assign(self.ties, seed)
        pairs = tuple(pair for pair, own in zip(self.pairs, parts, strict=True) if own == part)
        return replace(self, pairs=pairs, part=part, settings={**self.settings, "split_seed": seed})

    def sample(self, n: int, seed: int = 0) -> "PairSet":
        """``n`` random pairs in their order here, all of them if there are fewer.

        A set that is not split gives pairs of its "circuit" part (of split seed 0).
        """
        if n < 1:
            raise InputError(f"A sample of {n} pairs was asked for; choose at least 1.")
        if self.part is None:
            return self.split("circuit").sample(n, seed)
        places = sorted(Draw(seed, "sample").some(range(len(self)), min(n, len(self))))
        settings = {**self.settings, "sample": n, "sample_seed": seed}
        return replace(self, pairs=tuple(self.pairs[place] for place in places), settings=settings)

    @property
    def ties(self) -> list[tuple[str, ...]]:
        """For each pair its group and both its prompts: pairs that share any of them belong together."""
        return [(f"group:{p.group}", f"prompt:{p.clean}", f"prompt:{p.corrupted}") for p in self.pairs]

    @property
    def digest(self) -> str:
        """SHA-256 of the pairs in their order: equal content, equal digest, wherever it came from."""
        return hashlib.sha256(canonical_json([_content(pair) for pair in self.pairs]).encode()).hexdigest()

    def chat(self, tokenizer: "ChatTokenizer") -> "PairSet":
        """The pairs as a user's message to a chat model and the answer as its reply; see ``chat``."""
        from circuitune.tasks.chat import wrapped  # chat builds PairSets

        return wrapped(self, tokenizer)

    def to_jsonl(self, path: Path) -> None:
        """Write one line about the set and one per pair; see ``storage``."""
        from circuitune.tasks.storage import write_jsonl  # storage builds PairSets

        write_jsonl(self, path)

    def to_csv(self, path: Path) -> None:
        """Write a table of the pairs, safe to open in a spreadsheet; ``read_pairs`` reads the same pairs back."""
        from circuitune.tasks.storage import write_csv

        write_csv(self, path)

    @staticmethod
    def from_jsonl(path: Path) -> "PairSet":
        """Read what ``to_jsonl`` wrote; InputError where the file is missing, damaged or foreign."""
        from circuitune.tasks.storage import read_jsonl

        return read_jsonl(path)


def _content(pair: Pair) -> tuple[object, ...]:
    """What a digest covers; sets only where there are any, so that other pairs keep the digests they always had."""
    texts = (pair.clean, pair.corrupted, pair.answer, pair.wrong, pair.group, pair.answer_id, pair.wrong_id)
    sets = () if pair.answer_set is None and pair.wrong_set is None else (pair.answer_set, pair.wrong_set)
    return *texts, *sets
