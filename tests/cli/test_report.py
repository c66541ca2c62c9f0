"""``circuitune report``: the examples of its help run, and what is wrong is one sentence."""

import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
import torch

from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.cli import call
from report.synthetic import build_run

COMMAND = [sys.executable, "-c", "from circuitune.cli import main; main()"]
STUDY = Path(__file__).parents[2] / "docs" / "studies" / "dynamics"
GRAPH = Graph(3, 4, 4, parallel=True)


@pytest.fixture
def files(here: Path) -> Path:
    """A folder with everything that the examples name; of the run few tables, so that it is quick."""
    run = build_run(here / "runs" / "nano-add_sub")
    for table in (run / "tables").iterdir():
        if table.stem not in ("transitions", "methods"):
            table.unlink()
    shutil.copytree(STUDY, here / "docs" / "studies" / "dynamics")
    for seed, folder in enumerate(("base", "tuned")):
        values = torch.randn(GRAPH.edge_mask.shape, generator=torch.Generator().manual_seed(seed)) * GRAPH.edge_mask
        scores = EdgeScores(values, GRAPH)
        scores.save(here / folder / "scores.safetensors")
        scores.top(0.3).save(here / folder / "circuit.safetensors")
    return here


def examples(verb: str, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    assert call(["report", verb, "--help"]) == 0
    shown = capsys.readouterr().out.split("╭")[0]
    shown = " ".join(shown[shown.index("Example") :].split())
    return [shlex.split(found) for found in re.findall(rf"circuitune (report {verb} .*?)(?= circuitune|$)", shown)]


@pytest.mark.parametrize(("verb", "count"), [("build", 1), ("figures", 4)])
def test_the_examples_of_the_help_run(verb: str, count: int, files: Path, capsys: pytest.CaptureFixture[str]):
    found = examples(verb, capsys)
    assert len(found) == count
    for arguments in found:
        assert call(arguments) == 0, arguments


def test_the_example_of_serving_answers_until_it_is_interrupted(files: Path, capsys: pytest.CaptureFixture[str]):
    [arguments] = examples("serve", capsys)
    assert arguments == ["report", "serve", "runs/nano-add_sub"]
    with subprocess.Popen(
        [*COMMAND, *arguments, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background lets them ignore SIGINT, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        shown = process.stdout.readline()
        address = re.fullmatch(r"Report: (http://127\.0\.0\.1:\d+/)\n", shown)
        assert address is not None
        with urlopen(address[1]) as answer:
            assert "These numbers are synthetic" in answer.read().decode()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert err == "Following the run until Ctrl-C.\nStopped.\n"


def test_what_cannot_be_served_is_one_sentence(files: Path, capsys: pytest.CaptureFixture[str]):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for arguments, message in (
            (["nowhere"], "nowhere is no folder"),
            (["runs"], "runs is no run folder"),
            (["runs/nano-add_sub", "--port", "65536"], "--port 65536 is no port"),
            (["runs/nano-add_sub", "--port", str(port)], f"Port {port} of 127.0.0.1 is in use; choose another"),
        ):
            assert call(["report", "serve", *arguments]) == 2
            shown = capsys.readouterr()
            assert message in shown.err
            assert (shown.err.count("\n"), shown.out) == (1, "")


def test_figures_of_a_run_are_listed_and_what_is_left_out(files: Path, capsys: pytest.CaptureFixture[str]):
    assert call(["report", "figures", "runs/nano-add_sub", "--format", "svg", "--format", "png"]) == 0
    shown = capsys.readouterr().out.splitlines()
    folder = Path("runs/nano-add_sub/figures")
    written = [line for line in shown if not line.startswith("Left out: ")]
    assert sorted(written) == sorted(map(str, folder.iterdir()))
    assert {path.suffix for path in folder.iterdir()} == {".svg", ".png", ".md"}
    assert any(line.startswith("Left out: overlap: the run has no tables/similarity.csv") for line in shown)


def test_figures_of_files(files: Path, capsys: pytest.CaptureFixture[str]):
    assert call(["report", "figures", "base/scores.safetensors", "--format", "svg"]) == 0
    assert {path.name for path in Path("base/figures").iterdir()} == {"circuit.svg", "scores.svg", "figures.md"}
    assert "the strongest 5% of the scores in scores.safetensors" in Path("base/figures/figures.md").read_text()
    both = ["base/circuit.safetensors", "tuned/circuit.safetensors"]
    assert call(["report", "figures", *both, "--out", "two", "--format", "svg"]) == 0
    assert {path.name for path in Path("two").iterdir()} == {"circuit.svg", "layers.svg", "figures.md"}


def test_a_caption_says_that_query_key_and_value_are_one_input_only_where_they_are(here: Path):
    graph = Graph(3, 4, 4, parallel=True)
    scores = EdgeScores(torch.rand(graph.edge_mask.shape) * graph.edge_mask, graph)
    for name, saved in (("apart", scores), ("merged", scores.collapse())):
        saved.save(here / name / "scores.safetensors")
        assert call(["report", "figures", f"{name}/scores.safetensors", "--format", "svg"]) == 0
        captions = (here / name / "figures" / "figures.md").read_text()
        assert ("the query, key and value of a head being one input" in captions) == (name == "merged")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is no folder"),
        (["runs"], "runs is no run folder"),
        (["runs/nano-add_sub", "base/circuit.safetensors"], "a run alone"),
        (["base/circuit.safetensors", "nowhere"], "nowhere"),
        (["runs/nano-add_sub", "--format", "gif"], "gif"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(
    arguments: list[str], message: str, files: Path, capsys: pytest.CaptureFixture[str]
):
    assert call(["report", "figures", *arguments]) == 2
    shown = capsys.readouterr()
    assert message in shown.err.splitlines()[-1]
    assert shown.out == ""
