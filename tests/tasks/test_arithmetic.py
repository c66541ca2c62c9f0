from collections import Counter

import pytest

from circuitune.core.errors import InputError
from circuitune.tasks.arithmetic import INSTRUCTION, AddSub, recognise


def test_the_wording_is_the_studys():
    rows = {pair.clean: pair for pair in AddSub().generate()}
    prompt = (
        "Calculate the result of the following arithmetic expression and provide only the final answer: 46 + 24 ="
    )
    assert rows[prompt].corrupted == prompt.replace("+", "-")
    assert (rows[prompt].answer, rows[prompt].wrong) == (" 70", " 22")


def test_short_prompts_drop_the_instruction():
    assert {pair.clean for pair in AddSub(limit=2, style="short").generate()} == {
        "1 + 1 =",
        "1 - 1 =",
        "2 + 1 =",
        "2 - 1 =",
        "2 + 2 =",
        "2 - 2 =",
    }


def test_limit_100_takes_every_operand_pair_and_gives_the_test_part_2000_rows():
    pairs = AddSub().generate()
    assert len(pairs) == len({pair.clean for pair in pairs}) == 10_100
    assert len(pairs.split("test")) >= 2_000


@pytest.mark.parametrize("limit", [200, 300, 400, 500])
def test_larger_limits_are_sampled_with_operators_in_balance(limit: int):
    pairs = AddSub(limit=limit, style="short").generate()
    assert len({pair.clean for pair in pairs}) == 10_100
    operands = [pair.clean.split() for pair in pairs]
    assert Counter(operator for _, operator, _, _ in operands) == {"+": 5_050, "-": 5_050}
    assert all(limit >= int(a) >= int(b) >= 1 for a, _, b, _ in operands)
    assert max(int(a) for a, *_ in operands) > limit * 0.95


def test_one_operand_pair_never_gets_into_two_parts():
    whole = AddSub(limit=20, style="short").generate()
    parts = [{tuple(p.clean.split()[::2]) for p in whole.split(part)} for part in ("train", "circuit", "test")]
    assert parts[0].isdisjoint(parts[1])
    assert parts[0].isdisjoint(parts[2])


@pytest.mark.parametrize(
    ("prompt", "answer", "group"),
    [
        ("24 + 46 =", "70", "46 and 24"),
        ("46 - 24 =", "22", "46 and 24"),
        ("24 - 46 =", "-22", "46 and 24"),
        (f"{INSTRUCTION}7 + 1 =", "8", "7 and 1"),
    ],
)
def test_known_wordings_are_solved(prompt: str, answer: str, group: str):
    known = recognise(prompt)
    assert known is not None
    assert (known.answer, known.group) == (answer, group)


@pytest.mark.parametrize("prompt", ["24 * 46 =", "24 + 46", "x24 + 46 =", "24 + 46 = ", "Calculate 24 + 46 ="])
def test_other_wordings_are_not(prompt: str):
    assert recognise(prompt) is None


@pytest.mark.parametrize("wrong", [{"limit": 1}, {"limit": "100"}, {"size": True}, {"style": "long"}])
def test_parameters_out_of_range_are_named(wrong: dict[str, object]):
    with pytest.raises(InputError, match=f"add_sub: {next(iter(wrong))} must be"):
        AddSub(**wrong)  # type: ignore[arg-type]
