"""A model's answers: right or wrong, how likely, and what it says where nobody else knows."""

import pytest
import torch

from circuitune.core.errors import InputError
from circuitune.models.answering import answer, fill_wrong
from circuitune.models.encoding import PADDING, EncodedPairs, encode
from circuitune.models.loading import load
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.testing.models import VOCABULARY, tiny_model


@pytest.fixture(scope="module")
def model():
    return tiny_model("gpt_neox")


@pytest.fixture(scope="module")
def nano():
    return load("nano")


def random_tokens(*shape, seed=0):
    return torch.randint(0, VOCABULARY, shape, generator=torch.Generator().manual_seed(seed))


def test_single_tokens_against_a_plain_run(model):
    prompts, answers = random_tokens(20, 6), random_tokens(20, seed=1)
    with torch.no_grad():
        logits = model(prompts).logits[:, -1]
    answers[::2] = logits.argmax(-1)[::2]
    said = answer(model, EncodedPairs(prompts, prompts, answers), batch_size=7)
    assert said.correct[::2].all()
    assert said.correct.tolist() == (logits.argmax(-1) == answers).tolist()
    assert said.predicted.tolist() == logits.argmax(-1).tolist()
    expected = torch.nn.functional.cross_entropy(logits, answers, reduction="none")
    torch.testing.assert_close(said.loss, expected, rtol=1e-4, atol=1e-5)


def test_a_prompt_longer_than_the_model_reads_is_named():
    small = tiny_model("gpt2")
    positions = small.config.n_positions
    prompts = random_tokens(2, positions + 1)
    with pytest.raises(InputError, match=rf"{positions + 1} tokens and the model reads at most {positions}"):
        answer(small, EncodedPairs(prompts, prompts, random_tokens(2)))


def test_longer_answers_are_judged_token_by_token(model):
    prompts = random_tokens(3, 5)
    with torch.no_grad():
        first = model(prompts).logits[:, -1].argmax(-1)
        then = model(torch.cat([prompts, first[:, None]], 1)).logits[:, -1]
    second = then.argmax(-1)
    answers = torch.stack([first, second], 1)
    answers[1, 1] = (second[1] + 1) % VOCABULARY
    answers[2, 1] = PADDING
    said = answer(model, EncodedPairs(prompts, prompts, answers))
    assert said.correct.tolist() == [True, False, True]
    lone = answer(model, EncodedPairs(prompts, prompts, first))
    follow = torch.nn.functional.cross_entropy(then, answers[:, 1], reduction="none")
    torch.testing.assert_close(said.loss[:2], (lone.loss + follow)[:2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(said.loss[2], lone.loss[2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_never_reaches_the_model(model, side):
    short, long, answers = random_tokens(4, 3), random_tokens(4, 6, seed=2), random_tokens(8, seed=3)
    padding = torch.full((4, 3), 9)
    padded = torch.cat([padding, short] if side == "left" else [short, padding], 1)
    real = torch.ones(4, 3, dtype=torch.bool)
    mask = torch.cat([~real, real] if side == "left" else [real, ~real], 1)
    prompts = torch.cat([padded, long])
    mixed = answer(
        model, EncodedPairs(prompts, prompts, answers, None, torch.cat([mask, torch.ones(4, 6, dtype=torch.bool)]))
    )
    for part, tokens in ((slice(0, 4), short), (slice(4, 8), long)):
        alone = answer(model, EncodedPairs(tokens, tokens, answers[part]))
        torch.testing.assert_close(mixed.loss[part], alone.loss, rtol=1e-4, atol=1e-5)
        assert mixed.predicted[part].tolist() == alone.predicted.tolist()


def test_model_is_left_as_it_was(model):
    tokens = random_tokens(2, 4)
    model.train()
    try:
        answer(model, EncodedPairs(tokens, tokens, tokens[:, 0]))
        assert model.training
        assert all(parameter.requires_grad for parameter in model.parameters())
    finally:
        model.eval()


def pair(clean, corrupted, answer_text, wrong=None):
    return Pair(clean, corrupted, answer_text, wrong, clean)


def test_missing_wrong_answers_are_the_models_own(nano):
    model, tokenizer = nano
    pairs = PairSet(
        "own",
        (
            pair("about 70 : after it", "about 64 : after it", " 999"),
            pair("Anna has a cup. The cup is for", "Ben has a cup. The cup is for", " Kelly", " Tom"),
        ),
    )
    filled = fill_wrong(pairs, model, tokenizer)
    assert filled[1] == pairs[1]
    own = filled[0].wrong
    assert own is not None
    assert own.startswith(" ")
    corrupted = PairSet("check", (pair(filled[0].corrupted, filled[0].corrupted, own),))
    assert answer(model, encode(corrupted, tokenizer)).correct.all()


def test_own_answer_equal_to_the_right_one_stays_out(nano):
    model, tokenizer = nano
    first = PairSet("own", (pair("about 70 : after it", "about 64 : after it", " 999"),))
    own = fill_wrong(first, model, tokenizer)[0].wrong
    same = PairSet("own", (pair("about 70 : after it", "about 64 : after it", own),))
    assert fill_wrong(same, model, tokenizer)[0].wrong is None


def test_nothing_missing_nothing_asked(nano):
    pairs = PairSet("full", (pair("a", "b", " 1", " 2"),))
    assert fill_wrong(pairs, *nano) is pairs
