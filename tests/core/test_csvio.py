import csv
import tempfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from circuitune.core.csvio import read_rows, write_rows
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
