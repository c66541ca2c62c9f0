import re
from collections import Counter
from math import gcd, lcm

import pytest

from circuitune.core.errors import InputError
from circuitune.tasks.lcm import INSTRUCTION, Lcm, recognise


def pairs_of_numbers(prompt: str) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in re.findall(r"LCM\((\d+), (\d+)\)", prompt)]


def kind(a: int, b: int) -> str:
    if max(a, b) % min(a, b) == 0:
        return "multiple"
    return "coprime" if gcd(a, b) == 1 else "common factor"


def test_the_wording_is_the_studys():
    known = recognise("Calculate the least common multiple (LCM) of two numbers. LCM(20, 15) = 60, LCM(25, 30) =")
    assert known is not None
    assert (known.answer, known.group, known.kind) == ("150", "30 and 25", "common factor")
    wording = re.compile(re.escape(INSTRUCTION) + r"LCM\(\d+, \d+\) = \d+, LCM\(\d+, \d+\) =")
    assert all(wording.fullmatch(pair.clean) for pair in Lcm(size=60).generate())
    assert all(pair.clean.startswith("LCM(") for pair in Lcm(style="short", size=60).generate())


def test_examples_and_answers_are_right_and_of_one_kind():
    for pair in Lcm().generate():
        example, asked = pairs_of_numbers(pair.clean)
        same_example, other = pairs_of_numbers(pair.corrupted)
        assert example == same_example
        assert f"= {lcm(*example)}," in pair.clean
        assert (int(pair.answer), int(pair.wrong or "")) == (lcm(*asked), lcm(*other))
        assert pair.answer != pair.wrong
        assert kind(*example) == kind(*asked) == kind(*other) == pair.kind
        assert max(lcm(*example), lcm(*asked)) <= 999


def test_the_three_kinds_are_equally_frequent():
    counts = Counter(pair.kind for pair in Lcm().generate())
    assert set(counts) == {"multiple", "coprime", "common factor"}
    assert len(set(counts.values())) == 1
    assert counts.total() > 3_500


def test_numbers_are_asked_once_and_never_shown_as_an_example():
    shown, asked = zip(*(map(frozenset, pairs_of_numbers(pair.clean)) for pair in Lcm().generate()), strict=True)
    assert len(set(asked)) == len(asked)
    assert set(shown).isdisjoint(asked)


def test_narrower_ranges():
    pairs = Lcm(largest_operand=60, largest=120).generate()
    assert max(max(numbers) for pair in pairs for numbers in pairs_of_numbers(pair.clean)) <= 60
    assert max(int(pair.answer) for pair in pairs) <= 120


def test_wrong_examples_and_zeros_have_no_answer():
    assert recognise("LCM(20, 15) = 61, LCM(25, 30) =") is None
    assert recognise("LCM(20, 15) = 60, LCM(0, 30) =") is None
    assert recognise("LCM(25, 30) =") is None


def test_parameters_out_of_range_are_named():
    with pytest.raises(InputError, match="lcm: largest_operand must be"):
        Lcm(largest_operand=5)
