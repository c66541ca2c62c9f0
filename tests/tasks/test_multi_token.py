"""Tokenizers that split numbers: every task's rules hold with answers of several tokens."""

import pytest
import torch
from transformers import PreTrainedTokenizerBase

from circuitune.core.errors import InputError
from circuitune.models.encoding import PADDING, encode
from circuitune.tasks.checks import check
from circuitune.tasks.pairs import PairSet
from circuitune.tasks.perturb import perturbed
from circuitune.tasks.registry import TASKS
from circuitune.tasks.tokens import answer_ids, prompt_ids

WORDS_ONLY = ("comparison", "complex_ioi", "capital_country", "ioi")
"""Tasks whose answers are words, which such tokenizers leave whole."""


@pytest.fixture(params=["digit_tokenizer", "group_tokenizer"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("name", [name for name in TASKS if name != "greater_than"])
def test_every_task_keeps_its_rules(name: str, tokenizer: PreTrainedTokenizerBase, small_tasks: dict[str, PairSet]):
    checked = check(small_tasks[name], tokenizer, multi_token=True)
    assert {entry.rule for entry in checked.left_out} <= {"equal token length", "balanced kinds"}
    assert len(checked.pairs) >= 0.5 * len(small_tasks[name])
    prompts = [pair.clean for pair in checked.pairs]
    lengths = [
        list(map(len, prompt_ids(tokenizer, texts))) for texts in (prompts, [p.corrupted for p in checked.pairs])
    ]
    assert lengths[0] == lengths[1]
    assert len(set(prompts)) == len(prompts)
    answers = answer_ids(tokenizer, prompts, [pair.answer for pair in checked.pairs])
    assert all(answers)
    assert tokenizer.unk_token_id not in {token for ids in answers for token in ids}
    assert name not in WORDS_ONLY or {len(ids) for ids in answers} == {1}
    wrongs = answer_ids(tokenizer, prompts, [pair.wrong or "" for pair in checked.pairs])
    assert all(right != wrong for right, wrong in zip(answers, wrongs, strict=True))
    for part in ("train", "circuit", "validation", "test"):
        assert len(checked.pairs.split(part))


def test_numbers_are_refused_without_the_option(tokenizer: PreTrainedTokenizerBase, small_tasks: dict[str, PairSet]):
    with pytest.raises(InputError, match="break 'single-token answers'"):
        check(small_tasks["add_sub"], tokenizer)


def test_years_need_two_digits_in_one_token(
    digit_tokenizer: PreTrainedTokenizerBase,
    group_tokenizer: PreTrainedTokenizerBase,
    small_tasks: dict[str, PairSet],
):
    with pytest.raises(InputError, match="no right answer of the set is a single token"):
        check(small_tasks["greater_than"], digit_tokenizer, multi_token=True)
    assert len(check(small_tasks["greater_than"], group_tokenizer, multi_token=True).pairs) == 300


def test_encoded_answers_are_padded_at_their_end(
    digit_tokenizer: PreTrainedTokenizerBase, small_tasks: dict[str, PairSet]
):
    pairs = check(small_tasks["add_sub"], digit_tokenizer, multi_token=True).pairs
    encoded = encode(pairs, digit_tokenizer)
    assert encoded.answer.ndim == 2
    for pair, ids in zip(pairs, encoded.answer, strict=True):
        kept = ids[ids != PADDING]
        assert torch.equal(ids[: len(kept)], kept)
        assert digit_tokenizer.decode(kept) == pair.answer


def test_perturbed_pairs_keep_to_the_option(
    digit_tokenizer: PreTrainedTokenizerBase, small_tasks: dict[str, PairSet]
):
    pairs = check(small_tasks["add_sub"], digit_tokenizer, multi_token=True).pairs
    part = pairs.split("circuit")
    noisy = perturbed(part, 0.5, tokenizer=digit_tokenizer, multi_token=True)
    assert check(noisy, digit_tokenizer, multi_token=True, minimum=1).left_out == ()
    with pytest.raises(InputError, match="found 0 new pairs"):
        perturbed(part.sample(2), 0.5, tokenizer=digit_tokenizer)
