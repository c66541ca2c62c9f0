"""Attention as the model's own eager attention gives it, and contributions by a sum written out."""

import pytest
import torch
from torch.nn.functional import pad

from circuits.independent import Streams
from circuitune.circuits.heads import observe
from circuitune.models.anatomy import anatomy_of
from circuitune.models.encoding import EncodedPairs
from circuitune.models.versions import Version
from circuitune.testing import in_double, random_pairs, tiny_model

INPUTS = random_pairs(4, positions=11)
HEADS = [(1, 3), (0, 0), (1, 1)]
GROUPED = ("llama", "mistral", "gpt_oss", "gemma2")


def model_of(family):
    return tiny_model(family, layers=2, kv_heads=2 if family in GROUPED else None, dtype=torch.float64)


@pytest.mark.parametrize(
    "family", ["gpt2", "gpt_neo", "gpt_neox", "llama", "mistral", "gemma2", "olmo", "olmo2", "bloom", "gpt_oss"]
)
def test_attention_is_the_models_own(family):
    """Position biases, windows, sinks, soft caps, clipped values; 11 positions and 8 dimensions a head."""
    model = model_of(family)
    observed = observe(Version(model), INPUTS, HEADS, batch_size=3)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        maps = model(input_ids=INPUTS.clean, output_attentions=True).attentions
    for place, (layer, head) in enumerate(HEADS):
        torch.testing.assert_close(
            observed.attention[place], maps[layer][:, head, -1].double().mean(0), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("family", ["gpt_neox", "gpt2", "llama", "olmo2"])
def test_a_contribution_is_what_the_frozen_norm_and_the_unembedding_make_of_the_head(family):
    model = model_of(family)
    anatomy = anatomy_of(model)
    norm, unembedding = anatomy.final_norm, anatomy.unembedding
    with in_double(), torch.no_grad():
        observed = observe(Version(model), INPUTS, HEADS)
        run = Streams(anatomy)
        run.run(INPUTS.clean)
        final = run.copies[run.graph.logits_destination][:, -1]
        mean = final.mean(-1, keepdim=True) if norm.kind == "layer" else 0
        sigma = ((final - mean).pow(2).mean(-1, keepdim=True) + norm.epsilon).sqrt()

        def logits(stream):
            centre = stream.mean(-1, keepdim=True) if norm.kind == "layer" else 0
            gamma, beta = norm.affine(stream[0])
            raw = unembedding((stream - centre) / sigma * gamma + beta)
            return raw - raw.mean(-1, keepdim=True)

        torch.testing.assert_close(logits(final), _centred(model(input_ids=INPUTS.clean).logits[:, -1]))
        for place, (layer, head) in enumerate(HEADS):
            z = run.written[run.graph.head_sources(layer).start + head][:, -1]
            change = logits(final) - logits(final - z)
            for ids, got in ((INPUTS.answer, observed.answer), (INPUTS.wrong, observed.wrong)):
                torch.testing.assert_close(got[:, place], change.gather(1, ids[:, None])[:, 0])


def _centred(logits):
    return logits - logits.mean(-1, keepdim=True)


def test_prompts_of_several_lengths_are_aligned_at_their_end():
    model = model_of("gpt_neox")
    short = EncodedPairs(INPUTS.clean[:2, 3:], INPUTS.corrupted[:2, 3:], INPUTS.answer[:2], INPUTS.wrong[:2])
    # Two rows of 11 tokens and two of 8, padded on the left, in a table wider than any of them.
    clean, corrupted = (
        pad(torch.cat([x, pad(y, (3, 0))]), (2, 0))
        for x, y in ((INPUTS.clean[2:], short.clean), (INPUTS.corrupted[2:], short.corrupted))
    )
    mask = clean > 0
    order = torch.tensor([2, 3, 0, 1])
    mixed = EncodedPairs(clean, corrupted, INPUTS.answer[order], INPUTS.wrong[order], mask)
    both = observe(Version(model), mixed, HEADS)
    long = observe(Version(model), INPUTS.rows([2, 3]), HEADS)
    alone = observe(Version(model), short, HEADS)
    torch.testing.assert_close(both.attention[:, :3], long.attention[:, :3])
    torch.testing.assert_close(both.attention[:, 3:], (long.attention[:, 3:] + alone.attention) / 2)
    torch.testing.assert_close(both.answer, torch.cat([long.answer, alone.answer]))


def test_answers_of_several_tokens_count_by_their_first_and_wrong_ones_may_be_missing():
    model = model_of("gpt_neox")
    longer = EncodedPairs(INPUTS.clean, INPUTS.corrupted, torch.stack([INPUTS.answer, INPUTS.wrong], 1))
    observed, plain = observe(Version(model), longer, HEADS), observe(Version(model), INPUTS, HEADS)
    assert observed.wrong is None
    torch.testing.assert_close(observed.answer, plain.answer)
