"""Loss on text: what Transformers computes for the same tokens, whatever the batches; bad files are named by line."""

from pathlib import Path

import pytest
import torch

import circuitune as ct
from circuitune.core.errors import InputError
from circuitune.training import text
from circuitune.training.text import read_passages, text_loss

LINES = ["count up by 2 : 2 4 6 8", "Sam has 104 coins and Donald has 107 coins.", "up 3 : 4 to 7, 9 to 12", "5 6"]


@pytest.fixture(scope="module")
def nano():
    return ct.load("nano")


@pytest.fixture
def passages(nano, tmp_path: Path):
    path = tmp_path / "held-out.txt"
    path.write_text("\n\n".join(LINES) + "\n")
    return read_passages(path, nano[1], nano[0])


def test_it_is_the_mean_over_all_predicted_tokens(nano, passages, monkeypatch: pytest.MonkeyPatch):
    model, tokenizer = nano
    total = tokens = 0
    for line in LINES:
        ids = tokenizer(line, return_tensors="pt")["input_ids"]
        total += model(input_ids=ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    assert text_loss(model, passages) == pytest.approx(total / tokens, rel=1e-5)
    monkeypatch.setattr(text, "LOGITS", 1)  # one passage at a time
    assert text_loss(model, passages) == pytest.approx(total / tokens, rel=1e-5)


def test_text_of_its_kind_is_expected_more_than_the_same_words_shuffled(nano, passages):
    generator = torch.Generator().manual_seed(0)
    shuffled = [[ids[i] for i in torch.randperm(len(ids), generator=generator)] for ids in passages]
    assert text_loss(nano[0], passages) < text_loss(nano[0], shuffled) - 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no passage"),
        (b"\n  \n", "holds no passage"),
        (b"1 2 3\n\n7\n", "line 3: the passage has fewer than two tokens"),
        (b"1 2 3\n" + b"7 " * 300, "line 2: the passage has 300 tokens, and the model reads 256"),
        (b"\xff\xfe1", "no UTF-8"),
    ],
)
def test_a_text_that_cannot_be_measured_is_named(nano, tmp_path: Path, content: bytes, said: str):
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_passages(tmp_path / "text.txt", nano[1], nano[0])


def test_a_text_that_is_not_there(nano, tmp_path: Path):
    with pytest.raises(InputError, match=r"none\.txt cannot be read"):
        read_passages(tmp_path / "none.txt", nano[1], nano[0])
