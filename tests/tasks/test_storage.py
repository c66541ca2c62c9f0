import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuitune.core.errors import InputError
from circuitune.tasks.files import read_pairs
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.registry import task

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
