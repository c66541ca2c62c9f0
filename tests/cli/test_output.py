import pytest

from circuitune.cli.output import table


def test_tables_align_numbers_right_and_words_left():
    assert table(["name", "n"], [["a", 1], ["long", 20]]) == "name   n\na      1\nlong  20"


@pytest.mark.parametrize(("value", "shown"), [(None, "-"), (0.123456, "0.1235"), (1e-9, "1e-09"), (7, "7")])
def test_cells(value: float | None, shown: str):
    assert table(["x"], [[value]]).splitlines()[1].strip() == shown
