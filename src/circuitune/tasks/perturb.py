"""Other pairs like these: some resampled (is a circuit robust?), or disjoint parts (is it stable?)."""

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
    avoid: Iterable[PairSet] = (),
) -> PairSet:
    """The same set with a random share of its pairs resampled by the noise of their task, the others kept in place.

    A resampled pair is of the same kind (operator, kind of sequence, ...), its numbers, names or years are drawn
    anew, and neither of its prompts is a prompt of the set.

    Args:
        pairs: of a task, or a part or sample of one.
        share: of the pairs, above 0 and at most 1; the study takes 0.1 to 0.9.
        seed: of the choice and the noise.
        tokenizer: if given, resampled pairs hold its rules (`check`), so that the set keeps its size.
        avoid: sets whose prompts must not come up either, such as the train part.

    Raises:
        InputError: pairs of no task, prompts in a chat template, a share outside its range, or a pair for which
            100 draws found nothing new.
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
    existing = {text for one in (pairs, *avoid) for pair in one for text in (pair.clean, pair.corrupted)}
    for place in sorted(draw.some(range(len(rows)), round(share * len(rows)))):
        rows[place] = _resampled(rows[place], made, existing, tokenizer, draw)
        existing.update((rows[place].clean, rows[place].corrupted))
    settings = {**pairs.settings, "perturbed": share, "perturb_seed": seed}
    return replace(pairs, pairs=tuple(rows), settings=settings)


def _resampled(pair: Pair, made: Perturbable, existing: set[str], tokenizer: Tokenizer | None, draw: Draw) -> Pair:
    for _ in range(TRIES):
        new = made.fresh(pair, draw)
        if new is None or new.clean in existing or new.corrupted in existing or new.answer == new.wrong:
            continue
        if tokenizer is None or broken_rule(new, tokenizer) is None:
            return new
    raise InputError(
        f"{TRIES} draws found no new pair like {pair.clean!r}; perturb a smaller share, or take a larger range."
    )


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
