"""Circuits recorded during somebody's own training: the training does not notice, and resumed ones go on."""

import inspect
import random
from functools import partial

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

import circuitune as ct
from circuitune.circuits.attribution import attribute
from circuitune.core.errors import InputError
from circuitune.models.encoding import encode
from circuitune.testing import random_pairs, tiny_model
from circuitune.training import circuit_callback
from circuitune.training.circuit_callback import CircuitCallback, read_series, step_file

INPUTS = random_pairs(6, positions=7)
OPTIONS = {"method": "eap", "metric": "nll"}


class Rows(Dataset):
    def __len__(self):
        return 16

    def __getitem__(self, row):
        ids = random_pairs(16, positions=7, seed=5).clean[row]
        return {"input_ids": ids, "labels": ids}


class Watched(Trainer):
    """Remembers the losses, which dropout and the order of rows decide."""

    def training_step(self, *arguments, **options):
        loss = super().training_step(*arguments, **options)
        self.losses = [*getattr(self, "losses", []), float(loss)]
        return loss


def adapted(family="gpt_neox"):
    torch.manual_seed(1)
    model = tiny_model(family, layers=2)
    return get_peft_model(model, LoraConfig(r=2, lora_alpha=8, lora_dropout=0.2, target_modules="all-linear"))


def train(folder, model, *callbacks, resume=None, steps=2, **arguments):
    settings = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=4,
        learning_rate=0.02,
        save_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        logging_strategy="no",
        dataloader_pin_memory=False,
        **arguments,
    )
    trainer = Watched(model, settings, train_dataset=Rows(), callbacks=list(callbacks))
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def weights(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def state():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


CASES = {
    "adapter": (adapted, {"gradient_accumulation_steps": 2}),
    "checkpointing": (lambda: adapted("llama"), {"activation_checkpointing": True}),
    "full, mixed precision": (lambda: tiny_model("gpt2", layers=2), {"bf16": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_training_with_and_without_it_is_the_same_to_the_bit(case, tmp_path):
    make, arguments = CASES[case]
    plain, watched = make(), make()
    alone = train(tmp_path / "alone", plain, **arguments)
    expected = state()
    callback = CircuitCallback(INPUTS, tmp_path / "circuits", **OPTIONS)
    trainer = train(tmp_path / "watched", watched, callback, **arguments)
    assert state() == expected
    assert trainer.losses == alone.losses
    for (name, one), (other, two) in zip(weights(plain).items(), weights(watched).items(), strict=True):
        assert name == other
        assert torch.equal(one, two), name
    for one, two in zip(plain.modules(), watched.modules(), strict=True):
        assert one.training == two.training
        assert len(one._forward_hooks) == len(two._forward_hooks)
        assert len(one._forward_pre_hooks) == len(two._forward_pre_hooks)
        assert ("forward" in one.__dict__) == ("forward" in two.__dict__)
    for one, two in zip(plain.parameters(), watched.parameters(), strict=True):
        assert one.requires_grad == two.requires_grad
        assert (one.grad is None) == (two.grad is None)
    assert list(read_series(tmp_path / "circuits")) == [0, 1, 2]


def test_the_scores_are_those_of_the_saved_checkpoints(tmp_path):
    train(tmp_path, adapted(), CircuitCallback(INPUTS, **OPTIONS, per_example=True))
    series = read_series(tmp_path / "circuits")
    for step in (1, 2):
        saved = PeftModel.from_pretrained(tiny_model(layers=2), tmp_path / f"checkpoint-{step}")
        assert torch.equal(series[step].values, attribute(saved, INPUTS, **OPTIONS, per_example=True).values)
        assert series[step].examples is not None
        assert series[step].settings["step"] == step
    torch.testing.assert_close(series[0].values, attribute(tiny_model(layers=2), INPUTS, **OPTIONS).values)
    assert not torch.equal(series[0].values, series[2].values)


def test_mixed_precision_scores_are_those_of_the_saved_weights(tmp_path):
    model = tiny_model(layers=2)
    train(tmp_path, model, CircuitCallback(INPUTS, **OPTIONS), steps=1, bf16=True)
    del model.forward  # accelerate's wrapper, which casts to bfloat16
    expected = attribute(model, INPUTS, **OPTIONS).values
    assert torch.equal(read_series(tmp_path / "circuits")[1].values, expected)


@pytest.fixture
def counted(monkeypatch):
    calls = []

    def score(model, inputs, **options):
        calls.append(model)
        return attribute(model, inputs, **options)

    score.__signature__ = inspect.signature(attribute)  # the callback asks for the names of its options
    monkeypatch.setattr(circuit_callback, "attribute", score)
    return calls


def test_a_step_that_is_done_is_not_done_again(tmp_path, counted):
    circuits = tmp_path / "circuits"

    def again(*, pairs=INPUTS, batch_size=4, **arguments):
        """How many steps were scored."""
        before = len(counted)
        callback = CircuitCallback(pairs, circuits, batch_size=batch_size, **OPTIONS)
        train(tmp_path / str(before), adapted(), callback, steps=1, **arguments)
        return len(counted) - before

    assert again() == 2
    files = {path.name: path.read_bytes() for path in circuits.iterdir()}
    assert again(batch_size=3) == 0
    damaged = step_file(circuits, 1)
    damaged.write_bytes(damaged.read_bytes()[:-4])
    assert again() == 1
    assert {path.name: path.read_bytes() for path in circuits.iterdir()} == files
    assert again(seed=7) == 1  # another training, from the same start
    assert again(pairs=random_pairs(6, seed=3), seed=7) == 2


def test_a_resumed_training_goes_on_where_it_was(tmp_path, counted):
    callback = CircuitCallback(INPUTS, **OPTIONS)
    train(tmp_path, adapted(), callback, steps=1)
    train(tmp_path, adapted(), callback, resume=str(tmp_path / "checkpoint-1"))
    assert list(read_series(tmp_path / "circuits")) == [0, 1, 2]
    assert len(counted) == 3


def test_an_adapter_over_another_base_is_another_model(tmp_path, counted):
    """Fresh adapters are equal whatever lies under them; the frozen weights tell the models apart."""
    circuits = tmp_path / "circuits"
    for scale in (1.0, 0.5):
        model = adapted()
        model.get_input_embeddings().weight.data.mul_(scale)
        train(tmp_path / str(scale), model, CircuitCallback(INPUTS, circuits, **OPTIONS), steps=1)
    assert len(counted) == 4


def test_a_loss_of_ones_own_is_never_taken_from_a_file(tmp_path, counted):
    losses = [
        lambda logits, clean, answer, wrong: logits.sum(-1),
        lambda logits, clean, answer, wrong: -logits.sum(-1),
    ]
    series = []
    for place, loss in enumerate((*losses, partial(losses[1]))):
        callback = CircuitCallback(INPUTS, tmp_path / "circuits", method="eap", metric=loss)
        train(tmp_path / str(place), adapted(), callback, steps=1)
        series.append(read_series(tmp_path / "circuits")[0].values)
    assert len(counted) == 6
    torch.testing.assert_close(series[0], -series[1])
    torch.testing.assert_close(series[2], series[1])


@pytest.mark.parametrize("changed", ["seed", "options", "pairs", "missing"])
def test_records_of_two_trainings_are_no_series(changed, tmp_path):
    circuits = tmp_path / "circuits"
    train(tmp_path / "long", adapted(), CircuitCallback(INPUTS, circuits, **OPTIONS), steps=2)
    assert list(read_series(circuits)) == [0, 1, 2]
    if changed == "missing":
        step_file(circuits, 1).unlink()
    else:
        inputs = random_pairs(6, seed=3) if changed == "pairs" else INPUTS
        options = {**OPTIONS, "metric": "kl"} if changed == "options" else OPTIONS
        callback = CircuitCallback(inputs, circuits, **options)
        train(tmp_path / "short", adapted(), callback, steps=1, seed=7 if changed == "seed" else 42)
    with pytest.raises(InputError, match=r"step-00002.* does not follow step-0000[01].*a folder of its own"):
        read_series(circuits)


def test_off_it_does_nothing_at_all(tmp_path, counted):
    train(tmp_path, adapted(), CircuitCallback(None, enabled=False), steps=1)
    assert not counted
    assert not (tmp_path / "circuits").exists()


def test_pairs_are_encoded_by_the_trainers_tokenizer_or_the_given_one(tmp_path, tokenizer, sums):
    train(tmp_path, tiny_model(layers=2), CircuitCallback(sums, tokenizer=tokenizer, **OPTIONS), steps=1)
    scores = read_series(tmp_path / "circuits")[0]
    assert scores.settings["pairs_digest"] == encode(sums, tokenizer).digest
    with pytest.raises(InputError, match="tokenizer"):
        train(tmp_path / "none", tiny_model(layers=2), CircuitCallback(sums, **OPTIONS))


def test_what_cannot_be_scored_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(InputError, match="'quadratur' is no option"):
        CircuitCallback(INPUTS, quadratur="left")
    with pytest.raises(InputError, match="Unknown metric"):
        train(tmp_path, adapted(), CircuitCallback(INPUTS, metric="accuracy"))
    with pytest.raises(InputError, match="no step-"):
        read_series(tmp_path)


def test_scores_that_are_not_finite_do_not_stop_the_training(tmp_path):
    model = tiny_model(layers=2)

    class Broken(CircuitCallback):
        def on_save(self, args, state, control, **kwargs):
            kept = model.get_output_embeddings().weight
            before = kept.data.clone()
            kept.data.fill_(float("nan"))
            super().on_save(args, state, control, **kwargs)
            kept.data.copy_(before)

    with pytest.warns(UserWarning, match="No circuit was recorded at step 1"):
        trainer = train(tmp_path, model, Broken(INPUTS, **OPTIONS), steps=1)
    assert trainer.state.global_step == 1
    assert list(read_series(tmp_path / "circuits")) == [0]


def test_it_is_a_public_name():
    assert ct.CircuitCallback is CircuitCallback
