import pytest
from transformers import PreTrainedTokenizerBase

from circuitune.core.errors import InputError
from circuitune.tasks.checks import check
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.perturb import disjoint_splits, perturbed
from circuitune.tasks.registry import TASKS, solve, task
from circuitune.tasks.splits import connected


def prompts(pairs: PairSet) -> set[str]:
    return {text for pair in pairs for text in (pair.clean, pair.corrupted)}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_resampled_and_no_prompt_comes_again(
    name: str, nano_tokenizer: PreTrainedTokenizerBase, small_tasks: dict[str, PairSet]
):
    checked = check(small_tasks[name], nano_tokenizer).pairs
    part, train = checked.split("circuit"), checked.split("train")
    for share in (0.1, 0.5, 0.9):
        noisy = perturbed(part, share, seed=3, tokenizer=nano_tokenizer, avoid=[train])
        new = [(old, pair) for old, pair in zip(part, noisy, strict=True) if old != pair]
        assert len(new) == round(share * len(part))
        for old, pair in new:
            assert pair.clean not in prompts(part) | prompts(train)
            assert pair.corrupted not in prompts(train) | {row.clean for row in part}
            assert pair.corrupted not in prompts(part) or name == "greater_than"  # shares its corruptions
            assert pair.kind == old.kind
            assert pair.answer.strip() == solve(pair.clean) or pair.answer in (pair.answer_set or ())
        assert len({pair.clean for pair in noisy}) == len(part)
        assert check(noisy, nano_tokenizer, minimum=1).pairs.pairs == noisy.pairs or "balanced" in noisy.settings
        assert noisy.settings["perturbed"] == share
    assert noisy.digest == perturbed(part, 0.9, seed=3, tokenizer=nano_tokenizer, avoid=[train]).digest
    assert noisy.digest != perturbed(part, 0.9, seed=4, tokenizer=nano_tokenizer, avoid=[train]).digest


def test_a_kind_that_is_used_up_leaves_its_pairs_as_they_are():
    pairs = task("sequence", size=300)  # holds every geometric sequence there is
    noisy = perturbed(pairs, 0.5)
    changed = [old.kind for old, new in zip(pairs, noisy, strict=True) if old != new]
    assert changed == ["arithmetic"] * 150


def test_too_small_a_range_says_how_many_were_found():
    with pytest.raises(InputError, match=r"add_sub: 100 draws each found 0 new pairs and \d+ were asked for"):
        perturbed(task("add_sub", limit=3), 0.5)


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_is_above_0_and_at_most_1(share: float):
    with pytest.raises(InputError, match="above 0, at most 1"):
        perturbed(task("add_sub", limit=5), share)


def test_pairs_of_no_task_and_chats_cannot_be_perturbed(chat_tokenizer: PreTrainedTokenizerBase):
    with pytest.raises(InputError, match="mine does not say how it is resampled"):
        perturbed(PairSet("mine", (Pair("a", "b", " c", " d", "e"),)), 0.5)
    with pytest.raises(InputError, match="before a chat template"):
        perturbed(task("add_sub", limit=5).chat(chat_tokenizer), 0.5)


@pytest.mark.parametrize("name", ["add_sub", "two_step_inner", "sequence", "greater_than"])
@pytest.mark.parametrize("count", [2, 5])
def test_disjoint_sets_are_equally_large_and_share_nothing(name: str, count: int, small_tasks: dict[str, PairSet]):
    pairs = small_tasks[name]
    parts = disjoint_splits(pairs, count)
    assert len(parts) == count
    assert len({len(part) for part in parts}) == 1
    assert len(parts[0]) >= 0.8 * len(pairs) / count
    for ties in zip(*([{tie for row in part.ties for tie in row}] for part in parts), strict=True):
        assert sum(map(len, ties)) == len(set().union(*ties))
    assert [part.digest for part in parts] == [part.digest for part in disjoint_splits(pairs, count)]
    assert parts[0].digest != disjoint_splits(pairs, count, seed=1)[0].digest


def test_more_sets_than_independent_pairs_are_refused():
    pairs = task("add_sub", limit=4)
    most = len(connected(pairs.ties))
    assert len(disjoint_splits(pairs, most)) == most
    for count in (1, most + 1):
        with pytest.raises(InputError, match=f"there can be 2 to {most}"):
            disjoint_splits(pairs, count)
