"""Parquet, saved datasets, TRL's columns and columns under names of one's own."""

from pathlib import Path

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from circuitune.core.errors import InputError
from circuitune.tasks import formats
from circuitune.tasks.files import read_pairs
from circuitune.tasks.registry import task

ROWS = [{"clean": f"{n} + 1 =", "corrupted": f"{n} - 1 =", "answer": n + 1, "wrong": None} for n in range(3)]
EXPECTED = [(f"{n} + 1 =", f"{n} - 1 =", f" {n + 1}", f" {n - 1}", n + 1) for n in range(3)]


def write_parquet(path: Path, rows: list[dict[str, object]]) -> Path:
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def write_dataset(path: Path, rows: list[dict[str, object]]) -> Path:
    datasets.Dataset.from_list(rows).save_to_disk(path)
    return path


def columns_of(path: Path, **options: object) -> list[tuple[object, ...]]:
    pairs = read_pairs(path, **options)  # type: ignore[arg-type]
    return [(pair.clean, pair.corrupted, pair.answer, pair.wrong, pair.row) for pair in pairs]


@pytest.mark.parametrize("ending", [".parquet", ".PARQUET"])
def test_parquet(tmp_path: Path, ending: str):
    assert columns_of(write_parquet(tmp_path / f"a{ending}", ROWS)) == EXPECTED


def test_a_saved_dataset_and_a_split_of_several(tmp_path: Path):
    assert columns_of(write_dataset(tmp_path / "mine", ROWS)) == EXPECTED
    pairs = read_pairs(tmp_path / "mine")
    assert pairs.name == "mine"
    assert len(str(pairs.settings["sha256"])) == 64
    both = datasets.DatasetDict({name: datasets.Dataset.from_list(ROWS) for name in ("train", "test")})
    both.save_to_disk(tmp_path / "both")
    assert columns_of(tmp_path / "both" / "train") == EXPECTED
    with pytest.raises(InputError, match=r"holds the splits test, train; name one, such as .*both/test\."):
        read_pairs(tmp_path / "both")


def test_sets_of_answers_are_lists_or_divided_by_bars(tmp_path: Path):
    row = {"clean": "A vowel:", "corrupted": "A consonant:", "answer": "a", "wrong": "b"}
    listed = write_parquet(tmp_path / "a.parquet", [{**row, "answer_set": ["a", "e"], "wrong_set": ["b"]}])
    (tmp_path / "a.csv").write_text(
        "clean,corrupted,answer,wrong,answer_set,wrong_set\nA vowel:,A consonant:,a,b,a|e,b\n"
    )
    for path in (listed, tmp_path / "a.csv"):
        (pair,) = read_pairs(path)
        assert (pair.answer_set, pair.wrong_set) == ((" a", " e"), (" b",))
    with pytest.raises(InputError, match=r"column answer_set, is .* not a list of texts"):
        read_pairs(write_parquet(tmp_path / "b.parquet", [{**row, "answer_set": [1, 2]}]))


def test_prompt_and_completion_are_clean_and_answer(tmp_path: Path):
    rows = [
        {"prompt": row["clean"], "completion": f" {row['answer']}", "corrupted": row["corrupted"]} for row in ROWS
    ]
    assert columns_of(write_parquet(tmp_path / "a.parquet", rows)) == EXPECTED
    renamed = [{"prompt": r["prompt"], "completion": r["completion"], "cf": r["corrupted"]} for r in rows]
    assert columns_of(write_parquet(tmp_path / "b.parquet", renamed), columns={"corrupted": "cf"}) == EXPECTED


def test_columns_of_ones_own_names(tmp_path: Path):
    rows = [
        {"src": r["clean"], "cf": r["corrupted"], "tgt": r["answer"], "answer": "no", "label": "no"} for r in ROWS
    ]
    path = write_parquet(tmp_path / "a.parquet", rows)
    mapping = {"clean": "src", "corrupted": "cf"}
    for ours in ("answer", "label"):  # one that is mapped goes before one that is not
        assert columns_of(path, columns={**mapping, ours: "tgt"}) == EXPECTED
    swapped = [{**row, "clean": row["corrupted"], "corrupted": row["clean"]} for row in ROWS]
    path = write_parquet(tmp_path / "b.parquet", swapped)
    assert columns_of(path, columns={"clean": "corrupted", "corrupted": "clean"}) == EXPECTED


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"clear": "clean"}, "'clear' is no column of ours; map one of clean, corrupted"),
        ({"clean": "src"}, "has no column 'src' for clean; it has 'clean', 'corrupted', 'answer', 'wrong'"),
        ({"clean": "answer", "answer": "answer"}, "one column is mapped to two of ours"),
    ],
)
def test_a_mapping_that_does_not_fit_is_named(tmp_path: Path, columns: dict[str, str], message: str):
    with pytest.raises(InputError, match=message):
        read_pairs(write_parquet(tmp_path / "a.parquet", ROWS), columns=columns)


def test_our_own_files_need_no_mapping(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    task("add_sub", limit=5).to_jsonl(path)
    for options in ({"columns": {"clean": "src"}}, {"corruption": "token"}, {"answer_prefix": ""}):
        with pytest.raises(InputError, match="was written by circuitune and is complete"):
            read_pairs(path, **options)  # type: ignore[arg-type]


def test_damaged_files_and_folders_are_named(tmp_path: Path):
    (tmp_path / "a.parquet").write_bytes(write_parquet(tmp_path / "whole.parquet", ROWS).read_bytes()[:-9])
    broken = write_dataset(tmp_path / "broken", ROWS)
    next(broken.glob("*.arrow")).write_bytes(b"nothing")
    (tmp_path / "empty").mkdir()
    (tmp_path / "dict").mkdir()
    (tmp_path / "dict" / "dataset_dict.json").write_text("{}")
    for name, message in (
        ("a.parquet", "is not a whole Parquet file"),
        ("none.parquet", "does not exist"),
        ("broken", "is not a whole saved dataset"),
        ("empty", "is a folder that holds no saved dataset"),
        ("dict", "is a folder that holds no saved dataset"),
    ):
        with pytest.raises(InputError, match=message) as caught:
            read_pairs(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_table_without_rows_and_cells_that_are_no_text(tmp_path: Path):
    empty = pyarrow.table({name: pyarrow.array([], pyarrow.string()) for name in ("clean", "corrupted", "answer")})
    parquet.write_table(empty, tmp_path / "a.parquet")
    with pytest.raises(InputError, match="has no rows"):
        read_pairs(tmp_path / "a.parquet")
    chat = [{"role": "user", "content": "4 + 6 ="}]
    with pytest.raises(InputError, match=r"row 1, column clean, is .* not text"):
        read_pairs(write_parquet(tmp_path / "b.parquet", [{"prompt": chat, "corrupted": "a", "completion": "b"}]))


def test_a_missing_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def missing(name: str) -> None:
        raise ImportError(name)

    path = write_parquet(tmp_path / "a.parquet", ROWS)
    folder = write_dataset(tmp_path / "mine", ROWS)
    monkeypatch.setattr(formats, "import_module", missing)
    for place, package in ((path, "pyarrow"), (folder, "datasets")):
        with pytest.raises(InputError, match=rf"{package} is not installed; pip install 'circuitune\[data\]'"):
            read_pairs(place)
