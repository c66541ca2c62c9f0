"""``circuitune import`` and ``export``: their own examples, files in both directions, refusals."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from circuits import foreign
from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.lora import attach, save_adapter
from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.cli import call
from circuitune.experiments.inputs import load_whole

GRAPH = Graph(3, 4, 4, parallel=True)


@pytest.fixture
def scores() -> EdgeScores:
    values = torch.randn(GRAPH.edge_mask.shape, generator=torch.Generator().manual_seed(0))
    values = values.where(GRAPH.edge_mask, torch.tensor(0.0))  # a product would leave -0.0 where no edge is
    return EdgeScores(values, GRAPH, 0.01, None, {"method": "eap-ig", "steps": 5})


@pytest.fixture
def files(here: Path, scores: EdgeScores) -> Path:
    """A folder with every file that the examples name."""
    scores.save(here / "scores.safetensors")
    scores.top(0.3).save(here / "circuit.safetensors")
    foreign.save_json(here / "graph.json", foreign.new_json())
    foreign.save_pt(here / "llama.pt", foreign.new_pt(layers=2, heads=4))
    return here


def done(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The verb's JSON result."""
    capsys.readouterr()
    assert call([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def examples(files: Path, model: Path) -> Path:
    """The same folder with a plan and an adapter of a tiny model."""
    base = load_whole(str(model))[0]
    plan = RankPlan.two_level(base, [1], 1, 3)
    replace(plan, provenance={"model": str(model)}).save(files / "circuit_plan.json")
    save_adapter(attach(base, plan, seed=0), files / "adapter")
    return files


@pytest.mark.parametrize("verb", ["import", "export"])
def test_the_examples_of_the_help_run(verb: str, examples: Path, capsys: pytest.CaptureFixture[str]):
    assert call([verb, "--help"]) == 0
    examples = re.findall(rf"^ +circuitune ({verb} .+)$", capsys.readouterr().out, re.MULTILINE)
    assert len(examples) >= 2
    for example in examples:
        assert call(shlex.split(example)) == 0, example
        shown = capsys.readouterr().out
        written = re.findall(r"^Written: (.+)$", shown, re.MULTILINE)
        assert written
        assert all(Path(name).is_file() for name in written)


@pytest.mark.parametrize("format", ["eap-ig-json", "eap-ig-json-old", "pt"])
@pytest.mark.parametrize("kind", ["scores", "circuit"])
def test_there_and_back_is_the_same_file(kind: str, format: str, files: Path, capsys: pytest.CaptureFixture[str]):
    out = f"there.{'pt' if format == 'pt' else 'json'}"
    made = done(capsys, "export", f"{kind}.safetensors", "--format", format, "--out", out)
    assert made == {"format": format, "files": [out], "notes": []}
    back = done(capsys, "import", out, "--out", "back.safetensors")
    assert back["files"] == ["back.safetensors"]
    assert (files / "back.safetensors").read_bytes() == (files / f"{kind}.safetensors").read_bytes()


def test_a_foreign_file_becomes_files_that_other_verbs_take(files: Path, capsys: pytest.CaptureFixture[str]):
    found = done(capsys, "import", "graph.json", "--out", "theirs")
    assert found["files"] == ["theirs/scores.safetensors", "theirs/circuit.safetensors"]
    circuit = Circuit.load(files / "theirs/circuit.safetensors")
    assert found["circuits"][0]["edges"] == len(circuit)
    assert EdgeScores.load(files / "theirs/scores.safetensors").settings["file"] == "graph.json"
    change = done(capsys, "compare", "theirs/circuit.safetensors", "theirs/scores.safetensors", "--share", "0.2")
    assert change["edges"]["before"] == len(circuit)


def test_a_submission_of_nine_circuits_goes_out_and_comes_back(
    files: Path, scores: EdgeScores, capsys: pytest.CaptureFixture[str]
):
    made = done(capsys, "export", "scores.safetensors", "--format", "mib", "--binary", "--out", "ioi_gpt2")
    assert len(made["files"]) == 9
    found = done(capsys, "import", "ioi_gpt2", "--out", "nine")
    assert found["files"] == [f"nine/circuit-{number}.safetensors" for number in range(1, 10)]
    largest = Circuit.load(files / "nine/circuit-9.safetensors")
    assert largest == scores.top(int(0.5 * GRAPH.edges))


def test_node_scores_are_written_as_json(files: Path, capsys: pytest.CaptureFixture[str]):
    file = foreign.new_json(share=0)
    for edge in file["edges"].values():
        edge["score"] = 0.0
    file["nodes"]["m0"].update(score=0.5, neurons=[True])
    foreign.save_json(files / "nodes.json", file)
    assert call(["import", "nodes.json", "--out", "nodes"]) == 0
    shown = capsys.readouterr()
    assert "Neurons in nodes.json" in shown.err
    assert "it has no scores" in shown.out
    written = json.loads((files / "nodes/node_scores.json").read_text())
    assert written["m0"] == 0.5
    assert written["m1"] is None
    assert [path.name for path in (files / "nodes").iterdir()] == ["node_scores.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "none.json"], "none.json cannot be read"),
        (["import", "circuit.safetensors"], "Circuit.load"),
        (["import", "graph.json", "--kv-heads", "3"], "3 kv_heads do not divide"),
        (["import", "ioi_gpt2", "--out", "one.safetensors"], "name a folder with --out"),
        (["import", "graph.json", "--out", "graph.json"], "not a writable folder"),
        (["import", "broken.json"], "is not whole JSON"),
        (["export", "graph.json", "--format", "pt", "--out", "x.pt"], "graph.json"),
        (["export", "circuit.safetensors", "--out", "x.pt"], "--format"),
        (["export", "circuit.safetensors", "--format", "dot", "--out", "x"], "--format"),
        (["export", "circuit.safetensors", "--format", "mib", "--out", "x"], "not one circuit"),
        (["export", "scores.safetensors", "--format", "pt", "--binary", "--out", "x"], "--binary"),
        (["export", "circuit.safetensors", "--format", "pt", "--out", "graph.json/x"], "not a writable folder"),
        (["export", "circuit.safetensors", "--format", "pt", "--out", "ioi_gpt2"], "is a folder"),
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_one_sentence_and_leaves_nothing(
    arguments: list[str], message: str, files: Path, capsys: pytest.CaptureFixture[str]
):
    (files / "broken.json").write_text('{"cfg": {')
    assert call(["export", "scores.safetensors", "--format", "mib", "--binary", "--out", "ioi_gpt2"]) == 0
    capsys.readouterr()
    before = sorted(files.rglob("*"))
    assert call(arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""
    assert sorted(files.rglob("*")) == before
