"""Every kind of bad input: one sentence, exit code 2 (or 1 for the machine's failures), and nothing left behind."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.cli import call
from circuitune.models.anatomy import anatomy_of
from circuitune.models.loading import load
from experiments import tiny

HEADER = "clean,corrupted,answer\n"
ROWS = "".join(f"one more than {n} is,one more than {n + 100} is,{n + 1}\n" for n in range(30))
LONG = "".join(f"{'one ' * 70}{n} is,{'ten ' * 70}{n} is,{n + 1}\n" for n in range(50))


def write(name: str, text: str) -> Callable[[Path, Path], None]:
    return lambda here, model: (here / name).write_text(text) and None


def break_model(here: Path, model: Path) -> None:
    """A model's folder without its weights."""
    (here / "hollow").mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (here / "hollow" / name).write_bytes((model / name).read_bytes())


def damage_model(here: Path, model: Path) -> None:
    """A model's folder with half of its weights."""
    break_model(here, model)
    data = (model / "model.safetensors").read_bytes()
    (here / "hollow" / "model.safetensors").write_bytes(data[: len(data) // 2])


def one_layer(here: Path, model: Path) -> None:
    tiny.save_model(here / "flat", layers=1)


def adapter(here: Path, model: Path) -> None:
    assert call(["train", "--task", "add_sub", "--rank", "1", "--model", str(model), "--out", "tuned", *SHORT]) == 0


def nothing(here: Path, model: Path) -> None:
    pass


SHORT = ["--epochs", "0.02", "--checkpoints", "1", "--batch-size", "64", "--accumulation", "1"]

CASES: dict[str, tuple[Callable[[Path, Path], None], list[str], str]] = {
    "missing file": (nothing, ["--pairs", "none.csv"], "none.csv"),
    "folder for a file": (lambda here, model: (here / "some").mkdir(), ["--pairs", "some"], "some is a folder"),
    "empty file": (write("empty.csv", ""), ["--pairs", "empty.csv"], "is empty"),
    "header alone": (write("head.csv", HEADER), ["--pairs", "head.csv"], "has no rows"),
    "wrong columns": (write("cols.csv", "prompt,reply\na,b\n"), ["--pairs", "cols.csv"], "lacks clean"),
    "another format": (write("pairs.xlsx", "x"), ["--pairs", "pairs.xlsx"], "neither .csv nor .jsonl"),
    "binary": (
        lambda here, model: (here / "b.csv").write_bytes(b"\xff\xfe\x00") and None,
        ["--pairs", "b.csv"],
        "UTF-8",
    ),
    "broken JSON": (write("bad.jsonl", "{\n"), ["--pairs", "bad.jsonl"], "is not JSON"),
    "too few rows": (write("few.csv", HEADER + ROWS), ["--pairs", "few.csv"], "30 of 30 rows can be used"),
    "prompts too long": (write("long.csv", HEADER + LONG), ["--pairs", "long.csv"], "than the 64 tokens"),
    "strict": (write("bad.csv", HEADER + "a,a,1\n" + ROWS), ["--pairs", "bad.csv", "--strict"], "row 1"),
    "unknown task": (nothing, ["--task", "alchemy"], "add_sub"),
    "unknown parameter": (nothing, ["--task", "add_sub", "--set", "limits=3"], "limits"),
    "parameter out of range": (nothing, ["--task", "add_sub", "--set", "limit=-3"], "limit"),
    "no such model": (nothing, ["--model", "nowhere/at-all"], "nowhere/at-all"),
    "model is a file": (write("model.bin", "x"), ["--model", "model.bin"], "is a file"),
    "empty model folder": (lambda here, model: (here / "void").mkdir(), ["--model", "void"], "void"),
    "model without weights": (break_model, ["--model", "hollow"], "no weights"),
    "model with half its weights": (damage_model, ["--model", "hollow"], "does not load"),
    "model too shallow": (one_layer, ["--model", "flat"], "1 layers"),
    "model is an adapter": (adapter, ["--model", "tuned/checkpoints/step-00002"], "PEFT adapter"),
    "out is a file": (write("taken", "x"), ["--out", "taken"], "is a file"),
    "out below a file": (write("taken", "x"), ["--out", "taken/run"], "is a file"),
    "out holds other things": (lambda here, model: other_things(here), ["--out", "thesis"], "other files"),
    "out cannot be written": (nothing, ["--out", "/proc/circuitune/run"], "/proc/circuitune"),
    "missing recipe": (nothing, ["--recipe", "none.yaml"], "none.yaml"),
    "recipe with an unknown field": (
        write("r.yaml", "extends: default\nspeed: 9\n"),
        ["--recipe", "r.yaml"],
        "field speed",
    ),
}


def other_things(here: Path) -> None:
    (here / "thesis").mkdir()
    (here / "thesis" / "chapter.tex").write_text("x")


@pytest.mark.parametrize("case", CASES)
def test_run_refuses_it_in_one_sentence_and_leaves_nothing(
    case: str, here: Path, model: Path, capsys: pytest.CaptureFixture[str]
):
    prepare, arguments, message = CASES[case]
    prepare(here, model)
    before = {path.relative_to(here) for path in here.rglob("*")}
    capsys.readouterr()
    extra = [] if "--model" in arguments else ["--model", str(model)]
    assert call(["run", *arguments, *extra]) == 2
    shown = capsys.readouterr()
    last = shown.err.splitlines()[-1]
    assert last.startswith("circuitune: ")
    assert message in last
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert {path.relative_to(here) for path in here.rglob("*")} == before


@pytest.fixture(scope="module")
def given(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files that the arguments below stand for: scores of the model, and prompts too long for it."""
    folder = tmp_path_factory.mktemp("given")
    graph = Graph.of(anatomy_of(load(str(model))[0]))
    EdgeScores(graph.edge_mask.float(), graph).save(folder / "scores.safetensors")
    (folder / "long.csv").write_text(HEADER + LONG)
    return {"SCORES": str(folder / "scores.safetensors"), "LONG": str(folder / "long.csv")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["discover", "--model", "MODEL"], "--task NAME or --pairs FILE"),
        (["discover", "--task", "add_sub", "--model", "MODEL", "--out", "file"], "not a writable folder"),
        (["evaluate", "none.safetensors", "--task", "add_sub"], "none.safetensors"),
        (["evaluate", "file", "--task", "add_sub"], "file"),
        (["compare", "file", "none.safetensors"], "file"),
        (["compare", "MODEL", "MODEL"], "name pairs with --task or --pairs"),
        (["plan", "none.safetensors", "none.safetensors", "--model", "MODEL"], "none.safetensors"),
        (["train", "--task", "add_sub", "--model", "MODEL"], "either --rank N or --plan FILE"),
        (["train", "--task", "add_sub", "--model", "MODEL", "--rank", "2", "--out", "file"], "is a file"),
        (["train", "--task", "add_sub", "--model", "MODEL", "--rank", "2", "--epochs", "0"], "epochs"),
        (["train", "--task", "add_sub", "--model", "MODEL", "--plan", "file"], "file"),
        (["train", "--pairs", "LONG", "--model", "MODEL", "--rank", "2"], "than the 64 tokens"),
        (["discover", "--pairs", "LONG", "--model", "MODEL"], "than the 64 tokens"),
        (["evaluate", "SCORES", "--pairs", "LONG", "--model", "MODEL"], "than the 64 tokens"),
        (["compare", "MODEL", "MODEL", "--pairs", "LONG"], "than the 64 tokens"),
        (["tasks", "show", "alchemy"], "alchemy"),
        (["tasks", "export", "add_sub", "--out", "."], "is a folder"),
        (["models", "void/none"], "void/none"),
        (["report", "build", "none"], "none"),
        (["runs", "list", "none"], "none is no folder"),
        (["runs", "check", "."], "is no run folder"),
        (["job", "run", "."], "spec.json"),
    ],
    ids=" ".join,
)
def test_single_steps_refuse_it_the_same_way(
    arguments: list[str],
    message: str,
    here: Path,
    model: Path,
    given: dict[str, str],
    capsys: pytest.CaptureFixture[str],
):
    (here / "file").write_text("nothing of ours")
    assert call([{"MODEL": str(model), **given}.get(word, word) for word in arguments]) == 2
    shown = capsys.readouterr()
    assert message in shown.err.splitlines()[-1]
    assert "Traceback" not in shown.err
    assert [path.name for path in here.iterdir()] == ["file"]


@pytest.mark.slow
def test_a_run_that_was_damaged_says_what_to_do_again(here: Path, model: Path, capsys: pytest.CaptureFixture[str]):
    run, _ = tiny.finished(tiny.recipe(model, here), here / "run")
    assert call(["runs", "check", "run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["whole"]
    assert call(["report", "build", "run"]) == 0
    scores = next((run.folder / "jobs").glob("circuits-*/scores/*"))
    data = bytearray(scores.read_bytes())
    data[len(data) // 2] ^= 1
    scores.write_bytes(data)
    capsys.readouterr()
    assert call(["runs", "check", "run"]) == 1
    shown = capsys.readouterr()
    assert scores.name in shown.out
    assert f"remove {scores.parent.parent.relative_to(here)}; then give circuitune run --recipe" in shown.err


@pytest.mark.parametrize(
    "verb", [["import"], ["tasks", "check"], ["evaluate", "--task", "add_sub"], ["report", "build"]], ids=" ".join
)
def test_a_name_that_no_file_can_have_is_one_sentence(verb: list[str], capsys: pytest.CaptureFixture[str]):
    assert call([*verb, f"{'x' * 300}.csv"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
