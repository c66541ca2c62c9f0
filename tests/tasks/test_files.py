import csv
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from circuitune.core.errors import InputError
from circuitune.core.manifest import sha256_file
from circuitune.tasks.files import read_pairs
from circuitune.tasks.registry import solve, task

ADD, SUB = "24 + 46 =", "24 - 46 ="


@pytest.fixture
def write(tmp_path: Path):
    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def test_csv_and_json_lines_give_the_same_pairs(write):
    table = write("a.csv", 'clean,corrupted,label,wrong\n"a, b",c,70,22\nd,e,1,\n')
    lines = write(
        "a.jsonl",
        '{"clean": "a, b", "corrupted": "c", "answer": 70, "wrong": 22}\n'
        '{"clean": "d", "corrupted": "e", "answer": "1", "wrong": null}\n',
    )
    pairs = read_pairs(table)
    assert pairs.pairs == read_pairs(lines).pairs
    assert [(pair.clean, pair.answer, pair.wrong, pair.row) for pair in pairs] == [
        ("a, b", " 70", " 22", 1),
        ("d", " 1", None, 2),
    ]
    assert pairs.name == "a"
    assert pairs.part is None
    assert pairs.settings == {"file": "a.csv", "sha256": sha256_file(table), "wrong": "given"}


def test_byte_order_mark_windows_lines_and_blank_lines_are_fine(write):
    path = write("a.csv", b"\xef\xbb\xbfclean,corrupted,answer\r\n\r\na,b,c\r\n\r\nd,e,f\r\n")
    assert [(pair.clean, pair.answer, pair.row) for pair in read_pairs(path)] == [("a", " c", 1), ("d", " f", 2)]
    path = write("a.jsonl", b'\xef\xbb\xbf\r\n{"clean": "a", "corrupted": "b", "answer": "c"}\r\n')
    assert [(pair.clean, pair.answer, pair.row) for pair in read_pairs(path)] == [("a", " c", 2)]


@pytest.mark.parametrize(
    ("prompt", "label", "answer"),
    [
        (ADD, "70", " 70"),
        (ADD, " 70", " 70"),
        ("Is 2 > 1? Answer: ", "yes", "yes"),
        ("Derive the following sequence: 4, 8, 16, 32,", "64", " 64"),
        ("1.5, 2.5,", "3.5", " 3.5"),
        ("-1, -2,", "-3", " -3"),
        ("y=80,85,90,", "95", "95"),
        ("y=80,", "85", "85"),
        ("1,-2,", "3", "3"),
        ("0.5,1.5,", "2.5", "2.5"),
        ("Robert, Kelly,", "Tom", " Tom"),
    ],
)
def test_labels_get_the_space_that_follows_their_prompt(write, prompt: str, label: str, answer: str):
    path = write("a.jsonl", json.dumps({"clean": prompt, "corrupted": "x", "label": label, "wrong": label}))
    (pair,) = read_pairs(path)
    assert (pair.answer, pair.wrong) == (answer, answer)


def test_a_prefix_of_ones_own_replaces_the_rule(write):
    path = write("a.csv", f"clean,corrupted,answer\n{ADD},{SUB}, 70\n")
    assert [(pair.answer, pair.wrong) for pair in read_pairs(path, answer_prefix="")] == [("70", "-22")]
    pairs = read_pairs(path, answer_prefix="\n")
    assert [(pair.answer, pair.wrong) for pair in pairs] == [("\n70", "\n-22")]
    assert pairs.settings["answer_prefix"] == "\n"


def test_wrong_is_computed_for_known_tasks_and_kept_where_given(write):
    path = write("a.csv", f"clean,corrupted,answer,wrong\n{ADD},{SUB},70,\n1 + 1 =,1 - 1 =,2,9\nMore,Less,of,\n")
    pairs = read_pairs(path)
    assert [pair.wrong for pair in pairs] == [" -22", " 9", None]
    assert pairs.settings["wrong"] == "computed"


def test_rows_of_the_same_operands_are_one_group(write):
    path = write("a.csv", f"clean,corrupted,answer\n{ADD},{SUB},70\n46 + 24 =,46 - 24 =,70\nx,y,z\n")
    one, other, third = read_pairs(path)
    assert one.group == other.group != third.group


def test_token_ids_wait_for_a_tokenizer(write):
    path = write("a.csv", "clean,corrupted,correct_idx,incorrect_idx\na,b,17,4\nc,d,5,\n")
    pairs = read_pairs(path)
    assert [(p.answer, p.answer_id, p.wrong, p.wrong_id) for p in pairs] == [("", 17, None, 4), ("", 5, None, None)]
    assert pairs.settings["wrong"] == "given"


@pytest.mark.parametrize("name", ["add_sub", "function", "comparison", "complex_ioi"])
def test_generated_rows_come_back_from_bare_labels(write, tmp_path: Path, name: str):
    pairs = task(name, size=100)
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [("clean", "corrupted", "label"), *((p.clean, p.corrupted, p.answer.strip()) for p in pairs)]
        )
    back = read_pairs(tmp_path / "rows.csv")
    assert [(p.answer, p.wrong) for p in back] == [(p.answer, p.wrong) for p in pairs]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "clean,corrupted,answer\n", "has no rows"),
        ("a.txt", "clean", r"neither \.csv nor \.jsonl"),
        ("a.csv", "prompt,label\na,b\n", r"columns 'prompt', 'label' and lacks clean, corrupted; rename or add"),
        ("a.csv", "clean,corrupted\na,b\n", r"lacks answer \(or label, or correct_idx\)"),
        ("a.csv", "clean,corrupted,answer,answer\na,b,c,d\n", "names a column twice"),
        ("a.csv", b"clean,corrupted,answer\na,b,c\na,\xff,c\n", "line 3, is not UTF-8"),
        ("a.csv", "clean,corrupted,answer\na,b,c\na,,c\n", "row 2, column corrupted, is empty"),
        ("a.csv", "clean,corrupted,answer\na,b,  \n", "row 1, column answer, is empty"),
        ("a.csv", "clean,corrupted,answer\n4, 8,b,c\n", r"row 1, has 4 cells and the header 3; .* double quotes"),
        ("a.csv", 'clean,corrupted,answer\na,b,c\n"a"x,b,c\n', "row 2, is not valid CSV"),
        ("a.csv", "clean,corrupted,correct_idx\na,b,x1\n", "row 1, column correct_idx, is 'x1', not one token id"),
        ("a.csv", 'clean,corrupted,correct_idx\na,b,"[1, 2]"\n', "not one token id"),
        ("a.jsonl", '{"clean": "a", "corrupted": "b", "answer": "c"}\n{"clean"\n', "row 2, is not JSON"),
        ("a.jsonl", "[1]\n", "row 1, is not a JSON object"),
        ("a.jsonl", '{"clean": "a", "answer": "c"}\n', "row 1, has the columns .* lacks corrupted"),
        ("a.jsonl", '{"clean": "a", "corrupted": null, "answer": "c"}\n', "row 1, column corrupted, is empty"),
        ("a.jsonl", '{"clean": "a", "corrupted": ["b"], "answer": "c"}\n', r"corrupted, is \['b'\], not text"),
        ("a.jsonl", '{"clean": "a", "corrupted": "b", "answer": true}\n', "answer, is True, not text"),
    ],
)
def test_what_does_not_fit_is_named_in_one_sentence(write, name: str, content: str | bytes, message: str):
    path = write(name, content)
    with pytest.raises(InputError, match=message) as caught:
        read_pairs(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"none\.csv does not exist; check the path"):
        read_pairs(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_pairs(tmp_path)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80))
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_arbitrary_bytes_give_pairs_or_an_input_error(write, name: str, data: bytes):
    for content in (data, b"clean,corrupted,answer\n" + data, b'{"clean":"' + data):
        try:
            pairs = read_pairs(write(name, content))
        except InputError:
            continue
        assert len(pairs) >= 1


def test_released_rows(released: Path):
    arithmetic = read_pairs(released / "add_sub_100.csv")
    assert arithmetic[0].clean.endswith("72 - 46 =")
    assert (arithmetic[0].answer, arithmetic[0].wrong) == (" 26", " 118")
    assert all(pair.wrong for pair in arithmetic)
    sequence = read_pairs(released / "sequence.csv")
    assert (sequence[0].answer, {pair.wrong for pair in sequence}) == (" 64", {None})
    function = read_pairs(released / "function.csv")
    assert (function[0].answer, function[0].wrong) == ("95", "163")
    for pairs in (arithmetic, sequence, function):
        assert len(pairs) == 300
        assert [len(pairs.split(part)) for part in ("train", "circuit", "validation", "test")] == [180, 30, 30, 60]


@pytest.mark.parametrize("name", ["add_sub_100", "sequence", "function"])
def test_labels_of_released_rows_are_what_we_compute(released: Path, name: str):
    for pair in read_pairs(released / f"{name}.csv"):
        assert solve(pair.clean) == pair.answer.strip()
