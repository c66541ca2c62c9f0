"""The rules that pairs must hold for a tokenizer, and what is left out because it breaks one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from circuitune.core.errors import InputError
from circuitune.tasks.balance import Balance, balance, surplus
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.registry import Ranged, made_by
from circuitune.tasks.tokens import Tokenizer, answer_ids, decoded, prompt_ids, set_ids

UNIQUE = "unique prompts"
CORRUPTED = "has a corruption"
EQUAL_LENGTH = "equal token length"
CORRUPTION_DIFFERS = "corruption differs from prompt"
ANSWER_TOKENS = "single-token answers"
KNOWN_TOKENS = "answers in the vocabulary"
WRONG_DIFFERS = "answer differs from wrong"
SETS_DIFFER = "sets of single-token answers"
BALANCED = "balanced kinds"

MINIMUM = 40
"""Fewer pairs than this are no basis for a circuit."""

Problem = tuple[str, str] | None
"""The first rule a pair breaks, and how."""


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

    @property
    def balance(self) -> Balance:
        """Kinds and answers of the pairs that are left."""
        return balance(self.pairs)


def check(
    pairs: PairSet,
    tokenizer: Tokenizer,
    *,
    multi_token: bool = False,
    strict: bool = False,
    minimum: int = MINIMUM,
) -> Checked:
    """Leave out the pairs that break a rule for this tokenizer, before a set is split.

    Clean and corrupted prompts differ but have equally many tokens; ``answer`` and ``wrong`` are single tokens
    (with ``multi_token`` any number, at least one) known to the tokenizer, and differ; where there are sets of
    answers each has a member of one token and none is in both; no prompt comes twice (the first that holds the
    other rules is kept). In tasks that say they are balanced, rows of the kinds that keep more are left out until
    all have as many. Answers given as token ids become text. InputError if fewer than ``minimum`` pairs remain
    (it says why, and which range would do if one would) or, with ``strict``, if any is left out.
    """
    pairs = decoded(pairs, tokenizer)
    kept, left_out = _sorted_out(pairs, tokenizer, multi_token)
    if strict and left_out:
        first = left_out[0]
        raise InputError(
            f"{pairs.name}: {len(left_out)} of {len(pairs)} rows break a rule (row {first.row}, {first.rule}: "
            f"{first.reason}); correct them, or leave out --strict to go on without them."
        )
    if len(kept) < minimum:
        raise InputError(
            f"{pairs.name}: {len(kept)} of {len(pairs)} rows can be used and at least {minimum} are "
            f"needed{_why(left_out)}; {_remedy(pairs, tokenizer, multi_token, minimum)}"
        )
    return Checked(replace(pairs, pairs=tuple(kept)), tuple(left_out))


def broken_rule(pair: Pair, tokenizer: Tokenizer, multi_token: bool = False) -> str | None:
    """The first rule that one pair breaks by itself; None where it holds them all."""
    problem = _problems([pair], tokenizer, multi_token)[0]
    return None if problem is None else problem[0]


def _sorted_out(pairs: PairSet, tokenizer: Tokenizer, multi_token: bool) -> tuple[list[Pair], list[LeftOut]]:
    """The pairs that hold all rules, and the others in order of rows."""
    kept: list[Pair] = []
    rows: list[int] = []
    left_out: list[LeftOut] = []
    first_rows: dict[str, int] = {}
    for place, (pair, problem) in enumerate(
        zip(pairs, _problems(pairs.pairs, tokenizer, multi_token), strict=True), start=1
    ):
        row = place if pair.row is None else pair.row
        if problem is None and pair.clean in first_rows:
            problem = (UNIQUE, f"the same prompt as row {first_rows[pair.clean]}")
        if problem is None:
            first_rows[pair.clean] = row
            kept.append(pair)
            rows.append(row)
        else:
            left_out.append(LeftOut(row, *problem))
    if pairs.settings.get("balanced") is True:
        for place in reversed(surplus(kept)):
            reason = f"more rows of kind {kept.pop(place).kind!r} can be used than of another"
            left_out.append(LeftOut(rows.pop(place), BALANCED, reason))
    return kept, sorted(left_out, key=lambda entry: entry.row)


def _problems(pairs: Sequence[Pair], tokenizer: Tokenizer, multi_token: bool) -> list[Problem]:
    """For each pair the first rule it breaks by itself, and how."""
    clean = prompt_ids(tokenizer, [pair.clean for pair in pairs])
    corrupted = prompt_ids(tokenizer, [pair.corrupted for pair in pairs])
    answers = answer_ids(tokenizer, [pair.clean for pair in pairs], [pair.answer for pair in pairs])
    having = [(place, pair.clean, pair.wrong) for place, pair in enumerate(pairs) if pair.wrong is not None]
    wrong_ids = answer_ids(tokenizer, [prompt for _, prompt, _ in having], [wrong for _, _, wrong in having])
    wrongs = {place: ids for (place, _, _), ids in zip(having, wrong_ids, strict=True)}
    sets = _sets(pairs, tokenizer)
    unknown: int | None = getattr(tokenizer, "unk_token_id", None)

    def problem(place: int) -> Problem:
        pair, wrong = pairs[place], wrongs.get(place)
        found = _prompt_problem(pair, clean[place], corrupted[place])
        for text, ids in ((pair.answer, answers[place]), (pair.wrong, wrong)):
            if ids is not None:
                found = found or _token_problem(text, ids, unknown, multi_token)
        if found is None and wrong == answers[place]:
            return WRONG_DIFFERS, f"answer and wrong are both {pair.answer!r}"
        return found or _set_problem(*sets.get(place, (None, None)))

    return [problem(place) for place in range(len(pairs))]


def _prompt_problem(pair: Pair, clean: list[int], corrupted: list[int]) -> Problem:
    if not pair.corrupted:
        return CORRUPTED, "no corruption was found for this prompt"
    if clean == corrupted:
        return CORRUPTION_DIFFERS, "clean and corrupted have the same tokens"
    if len(clean) != len(corrupted):
        return EQUAL_LENGTH, f"the clean prompt has {len(clean)} tokens, the corrupted one {len(corrupted)}"
    return None


def _token_problem(text: str | None, ids: list[int], unknown: int | None, multi_token: bool) -> Problem:
    if not ids:
        return ANSWER_TOKENS, f"{text!r} has 0 tokens"
    if len(ids) > 1 and not multi_token:
        return ANSWER_TOKENS, f"{text!r} has {len(ids)} tokens"
    if unknown in ids:
        return KNOWN_TOKENS, f"{text!r} is not in the tokenizer's vocabulary"
    return None


def _sets(pairs: Sequence[Pair], tokenizer: Tokenizer) -> dict[int, tuple[list[int], list[int]]]:
    """Ids of the right and of the wrong answers, by place, for the pairs that have both sets."""
    having = [
        (place, pair.clean, pair.answer_set, pair.wrong_set)
        for place, pair in enumerate(pairs)
        if pair.answer_set is not None and pair.wrong_set is not None
    ]
    prompts = [prompt for _, prompt, _, _ in having]
    right = set_ids(tokenizer, prompts, [members for _, _, members, _ in having])
    wrong = set_ids(tokenizer, prompts, [members for _, _, _, members in having])
    return {place: both for (place, *_), both in zip(having, zip(right, wrong, strict=True), strict=True)}


def _set_problem(right: list[int] | None, wrong: list[int] | None) -> Problem:
    if right is None or wrong is None:
        return None
    if not right or not wrong:
        return SETS_DIFFER, f"no {'wrong' if right else 'right'} answer of the set is a single token"
    if not set(right).isdisjoint(wrong):
        return SETS_DIFFER, "the same token is in the set of right answers and in that of wrong ones"
    return None


def _why(left_out: list[LeftOut]) -> str:
    """The rules that rows break, the most frequent first, each with its first row."""
    first_of = {entry.rule: entry for entry in reversed(left_out)}
    rules = [
        f"{count} break '{rule}' (row {first_of[rule].row}: {first_of[rule].reason})"
        for rule, count in Counter(entry.rule for entry in left_out).most_common()
    ]
    return f": {'; '.join(rules)}" if rules else ""


def _remedy(pairs: PairSet, tokenizer: Tokenizer, multi_token: bool, minimum: int) -> str:
    """What to do about too few rows: a smaller range of the task, if it is sure to leave enough."""
    made, largest = made_by(pairs), _largest_whole(pairs, tokenizer)
    narrower = made.narrowed(largest) if isinstance(made, Ranged) and largest is not None else None
    if narrower is not None:
        smaller = narrower.generate()
        kept, _ = _sorted_out(smaller, tokenizer, multi_token)
        if len(kept) >= minimum:
            changed = [f"{key}={value}" for key, value in vars(narrower).items() if value != getattr(made, key)]
            return f"numbers up to {largest} are single tokens: {', '.join(changed)} leaves {len(kept)} rows."
    return "add rows or correct these, or use a smaller range of numbers or a tokenizer that knows them whole."


def _largest_whole(pairs: PairSet, tokenizer: Tokenizer) -> int | None:
    """The largest number up to which every answer of the pairs is a single token; None where all or none is."""
    numbers = {int(pair.answer): pair for pair in pairs if pair.answer.strip().isdecimal()}
    rows = answer_ids(tokenizer, [p.clean for p in numbers.values()], [p.answer for p in numbers.values()])
    split = [number for number, ids in zip(numbers, rows, strict=True) if len(ids) != 1]
    return min(split) - 1 if split and min(split) > 0 else None
