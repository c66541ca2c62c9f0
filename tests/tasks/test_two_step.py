import re
from collections import Counter

import pytest

from circuitune.core.errors import InputError
from circuitune.tasks.arithmetic import INSTRUCTION
from circuitune.tasks.two_step import CORRUPTIONS, Corruption, TwoStep, TwoStepInner, TwoStepOuter, recognise

PARTS = {"outer": 4, "first": 0, "second": 2, "operator": 1}
"""Which of x, sign, y, sign, z each corruption replaces."""


def parts(prompt: str) -> list[str]:
    match = re.fullmatch(r"\((\d+) ([+-]) (\d+)\) ([*/]) (\d+) =", prompt.removeprefix(INSTRUCTION))
    assert match is not None
    return list(match.groups())


def value(prompt: str) -> float:
    x, inner, y, outer, z = parts(prompt)
    bracket = int(x) + int(y) if inner == "+" else int(x) - int(y)
    return bracket * int(z) if outer == "*" else bracket / int(z)


def test_the_wording_is_the_studys():
    instruction = "Calculate the result of the following arithmetic expression and provide only the final answer: "
    known = recognise(f"{instruction}(39 + 65) * 7 =")
    assert known is not None
    assert (known.answer, known.group, known.kind) == ("728", "65 and 39", "+ *")
    long, short = TwoStep(size=400).generate(), TwoStep(size=400, style="short").generate()
    assert [pair.clean for pair in long] == [instruction + pair.clean for pair in short]


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_each_corruption_replaces_its_part_and_keeps_the_others(corruption: Corruption):
    pairs = TwoStep(corruption=corruption, style="short").generate()
    assert len(pairs) >= 4_000
    for pair in pairs:
        changed = [
            n
            for n, (one, other) in enumerate(zip(parts(pair.clean), parts(pair.corrupted), strict=True))
            if one != other
        ]
        assert changed == [PARTS[corruption]]
        assert (value(pair.clean), value(pair.corrupted)) == (int(pair.answer), int(pair.wrong or ""))
        assert pair.answer != pair.wrong


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_the_four_kinds_are_equally_frequent_and_a_bracket_is_used_once(corruption: Corruption):
    pairs = TwoStep(corruption=corruption, style="short").generate()
    assert Counter(pair.kind for pair in pairs) == dict.fromkeys(("+ *", "+ /", "- *", "- /"), len(pairs) / 4)
    used = Counter(frozenset((parts(pair.clean)[0], parts(pair.clean)[2])) for pair in pairs)
    assert set(used.values()) == ({1} if corruption in ("first", "second") else {2})


def test_ranges_of_the_study():
    for pair in TwoStep(style="short").generate():
        x, _, y, _, z = parts(pair.clean)
        assert 100 >= int(x) > int(y) >= 1
        assert 2 <= int(z) <= 100
        assert 2 <= int(pair.answer) <= 999
    narrow = TwoStep(largest_first=20, largest_second=9, largest_factor=5, largest=60, style="short").generate()
    rows = [parts(pair.clean) for pair in narrow]
    assert max(int(x) for x, *_ in rows) <= 20
    assert max(int(y) for _, _, y, *_ in rows) <= 9
    assert max(int(pair.answer) for pair in narrow) <= 60


def test_no_answer_is_frequent():
    answers = Counter(pair.answer for pair in TwoStep(style="short").generate())
    assert answers.most_common(1)[0][1] <= 0.03 * answers.total()


def test_the_inner_step_is_the_bracket_of_every_row():
    whole = TwoStep(style="short", size=800).generate(seed=5)
    inner = TwoStepInner(style="short", size=800).generate(seed=5)
    assert {pair.clean for pair in inner} == {" ".join([*parts(pair.clean)[:3], "="]) for pair in whole}
    assert len({pair.clean for pair in inner}) == len(inner)
    for pair in inner:
        x, sign, y, _ = pair.clean.split()
        answers = {"+": int(x) + int(y), "-": int(x) - int(y)}
        assert int(pair.answer) == answers.pop(sign)
        assert pair.corrupted == f"{x} {'-' if sign == '+' else '+'} {y} ="
        assert int(pair.wrong or "") == answers.popitem()[1]


def test_the_outer_step_is_the_operation_on_the_bracket_of_rows():
    whole = TwoStep(style="short", size=800).generate(seed=5)
    outer = TwoStepOuter(style="short", size=800).generate(seed=5)
    steps = set[str]()
    for pair in whole:
        x, inner, y, sign, z = parts(pair.clean)
        steps.add(f"{int(x) + int(y) if inner == '+' else int(x) - int(y)} {sign} {z} =")
    assert {pair.clean for pair in outer} <= steps
    assert len(outer) > 200
    for pair in outer:
        (a, sign, b, _), (other, same_sign, same_b, _) = pair.clean.split(), pair.corrupted.split()
        assert (sign, b) == (same_sign, same_b)
        assert a != other
        assert pair.corrupted in steps
        answers = [int(n) * int(b) if sign == "*" else int(n) / int(b) for n in (a, other)]
        assert [int(pair.answer), int(pair.wrong or "")] == answers


def test_the_outer_step_asks_two_factors_once():
    factors = [
        frozenset(pair.clean.split()[::2][:2]) for pair in TwoStepOuter(style="short").generate() if pair.kind == "*"
    ]
    assert len(set(factors)) == len(factors)


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("(6 + 15) / 3 =", "7"),
        ("(5 - 8) * 2 =", "-6"),
        ("(6 + 15) / 4 =", None),
        ("(6 + 15) / 0 =", None),
        ("6 + 15 =", None),
    ],
)
def test_known_wordings_are_solved(prompt: str, answer: str | None):
    known = recognise(prompt)
    assert (None if known is None else known.answer) == answer


def test_parameters_out_of_range_are_named():
    with pytest.raises(InputError, match="two_step: corruption must be one of outer, first, second, operator"):
        TwoStep(corruption="inner")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="two_step_inner: largest_first must be"):
        TwoStepInner(largest_first=1)
