"""Loading by name, folder and adapter folder; what goes wrong is one sentence."""

import json
import shutil
import socket
import warnings
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel
from transformers import T5Config, T5ForConditionalGeneration

from circuitune.adapters.lora import attach, save_adapter
from circuitune.core.errors import InputError
from circuitune.models.loading import NANO_FOLDER, Loader, chosen_device, load, load_tokenizer
from circuitune.testing.models import tiny_model

TOKENS = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def folder(tmp_path):
    """A complete folder of a tiny model, with nano's tokenizer."""
    path = tmp_path / "tiny"
    tiny_model("gpt_neox").save_pretrained(path)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(NANO_FOLDER / file, path)
    return path


def save_trained_adapter(model, path):
    """An adapter on `model` that changes its output, saved; returns what the adapted model says."""
    adapted = attach(model, LoraConfig(r=2, target_modules=["query_key_value"]), 0)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(generator=torch.Generator().manual_seed(1))
    save_adapter(adapted.eval(), path)
    return logits(adapted)


def logits(model):
    with torch.no_grad():
        return model(TOKENS).logits


def test_nano_loads_in_eval_mode_under_its_own_name():
    model, tokenizer = load("nano")
    assert not model.training
    assert model.name_or_path == "nano"
    assert tokenizer("24 + 46 =")["input_ids"] == tokenizer.convert_tokens_to_ids(["24", "+", "46", "="])


def test_folder_gives_the_saved_model(folder):
    model, tokenizer = load(folder)
    torch.testing.assert_close(logits(model), logits(tiny_model("gpt_neox")), rtol=0, atol=0)
    assert not model.training
    assert len(tokenizer) == len(load("nano")[1])


def test_half_precision_becomes_float32_on_the_cpu_unless_asked_for(tmp_path, folder):
    tiny_model("gpt_neox").to(torch.bfloat16).save_pretrained(folder)
    assert load(folder)[0].dtype == torch.float32
    assert load(folder, dtype="bfloat16")[0].dtype == torch.bfloat16


def test_adapter_on_nano_names_nano_and_can_be_moved(tmp_path, monkeypatch):
    said = save_trained_adapter(load("nano")[0], tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "nano"
    (tmp_path / "adapter").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    model, _ = load("moved")
    assert isinstance(model, PeftModel)
    assert not model.training
    torch.testing.assert_close(logits(model), said, rtol=0, atol=0)
    assert not torch.allclose(logits(model), logits(load("nano")[0]))


def test_an_adapter_loads_without_a_warning(tmp_path):
    save_trained_adapter(load("nano")[0], tmp_path / "adapter")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tmp_path / "adapter")


def test_adapter_on_a_folder_finds_it_from_anywhere(tmp_path, folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = save_trained_adapter(load("tiny")[0], tmp_path / "adapter")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    torch.testing.assert_close(logits(load("../adapter")[0]), said, rtol=0, atol=0)


def test_adapter_whose_base_lies_beside_it(tmp_path, folder):
    said = save_trained_adapter(load(folder)[0], tmp_path / "adapter")
    config_file = tmp_path / "adapter" / "adapter_config.json"
    config_file.write_text(json.dumps({**json.loads(config_file.read_text()), "base_model_name_or_path": "../tiny"}))
    torch.testing.assert_close(logits(load(tmp_path / "adapter")[0]), said, rtol=0, atol=0)


def test_a_folder_called_nano_is_reached_by_its_path(tmp_path, folder, monkeypatch):
    folder.rename(tmp_path / "nano")
    monkeypatch.chdir(tmp_path)
    assert load("./nano")[0].config.num_hidden_layers == 3
    assert load("nano")[0].config.num_hidden_layers == 8


def no_config(folder):
    (folder / "config.json").unlink()


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def no_tokenizer(folder):
    (folder / "tokenizer.json").unlink()


def damaged_weights(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def damaged_config(folder):
    (folder / "config.json").write_text("{")


def deeper_config(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 4}))


def other_width(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))


def unknown_architecture(folder):
    (folder / "config.json").write_text('{"model_type": "abacus"}')


def encoder_decoder(folder):
    T5ForConditionalGeneration(
        T5Config(vocab_size=32, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    ).save_pretrained(folder)


def adapter_without_weights(folder):
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "nano"}')


@pytest.mark.filterwarnings("ignore")  # Transformers also warns of some of these in its own words
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (no_config, "no config.json"),
        (no_weights, "no weights"),
        (no_tokenizer, "no tokenizer"),
        (damaged_weights, "does not load"),
        (damaged_config, "does not load"),
        (deeper_config, "lack 12 of"),
        (other_width, "37 have another shape"),
        (unknown_architecture, "does not load"),
        (encoder_decoder, "encoder-decoder"),
        (adapter_without_weights, "no adapter_model.safetensors"),
    ],
)
def test_incomplete_folder_is_named_in_one_sentence(folder, damage, sentence):
    damage(folder)
    with pytest.raises(InputError) as error:
        load(folder)
    message = str(error.value)
    assert sentence in message
    assert str(folder) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("/no/such/folder", "There is no folder /no/such/folder"),
        ("no/such/folder", "There is no folder no/such/folder"),
        (__file__, "is a file"),
        ("~nobody_xx/x", "~nobody_xx/x is no place where a model can be"),
        ("a" * 300, "is no place where a model can be (File name too long)"),
        ("circuitune-tests/never-published", "no folder here and does not load from the Hugging Face hub"),
    ],
)
def test_unknown_name_is_one_sentence(name, sentence):
    with pytest.raises(InputError) as error:
        load(name)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_adapter_of_a_missing_base_names_both(tmp_path):
    save_trained_adapter(tiny_model("gpt_neox"), tmp_path / "adapter")
    config_file = tmp_path / "adapter" / "adapter_config.json"
    config = json.loads(config_file.read_text())
    config_file.write_text(json.dumps({**config, "base_model_name_or_path": "/gone/base"}))
    with pytest.raises(InputError, match="/gone/base, which is not there"):
        load(tmp_path / "adapter")
    config_file.write_text(json.dumps({**config, "base_model_name_or_path": None}))
    with pytest.raises(InputError, match="names no base model"):
        load(tmp_path / "adapter")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("[]", "names no base model; set base_model_name_or_path"),
        ('{"base_model_name_or_path": 7}', "names no base model; set base_model_name_or_path"),
        ('{"base_model_name_or_path": "../adapter"}', "which is an adapter itself; set base_model_name_or_path"),
        ('{"base_model_name_or_path": "../other"}', "which is an adapter itself; set base_model_name_or_path"),
    ],
)
def test_an_adapters_config_that_names_no_model_is_one_sentence(tmp_path, config, sentence):
    for name in ("adapter", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(config)
    for read in (load, load_tokenizer, Loader().load, Loader().content):
        with pytest.raises(InputError) as error:
            read(tmp_path / "adapter")
        assert sentence in str(error.value)
        assert str(tmp_path / "adapter/adapter_config.json") in str(error.value)
        assert "\n" not in str(error.value)


def test_the_tokenizer_comes_without_weights(tmp_path: Path):
    _, expected = load("nano")
    assert load_tokenizer("nano").get_vocab() == expected.get_vocab()
    expected.save_pretrained(tmp_path / "bare")
    (tmp_path / "bare" / "config.json").write_text('{"model_type": "gpt_neox"}')
    assert load_tokenizer(tmp_path / "bare").get_vocab() == expected.get_vocab()
    (tmp_path / "adapter").mkdir()
    config = {"base_model_name_or_path": "nano", "peft_type": "LORA"}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    assert load_tokenizer(tmp_path / "adapter").get_vocab() == expected.get_vocab()


@pytest.fixture
def hub(tmp_path, folder, monkeypatch):
    """The hub's cache with two revisions of a model; nothing else is within reach."""
    for number, step in enumerate(("step1", "step2")):
        place = tmp_path / "hub/models--someone--tiny"
        commit = str(number) * 40
        tiny_model("gpt_neox", seed=number).save_pretrained(folder)
        shutil.copytree(folder, place / "snapshots" / commit)
        (place / "refs").mkdir(exist_ok=True)
        (place / "refs" / step).write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_a_revision_is_part_of_the_name(hub):
    for number, step in enumerate(("step1", "step2")):
        expected = logits(tiny_model("gpt_neox", seed=number))
        for model in (load(f"someone/tiny@{step}")[0], load("someone/tiny", revision=step)[0]):
            torch.testing.assert_close(logits(model), expected, rtol=0, atol=0)
        assert len(load_tokenizer(f"someone/tiny@{step}")) == len(load("nano")[1])
    loader = Loader()
    known = [loader.content("someone/tiny", revision="step1"), loader.content("someone/tiny@step2")]
    assert known == [Loader().content(f"someone/tiny@{step}") for step in ("step1", "step2")]
    assert len(set(known)) == 2


def test_an_adapter_on_a_revision_finds_that_one(hub, tmp_path):
    said = save_trained_adapter(load("someone/tiny@step2")[0], tmp_path / "ours")
    config = json.loads((tmp_path / "ours/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "someone/tiny@step2"
    shutil.copytree(tmp_path / "ours", tmp_path / "theirs")
    of_peft = {**config, "base_model_name_or_path": "someone/tiny", "revision": "step2"}
    (tmp_path / "theirs/adapter_config.json").write_text(json.dumps(of_peft))
    for name in ("ours", "theirs"):
        for model in (load(tmp_path / name)[0], Loader().load(tmp_path / name)):
            torch.testing.assert_close(logits(model), said, rtol=0, atol=0)
    before = Loader().content(tmp_path / "theirs")
    (tmp_path / "theirs/adapter_config.json").write_text(json.dumps({**of_peft, "revision": "step1"}))
    assert not torch.allclose(logits(load(tmp_path / "theirs")[0]), said)
    assert Loader().content(tmp_path / "theirs") != before


@pytest.mark.parametrize(
    ("name", "revision", "sentence"),
    [
        ("someone/tiny@step3", None, "someone/tiny@step3 is no folder here and does not load"),
        ("someone/tiny@", None, "no folder someone/tiny@"),
        ("someone/tiny@step1", "step2", "give one of the two"),
    ],
)
def test_a_revision_that_is_none_is_one_sentence(hub, name, revision, sentence):
    with pytest.raises(InputError) as error:
        load(name, revision=revision)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_trainers_checkpoint_has_the_tokenizer_of_the_folder_above(folder, tmp_path):
    checkpoint = shutil.copytree(folder, tmp_path / "output" / "checkpoint-3")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.move(checkpoint / file, checkpoint.parent)
    model, tokenizer = load(checkpoint)
    torch.testing.assert_close(logits(model), logits(tiny_model("gpt_neox")), rtol=0, atol=0)
    assert tokenizer.get_vocab() == load("nano")[1].get_vocab()
    with pytest.raises(InputError, match=r"no config.json.* such as .*output/checkpoint-3\."):
        load(checkpoint.parent)
    elsewhere = shutil.copytree(checkpoint, checkpoint.parent / "copy")  # no Trainer writes such a name
    with pytest.raises(InputError, match="no tokenizer"):
        load(elsewhere)


def test_one_loader_gives_every_model_as_loaded_alone(tmp_path, folder):
    for number in (1, 2):
        model = attach(load(folder)[0], LoraConfig(r=number, target_modules=["query_key_value"]), 0)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(generator=torch.Generator().manual_seed(number))
        save_adapter(model, tmp_path / f"adapter{number}")
    shutil.copytree(tmp_path / "adapter1", tmp_path / "empty")
    (tmp_path / "empty/adapter_model.safetensors").unlink()
    loader, order = Loader(), ["adapter1", "adapter2", "tiny", "adapter1", "tiny", "tiny", "adapter2"]
    for name in order:
        for broken in ("empty", "none/at/all"):
            with pytest.raises(InputError):
                loader.load(tmp_path / broken)
        model = loader.load(tmp_path / name)
        assert not model.training
        torch.testing.assert_close(logits(model), logits(load(tmp_path / name)[0]), rtol=0, atol=0)


def test_the_content_of_an_adapter_is_its_own_and_its_bases(tmp_path, folder):
    save_trained_adapter(load(folder)[0], tmp_path / "adapter")
    first = Loader().content(tmp_path / "adapter")
    assert Loader().content(shutil.copytree(tmp_path / "adapter", tmp_path / "copy")) == first
    (tmp_path / "adapter/optimizer.pt").write_text("x")
    assert Loader().content(tmp_path / "adapter") == first
    tiny_model("gpt_neox", seed=1).save_pretrained(folder)
    assert Loader().content(tmp_path / "adapter") != first


class TestPlace:
    def test_without_a_gpu_auto_is_the_cpu(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert chosen_device("auto", "someone/model") == torch.device("cpu")

    def test_with_one_auto_is_the_first_gpu_but_for_nano(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        assert chosen_device("auto", "someone/model") == torch.device("cuda")
        assert chosen_device("auto", "nano") == torch.device("cpu")
        assert chosen_device("cuda:0", "nano") == torch.device("cuda:0")
        with pytest.raises(InputError, match=r"sees 1 GPUs here, so cuda:1"):
            chosen_device("cuda:1", "nano")

    @pytest.mark.parametrize(("device", "says"), [("gpu", "gpu is no device"), ("cuda", "sees 0 GPUs here")])
    def test_a_device_that_is_not_there(self, folder, monkeypatch, device, says):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        for read in (load, lambda name, device: Loader(device=device).load(name)):
            with pytest.raises(InputError, match=says):
                read(folder, device=device)

    @pytest.mark.parametrize("dtype", ["int64", "float31", "Tensor"])
    def test_a_type_that_no_weights_have(self, folder, dtype):
        with pytest.raises(InputError, match=f"{dtype} is no type of weights"):
            load(folder, dtype=dtype)

    def test_the_type_is_as_asked_or_on_a_cpu_single(self, folder):
        for loaded in (load(folder, dtype="bfloat16")[0], Loader(dtype="bfloat16").load(folder)):
            assert loaded.dtype == torch.bfloat16
        load(folder, dtype="bfloat16")[0].save_pretrained(folder)
        assert load(folder)[0].dtype == Loader().load(folder).dtype == torch.float32
