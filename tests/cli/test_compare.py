"""``circuitune compare``: a planted change is found, equal models do not differ, and what is missing is said."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from circuitune.circuits.scores import EdgeScores
from circuitune.cli import call
from circuitune.models.loading import load
from experiments import tiny

PAIRS = ["--task", "add_sub", "--set", "style=short", "--set", "limit=30", "--metric", "kl"]
FEW = ["--pairs-count", "40"]


def done(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert call([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def tuned(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Trainer's checkpoint of the full model, no tokenizer: one head says nothing any more, one MLP shouts."""
    changed, _ = load(model)
    layers: Any = changed.gpt_neox.layers
    layers[0].attention.dense.weight.data[:, :8] = 0
    layers[1].mlp.dense_4h_to_h.weight.data *= 8
    folder = tmp_path_factory.mktemp("output") / "checkpoint-7"
    changed.save_pretrained(folder)
    return folder


def with_tokenizer_above(checkpoint: Path, model: Path, here: Path) -> Path:
    """A copy in a Trainer's output folder that holds the tokenizer, which its checkpoints do not."""
    copy = shutil.copytree(checkpoint, here / "output" / checkpoint.name)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model / name, copy.parent)
    return copy


def test_a_planted_change_is_found_and_said_first(model: Path, tuned: Path, capsys: pytest.CaptureFixture[str]):
    found = done(capsys, "compare", str(model), str(tuned), *PAIRS, *FEW, "--share", "0.3")
    assert found["sentences"][0].startswith("Do the sets of edges differ? More than the chance of the pairs: ")
    assert found["verdicts"]["edge_rate"]["outcome"] == "more than chance"
    assert found["missing"] == []
    removed = found["tests"]["removed"]
    assert 0 < found["tests"]["tested"] <= found["tests"]["raw"]
    assert [edge for edge in removed if edge.startswith("a0.h0->")]
    assert set(removed) <= set(found["edges"]["names"]["removed"])
    assert "a0.h0" in found["nodes"]["names"]["removed"]
    rate = found["measures"]["edge_rate"]
    assert rate["nulls"]["split"]["bound"] < rate["low"] <= rate["estimate"] == found["edges"]["rate"]
    assert not found["stability"]["before"]["unstable"]


def test_equal_models_do_not_differ(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    base, _ = load(model)
    adapter = get_peft_model(base, LoraConfig(r=2, target_modules=["query_key_value"]))  # B is 0
    adapter.save_pretrained(tmp_path / "fresh", save_embedding_layers=False)
    config = json.loads((tmp_path / "fresh/adapter_config.json").read_text())
    (tmp_path / "fresh/adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(model)}))
    found = done(capsys, "compare", str(model), str(tmp_path / "fresh"), *PAIRS, *FEW, "--share", "0.3")
    assert [verdict["outcome"] for verdict in found["verdicts"].values()] == ["no more than chance"] * 3
    assert found["sentences"][0].startswith("Do the sets of edges differ? No change: both circuits have the same")
    assert (found["tests"]["raw"], found["tests"]["tested"], found["edges"]["rate"]) == (0, 0, 0)


def test_in_words_the_verdict_stands_first(model: Path, capsys: pytest.CaptureFixture[str]):
    assert call(["compare", str(model), str(model), *PAIRS, *FEW]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].startswith("Do the sets of edges differ? No change: ")
    header = next(line for line in lines if line.startswith("measure"))
    assert header.split("  ")[-1].strip() == "rewired bound"
    assert lines[lines.index(header) + 1].split()[:4] == ["edge_rate", "0", "0", "0"]
    assert shown.err.count("Scoring all edges") == 1  # equal names are one model


@pytest.mark.slow
def test_saved_scores_of_single_pairs_say_what_the_models_say(
    here: Path, model: Path, tuned: Path, capsys: pytest.CaptureFixture[str]
):
    tuned = with_tokenizer_above(tuned, model, here)
    done(capsys, "discover", "--model", str(model), *PAIRS, *FEW, "--per-example", "--out", "base")
    models = done(capsys, "compare", str(model), str(tuned), *PAIRS, *FEW, "--share", "0.3")
    mixed = done(capsys, "compare", "base/scores.safetensors", str(tuned), *PAIRS, *FEW, "--share", "0.3")
    assert mixed == models

    scores = EdgeScores.load("base/scores.safetensors")
    replace(scores, examples=None, groups=None).save("means.safetensors")
    scores.top(0.3).save("circuit.safetensors")
    for file in ("means.safetensors", "circuit.safetensors"):
        less = done(capsys, "compare", file, "base/scores.safetensors", "--share", "0.3")
        assert less["verdicts"]["edge_rate"]["outcome"] == "no more than chance"
        assert (less["tests"], less["stability"], less["measures"]["edge_rate"]["low"]) == (None, None, None)
        assert less["measures"]["edge_jaccard"]["nulls"]["rewired"]["comparisons"] == 100
        (missing,) = less["missing"]
        assert "there are none before; make them with `circuitune discover --per-example`" in missing


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--resamples", "50"], "--resamples 50 is too few"),
        (["--share", "2"], "--share 2"),
        (["--task", "alchemy"], "alchemy"),
        ([], "name pairs with --task or --pairs"),
    ],
)
def test_what_it_cannot_do_is_one_sentence(
    options: list[str], message: str, model: Path, capsys: pytest.CaptureFixture[str]
):
    assert call(["compare", str(model), str(model), *options]) == 2
    shown = capsys.readouterr()
    assert message in shown.err.splitlines()[-1]
    assert shown.out == ""


def test_a_name_too_long_for_a_file_is_one_sentence(model: Path, capsys: pytest.CaptureFixture[str]):
    assert call(["compare", "a" * 300, str(model), *PAIRS]) == 2
    assert "is no place where a model can be (File name too long)" in capsys.readouterr().err.splitlines()[-1]


def test_two_models_of_two_shapes_are_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    tiny.save_model(tmp_path / "flat", layers=1)
    assert call(["compare", str(model), str(tmp_path / "flat"), *PAIRS, *FEW]) == 2
    assert "layers" in capsys.readouterr().err.splitlines()[-1]


def test_a_checkpoint_without_a_tokenizer_anywhere_is_named(
    tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert call(["compare", str(tuned), str(tuned), *PAIRS]) == 2
    assert "holds no tokenizer" in capsys.readouterr().err.splitlines()[-1]


def test_weights_that_overflow_are_the_machines_failure(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    broken, tokenizer = load(model)
    broken.get_output_embeddings().weight.data.fill_(torch.nan)
    broken.save_pretrained(tmp_path / "broken")
    tokenizer.save_pretrained(tmp_path / "broken")
    assert call(["compare", str(model), str(tmp_path / "broken"), *PAIRS, *FEW]) == 1
    assert "not finite" in capsys.readouterr().err.splitlines()[-1]
