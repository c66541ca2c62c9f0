import csv
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from circuitune.core.csvio import read_rows, write_rows, writing
from circuitune.core.errors import InputError
from circuitune.core.records import CriticalRow


class Row(BaseModel):
    name: str
    kind: Literal["node", "edge"]
    count: int
    value: float
    maybe: float | None
    chosen: bool


finite = st.floats(allow_nan=False, allow_infinity=False)
rows = st.builds(
    Row,
    name=st.text(st.characters(exclude_categories=["Cs"])),
    kind=st.sampled_from(["node", "edge"]),
    count=st.integers(),
    value=finite,
    maybe=st.none() | finite,
    chosen=st.booleans(),
)


@settings(deadline=None)
@given(st.lists(rows, max_size=5))
def test_rows_read_back_exactly_and_write_the_same_bytes(table):
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "a.csv"), Path(folder, "b.csv")
        write_rows(first, table, Row)
        again = read_rows(first, Row)
        assert again == table
        write_rows(second, again, Row)
        assert first.read_bytes() == second.read_bytes()


def test_the_file_is_plain_csv(tmp_path):
    row = Row(name='a "b", c', kind="edge", count=3, value=0.1, maybe=None, chosen=True)
    write_rows(tmp_path / "t.csv", [row], Row)
    assert (tmp_path / "t.csv").read_bytes() == (
        b'name,kind,count,value,maybe,chosen\n"a ""b"", c",edge,3,0.1,,true\n'
    )
    with (tmp_path / "t.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["name"] == 'a "b", c'


def test_rows_added_in_pieces_are_the_table_of_all_of_them(tmp_path):
    table = [Row(name=f"=row {n}", kind="edge", count=n, value=n / 3, maybe=None, chosen=True) for n in range(5)]
    write_rows(tmp_path / "whole.csv", table, Row)
    with writing(tmp_path / "pieces.csv", Row) as write:
        write(table[:2])
        write(iter(table[2:]))
    assert (tmp_path / "pieces.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_rows_that_fail_midway_leave_the_table_that_was_there(tmp_path):
    row = Row(name="a", kind="edge", count=1, value=1.0, maybe=None, chosen=True)
    write_rows(tmp_path / "t.csv", [row], Row)

    def failing() -> Iterator[Row]:
        yield row
        raise InputError("a map is damaged")

    with pytest.raises(InputError, match="a map is damaged"):
        write_rows(tmp_path / "t.csv", failing(), Row)
    assert read_rows(tmp_path / "t.csv", Row) == [row]
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_rows_that_come_one_by_one_are_not_held(tmp_path):
    made = (Row(name="a" * 1000, kind="edge", count=n, value=1.0, maybe=None, chosen=True) for n in range(2000))
    tracemalloc.start()
    try:
        write_rows(tmp_path / "t.csv", made, Row)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "t.csv").stat().st_size > 2_000_000
    assert peak < 200_000


def test_numpy_numbers_are_written_as_numbers(tmp_path):
    row = Row(name="", kind="node", count=1, value=np.float64(0.5), maybe=None, chosen=False)
    write_rows(tmp_path / "t.csv", [row], Row)
    assert read_rows(tmp_path / "t.csv", Row)[0].value == 0.5


def test_an_empty_table_has_its_header(tmp_path):
    write_rows(tmp_path / "t.csv", [], CriticalRow)
    assert (tmp_path / "t.csv").read_text() == "seed,rule,layer,importance,place,chosen\n"
    assert read_rows(tmp_path / "t.csv", CriticalRow) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot be read as a table"),
        ("", "header must be seed,rule,layer,importance,place,chosen"),
        ("layer,rule\n", "header must be seed"),
        ("seed,rule,layer,importance,place,chosen\n0,r,1,0.5,1\n", "line 2, has 5 cells, not 6"),
        ("seed,rule,layer,importance,place,chosen\n0,r,1,0.5,1,true\n0,r,x,0.5,1,true\n", "line 3, column layer"),
        ("seed,rule,layer,importance,place,chosen\n0,r,1,,1,true\n", "line 2, column importance"),
        ("seed,rule,layer,importance,place,chosen\n0,r,1,nan,1,true\n", "line 2, column importance"),
        ('seed,rule,layer,importance,place,chosen\n0,"r,1,0.5,1,true\n', "cannot be read as a table"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_file_and_line(tmp_path, text, reason):
    path = tmp_path / "t.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=reason) as caught:
        read_rows(path, CriticalRow)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
