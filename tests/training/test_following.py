"""Checkpoints that are there: found in order, scored once, and gone on with where a sweep was stopped."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

import circuitune.training.following as following_module
from circuitune.circuits.attribution import attribute
from circuitune.core.errors import InputError, MachineError
from circuitune.dynamics.change import compare, cumulative_rate
from circuitune.models import loading
from circuitune.models.loading import Loader
from circuitune.testing import random_pairs, tiny_model
from circuitune.training.circuit_callback import read_series, step_file
from circuitune.training.following import Checkpoint, along, checkpoints_in, follow, revisions

INPUTS = random_pairs(6, positions=7)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "model"
    tiny_model(layers=2).save_pretrained(folder)
    return folder


def save_adapter(base, folder, seed, rank=2):
    torch.manual_seed(seed)
    model = get_peft_model(tiny_model(layers=2), LoraConfig(r=rank, target_modules=["query_key_value"]))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.2 * torch.randn_like(parameter) * bool(seed)
    model.save_pretrained(folder, save_embedding_layers=False)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(base)}))


@pytest.fixture
def output(base, tmp_path):
    """A Trainer's output folder with two adapters."""
    for step in (10, 9):
        save_adapter(base, tmp_path / "output" / f"checkpoint-{step}", step)
    return tmp_path / "output"


@pytest.fixture
def counted(monkeypatch):
    """What was scored and what was read from disk as a whole model."""
    scored, read = [], []

    def score(model, inputs, **options):
        scored.append(model)
        return attribute(model, inputs, **options)

    whole = loading._model
    monkeypatch.setattr(following_module, "attribute", score)
    monkeypatch.setattr(loading, "_model", lambda place, dtype: read.append(place.shown) or whole(place, dtype))
    return scored, read


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_checkpoints_come_in_the_order_of_their_steps(output):
    (output / "runs-1").mkdir()
    (output / "checkpoint-best").mkdir()
    found = checkpoints_in(output, "nano")
    assert found == (
        Checkpoint(0, "nano"),
        Checkpoint(9, str(output / "checkpoint-9")),
        Checkpoint(10, str(output / "checkpoint-10")),
    )
    assert checkpoints_in(output) == found[1:]


def test_our_own_checkpoints_bring_their_step_0(tmp_path):
    for name in ("step-00190", "step-00000"):
        (tmp_path / "tuned/checkpoints" / name).mkdir(parents=True)
    for folder in (tmp_path / "tuned", tmp_path / "tuned/checkpoints"):
        assert [one.step for one in checkpoints_in(folder, "nano")] == [0, 190]
        assert checkpoints_in(folder, "nano")[0].name.endswith("step-00000")


def test_revisions_keep_their_order_and_numbers_that_increase():
    found = revisions("a/b", ["step1", "step1000", "step143000"])
    assert [(one.step, one.revision, str(one)) for one in found][1] == (1000, "step1000", "a/b@step1000")
    assert [one.step for one in revisions("a/b", ["step8", "step1", "main"])] == [0, 1, 2]
    assert [one.step for one in revisions("a/b", ["step8", "step1"])] == [0, 1]


def test_every_checkpoint_is_scored_as_by_itself_and_the_base_is_read_once(base, output, tmp_path, counted):
    scored, read = counted
    points = checkpoints_in(output, str(base))
    told = []
    series = follow(
        points, INPUTS, tmp_path / "out", metric="kl", per_example=True, report=lambda point, s: told.append(point)
    )
    assert (len(scored), read, told) == (3, [str(base)], list(points))
    kept = read_series(tmp_path / "out")
    assert list(kept) == list(series) == [0, 9, 10]
    for point in points:
        alone = attribute(Loader().load(point.name), INPUTS, metric="kl", per_example=True)
        assert torch.equal(series[point.step].values, alone.values)
        assert torch.equal(kept[point.step].examples, alone.examples)
    assert not torch.equal(series[9].values, series[10].values)


def test_a_sweep_goes_on_where_it_was_and_leaves_the_same_bytes(base, output, tmp_path, counted):
    scored, _ = counted
    points = checkpoints_in(output, str(base))
    follow(points, INPUTS, tmp_path / "whole")
    follow(points[:2], INPUTS, tmp_path / "parts")
    damaged = step_file(tmp_path / "parts", 9)
    damaged.write_bytes(damaged.read_bytes()[:-3])
    before, seconds = len(scored), []
    again = follow(points, INPUTS, tmp_path / "parts", report=lambda point, took: seconds.append(took))
    assert len(scored) == before + 2
    assert seconds[0] is None
    assert all(seconds[1:])
    assert content(tmp_path / "parts") == content(tmp_path / "whole")
    follow(points, INPUTS, tmp_path / "parts", memory=2**28)
    assert len(scored) == before + 2
    assert torch.equal(again[10].values, read_series(tmp_path / "whole")[10].values)


def test_a_checkpoint_that_came_in_between_is_scored_alone(base, output, tmp_path, counted):
    points = checkpoints_in(output, str(base))
    follow([points[0], points[2]], INPUTS, tmp_path / "out")
    follow(points, INPUTS, tmp_path / "out")
    assert len(counted[0]) == 3
    follow(points, INPUTS, tmp_path / "straight")
    assert content(tmp_path / "out") == content(tmp_path / "straight")


@pytest.mark.slow
def test_adapters_of_another_shape_and_full_models_are_followed_too(base, output, tmp_path):
    save_adapter(base, output / "checkpoint-11", 11, rank=3)
    tiny_model(layers=2, seed=4).save_pretrained(output / "checkpoint-12")
    save_adapter(base, output / "checkpoint-13", 13, rank=3)
    points = checkpoints_in(output, str(base))
    series = follow(points, INPUTS, tmp_path / "out")
    for point in points:
        assert torch.equal(series[point.step].values, attribute(Loader().load(point.name), INPUTS).values)


def test_changes_along_a_series_are_those_of_its_circuits(base, output, tmp_path):
    series = follow(checkpoints_in(output, str(base)), INPUTS, tmp_path / "out")
    first, middle, last = (scores.top(0.2) for scores in series.values())
    rows = along(series, 0.2)
    assert [row.step for row in rows] == [0, 9, 10]
    assert rows[0].from_first.edges.changed == rows[0].from_previous.edges.changed == rows[0].edge_cumulative == 0
    assert rows[2].from_first.edges.rate == compare(first, last).edges.rate
    assert rows[2].from_previous.edges.jaccard == compare(middle, last).edges.jaccard
    assert rows[2].edge_rate == compare(middle, last).edges.changed / len(first)
    cumulative = cumulative_rate([first, middle, last])
    assert (rows[2].edge_cumulative, rows[2].node_cumulative) == pytest.approx(tuple(reversed(cumulative)))
    assert rows[1].completeness == series[9].completeness


def foreign(folder, points):
    folder.mkdir()
    (folder / "notes.txt").write_text("x")
    return points, INPUTS


def another_step(folder, points):
    follow(points, INPUTS, folder)
    return points[:2], INPUTS


def other_pairs(folder, points):
    follow(points[:2], INPUTS, folder)
    return points, random_pairs(6, positions=7, seed=3)


def other_weights(folder, points):
    follow(points, INPUTS, folder)
    weights = [Path(point.name) / "adapter_model.safetensors" for point in points]
    shutil.copy(weights[1], weights[2])
    return points, INPUTS


def other_base(folder, points):
    follow(points[1:], INPUTS, folder)
    tiny_model(layers=2, seed=8).save_pretrained(points[0].name)
    return points[1:], INPUTS


def deeper(folder, points):
    other = folder.parent / "deep"
    tiny_model(layers=3).save_pretrained(other)
    return (*points, Checkpoint(99, str(other))), INPUTS


def fewer_tokens(folder, points):
    return points, replace(INPUTS, clean=INPUTS.clean + 90)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (foreign, "holds notes.txt, which belongs to none"),
        (another_step, "holds step-00010.safetensors, which belongs to none"),
        (other_pairs, "step-00000.safetensors was made from other weights, pairs or options"),
        (other_weights, "step-00010.safetensors was made from other weights"),
        (other_base, "step-00009.safetensors was made from other weights"),
        (deeper, "deep has 3 layers of 4 heads and .* 2 of 4"),
        (fewer_tokens, "knows 97 tokens and the pairs hold token"),
        (lambda folder, points: (points[:1], INPUTS), "nothing to follow in 1 checkpoint"),
    ],
)
def test_what_is_no_series_is_refused_in_one_sentence(prepare, message, output, base, tmp_path):
    own = shutil.copytree(base, tmp_path / "own")
    for path in output.glob("*/adapter_config.json"):
        path.write_text(path.read_text().replace(str(base), str(own)))
    points, inputs = prepare(tmp_path / "out", checkpoints_in(output, str(own)))
    (tmp_path / "out").mkdir(exist_ok=True)
    before = content(tmp_path / "out")
    with pytest.raises(InputError, match=message) as error:
        follow(points, inputs, tmp_path / "out")
    assert "\n" not in str(error.value)
    assert before.items() <= content(tmp_path / "out").items()


def test_places_without_a_series_are_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="holds no checkpoint-N or step-N folders"):
            checkpoints_in(folder)
    for name in ("checkpoint-5", "step-00005"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="are both step 5"):
        checkpoints_in(tmp_path)
    for name in ("nano", str(tmp_path)):
        with pytest.raises(InputError, match="no model on the hub"):
            revisions(name, ["step1"])
    with pytest.raises(InputError, match="a/b@step1 names a revision already; give a/b and list"):
        revisions("a/b@step1", ["step1", "step2"])
    assert len(revisions("a" * 300, ["step1", "step2"])) == 2
    with pytest.raises(InputError, match="step1 is there twice"):
        revisions("a/b", ["step1", "step1"])


def test_a_checkpoint_that_is_not_there_is_refused_before_any_is_scored(base, tmp_path, counted):
    with pytest.raises(InputError, match="someone/none@step2"):
        follow([Checkpoint(0, str(base)), Checkpoint(2, "someone/none", "step2")], INPUTS, tmp_path / "out")
    assert counted == ([], [])


def test_scores_that_are_not_finite_name_their_checkpoint(base, tmp_path):
    broken = tiny_model(layers=2)
    broken.get_output_embeddings().weight.data.fill_(torch.nan)
    broken.save_pretrained(tmp_path / "output" / "checkpoint-3")
    with pytest.raises(MachineError, match=r"checkpoint-3: .*not finite"):
        follow(checkpoints_in(tmp_path / "output", str(base)), INPUTS, tmp_path / "out")
    assert list(content(tmp_path / "out")) == ["step-00000.safetensors"]
