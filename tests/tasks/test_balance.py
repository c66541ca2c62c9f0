import pytest
from transformers import PreTrainedTokenizerBase

from circuitune.tasks.balance import Balance, balance, surplus
from circuitune.tasks.checks import check
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.registry import task


def pair(number: int, answer: str, kind: str | None = None) -> Pair:
    return Pair(f"{number} + 1 =", f"{number} - 1 =", answer, " 999", str(number), kind=kind)


def test_kinds_and_the_most_frequent_answer_are_counted():
    rows = [pair(0, " no", "<"), pair(1, " yes", ">"), pair(2, " yes", "<"), pair(3, " no", "<")]
    found = balance(rows)
    assert found == Balance({"<": 3, ">": 1}, " no", 0.5)  # of equally frequent answers the first
    assert found.words == "3 <, 1 >; most frequent answer ' no': 50.0% of the rows"


def test_pairs_without_kinds_have_none():
    assert balance([pair(0, " a")]).words == "most frequent answer ' a': 100.0% of the rows"


@pytest.mark.parametrize(
    ("kinds", "places"),
    [("aabab", [3]), ("aaab", [1, 2]), ("ab", []), ("aaa", []), ("", []), ("bacabca", [6])],
)
def test_the_last_rows_of_a_kind_are_the_surplus(kinds: str, places: list[int]):

    assert surplus([pair(n, " a", kind) for n, kind in enumerate(kinds)]) == places


def test_only_tasks_that_say_so_are_balanced(nano_tokenizer: PreTrainedTokenizerBase):
    rows = tuple(pair(n, f" {n + 1}", "rare" if n < 40 else "frequent") for n in range(100))
    assert check(PairSet("mine", rows), nano_tokenizer).balance.kinds == {"frequent": 60, "rare": 40}
    checked = check(PairSet("mine", rows, None, {"balanced": True}), nano_tokenizer)
    assert checked.balance.kinds == {"frequent": 40, "rare": 40}
    assert [entry.row for entry in checked.left_out] == list(range(81, 101))
    assert {entry.reason for entry in checked.left_out} == {
        "more rows of kind 'frequent' can be used than of another"
    }


@pytest.mark.parametrize("name", ["mul_div", "lcm", "two_step", "two_step_outer", "add_sub", "ioi"])
def test_checked_tasks_have_as_many_of_each_kind(name: str, nano_tokenizer: PreTrainedTokenizerBase):
    kinds = check(task(name, size=200), nano_tokenizer).balance.kinds
    assert len(kinds) > 1
    assert len(set(kinds.values())) == 1
