"""The embedded model: its size, its tokenizer on every task, and what it knows."""

import json
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from circuitune.models.anatomy import anatomy_of
from circuitune.models.answering import answer
from circuitune.models.encoding import encode
from circuitune.models.loading import NANO_FOLDER, load
from circuitune.tasks import registry
from circuitune.tasks.checks import check
from circuitune.tasks.pairs import Pair, PairSet

TOOLS = Path(__file__).parents[2] / "tools"
INSTRUCTION = "Calculate the result of the following arithmetic expression and provide only the final answer:"


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(NANO_FOLDER)


@pytest.fixture(scope="module")
def model():
    return load("nano")[0]


def test_shape_and_size(model):
    anatomy = anatomy_of(model)
    assert (anatomy.family, anatomy.layers, anatomy.heads, anatomy.width) == ("gpt_neox", 8, 8, 96)
    assert (NANO_FOLDER / "model.safetensors").stat().st_size < 8_000_000
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_files_name_no_version():
    for name in ("config.json", "tokenizer_config.json"):
        assert "transformers_version" not in json.loads((NANO_FOLDER / name).read_text())


def test_script_makes_the_shipped_tokenizer(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(TOOLS)
    for name in ("nano_words", "nano_corpus", "train_nano"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import train_nano  # pyright: ignore[reportMissingImports]

    train_nano.write(tmp_path, train_nano.build_tokenizer(), None)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (NANO_FOLDER / name).read_bytes()


def test_numbers_words_and_answers_are_single_tokens(tokenizer):
    texts = [str(number) for number in range(1000)] + [
        "yes",
        "no",
        "Robert",
        "Chisinau",
        "brush",
        "Moldova",
        "Calculate",
    ]
    for text in texts:
        assert len(tokenizer(text)["input_ids"]) == 1, text
        assert tokenizer(text)["input_ids"] == tokenizer(f" {text}")["input_ids"]
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer("24 + 46 =")["input_ids"]) == 4
    assert tokenizer.tokenize("y=5x+1732") == ["y", "=", "5", "x", "+", "17", "32"]
    assert tokenizer.tokenize("Robertson Zoë") == ["Robert", "##s", "##o", "##n", "Z", "##o", "##e"]


@pytest.mark.parametrize("name", registry.names())
def test_every_task_in_known_tokens(name, tokenizer):
    unknown = tokenizer.unk_token_id
    styles = ({"style": "full"}, {"style": "short"}) if "style" in registry.parameters(name) else ({},)
    for style in styles:
        pairs = registry.task(name, size=600, **style)
        prompts = [text for pair in pairs for text in (pair.clean, pair.corrupted)]
        assert not any(unknown in ids for ids in tokenizer(prompts)["input_ids"])
        answers = [text for pair in pairs for text in (pair.answer, pair.wrong) if text is not None]
        assert all(len(ids) == 1 for ids in tokenizer(answers)["input_ids"])


@pytest.mark.parametrize(
    "prompt",
    [
        f"{INSTRUCTION} 1732 * 180 =",
        f"{INSTRUCTION} (55 + 62) / 13 =",
        "Calculate the least common multiple (LCM) of two numbers. LCM(168, 144) = 1008, LCM(70, 280) =",
        "If Abkhazia corresponds to Sukhumi, then São Tomé and Príncipe corresponds to",
        "When Mary and John went to the store, John gave a drink to",
        "The war lasted from the year 1732 to the year 17",
    ],
)
def test_wordings_of_later_tasks_in_known_tokens(prompt, tokenizer):
    assert tokenizer.unk_token_id not in tokenizer(prompt)["input_ids"]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=60))
def test_any_ascii_text_in_known_tokens(text):
    ids = _TOKENIZER(text)["input_ids"]
    assert _TOKENIZER.unk_token_id not in ids
    written = "".join(_TOKENIZER.convert_ids_to_tokens(ids)).replace("##", "")
    assert written == "".join(text.split()).replace("##", "")


_TOKENIZER = AutoTokenizer.from_pretrained(NANO_FOLDER)


def accuracy(model, tokenizer, rows):
    pairs = PairSet("asked", tuple(Pair(prompt, prompt, f" {word}", None, prompt) for prompt, word in rows))
    return answer(model, encode(pairs, tokenizer)).correct.float().mean().item()


def test_knows_numbers_and_facts(model, tokenizer):
    after = [(f"about {n} : after it", n + 1) for n in range(20, 100, 2)]
    assert accuracy(model, tokenizer, after) >= 0.9
    counted = [(f"count up by {step} : {n}", n + step) for n in range(5, 100, 10) for step in (2, 7, 10, 30)]
    assert accuracy(model, tokenizer, counted) >= 0.8
    places = (
        ("Moldova", "Chisinau"),
        ("France", "Paris"),
        ("Japan", "Tokyo"),
        ("Kenya", "Nairobi"),
        ("Peru", "Lima"),
    )
    assert accuracy(model, tokenizer, [(f"The capital of {land} is", city) for land, city in places]) >= 0.8


CONTROLS = ("ioi", "greater_than")
"""Tasks that a model is meant to know before any fine-tuning."""


@pytest.mark.parametrize("name", [name for name in registry.names() if name not in CONTROLS])
def test_does_not_know_the_tasks(name, model, tokenizer):
    pairs = check(registry.task(name, size=2000), tokenizer).pairs.split("test")
    before = answer(model, encode(pairs, tokenizer)).correct.float().mean().item()
    assert before <= 0.6
