"""Other pairs like these: some resampled (is a circuit robust?), or disjoint parts (is it stable?)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from circuitune.core.errors import InputError
from circuitune.tasks.checks import broken_rule
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.registry import Perturbable, made_by
from circuitune.tasks.splits import Draw, connected
from circuitune.tasks.tokens import Tokenizer

TRIES = 100
"""How often a pair is resampled, as in the study, until it is no prompt that exists."""


def perturbed(
    pairs: PairSet,
    share: float,
    seed: int = 0,
    *,
    tokenizer: Tokenizer | None = None,
    multi_token: bool = False,
    avoid: Iterable[PairSet] = (),
) -> PairSet:
    """The same set with a random share of its pairs resampled by the noise of their task, the others kept in place.

    A resampled pair is of the same kind (operator, kind of sequence, ...), its numbers, names or years are drawn
    anew, and neither of its prompts is a prompt of the set; only a corruption that many pairs of the set share, as
    in greater_than, may come again. A pair for which 100 draws find nothing new (all geometric sequences may be
    there already) is kept, and another taken in its place.

    Args:
        pairs: of a task, or a part or sample of one.
        share: of the pairs, above 0 and at most 1; the study takes 0.1 to 0.9.
        seed: of the choice and the noise.
        tokenizer: if given, resampled pairs hold its rules (`check`), so that the set keeps its size.
        multi_token: as in `check`: answers of several tokens are allowed.
        avoid: sets whose prompts must not come up either, such as the train part.

    Raises:
        InputError: pairs of no task, prompts in a chat template, a share outside its range, or too few pairs for
            which 100 draws found something new.
    """
    made = made_by(pairs)
    if not isinstance(made, Perturbable) or "chat" in pairs.settings:
        raise InputError(
            f"{pairs.name} does not say how it is resampled; perturb pairs of a task, before a chat template."
        )
    if not 0 < share <= 1:
        raise InputError(f"A share of {share} was asked for; give a number above 0, at most 1.")
    draw = Draw(seed, "perturb", str(share))
    rows = list(pairs)
    elsewhere = {text for one in avoid for pair in one for text in (pair.clean, pair.corrupted)}
    existing = elsewhere | {text for pair in rows for text in (pair.clean, pair.corrupted)}
    shared = _shared_corruptions(rows) - elsewhere
    wanted, done = round(share * len(rows)), 0
    for place in draw.shuffled(range(len(rows))):
        if done == wanted:
            break
        new = _resampled(rows[place], made, existing, shared, tokenizer, multi_token, draw)
        if new is not None:
            rows[place], done = new, done + 1
            existing.update((new.clean, new.corrupted))
    if done < wanted:
        raise InputError(
            f"{pairs.name}: {TRIES} draws each found {done} new pairs and {wanted} were asked for; "
            "perturb a smaller share, or take a larger range."
        )
    settings = {**pairs.settings, "perturbed": share, "perturb_seed": seed}
    return replace(pairs, pairs=tuple(rows), settings=settings)


def _shared_corruptions(rows: Sequence[Pair]) -> set[str]:
    """Corruptions of two prompts or more that are no prompt themselves."""
    corruptions = Counter(corrupted for corrupted, _ in {(pair.corrupted, pair.clean) for pair in rows})
    return {text for text, count in corruptions.items() if count > 1} - {pair.clean for pair in rows}


def _resampled(
    pair: Pair,
    made: Perturbable,
    existing: set[str],
    shared: set[str],
    tokenizer: Tokenizer | None,
    multi_token: bool,
    draw: Draw,
) -> Pair | None:
    """A new pair like this one; None where chance finds none."""
    for _ in range(TRIES):
        new = made.fresh(pair, draw)
        if new is None or new.clean in existing or new.answer == new.wrong:
            continue
        if new.corrupted in existing and new.corrupted not in shared:
            continue
        if tokenizer is None or broken_rule(new, tokenizer, multi_token) is None:
            return new
    return None


def disjoint_splits(pairs: PairSet, count: int, seed: int = 0) -> list[PairSet]:
    """Equally large sets, no two of which share a group or a prompt; rows that do not divide are left out.

    InputError for fewer than two sets, or more than there are independent pairs.
    """
    components = connected(pairs.ties)
    if not 2 <= count <= len(components):
        raise InputError(
            f"{pairs.name}: {count} disjoint sets were asked for; there can be 2 to {len(components)}, as many as "
            "pairs that share no prompt and no group."
        )
    bins: list[list[int]] = [[] for _ in range(count)]
    for rows in sorted(Draw(seed, "disjoint").shuffled(components), key=len, reverse=True):
        min(bins, key=len).extend(rows)
    size = min(map(len, bins))
    return [_part(pairs, sorted(rows[:size]), number, count, seed) for number, rows in enumerate(bins)]


def _part(pairs: PairSet, rows: Sequence[int], number: int, count: int, seed: int) -> PairSet:
    settings = {**pairs.settings, "disjoint": f"{number + 1} of {count}", "disjoint_seed": seed}
    return replace(pairs, pairs=tuple(pairs[row] for row in rows), settings=settings)
