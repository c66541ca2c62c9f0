import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from circuitune.core.errors import InputError
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.tokens import answer_ids, decoded, prompt_ids


@pytest.fixture(scope="module")
def metaspace_tokenizer() -> PreTrainedTokenizerBase:
    """Puts a space before every text, as SentencePiece tokenizers do: a lone " 70" has one space too many."""
    words = ["<unk>", "▁", "▁=", "▁70", "▁▁70", "▁24", "▁to", "▁Tom", "95", ","]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="always"), pre_tokenizers.Split(",", "isolated")]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def test_an_answer_is_split_as_it_follows_its_prompt(metaspace_tokenizer: PreTrainedTokenizerBase):
    word = metaspace_tokenizer.convert_tokens_to_ids
    ids = answer_ids(metaspace_tokenizer, ["24 =", "to", "24 ,"], [" 70", " Tom", "95"])
    assert ids == [[word("▁70")], [word("▁Tom")], [word("95")]]


def test_an_answer_that_merges_with_its_prompt_is_split_alone(nano_tokenizer: PreTrainedTokenizerBase):
    alone = nano_tokenizer(["6"], add_special_tokens=False)["input_ids"][0]
    assert answer_ids(nano_tokenizer, ["4"], ["6"]) == [alone]


def test_prompts_keep_their_order_and_repeats(nano_tokenizer: PreTrainedTokenizerBase):
    prompts = ["24 + 46 =", "1 + 1 =", "24 + 46 ="]
    assert prompt_ids(nano_tokenizer, prompts) == nano_tokenizer(prompts)["input_ids"]
    assert prompt_ids(nano_tokenizer, []) == []


def test_token_ids_become_the_text_they_add(
    nano_tokenizer: PreTrainedTokenizerBase, metaspace_tokenizer: PreTrainedTokenizerBase
):
    for tokenizer, number in ((nano_tokenizer, " 70"), (metaspace_tokenizer, " 70")):
        (token,) = answer_ids(tokenizer, ["24 ="], [number])[0]
        pairs = PairSet("ids", (Pair("24 =", "70 =", "", None, "a", 1, token, token),))
        (pair,) = decoded(pairs, tokenizer)
        assert (pair.answer, pair.wrong, pair.answer_id, pair.wrong_id) == (number, number, None, None)


def test_texts_are_left_as_they_are(nano_tokenizer: PreTrainedTokenizerBase):
    pairs = PairSet("texts", (Pair("24 =", "70 =", " 70", None, "a"),))
    assert decoded(pairs, nano_tokenizer) is pairs


def test_ids_outside_the_vocabulary_are_named(nano_tokenizer: PreTrainedTokenizerBase):
    pairs = PairSet("ids", (Pair("24 =", "70 =", "", None, "a", 7, 10**8),))
    with pytest.raises(InputError, match=r"Row 7: token id 100000000 .* give the answers as text"):
        decoded(pairs, nano_tokenizer)


def test_text_that_a_tokenizer_cannot_split_is_an_input_error():
    tokenizer = Tokenizer(models.WordLevel({"1": 0}, "<unk>"))
    with pytest.raises(InputError, match="cannot split these pairs"):
        prompt_ids(PreTrainedTokenizerFast(tokenizer_object=tokenizer), ["2"])
