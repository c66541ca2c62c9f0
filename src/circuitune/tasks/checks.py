"""The rules that pairs must hold for a tokenizer, and what is left out because it breaks one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from circuitune.core.errors import InputError
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.tokens import Tokenizer, answer_ids, decoded, prompt_ids

UNIQUE = "unique prompts"
EQUAL_LENGTH = "equal token length"
CORRUPTION_DIFFERS = "corruption differs from prompt"
ANSWER_TOKENS = "single-token answers"
WRONG_DIFFERS = "answer differs from wrong"

MINIMUM = 40
"""Fewer pairs than this are no basis for a circuit."""


@dataclass(frozen=True)
class LeftOut:
    """A pair that breaks a rule: its row in the file, or its place (from 1) in a set that has no rows."""

    row: int
    rule: str
    reason: str


@dataclass(frozen=True)
class Checked:
    """The pairs that hold every rule, in their order, and the others with the first rule each breaks."""

    pairs: PairSet
    left_out: tuple[LeftOut, ...]


def check(
    pairs: PairSet,
    tokenizer: Tokenizer,
    *,
    answer_tokens: int = 1,
    strict: bool = False,
    minimum: int = MINIMUM,
) -> Checked:
    """Leave out the pairs that break a rule for this tokenizer, before a set is split.

    Clean and corrupted prompts differ but have equally many tokens; ``answer`` and ``wrong`` have at most
    ``answer_tokens`` tokens, all of them known to the tokenizer, and differ; no prompt comes twice (the first
    that holds the other rules is kept). Answers given as token ids become text. InputError if fewer than
    ``minimum`` pairs remain or, with ``strict``, if any is left out.
    """
    pairs = decoded(pairs, tokenizer)
    problems = _problems(pairs.pairs, tokenizer, answer_tokens)
    kept: list[Pair] = []
    left_out: list[LeftOut] = []
    first_rows: dict[str, int] = {}
    for place, (pair, problem) in enumerate(zip(pairs, problems, strict=True), start=1):
        row = place if pair.row is None else pair.row
        if problem is None and pair.clean in first_rows:
            problem = (UNIQUE, f"the same prompt as row {first_rows[pair.clean]}")
        if problem is None:
            first_rows[pair.clean] = row
            kept.append(pair)
        else:
            left_out.append(LeftOut(row, *problem))
    if strict and left_out:
        first = left_out[0]
        raise InputError(
            f"{pairs.name}: {len(left_out)} of {len(pairs)} rows break a rule (row {first.row}, {first.rule}: "
            f"{first.reason}); correct them, or leave out --strict to go on without them."
        )
    if len(kept) < minimum:
        raise InputError(_too_few(pairs, len(kept), left_out, minimum))
    return Checked(replace(pairs, pairs=tuple(kept)), tuple(left_out))


def _problems(pairs: Sequence[Pair], tokenizer: Tokenizer, answer_tokens: int) -> list[tuple[str, str] | None]:
    """For each pair the first rule it breaks by itself, and how."""
    prompts = [pair.clean for pair in pairs]
    clean = prompt_ids(tokenizer, prompts)
    corrupted = prompt_ids(tokenizer, [pair.corrupted for pair in pairs])
    answers = answer_ids(tokenizer, prompts, [pair.answer for pair in pairs])
    having = [place for place, pair in enumerate(pairs) if pair.wrong is not None]
    wrongs = answer_ids(
        tokenizer, [prompts[place] for place in having], [pairs[place].wrong or "" for place in having]
    )
    wrong_of = dict(zip(having, wrongs, strict=True))
    unknown: int | None = getattr(tokenizer, "unk_token_id", None)

    def problem(place: int) -> tuple[str, str] | None:
        if clean[place] == corrupted[place]:
            return CORRUPTION_DIFFERS, "clean and corrupted have the same tokens"
        if len(clean[place]) != len(corrupted[place]):
            lengths = f"{len(clean[place])} tokens, the corrupted one {len(corrupted[place])}"
            return EQUAL_LENGTH, f"the clean prompt has {lengths}"
        wrong, texts = wrong_of.get(place), pairs[place]
        for text, ids in ((texts.answer, answers[place]), (texts.wrong, wrong)):
            if ids is not None and not 1 <= len(ids) <= answer_tokens:
                return ANSWER_TOKENS, f"{text!r} has {len(ids)} tokens, at most {answer_tokens} allowed"
            if ids is not None and unknown in ids:
                return ANSWER_TOKENS, f"{text!r} is not in the tokenizer's vocabulary"
        if wrong == answers[place]:
            return WRONG_DIFFERS, f"answer and wrong are both {texts.answer!r}"
        return None

    return [problem(place) for place in range(len(pairs))]


def _too_few(pairs: PairSet, kept: int, left_out: list[LeftOut], minimum: int) -> str:
    first_of = {entry.rule: entry for entry in reversed(left_out)}
    rules = [
        f"{count} break '{rule}' (row {first_of[rule].row}: {first_of[rule].reason})"
        for rule, count in Counter(entry.rule for entry in left_out).most_common()
    ]
    why = f": {'; '.join(rules)}" if rules else ""
    return (
        f"{pairs.name}: {kept} of {len(pairs)} rows can be used and at least {minimum} are needed{why}; "
        "add rows or correct these, or use a smaller range of numbers or a tokenizer that knows them whole."
    )
