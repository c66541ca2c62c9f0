import re

import pytest

from circuitune.core.errors import InputError
from circuitune.tasks.greater_than import GreaterThan, recognise


def test_the_wording_is_the_classical_one():
    known = recognise("The war lasted from the year 1732 to the year 17")
    assert known is not None
    assert known.answer_set is not None
    assert known.wrong_set is not None
    assert (known.answer_set[0], known.answer_set[-1], len(known.answer_set)) == ("33", "99", 67)
    assert (known.wrong_set[0], known.wrong_set[-1], len(known.wrong_set)) == ("00", "32", 33)
    assert recognise("The war lasted from the year 1732 to the year 18") is None
    assert recognise("The war lasted from the year 1799 to the year 17") is None


def test_answers_are_later_and_wrong_ones_are_not():
    for pair in GreaterThan().generate():
        match = re.fullmatch(r"The \w+ lasted from the year (\d\d)(\d\d) to the year (\d\d)", pair.clean)
        assert match is not None
        century, year, again = match.groups()
        assert century == again
        assert 14 <= int(century) <= 17
        assert pair.corrupted == pair.clean.replace(f"{century}{year}", f"{century}01")
        assert pair.answer_set is not None
        assert pair.wrong_set is not None
        assert pair.answer in pair.answer_set
        assert pair.wrong in pair.wrong_set
        assert min(pair.answer_set) > year >= max(pair.wrong_set)
        assert len(pair.answer_set) + len(pair.wrong_set) == 100


def test_rows_that_share_their_corruption_share_their_group():
    pairs = GreaterThan().generate()
    assert len({pair.clean for pair in pairs}) == len(pairs) == 5_000
    groups = {pair.corrupted: pair.group for pair in pairs}
    assert all(groups[pair.corrupted] == pair.group for pair in pairs)


def test_centuries_can_be_chosen():
    pairs = GreaterThan(first_century=18, last_century=18, size=100_000).generate()
    assert {pair.clean[-2:] for pair in pairs} == {"18"}
    with pytest.raises(InputError, match=r"last_century \(15\) must not be before first_century \(16\)"):
        GreaterThan(first_century=16, last_century=15)
    with pytest.raises(InputError, match="greater_than: first_century must be"):
        GreaterThan(first_century=9)
