"""GRPO and RLOO on a tiny model: what is rewarded, what is learned, what is written."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.lora import attach
from circuitune.core.csvio import read_rows
from circuitune.core.errors import InputError
from circuitune.core.records import AccuracyRow
from circuitune.models.answering import answer
from circuitune.models.encoding import EncodedPairs, encode
from circuitune.tasks.pairs import PairSet
from circuitune.testing import tiny_model
from circuitune.training import reinforce as room
from circuitune.training.finetune import finetune
from circuitune.training.methods import ReinforceSettings, TrainingSettings
from circuitune.training.reinforce import PATIENCE, Answers, ReinforceRow, reinforce
from circuitune.training.resuming import unfinished
from marks import slow_but
from training.tuned import content

SETTINGS = ReinforceSettings(steps=4, prompts=4, group=4, learning_rate=0.01, checkpoints=2)
METHODS = ["grpo", "rloo"]


@pytest.fixture(scope="module")
def tokenizer():
    """Whole numbers and an end of text, as TRL needs one; no padding token, which it makes up."""
    words = ["<end>", "+", "=", *map(str, range(60))]
    made = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="<end>"))
    made.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>", unk_token="<end>")


@pytest.fixture(scope="module")
def mixed(sums):
    """Answers of one token and of two: the sum, or the sum and the first number."""
    longer = [replace(pair, answer=f"{pair.answer} {pair.clean.split()[0]}", wrong=None) for pair in sums.pairs[::2]]
    return PairSet("mixed", (*longer, *(replace(pair, wrong=None) for pair in sums.pairs[1::2])))


@pytest.fixture(scope="module")
def some(sums, tokenizer, tmp_path_factory):
    """A model that answers some of the sums: weights of an adapter to go on with."""
    folder = tmp_path_factory.mktemp("some")
    model = tiny_model()
    settings = TrainingSettings(max_steps=25, learning_rate=0.02, batch_size=24, accumulation=1, checkpoints=1)
    config = RankPlan.uniform(model, rank=4).to_lora_config(model)
    result = finetune(model, tokenizer, sums, settings, config=config, folder=folder, evaluate={"test": sums}, seed=0)
    assert 0.1 < result.rows[-1].accuracy < 0.8
    return folder / "checkpoints/step-00025"


def begun(folder, family="gpt_neox"):
    return PeftModel.from_pretrained(tiny_model(family), folder)


def run(model, tokenizer, pairs, folder, settings=SETTINGS, **options):
    return reinforce(
        model, tokenizer, pairs, settings, **{"folder": folder, "evaluate": {"test": pairs}, "seed": 0, **options}
    )


def told(folder):
    return read_rows(folder / "training.csv", ReinforceRow)


def test_a_completion_is_rewarded_if_it_begins_with_the_answer():
    prompts = torch.tensor([[7, 8], [7, 9]])
    several = Answers.of(EncodedPairs(prompts, prompts, torch.tensor([[4, 5], [6, -100]])))
    assert several.rewards([0, 0, 0, 0], [[4, 5], [4], [5, 4], [4, 5, 3]]) == [1, 0, 0, 1]
    assert several.rewards([1, 1, 1], [[6], [6, 4], [4, 6]]) == [1, 1, 0]
    assert several.cut([[7, 8], [7, 9]], [[4, 5], [4, 5]]) == [[4, 5], [4]]
    assert several.longest == 2


def test_any_member_of_a_set_of_answers_is_rewarded():
    prompts = torch.tensor([[7, 8]])
    members, wrong = torch.tensor([[4, 5, -100]]), torch.tensor([[6]])
    answers = Answers.of(EncodedPairs(prompts, prompts, torch.tensor([4]), None, None, members, wrong))
    assert answers.rewards([0, 0, 0], [[4], [5], [6]]) == [1, 1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_rewards_rise_and_checkpoints_are_the_models_that_were_measured(method, some, tokenizer, sums, tmp_path):
    settings = ReinforceSettings(method=method, steps=60, prompts=24, group=8, learning_rate=3e-3, checkpoints=2)
    result = run(begun(some), tokenizer, sums, tmp_path, settings)
    assert [row.step for row in result.rows] == [0, 30, 60] == list(result.steps)
    rewards = [row.reward for row in told(tmp_path)]
    assert np.mean(rewards[-10:]) > np.mean(rewards[:10]) + 0.1
    for row in result.rows:
        answers = answer(begun(tmp_path / f"checkpoints/step-{row.step:05d}"), encode(sums, tokenizer))
        assert int(answers.correct.sum()) == row.correct
        assert float(answers.loss.double().mean()) == row.loss


def test_the_first_checkpoint_is_the_adapter_that_was_given(some, tokenizer, sums, tmp_path):
    result = run(begun(some), tokenizer, sums, tmp_path)
    first, last = (tmp_path / f"checkpoints/step-{step:05d}/adapter_model.safetensors" for step in (0, 4))
    assert first.read_bytes() == (some / first.name).read_bytes() != last.read_bytes()
    assert not result.model.training
    assert result.parameters == result.saved


def test_writes_its_files_and_nothing_else_anywhere(some, tokenizer, sums, tmp_path, monkeypatch, capfd):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", lambda **_: pytest.fail("something was sent"))
    result = run(begun(some), tokenizer, sums, tmp_path / "run", label="rewarded", arm="grpo")
    adapters = [f"checkpoints/step-0000{step}/adapter_{name}" for step in (0, 2, 4) for name in FILES]
    assert sorted(content(tmp_path)) == sorted(f"run/{name}" for name in ["accuracy.csv", "training.csv", *adapters])
    assert capfd.readouterr() == ("", "")
    rows = read_rows(tmp_path / "run/accuracy.csv", AccuracyRow)
    assert tuple(rows) == result.rows
    assert [(row.label, row.arm, row.step, row.epoch) for row in rows] == [
        ("rewarded", "grpo", step, step * 4 / 24) for step in (0, 2, 4)
    ]
    assert [row.step for row in told(tmp_path / "run")] == [1, 2, 3, 4]


FILES = ("config.json", "model.safetensors")


@pytest.mark.parametrize("method", slow_but(METHODS, "grpo"))
def test_equal_arguments_give_equal_bytes_and_another_seed_does_not(method, some, tokenizer, sums, tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        run(begun(some), tokenizer, sums, tmp_path / name, replace(SETTINGS, method=method), seed=seed)
    one, two, other = (content(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert one["training.csv"] != other["training.csv"]
    last = "checkpoints/step-00004/adapter_model.safetensors"
    assert one[last] != other[last]


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("method", slow_but(METHODS, "grpo"))
def test_the_model_outside_its_adapter_is_left_as_it_was(method, beta, some, tokenizer, sums, tmp_path):
    model = begun(some)
    before, state = vars(tokenizer).copy(), (torch.get_rng_state(), np.random.get_state()[1].tolist())
    configs = model.config.to_dict(), model.generation_config.to_dict()
    result = run(model, tokenizer, sums, tmp_path, replace(SETTINGS, method=method, beta=beta))
    base = result.model.get_base_model()
    assert list(result.model.peft_config) == ["default"]
    assert "forward" not in vars(base)
    assert (base.config.to_dict(), base.generation_config.to_dict()) == configs
    assert tokenizer.pad_token is None
    assert vars(tokenizer).keys() == before.keys()
    assert torch.equal(state[0], torch.get_rng_state())
    assert state[1] == np.random.get_state()[1].tolist()
    for name, weights in base.named_parameters():
        if "lora" not in name:
            assert torch.equal(weights, tiny_model().get_parameter(name.replace(".base_layer", "")))


@pytest.mark.parametrize("method", METHODS)
def test_answers_of_several_tokens(method, tokenizer, mixed, tmp_path):
    """Completions are as long as the answer of their prompt, so what follows a short one is not learned."""
    seen = []

    class Watched(Answers):
        def rewards(self, rows, completions):
            seen.extend((row, tuple(said)) for row, said in zip(rows, completions, strict=True))
            return [float(said[0] % 2) for said in completions]

    model = tiny_model()
    inputs = encode(mixed, tokenizer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "Answers", Watched)
        config = RankPlan.uniform(model, rank=2).to_lora_config(model)
        run(model, tokenizer, mixed, tmp_path, replace(SETTINGS, method=method), config=config)
    counts = (inputs.answer != -100).sum(1).tolist()
    assert {len(said) for _, said in seen} == {1, 2}
    assert all(len(said) == counts[row] or said[-1] == 0 for row, said in seen)


def test_prompts_of_one_step_have_one_length(tokenizer, ragged_sums):
    """TRL would pad them, and so move the positions of models that have absolute ones."""
    inputs = encode(ragged_sums, tokenizer)
    prompts = [pair.clean for pair in ragged_sums]
    rows = room._dataset(prompts, inputs, replace(SETTINGS, steps=12), seed=0)
    assert len(rows) == 12 * 4
    lengths = [len(prompt.split()) for prompt in rows["prompt"]]
    assert all(len(set(lengths[start : start + 4])) == 1 for start in range(0, 48, 4))
    assert set(rows["row"]) == set(range(18))
    assert [prompts[row] for row in rows["row"]] == list(rows["prompt"])


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_other_families_and_new_adapters(family, tokenizer, ragged_sums, tmp_path):
    """A new adapter begins as the bare model, which says some of these answers by chance."""
    model = tiny_model(family, kv_heads=2 if family == "llama" else None)
    config = RankPlan.two_level(model, [1], 2, 4).to_lora_config(model)
    result = run(model, tokenizer, ragged_sums, tmp_path, replace(SETTINGS, group=100), config=config)
    assert isinstance(result.model, PeftModel)
    assert len(told(tmp_path)) == 4


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("method", slow_but(METHODS, "grpo"))
def test_killed_after_a_checkpoint_it_goes_on_to_the_same_bytes(method, some, tokenizer, ragged_sums, tmp_path):
    settings = replace(SETTINGS, method=method, steps=6, checkpoints=3, beta=0.1)

    def killed(done, total):
        if done == 5:
            raise Killed

    run(begun(some), tokenizer, ragged_sums, tmp_path / "whole", settings)
    with pytest.raises(Killed):
        run(begun(some), tokenizer, ragged_sums, tmp_path / "cut", settings, resumable=True, progress=killed)
    assert unfinished(tmp_path / "cut")
    other = replace(settings, temperature=0.7)
    with pytest.raises(InputError, match="another temperature; give the options it was begun with"):
        run(begun(some), tokenizer, ragged_sums, tmp_path / "cut", other, resumable=True)
    steps = []
    run(
        begun(some),
        tokenizer,
        ragged_sums,
        tmp_path / "cut",
        settings,
        resumable=True,
        progress=lambda done, total: steps.append(done),
    )
    assert steps == [5, 6]
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


@pytest.mark.parametrize(
    ("said", "cause"),
    [(False, "no completion was the answer.*10 to 30 % do"), (True, "every completion was the answer")],
)
def test_rewards_that_are_all_the_same_are_said_to_be(said, cause, tokenizer, sums, tmp_path):
    """At this temperature a completion is the model's most likely one."""
    model = tiny_model()
    guesses = tokenizer.convert_ids_to_tokens(answer(model, encode(sums, tokenizer)).predicted.tolist())
    pairs = [
        replace(pair, answer=f" {guess if said else (int(guess) + 1) % 50}", wrong=None)
        for pair, guess in zip(sums.pairs, guesses, strict=True)
        if str(guess).isdigit()
    ]
    assert len(pairs) > 3
    settings = replace(SETTINGS, steps=PATIENCE + 10, temperature=0.001)
    config = RankPlan.uniform(model, rank=2).to_lora_config(model)
    with pytest.raises(InputError, match=f"In 20 steps {cause}"):
        run(model, tokenizer, PairSet("same", tuple(pairs)), tmp_path, settings, config=config)


def test_what_trl_would_stumble_over_is_refused(some, tokenizer, sums, tmp_path):
    endless = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, unk_token="<end>")
    with pytest.raises(InputError, match=r"has none; set tokenizer\.eos_token"):
        run(begun(some), endless, sums, tmp_path)
    with pytest.raises(InputError, match="no adapter to go on with"):
        run(tiny_model(), tokenizer, sums, tmp_path)
    model = tiny_model()
    config = RankPlan.uniform(model, rank=2).to_lora_config(model)
    with pytest.raises(InputError, match="has an adapter already"):
        run(begun(some), tokenizer, sums, tmp_path, config=config)
    config = LoraConfig(r=2, target_modules=["lm_head"])
    with pytest.raises(InputError, match="unembedding"):
        run(attach(model, config, 0), tokenizer, sums, tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_without_trl_the_extra_is_named():
    code = (
        "import sys; sys.modules['trl'] = None\n"
        "from circuitune.core.errors import InputError\n"
        "try:\n    import circuitune.training.reinforce\n"
        "except InputError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'circuitune[rl]'" in done.stdout
