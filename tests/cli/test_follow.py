"""``circuitune follow``: circuits along a training's checkpoints, from the shell."""

import json
import shutil
from pathlib import Path

import pytest

from circuitune.cli import call
from circuitune.models.loading import load
from circuitune.training.circuit_callback import read_series

PAIRS = ["--task", "add_sub", "--set", "style=short", "--set", "limit=20", "--metric", "kl", "--pairs-count", "10"]


@pytest.fixture(scope="module")
def output(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Trainer's output folder of a full fine-tuning; its checkpoints hold no tokenizer."""
    folder = tmp_path_factory.mktemp("output")
    for step, scale in ((100, 8.0), (20, 2.0)):
        changed, _ = load(model)
        changed.get_output_embeddings().weight.data.mul_(0.5)
        changed.gpt_neox.layers[1].mlp.dense_4h_to_h.weight.data.mul_(scale)  # type: ignore[union-attr]
        changed.save_pretrained(folder / f"checkpoint-{step}")
    return folder


def test_it_ends_in_a_table_and_goes_on_where_it_was(
    here: Path, model: Path, output: Path, capsys: pytest.CaptureFixture[str]
):
    command = ["follow", str(model), "--checkpoints", str(output), *PAIRS, "--share", "0.3", "--out", "circuits"]
    assert call(command) == 0
    shown = capsys.readouterr()
    header, *rows = shown.out.splitlines()
    assert header.split("  ")[0] == "step"
    assert header.split()[-2:] == ["cumulative", "completeness"]
    assert [row.split()[0] for row in rows[:3]] == ["0", "20", "100"]
    assert "kept from before" not in shown.err
    assert list(read_series("circuits")) == [0, 20, 100]

    files = {path: path.read_bytes() for path in (here / "circuits").iterdir()}
    assert call([*command, "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.err.count("kept from before") == 3
    assert {path: path.read_bytes() for path in (here / "circuits").iterdir()} == files
    steps = json.loads(shown.out)["steps"]
    assert [step["step"] for step in steps] == [0, 20, 100]
    assert steps[0]["edges"]["from_first"] == {"changed": 0, "rate": 0.0, "jaccard": 1.0}
    assert steps[2]["edges"]["from_first"]["changed"] > 0
    rates = [step["edges"]["from_previous"]["rate"] for step in steps]
    assert steps[2]["edges"]["cumulative"] == pytest.approx(sum(rates))


def test_revisions_on_the_hub_are_followed_and_two_of_the_files_compared(
    here: Path, model: Path, output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    place = here / "hub/models--someone--tiny"
    for number, (revision, folder) in enumerate((("step1", model), ("step900", output / "checkpoint-100"))):
        shutil.copytree(model, place / "snapshots" / (str(number) * 40))
        shutil.copytree(folder, place / "snapshots" / (str(number) * 40), dirs_exist_ok=True)
        (place / "refs").mkdir(exist_ok=True)
        (place / "refs" / revision).write_text(str(number) * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(here / "hub"))
    follow = ["follow", "someone/tiny", "--revisions", "step1", "step900", *PAIRS, "--per-example", "--out", "out"]
    assert call(follow) == 0
    assert list(read_series("out")) == [1, 900]
    capsys.readouterr()
    found: list[object] = []
    for sides in (
        ["out/step-00001.safetensors", "out/step-00900.safetensors"],
        ["someone/tiny@step1", "someone/tiny@step900", *PAIRS],
    ):
        assert call(["compare", *sides, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]
    assert call(["follow", "someone/tiny", "--revisions", "step1", "step2", *PAIRS]) == 2
    assert "someone/tiny@step2 is no folder here and does not load" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--checkpoints", "OUTPUT", "--revisions", "a", "b"], "either --checkpoints FOLDER or --revisions"),
        ([], "either --checkpoints FOLDER or --revisions"),
        (["--checkpoints", "."], "holds no checkpoint-N"),
        (["--checkpoints", "none"], "none holds no checkpoint-N"),
        (["--revisions", "step1", "step2"], "has no revisions"),
        (["--checkpoints", "OUTPUT", "--share", "0"], "--share 0"),
        (["--checkpoints", "OUTPUT", "--task", "alchemy"], "alchemy"),
        (["--checkpoints", "OUTPUT", *PAIRS, "--out", "."], "holds file, which belongs to none"),
        (["--checkpoints", "OUTPUT", *PAIRS, "--out", "file"], "not a writable folder"),
    ],
)
def test_what_cannot_be_followed_is_one_sentence(
    arguments: list[str], message: str, here: Path, model: Path, output: Path, capsys: pytest.CaptureFixture[str]
):
    (here / "file").write_text("nothing of ours")
    assert call(["follow", str(model), *({"OUTPUT": str(output)}.get(word, word) for word in arguments)]) == 2
    shown = capsys.readouterr()
    assert message in shown.err.splitlines()[-1]
    assert shown.out == ""
    assert [path.name for path in here.iterdir()] == ["file"]
