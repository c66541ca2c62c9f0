import csv
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuitune.core.errors import InputError
from circuitune.tasks.files import read_pairs
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.registry import task
from circuitune.tasks.storage import CSV_HEADER

texts = st.text(st.characters(codec="utf-8"), max_size=20)
numbers = st.none() | st.integers(0, 10**6)
pairs = st.builds(Pair, texts, texts, texts, st.none() | texts, texts, numbers, numbers, numbers)
pair_sets = st.builds(
    PairSet,
    texts,
    st.lists(pairs, max_size=8).map(tuple),
    st.sampled_from([None, "train", "test"]),
    st.dictionaries(texts, st.none() | st.booleans() | st.integers() | texts, max_size=3),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair_sets)
def test_what_is_written_is_read(tmp_path: Path, whole: PairSet):
    whole.to_jsonl(tmp_path / "pairs.jsonl")
    back = PairSet.from_jsonl(tmp_path / "pairs.jsonl")
    assert back == whole
    assert back.digest == whole.digest


def test_read_pairs_takes_our_own_files_as_they_are(tmp_path: Path):
    part = task("function", size=100).split("test")
    part.to_jsonl(tmp_path / "pairs.jsonl")
    assert read_pairs(tmp_path / "pairs.jsonl") == part


def test_equal_sets_give_equal_bytes(tmp_path: Path):
    for name in ("one", "two"):
        task("add_sub", limit=10).to_jsonl(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("damage", ["lose a line", "change a word", "cut a line"])
def test_damage_is_noticed(tmp_path: Path, damage: str):
    path = tmp_path / "pairs.jsonl"
    task("add_sub", limit=5).to_jsonl(path)
    text = path.read_text(encoding="utf-8")
    changed = {
        "lose a line": text[: text.rindex("\n", 0, -1) + 1],
        "change a word": text.replace("final", "last", 1),
        "cut a line": text[:-20],
    }[damage]
    path.write_text(changed, encoding="utf-8")
    with pytest.raises(InputError, match="export"):
        PairSet.from_jsonl(path)


def test_other_files_are_not_taken_for_ours(tmp_path: Path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"clean": "a", "corrupted": "b", "answer": "c"}) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="not written by circuitune"):
        PairSet.from_jsonl(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"none\.jsonl cannot be read"):
        PairSet.from_jsonl(tmp_path / "none.jsonl")


FORMULAS = ["=1+1", "'=1+1", "''-", "+5", "-5", "@a", "\t5", "\r", "\n=", "\uff1d1", 'a "b", c', "'", " =", "a\nb"]


def test_a_table_reads_back_as_the_same_pairs_whatever_they_begin_with(tmp_path):
    """No cell begins as a formula, and those that already stand behind an apostrophe keep it."""
    pairs = tuple(
        Pair(
            f"{text}{n}", f"{text}x", text, text, text, n, None, n, kind=text, answer_set=(text, "|"), wrong_set=None
        )
        for n, text in enumerate(FORMULAS, start=1)
    )
    PairSet("some", pairs).to_csv(tmp_path / "pairs.csv")
    assert read_pairs(tmp_path / "pairs.csv").pairs == pairs
    with (tmp_path / "pairs.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d")) for cell in cells)


def test_a_table_that_a_spreadsheet_saved_again_is_still_ours(tmp_path):
    """With a byte order mark, its own line ends and every cell in quotes."""
    PairSet("some", (Pair("=1", "=2", "3", None, "g"),)).to_csv(tmp_path / "pairs.csv")
    with (tmp_path / "pairs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    with (tmp_path / "saved.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(rows)
    assert read_pairs(tmp_path / "saved.csv").pairs == (Pair("=1", "=2", "3", None, "g"),)


def test_an_apostrophe_in_other_peoples_tables_stays(tmp_path):
    (tmp_path / "theirs.csv").write_text("clean,corrupted,answer\n'=a,'=b,c\n")
    assert read_pairs(tmp_path / "theirs.csv")[0].clean == "'=a"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("a,b,c,,g,one,,,,,", "column row"),
        ("a,b,c,,g", "has 5 cells, not 11"),
        ("a,b,c,,g,,,,,5,", "not a JSON list of texts"),
        ("a,b,c,,g,,,,,[],", "not a JSON list of texts"),
        (" ,b,c,,g,,,,,,", "line 2, column clean, is empty"),
        ("a,b,,,g,,,,,,", "line 2, column answer, is empty"),
        ("a,b,,,g,,-7,,,,", "column answer_id"),
        ("", "has no rows"),
    ],
)
def test_a_damaged_table_of_ours_is_refused(cells, message, tmp_path):
    (tmp_path / "pairs.csv").write_text(f"{CSV_HEADER}\n{cells}" + "\n" * bool(cells))
    with pytest.raises(InputError, match=message):
        read_pairs(tmp_path / "pairs.csv")
