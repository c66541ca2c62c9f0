import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuitune.core import manifest
from circuitune.core.atomic import PARTIAL, write_text

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture
def folder(tmp_path):
    write_text(tmp_path / "tables" / "a.csv", "x\n1\n")
    write_text(tmp_path / "spec.json", "{}\n")
    write_text(tmp_path / "environment.json", '{"host": "here"}\n')
    manifest.complete(tmp_path)
    return tmp_path


def test_hashes_are_sha256(tmp_path):
    data = bytes(range(256)) * 5000
    (tmp_path / "f").write_bytes(data)
    expected = hashlib.sha256(data).hexdigest()
    assert manifest.sha256_file(tmp_path / "f") == manifest.sha256_bytes(data) == expected


def test_canonical_json_is_one_ascii_line_that_ignores_key_order():
    assert manifest.canonical_json({"b": [1, 0.1], "a": "ü"}) == '{"a":"\\u00fc","b":[1,0.1]}'
    assert manifest.digest({"a": 1, "b": 2}) == manifest.digest({"b": 2, "a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        manifest.canonical_json(float("nan"))


@given(json_values)
def test_canonical_json_reads_back_as_the_value_and_is_stable(value):
    text = manifest.canonical_json(value)
    assert json.loads(text) == value
    assert manifest.canonical_json(json.loads(text)) == text


def test_complete_lists_every_file_but_the_environment(folder):
    record = json.loads((folder / "COMPLETE.json").read_text())
    assert record == {
        "files": {
            "spec.json": {"bytes": 3, "sha256": hashlib.sha256(b"{}\n").hexdigest()},
            "tables/a.csv": {"bytes": 4, "sha256": hashlib.sha256(b"x\n1\n").hexdigest()},
        }
    }
    assert manifest.is_complete(folder)
    assert manifest.verify(folder) == []


def test_equal_work_elsewhere_and_later_has_an_equal_manifest(folder):
    first = (folder / "COMPLETE.json").read_bytes()
    write_text(folder / "environment.json", '{"host": "there"}\n')
    manifest.complete(folder)
    assert (folder / "COMPLETE.json").read_bytes() == first


def test_complete_clears_what_killed_writers_left(folder):
    (folder / "tables" / f".a.csv.123{PARTIAL}").write_text("half")
    manifest.complete(folder)
    assert sorted(path.name for path in (folder / "tables").iterdir()) == ["a.csv"]


def test_a_folder_without_manifest_is_not_complete(tmp_path):
    assert not manifest.is_complete(tmp_path)
    assert not manifest.is_complete(tmp_path / "nowhere")
    (problem,) = manifest.verify(tmp_path)
    assert "COMPLETE.json cannot be read" in problem


def test_a_damaged_manifest_is_not_complete(folder):
    (folder / "COMPLETE.json").write_text('{"files": {')
    assert not manifest.is_complete(folder)
    assert len(manifest.verify(folder)) == 1


def test_a_missing_and_a_longer_file_are_noticed_by_both_checks(folder):
    (folder / "spec.json").write_text("{ }\n")
    assert not manifest.is_complete(folder)
    assert manifest.verify(folder) == [f"{folder}/spec.json has 4 bytes instead of 3."]
    (folder / "spec.json").unlink()
    assert not manifest.is_complete(folder)
    assert manifest.verify(folder) == [f"{folder}/spec.json is missing."]


def test_a_change_of_equal_size_is_noticed_by_verify(folder):
    (folder / "tables" / "a.csv").write_text("x\n2\n")
    assert manifest.is_complete(folder)
    (problem,) = manifest.verify(folder)
    assert "tables/a.csv has changed" in problem
