from collections import Counter

import pytest

from circuitune.core.errors import InputError
from circuitune.tasks.arithmetic import INSTRUCTION
from circuitune.tasks.multiplication import MulDiv, recognise
from circuitune.tasks.pairs import Pair


def numbers(prompt: str) -> tuple[int, str, int]:
    a, sign, b, _ = prompt.removeprefix(INSTRUCTION).split()
    return int(a), sign, int(b)


def test_the_wording_is_the_studys():
    prompts = {pair.clean for pair in MulDiv(largest_first=40, largest_second=20, size=100_000).generate()}
    instruction = "Calculate the result of the following arithmetic expression and provide only the final answer: "
    assert f"{instruction}36 * 9 =" in prompts or f"{instruction}9 * 36 =" in prompts
    short = {
        pair.clean for pair in MulDiv(largest_first=40, largest_second=20, style="short", size=100_000).generate()
    }
    assert short == {prompt.removeprefix(instruction) for prompt in prompts}


def test_the_corruption_replaces_the_first_operand():
    for pair in MulDiv(style="short").generate():
        (a, sign, b), (other, same_sign, same_b) = numbers(pair.clean), numbers(pair.corrupted)
        assert (sign, b) == (same_sign, same_b)
        assert a != other
        answers = (a * b, other * b) if sign == "*" else (a // b, other // b)
        assert (int(pair.answer), int(pair.wrong or "")) == answers
        assert sign == "*" or a % b == other % b == 0


def test_as_many_products_as_quotients_and_their_ranges():
    pairs = MulDiv(style="short").generate()
    assert Counter(pair.kind for pair in pairs) == {"*": len(pairs) // 2, "/": len(pairs) // 2}
    assert len(pairs) > 3_500
    rows = [numbers(pair.clean) for pair in pairs]
    assert all(2 <= a <= 200 and 2 <= b <= 180 and a * b <= 999 for a, sign, b in rows if sign == "*")
    assert all(2 <= b <= 200 and 2 <= a // b <= 200 for a, sign, b in rows if sign == "/")
    assert max(b for _, sign, b in rows if sign == "/") > 190


def test_two_factors_are_asked_in_one_order():
    products = [numbers(pair.clean) for pair in MulDiv(style="short").generate() if pair.kind == "*"]
    assert len({frozenset((a, b)) for a, _, b in products}) == len(products)
    assert 0.3 < sum(a > b for a, _, b in products) / len(products) < 0.8


def test_narrower_ranges():
    narrow = MulDiv(
        largest_first=30, largest_second=9, largest_divisor=9, largest_quotient=11, largest=99, style="short"
    )
    rows = [(numbers(pair.clean), int(pair.answer)) for pair in narrow.generate()]
    assert max(answer for _, answer in rows) <= 99
    assert max(b for (_, _, b), _ in rows) <= 9
    smaller = narrow.narrowed(50)
    assert smaller is not None
    assert max(int(pair.answer) for pair in smaller.generate()) <= 50
    assert narrow.narrowed(99) is None


@pytest.mark.parametrize(
    ("prompt", "answer", "group"),
    [
        ("36 * 9 =", "324", "36 and 9"),
        (f"{INSTRUCTION}9 * 36 =", "324", "36 and 9"),
        ("2004 / 167 =", "12", "2004 / 167"),
        ("7 / 2 =", None, None),
        ("7 / 0 =", None, None),
        ("7 x 2 =", None, None),
    ],
)
def test_known_wordings_are_solved(prompt: str, answer: str | None, group: str | None):
    known = recognise(prompt)
    assert (None, None) if known is None else (known.answer, known.group) == (answer, group)
    assert (known is None) == (answer is None)


def test_parameters_out_of_range_are_named():
    with pytest.raises(InputError, match="mul_div: largest_divisor must be"):
        MulDiv(largest_divisor=1)


def test_pairs_know_their_operator():
    first = MulDiv(size=8).generate()[0]
    assert isinstance(first, Pair)
    assert first.kind in first.clean
