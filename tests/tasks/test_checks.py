from collections import Counter
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from circuitune.core.errors import InputError
from circuitune.tasks.checks import LeftOut, check
from circuitune.tasks.files import read_pairs
from circuitune.tasks.pairs import Pair, PairSet

GOOD = tuple(Pair(f"{n} + 1 =", f"{n} - 1 =", f" {n + 1}", f" {n - 1}", str(n)) for n in range(100, 150))


def with_rows(*rows: Pair) -> PairSet:
    return PairSet("mine", (*rows, *GOOD))


def test_good_rows_all_stay(nano_tokenizer: PreTrainedTokenizerBase):
    checked = check(with_rows(), nano_tokenizer, strict=True)
    assert checked.pairs == with_rows()
    assert checked.left_out == ()


@pytest.mark.parametrize(
    ("row", "rule", "reason"),
    [
        (Pair("1 + 1 =", "1 - 1000 =", " 2", " 3", "a"), "equal token length", "the clean prompt has 4 tokens"),
        (Pair("1 + 1 =", "1 + 1 =", " 2", " 3", "a"), "corruption differs from prompt", "the same tokens"),
        (Pair("1 + 1 =", "1 - 1 =", " 2000", " 3", "a"), "single-token answers", "' 2000' has 2 tokens"),
        (Pair("1 + 1 =", "1 - 1 =", " 2", " 3000", "a"), "single-token answers", "' 3000' has 2 tokens"),
        (Pair("1 + 1 =", "1 - 1 =", "", " 3", "a"), "single-token answers", "'' has 0 tokens"),
        (Pair("1 + 1 =", "1 - 1 =", " 2", " 2", "a"), "answer differs from wrong", "both ' 2'"),
        (Pair("100 + 1 =", "100 - 1 =", " 2", " 3", "a"), None, ""),
    ],
)
def test_each_rule_leaves_out_its_row(
    row: Pair, rule: str | None, reason: str, nano_tokenizer: PreTrainedTokenizerBase
):
    checked = check(with_rows(row), nano_tokenizer)
    if rule is None:  # a good row before another with the same prompt: the later one goes
        assert checked.left_out == (LeftOut(2, "unique prompts", "the same prompt as row 1"),)
        return
    (left_out,) = checked.left_out
    assert (left_out.row, left_out.rule) == (1, rule)
    assert reason in left_out.reason
    assert checked.pairs.pairs == GOOD


def test_a_repeat_of_a_row_that_is_left_out_takes_its_place(nano_tokenizer: PreTrainedTokenizerBase):
    bad = Pair("100 + 1 =", "100 - 1 =", " 101", " 101", "a")
    checked = check(with_rows(bad), nano_tokenizer)
    assert [entry.row for entry in checked.left_out] == [1]
    assert checked.pairs.pairs == GOOD


def test_rows_are_numbered_as_in_their_file(nano_tokenizer: PreTrainedTokenizerBase):
    bad = Pair("1 + 1 =", "1 - 1 =", " 2", " 2", "a", row=77)
    assert check(with_rows(bad), nano_tokenizer).left_out[0].row == 77


def test_unknown_answers_are_left_out(letter_tokenizer: PreTrainedTokenizerBase):
    rows = tuple(Pair(f"{n}+1=", f"{n}-1=", "5", "4", str(n)) for n in range(50))
    checked = check(PairSet("mine", (Pair("é+1=", "é-1=", "é", "4", "a"), *rows)), letter_tokenizer)
    assert [(entry.rule, entry.reason) for entry in checked.left_out] == [
        ("answers in the vocabulary", "'é' is not in the tokenizer's vocabulary")
    ]


def test_longer_answers_on_request(letter_tokenizer: PreTrainedTokenizerBase):
    pairs = with_rows()
    with pytest.raises(InputError, match="0 of 50 rows"):
        check(pairs, letter_tokenizer)
    assert len(check(pairs, letter_tokenizer, multi_token=True).pairs) == 50


def test_strict_names_the_first_row(nano_tokenizer: PreTrainedTokenizerBase):
    bad = Pair("1 + 1 =", "1 - 1 =", " 2", " 2", "a")
    with pytest.raises(InputError, match=r"mine: 1 of 51 rows break a rule \(row 1, answer differs from wrong"):
        check(with_rows(bad), nano_tokenizer, strict=True)


def test_too_few_rows_say_how_many_and_why(nano_tokenizer: PreTrainedTokenizerBase):
    bad = [Pair(f"{n} + 5 =", f"{n} - 5 =", " 2", " 2", str(n), row=n + 3) for n in range(30)]
    long = [Pair("7 + 5 =", "7 - 5 =", " 1200", " 2", "a", row=90)]
    pairs = PairSet("mine", (*bad, *long, *GOOD[:39]))
    with pytest.raises(InputError) as caught:
        check(pairs, nano_tokenizer)
    message = str(caught.value)
    assert "39 of 70 rows can be used and at least 40 are needed" in message
    assert "30 break 'answer differs from wrong' (row 3: " in message
    assert "1 break 'single-token answers' (row 90: ' 1200' has 2 tokens" in message
    assert len(check(pairs, nano_tokenizer, minimum=39).pairs) == 39


def test_token_ids_are_checked_as_text(nano_tokenizer: PreTrainedTokenizerBase):
    ids = [nano_tokenizer(f" {n}", add_special_tokens=False)["input_ids"] for n in range(50)]
    rows = tuple(Pair(f"{n} + 0 =", f"{n} - 0 =", "", None, str(n), n, ids[n][0]) for n in range(50))
    assert [pair.answer for pair in check(PairSet("ids", rows), nano_tokenizer).pairs] == [f" {n}" for n in range(50)]


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("add_sub_100", {}),
        ("function", {}),
        ("sequence", {"single-token answers": 21, "equal token length": 12}),
    ],
)
def test_released_rows_with_the_pythia_tokenizer(
    name: str, rules: dict[str, int], released: Path, pythia_tokenizer: PreTrainedTokenizerBase
):
    checked = check(read_pairs(released / f"{name}.csv"), pythia_tokenizer)
    assert Counter(entry.rule for entry in checked.left_out) == rules
    assert len(checked.pairs) == 300 - sum(rules.values())
