"""``circuitune tasks``: list, show, check and export, and what they refuse."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from circuitune.cli import call
from circuitune.models.loading import NANO_FOLDER
from circuitune.tasks.files import read_pairs
from circuitune.tasks.pairs import PairSet
from circuitune.tasks.registry import TASKS, task

ROWS = "src,tgt\n" + "".join(f"{n} + 5 =,{n + 5}\n" for n in range(10, 70))
GOOD = "clean,corrupted,answer\n" + "".join(f"{n} + 5 =,{n} - 5 =,{n + 5}\n" for n in range(10, 70))
BAD = GOOD + "1 + 1 =,1 + 1 =,2\n1 + 2 =,1 - 2000 =,3\n11 + 5 =,11 - 5 =,16\n"
TEMPLATE = (
    "{% for m in messages %}User: {{ m['content'] }} . {% endfor %}{% if add_generation_prompt %}Answer:{% endif %}"
)


@pytest.fixture
def chat_model(here: Path, model: Path) -> Path:
    folder = here.parent / f"{here.name}-chat"
    shutil.copytree(model, folder)
    tokenizer = AutoTokenizer.from_pretrained(NANO_FOLDER)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert call(["tasks", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_list_names_every_task_with_an_example(capsys: pytest.CaptureFixture[str]):
    lines = said(capsys, "list").splitlines()
    assert [line.split()[0] for line in lines[1 : len(TASKS) + 1]] == list(TASKS)
    found = json.loads(said(capsys, "list", "--json"))
    assert list(found) == list(TASKS)
    assert found["add_sub"]["parameters"] == {"limit": 100, "style": "full", "size": 10_100}
    assert all("|" in about["example"] for about in found.values())


def test_show_prints_pairs_parameters_and_balance(capsys: pytest.CaptureFixture[str]):
    shown = said(capsys, "show", "lcm", "-n", "3", "--set", "size=200")
    assert shown.count("\nclean ") == shown.count("\nwrong ") == 3
    assert "parameters: " in shown
    assert "most frequent answer" in shown
    assert "\nright " in said(capsys, "show", "greater_than", "-n", "1", "--set", "size=200")
    found = json.loads(said(capsys, "show", "add_sub", "-n", "2", "--set", "limit=20", "--json"))
    assert found["pairs"] == sum(found["parts"].values()) == len(task("add_sub", limit=20))
    assert len(found["examples"]) == 2
    assert found["kinds"].keys() == {"+", "-"}


def test_export_writes_what_the_task_is(here: Path, capsys: pytest.CaptureFixture[str]):
    out = here / "new" / "a.jsonl"
    assert str(out) in said(capsys, "export", "add_sub", "--set", "limit=20", "--out", out)
    assert PairSet.from_jsonl(out).digest == task("add_sub", limit=20).digest
    assert "left out" in said(capsys, "check", out)


@pytest.mark.parametrize("name", ["add_sub", "greater_than", "complex_ioi"])
def test_export_to_a_table_reads_back_as_the_same_pairs(name: str, here: Path, capsys: pytest.CaptureFixture[str]):
    said(capsys, "export", name, "--out", "pairs.csv")
    assert read_pairs("pairs.csv").digest == task(name).digest
    assert read_pairs("pairs.csv").pairs == task(name).pairs


def test_check_tells_rows_by_rule_and_writes_the_others(here: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    (here / "bad.csv").write_text(BAD)
    shown = said(capsys, "check", "bad.csv", "--model", model, "--out", "good.jsonl")
    assert "60 valid pairs, 3 left out, 0 without a wrong answer." in shown
    for rule, row in (("corruption differs from prompt", 61), ("equal token length", 62), ("unique prompts", 63)):
        assert f"{rule}: 1 left out, rows {row} (row {row}: " in shown
    assert [pair.row for pair in read_pairs("good.jsonl")] == list(range(1, 61))
    found = json.loads(said(capsys, "check", "--pairs", "bad.csv", "--model", model, "--json"))
    assert (found["valid"], found["out"], [row["row"] for row in found["left_out"]]) == (60, None, [61, 62, 63])


@pytest.mark.parametrize("strategy", ["another-row", "token"])
def test_check_renames_corrupts_and_wraps(
    strategy: str, here: Path, chat_model: Path, capsys: pytest.CaptureFixture[str]
):
    (here / "mine.csv").write_text(ROWS)
    options = ["mine.csv", "--columns", "clean=src, answer=tgt", "--corruption", strategy, "--model", chat_model]
    said(capsys, "check", *options, "--out", "a.jsonl")
    said(capsys, "check", *options, "--out", "b.jsonl")
    assert Path("a.jsonl").read_bytes() == Path("b.jsonl").read_bytes()
    said(capsys, "check", *options, "--out", "b.jsonl", "--seed", "1")
    assert Path("a.jsonl").read_bytes() != Path("b.jsonl").read_bytes()
    plain = read_pairs("a.jsonl")
    assert all(pair.wrong and pair.corrupted for pair in plain)
    assert "0 left out" in said(capsys, "check", *options, "--chat", "--out", "chat.jsonl")
    wrapped = read_pairs("chat.jsonl")
    assert [pair.clean for pair in wrapped] == [f"User: {pair.clean} . Answer:" for pair in plain]
    assert "0 left out" in said(capsys, "check", "chat.jsonl", "--model", chat_model)


def test_check_keeps_longer_answers_on_request(here: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    rows = "".join(f"{n} + 5 =,{n} - 5 =,{n + 5}\n" for n in range(5000, 5060))
    (here / "long.csv").write_text(f"clean,corrupted,answer\n{rows}")
    assert call(["tasks", "check", "long.csv", "--model", str(model)]) == 2
    assert "60 break 'single-token answers'" in capsys.readouterr().err
    assert "60 valid pairs" in said(capsys, "check", "long.csv", "--model", model, "--multi-token")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("show", "show"),
        ("show add_sub -n 0", "0 pairs"),
        ("show add_sub --set name=x", "no parameter 'name'"),
        ("show add_sub --set seed=2020-01-01", "seed must be a whole number"),
        ("show add_sub --set limit=[1]", "limit must be a whole number"),
        ("show add_sub --set style=[full]", "style must be one of"),
        ("export add_sub", "--out"),
        ("export alchemy --out new/a.jsonl", "alchemy"),
        ("export add_sub --set limit=-1 --out new/a.jsonl", "limit"),
        ("export add_sub --out new/a.txt", "must end in .jsonl or .csv"),
        ("export add_sub --out mine.csv/a.jsonl", "mine.csv"),
        ("check", "Name the pairs"),
        ("check none.csv --out new/a.jsonl", "none.csv"),
        ("check mine.csv --out new/a.jsonl", "lacks clean, corrupted"),
        ("check mine.csv --task add_sub", "name one set of pairs"),
        ("check mine.csv --pairs good.csv", "name one set of pairs"),
        ("check good.csv --out good.txt", "must end in .jsonl"),
        ("check good.csv --out .", "is a folder"),
        ("check good.csv --set limit=3", "--set belongs to a task"),
        ("check good.csv --part test", "--part"),
        ("check good.csv --chat", "no chat template"),
        ("check bad.csv --strict --out a.jsonl", "3 of 63 rows break a rule"),
        ("check --task add_sub --columns clean=a", "belong to a file"),
        ("check --task add_sub --corruption token", "belong to a file"),
        ("check --task add_sub --answer-prefix x", "--answer-prefix belongs to a file"),
        ("check mine.csv --columns clean", "is not OURS=THEIRS"),
        ("check mine.csv --columns clean=src,clean=tgt", "maps clean twice"),
        ("check mine.csv --columns clean=src,answer=src", "mapped to two of ours"),
        ("check mine.csv --columns clean=nowhere", "no column 'nowhere'"),
        ("check mine.csv --columns clear=src", "'clear' is no column of ours"),
        ("check mine.csv --columns clean=src,answer=tgt", "--corruption another-row"),
        ("check mine.csv --corruption noise", "--corruption"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_nothing_is_left(
    arguments: str, message: str, here: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    for name, text in (("mine.csv", ROWS), ("good.csv", GOOD), ("bad.csv", BAD)):
        (here / name).write_text(text)
    before = {path: path.read_bytes() for path in here.iterdir()}
    extra = ["--model", str(model)] if arguments.startswith("check") else []
    capsys.readouterr()
    assert call(["tasks", *arguments.split(), *extra]) == 2
    shown = capsys.readouterr()
    said_so = [line for line in shown.err.splitlines() if not line.startswith("Loading ")]
    assert len(said_so) == 1
    assert message in said_so[0]
    assert shown.out == ""
    assert {path: path.read_bytes() for path in here.iterdir()} == before
