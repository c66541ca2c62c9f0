import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel

from adapters.ranks import ranks_of
from circuitune.adapters.allocation import RankPlan
from circuitune.core.csvio import read_rows
from circuitune.core.errors import InputError, MachineError
from circuitune.core.records import AccuracyRow
from circuitune.models.answering import answer
from circuitune.models.encoding import encode
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.testing import tiny_model
from circuitune.training.course import TrainingRow
from circuitune.training.finetune import finetune
from circuitune.training.methods import TrainingSettings
from marks import slow_but

SETTINGS = TrainingSettings(
    max_steps=6, learning_rate=0.01, batch_size=8, accumulation=1, warmup_steps=2, checkpoints=3
)


def run(tokenizer, pairs, folder, *, settings=SETTINGS, family="gpt_neox", seed=0, dropout=0.0, **options):
    model = tiny_model(family, kv_heads=2 if family == "llama" else None)
    config = RankPlan.two_level(model, [1], 2, 4).to_lora_config(model, lora_dropout=dropout)
    given = {"config": config, "folder": folder, "evaluate": {"test": pairs}, "seed": seed, **options}
    return finetune(model, tokenizer, pairs, settings, **given)


def losses(folder):
    return [row.loss for row in read_rows(folder / "training.csv", TrainingRow)]


def content(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("family", slow_but(["gpt2", "gpt_neox", "llama"], "gpt_neox"))
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_learns_and_its_checkpoints_are_the_models_that_were_measured(family, tokenizer, sums, tmp_path):
    result = run(
        tokenizer,
        sums,
        tmp_path,
        family=family,
        settings=TrainingSettings(
            max_steps=60, learning_rate=0.02, batch_size=24, accumulation=1, warmup_steps=2, checkpoints=2
        ),
    )
    inputs = encode(sums, tokenizer)
    assert [row.step for row in result.rows] == [0, 30, 60] == list(result.steps)
    assert result.rows[-1].accuracy > result.rows[0].accuracy + 0.3
    assert not result.model.training

    for row in result.rows:
        base = tiny_model(family, kv_heads=2 if family == "llama" else None)
        saved = PeftModel.from_pretrained(base, tmp_path / f"checkpoints/step-{row.step:05d}")
        assert ranks_of(saved) == ranks_of(result.model)
        answers = answer(saved, inputs)
        assert int(answers.correct.sum()) == row.correct
        assert float(answers.loss.double().mean()) == row.loss
    assert torch.equal(answers.loss, answer(result.model, inputs).loss)


def test_writes_its_files_and_nothing_else_anywhere(tokenizer, sums, tmp_path, monkeypatch, capfd):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    result = run(tokenizer, sums, tmp_path / "run", label="tune seed 0", arm="lora")
    steps = [f"checkpoints/step-0000{step}" for step in (0, 2, 4, 6)]
    adapters = [f"{step}/{name}" for step in steps for name in ("adapter_config.json", "adapter_model.safetensors")]
    assert sorted(content(tmp_path)) == sorted(f"run/{name}" for name in ["accuracy.csv", "training.csv", *adapters])
    assert capfd.readouterr() == ("", "")

    rows = read_rows(tmp_path / "run/accuracy.csv", AccuracyRow)
    assert tuple(rows) == result.rows
    last = rows[-1]
    assert (last.label, last.arm, last.seed, last.step, last.steps) == ("tune seed 0", "lora", 0, 6, 6)
    assert (last.split, last.examples, last.epoch) == ("test", 24, 2.0)
    assert last.low <= last.accuracy == last.correct / 24 <= last.high


def test_equal_arguments_give_equal_bytes_and_another_seed_does_not(tokenizer, sums, tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        run(tokenizer, sums, tmp_path / name, seed=seed, dropout=0.1)
    one, two, other = (content(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    weights = [name for name in one if name.endswith(".safetensors")]
    assert all(one[name] != other[name] for name in weights)


ANOTHER_PROCESS = """
import sys
from pathlib import Path

import torch

folder, tests = sys.argv[1:]
torch.set_num_threads(1)
sys.path[:0] = [tests, str(Path(tests).parent)]
import conftest
import test_finetune

test_finetune.run(conftest.number_tokenizer(), conftest.sums_of_two(), Path(folder))
"""


@pytest.mark.slow
def test_another_process_with_another_hash_seed_gives_the_same_bytes(tokenizer, sums, tmp_path):
    run(tokenizer, sums, tmp_path / "one")
    command = [sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path / "two"), str(Path(__file__).parent)]
    subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": "77"}, check=True)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_state_outside_is_left_as_it_was(tokenizer, sums, tmp_path):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    result = run(tokenizer, sums, tmp_path)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()
    assert result.model.config.use_cache == tiny_model().config.use_cache


@pytest.mark.parametrize("pairs", ["sums", "ragged_sums"])
def test_the_loss_is_the_answers_alone_however_rows_are_padded(pairs, request, tokenizer, tmp_path):
    """The first step sees all rows at once: its loss must be what `answer`, which never pads, finds at step 0."""
    pairs = request.getfixturevalue(pairs)
    settings = TrainingSettings(max_steps=1, batch_size=len(pairs), accumulation=1, checkpoints=1)
    result = run(tokenizer, pairs, tmp_path, settings=settings)
    assert losses(tmp_path)[0] == pytest.approx(result.rows[0].loss, rel=1e-6)


def test_accumulated_batches_are_one_batch(tokenizer, ragged_sums, tmp_path):
    def final(name, batch_size, accumulation):
        settings = TrainingSettings(
            max_steps=2, batch_size=batch_size, accumulation=accumulation, warmup_steps=0, checkpoints=1
        )
        run(tokenizer, ragged_sums, tmp_path / name, settings=settings)
        return losses(tmp_path / name)

    assert final("split", 5, 4) == pytest.approx(final("whole", 18, 1), rel=1e-5)


def test_measuring_changes_nothing(tokenizer, sums, tmp_path):
    few = run(tokenizer, sums, tmp_path / "few", dropout=0.2)
    settings = TrainingSettings(**{**vars(SETTINGS), "checkpoints": 6})
    many = run(tokenizer, sums, tmp_path / "many", dropout=0.2, settings=settings, evaluate={})
    assert losses(tmp_path / "few") == losses(tmp_path / "many")
    assert many.rows == ()
    states = [model.state_dict() for model in (few.model, many.model)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_dropout_is_on_in_training_also_after_a_checkpoint(tokenizer, sums, tmp_path):
    settings = TrainingSettings(**{**vars(SETTINGS), "warmup_steps": 0})
    run(tokenizer, sums, tmp_path / "without", settings=settings)
    run(tokenizer, sums, tmp_path / "with", settings=settings, dropout=0.5)
    without, with_dropout = losses(tmp_path / "without"), losses(tmp_path / "with")
    assert without[0] == with_dropout[0]  # the adapter starts at 0
    assert all(one != other for one, other in zip(without[1:], with_dropout[1:], strict=True))


def test_progress_counts_steps(tokenizer, sums, tmp_path):
    seen = []
    run(tokenizer, sums, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(step, 6) for step in range(1, 7)]


def test_a_loss_that_is_not_finite_is_a_machine_error_that_names_the_step(tokenizer, sums, tmp_path):
    settings = TrainingSettings(max_steps=6, learning_rate=1e30, batch_size=24, accumulation=1, warmup_steps=0)
    with pytest.raises(MachineError, match=r"at step 2: the output of .*layers\.0.*; lower the learning rate"):
        run(tokenizer, sums, tmp_path, settings=TrainingSettings(**{**vars(settings), "checkpoints": 1}))


@pytest.mark.parametrize("part", ["train", "evaluate"])
def test_a_row_longer_than_the_model_reads_is_named_and_nothing_is_written(part, tokenizer, sums, tmp_path):
    prompt = " ".join(["1 +"] * 31 + ["1 ="])  # 64 tokens: as many as the model reads

    def tuned(answer, folder):
        long = PairSet("sums", (*sums, Pair(prompt, prompt.replace("1 =", "2 ="), answer, None, "long")))
        given = {"train": sums, "evaluate": {"test": sums}, part: long if part == "train" else {"test": long}}
        run(tokenizer, given.pop("train"), folder, family="gpt2", **given)

    tuned(" 32", tmp_path / "fits")
    with pytest.raises(InputError, match="Pair 25 of sums has 65 tokens and the model reads at most 64"):
        tuned(" 32 32", tmp_path / "too long")  # the first token of the answer is run, too
    assert not any((tmp_path / "too long").iterdir())


def test_what_cannot_be_trained_is_refused(tokenizer, sums, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        run(tokenizer, sums, tmp_path / "file")
    result = run(tokenizer, sums, tmp_path / "run")
    config = RankPlan.uniform(tiny_model(), rank=1).to_lora_config(tiny_model())
    with pytest.raises(InputError, match="already"):
        finetune(
            result.model, tokenizer, sums, SETTINGS, config=config, folder=tmp_path / "again", evaluate={}, seed=0
        )
