"""One function written as a GPT-Neo, a GPT-2 and an OPT: its heads and MLPs must get the same scores."""

from pathlib import Path

import pytest
import torch

import circuitune as ct

SHARED = Path(__file__).parents[3] / "shared" / "models"
FOLDERS = [
    "gptneo-tinystories-instruct-3M-chat-q4",
    "gpt2-tinystories-instruct-3M-chat-reexpressed",
    "opt-tinystories-instruct-3M-chat-reexpressed",
]


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the three re-expressed models, see tests/SKIPS.md")
@pytest.mark.parametrize("method", ["eap", "eap-ig"])
def test_three_families_of_one_function_agree(method: str):
    pairs = ct.read_pairs(SHARED / "ioi_tinystories.csv").sample(8)
    nodes = []
    for folder in FOLDERS:
        model, tokenizer = ct.load(SHARED / folder)
        nodes.append(
            torch.tensor(list(ct.attribute(model, ct.encode(pairs, tokenizer), method=method).nodes.values()))
        )
    largest = float(nodes[0].abs().max())
    for other in nodes[1:]:
        # The input node differs: the other two fold a part of GPT-Neo's embedding elsewhere.
        assert float((other - nodes[0])[1:].abs().max()) < 1e-3 * largest
