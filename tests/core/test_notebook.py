"""How values show themselves: escaped HTML, a frame, and one sentence where pandas is missing."""

import sys

import pytest

from circuitune.core.errors import InputError
from circuitune.core.notebook import card, frame


def test_everything_in_a_card_is_escaped():
    hostile = "<script>alert(1)</script> & 'x'"
    shown = card(hostile, [hostile], [hostile], [[hostile, 1234, 0.123456, None, True]])
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;") == 4
    assert "<td>1,234</td><td>0.1235</td><td></td><td>True</td>" in shown


def test_a_card_leaves_out_what_is_empty_and_says_how_much_more_there_is():
    assert card("Plan", ["", "two layers"]) == "<div><strong>Plan</strong><div>two layers</div></div>"
    assert "and 1,200 more" in card("Scores", [], ["edge"], [["a"]], more=1200)


def test_a_frame_has_the_columns_in_order():
    made = frame({"b": [1, 2], "a": ["x", "y"]})
    assert list(made.columns) == ["b", "a"]
    assert made.to_dict("list") == {"b": [1, 2], "a": ["x", "y"]}


def test_without_pandas_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"pip install pandas\.$"):
        frame({})
