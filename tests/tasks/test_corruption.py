"""Corruptions that are found for prompts without one."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from circuitune.core.errors import InputError
from circuitune.tasks.checks import check
from circuitune.tasks.corruption import STRATEGIES, Strategy, corrupted
from circuitune.tasks.files import read_pairs
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.registry import TASKS, solve
from circuitune.tasks.tokens import prompt_ids

CAPITALS = "Peru Lima,Cuba Havana,Iran Tehran,Iraq Baghdad,Mali Bamako,Oman Muscat,Togo Lome,Fiji Suva,Chad Njamena"


def bare(*rows: tuple[str, str]) -> PairSet:
    return PairSet("mine", tuple(Pair(clean, "", answer, None, clean) for clean, answer in rows))


def facts() -> PairSet:
    names = [entry.split() for entry in CAPITALS.split(",")]
    return bare(*((f"The capital of {country} is", f" {city}") for country, city in names))


def ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return prompt_ids(tokenizer, [text])[0]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", [name for name in TASKS if name not in ("greater_than", "comparison")])
def test_a_tasks_prompts_get_corruptions_of_equal_length(
    strategy: Strategy, name: str, nano_tokenizer: PreTrainedTokenizerBase, small_tasks: dict[str, PairSet]
):
    rows = tuple(replace(pair, corrupted="", wrong=None) for pair in small_tasks[name].pairs[:150])
    found = corrupted(PairSet("mine", rows), strategy, nano_tokenizer)
    done = [pair for pair in found if pair.corrupted]
    assert len(done) > 0.8 * len(rows)
    texts = {pair.clean: pair for pair in rows}
    for pair in done:
        clean, other = ids(nano_tokenizer, pair.clean), ids(nano_tokenizer, pair.corrupted)
        assert len(clean) == len(other)
        assert clean != other
        if pair.corrupted in texts:
            assert pair.wrong == texts[pair.corrupted].answer != pair.answer
        if strategy == "another-row":
            assert pair.corrupted in texts
        else:
            assert sum(one != two for one, two in zip(clean, other, strict=True)) == 1


def test_rows_are_coupled_so_that_a_set_can_still_be_split(nano_tokenizer: PreTrainedTokenizerBase):
    rows = bare(*((f"{n} + 5 =", f" {n + 5}") for n in range(100, 200)))
    found = corrupted(rows, "another-row", nano_tokenizer)
    of = {pair.clean: pair.corrupted for pair in found}
    assert all(of[of[clean]] == clean for clean in of)
    assert [len(found.split(part)) for part in ("train", "circuit", "validation", "test")] == [60, 10, 10, 20]


def test_a_row_left_over_borrows_a_prompt(nano_tokenizer: PreTrainedTokenizerBase):
    found = corrupted(bare(("1 + 5 =", " 6"), ("2 + 5 =", " 7"), ("3 + 5 =", " 8")), "another-row", nano_tokenizer)
    assert all(pair.corrupted and pair.wrong != pair.answer for pair in found)
    assert Counter(pair.corrupted for pair in found).most_common(1)[0][1] == 2


def test_rows_of_a_common_answer_borrow_from_all_others_in_turn(nano_tokenizer: PreTrainedTokenizerBase):
    rows = bare(*((f"{n} + 5 =", " 7" if n % 5 else " 9") for n in range(100, 1000)))
    found = corrupted(rows, "another-row", nano_tokenizer)
    assert all(pair.wrong != pair.answer for pair in found)
    lent = Counter(pair.corrupted for pair in found if pair.answer == " 7")
    assert set(lent.values()) == {4}  # one lender for all would bind most rows to one part of a split
    assert [len(found.split(part)) for part in ("train", "circuit", "validation", "test")] == [540, 90, 90, 180]


def test_rows_that_nothing_fits_stay_without_and_are_left_out(nano_tokenizer: PreTrainedTokenizerBase):
    odd = [("Once upon a time there was a very long prompt =", " 1"), ("9 =", " 2")]
    rows = bare(*odd, *((f"{n} + 5 =", f" {n + 5}") for n in range(100, 150)))
    checked = check(corrupted(rows, "another-row", nano_tokenizer), nano_tokenizer)
    assert [(entry.row, entry.rule) for entry in checked.left_out] == [
        (1, "has a corruption"),
        (2, "has a corruption"),
    ]
    found = corrupted(bare(("1 + 5 =", " 6"), ("5 + 1 =", " 6")), "another-row", nano_tokenizer)
    assert [pair.corrupted for pair in found] == ["", ""]  # the same answer corrupts nothing


def test_words_of_the_template_are_never_replaced(letter_tokenizer: PreTrainedTokenizerBase):
    words = bare(*((f"twice {n} is", str(2 * n)) for n in range(10)))
    for pair in corrupted(words, "token", letter_tokenizer):
        assert pair.corrupted in {row.clean for row in words}
        assert pair.wrong == str(2 * int(pair.corrupted.split()[1]))


def test_a_token_is_replaced_by_one_of_its_type(nano_tokenizer: PreTrainedTokenizerBase):
    rows = bare(
        *((f"{word} {n} :", f" {n}") for n, word in enumerate(["Mary", "John", "Tom", "to", "the", "and"], start=8))
    )
    for seed in range(10):
        for pair in corrupted(rows, "token", nano_tokenizer, seed):
            if not pair.corrupted:
                continue
            (old, old_number, _), (new, new_number, _) = pair.clean.split(), pair.corrupted.split()
            assert len(old_number) == len(new_number)
            assert old[0].isupper() == new[0].isupper()
            assert (old == new) != (old_number == new_number)


def test_what_a_row_has_already_is_kept(nano_tokenizer: PreTrainedTokenizerBase):
    own = Pair("1 + 5 =", "1 - 5 =", " 6", " 4", "a")
    wrong = Pair("2 + 5 =", "", " 7", " 99", "b")
    rows = PairSet("mine", (own, wrong, *bare(("3 + 5 =", " 8"))))
    for strategy in STRATEGIES:
        found = corrupted(rows, strategy, nano_tokenizer)
        assert found[0] == own
        assert (found[1].corrupted != "", found[1].wrong) == (True, " 99")


def test_token_ids_are_wrong_answers_too(nano_tokenizer: PreTrainedTokenizerBase):
    rows = tuple(Pair(f"{n} + 5 =", "", "", None, str(n), n, 20 + n) for n in range(1, 5))
    found = corrupted(PairSet("ids", rows), "another-row", nano_tokenizer)
    other = {pair.clean: pair.answer_id for pair in rows}
    assert all(pair.wrong is None and pair.wrong_id == other[pair.corrupted] for pair in found)


def test_the_same_arguments_find_the_same_and_settings_say_so(letter_tokenizer: PreTrainedTokenizerBase):
    rows = bare(*((f"twice {n} is", str(2 * n)) for n in range(10)))
    for strategy in STRATEGIES:
        one, again, other = (corrupted(rows, strategy, letter_tokenizer, seed) for seed in (1, 1, 2))
        assert one == again
        assert one.digest != other.digest
        assert one.settings == {"corruption": strategy, "corruption_seed": 1, "wrong": "computed"}


def test_an_unknown_strategy_is_named(letter_tokenizer: PreTrainedTokenizerBase):
    with pytest.raises(InputError, match="no corruption 'noise'; choose one of another-row, token"):
        corrupted(facts(), "noise", letter_tokenizer)  # type: ignore[arg-type]


def test_facts_of_a_file(tmp_path: Path, letter_tokenizer: PreTrainedTokenizerBase):
    path = tmp_path / "facts.csv"
    path.write_text("clean,answer\n" + "".join(f"{pair.clean},{pair.answer.strip()}\n" for pair in facts()))
    pairs = read_pairs(path, corruption="another-row", tokenizer=letter_tokenizer)
    answers = {pair.clean: pair.answer for pair in facts()}
    assert all(pair.wrong == answers[pair.corrupted] for pair in pairs)
    with pytest.raises(InputError, match="needs the model's tokenizer"):
        read_pairs(path, corruption="another-row")


def test_answers_of_corruptions_in_a_known_wording_are_computed(
    tmp_path: Path, nano_tokenizer: PreTrainedTokenizerBase
):
    path = tmp_path / "sums.csv"
    path.write_text("clean,answer\n" + "".join(f"{n} + {m} =,{n + m}\n" for n in range(20, 30) for m in (31, 47)))
    pairs = read_pairs(path, corruption="token", tokenizer=nano_tokenizer)
    assert all(pair.wrong == f" {solve(pair.corrupted)}" for pair in pairs)
    assert pairs.settings["wrong"] == "computed"


def test_years_go_on_without_a_space(tmp_path: Path, nano_tokenizer: PreTrainedTokenizerBase):
    path = tmp_path / "years.csv"
    prompt = "The war lasted from the year 17{} to the year 17"
    path.write_text("clean,answer\n" + "".join(f"{prompt.format(year)},{year + 1}\n" for year in range(30, 60)))
    for strategy in STRATEGIES:
        pairs = read_pairs(path, corruption=strategy, tokenizer=nano_tokenizer)
        assert {len(pair.wrong or "") for pair in pairs if pair.wrong} == {2}
