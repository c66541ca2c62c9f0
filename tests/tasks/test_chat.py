"""Chat templates: what is put around prompts, and that pairs stay pairs in them."""

from copy import deepcopy

import pytest
import torch
from tokenizers import processors
from transformers import PreTrainedTokenizerBase

from circuitune.core.errors import InputError
from circuitune.models.encoding import encode
from circuitune.tasks.checks import check
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.registry import task
from circuitune.tasks.tokens import prompt_ids

ASKED = "<|user|>{}<|end|><|assistant|>"


def one(**changes: object) -> PairSet:
    pair = Pair(
        **{"clean": "4 + 6 =", "corrupted": "4 - 6 =", "answer": " 10", "wrong": " -2", "group": "a", **changes}
    )
    return PairSet("mine", (pair,))


def with_template(tokenizer: PreTrainedTokenizerBase, template: str | None) -> PreTrainedTokenizerBase:
    changed = deepcopy(tokenizer)
    changed.chat_template = template
    return changed


def test_the_prompt_is_the_users_message_and_the_answer_begins_the_reply(chat_tokenizer: PreTrainedTokenizerBase):
    (pair,) = one().chat(chat_tokenizer)
    assert (pair.clean, pair.corrupted) == (ASKED.format("4 + 6 ="), ASKED.format("4 - 6 ="))
    assert (pair.answer, pair.wrong, pair.group) == ("10", "-2", "a")


def test_the_start_token_is_there_once(chat_tokenizer: PreTrainedTokenizerBase):
    (pair,) = one().chat(chat_tokenizer)
    asked = [{"role": "user", "content": "4 + 6 ="}]
    whole = chat_tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    expected = chat_tokenizer([whole], add_special_tokens=False)["input_ids"]
    assert prompt_ids(chat_tokenizer, [pair.clean]) == expected
    assert expected[0].count(chat_tokenizer.bos_token_id) == 1


def test_a_start_token_that_only_the_template_writes_is_kept(chat_tokenizer: PreTrainedTokenizerBase):
    bare = deepcopy(chat_tokenizer)
    bare.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    (pair,) = one().chat(bare)
    assert pair.clean == "<s>" + ASKED.format("4 + 6 =")
    assert prompt_ids(bare, [pair.clean])[0].count(bare.bos_token_id) == 1


def test_the_shared_prefix_reaches_to_the_first_word_that_differs(chat_tokenizer: PreTrainedTokenizerBase):
    bare = check(task("add_sub", limit=9, style="short"), chat_tokenizer, multi_token=True).pairs
    wrapped = check(bare.chat(chat_tokenizer), chat_tokenizer, multi_token=True)
    assert wrapped.left_out == ()  # equal lengths stay equal
    before, after = encode(bare, chat_tokenizer), encode(wrapped.pairs, chat_tokenizer)
    assert torch.equal(after.first_difference(), before.first_difference() + 1)  # <|user|>
    assert torch.equal(after.lengths(), before.lengths() + 3)
    assert int(after.first_difference().min()) > 1
    for part in ("train", "test"):
        assert [p.group for p in wrapped.pairs.split(part)]


def test_splits_draw_the_same_rows_with_and_without_a_template(chat_tokenizer: PreTrainedTokenizerBase):
    bare = task("add_sub", limit=20)
    assert sum(
        len(bare.chat(chat_tokenizer).split(part)) for part in ("train", "circuit", "validation", "test")
    ) == len(bare)


@pytest.mark.parametrize(
    ("between", "answer"), [("", "10"), ("\n", "\n10"), (" ", " 10"), ("<think>", "10")], ids=repr
)
def test_answers_get_the_white_space_the_template_puts_before_a_reply(
    between: str, answer: str, chat_tokenizer: PreTrainedTokenizerBase
):
    template = (
        "{% for m in messages %}<|{{ m['role'] }}|>{{ " + repr(between) + " if m['role'] == 'assistant' }}"
        "{{ m['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    (pair,) = one().chat(with_template(chat_tokenizer, template))
    assert pair.answer == answer


def test_sets_of_answers_are_replies_too(chat_tokenizer: PreTrainedTokenizerBase):
    (pair,) = one(answer_set=(" 10", " 11"), wrong_set=(" 1",), wrong=None).chat(chat_tokenizer)
    assert (pair.answer_set, pair.wrong_set, pair.wrong) == (("10", "11"), ("1",), None)


def test_token_ids_become_text_first(chat_tokenizer: PreTrainedTokenizerBase):
    seven = chat_tokenizer.convert_tokens_to_ids("7")
    (pair,) = one(answer="", wrong=None, answer_id=seven).chat(chat_tokenizer)
    assert (pair.answer, pair.answer_id) == ("7", None)


def test_a_missing_corruption_stays_missing(chat_tokenizer: PreTrainedTokenizerBase):
    rows = (*one(corrupted="", wrong=None), *task("add_sub", limit=9))
    checked = check(PairSet("mine", rows).chat(chat_tokenizer), chat_tokenizer, multi_token=True)
    assert [(entry.row, entry.rule) for entry in checked.left_out] == [(1, "has a corruption")]


def test_an_empty_answer_is_left_to_the_check(chat_tokenizer: PreTrainedTokenizerBase):
    assert one(answer="").chat(chat_tokenizer)[0].answer == ""


def test_the_template_is_in_the_settings_and_pairs_are_wrapped_once(chat_tokenizer: PreTrainedTokenizerBase):
    pairs = one().chat(chat_tokenizer)
    assert len(str(pairs.settings["chat"])) == 64
    with pytest.raises(InputError, match="mine: these prompts are in a chat template already"):
        pairs.chat(chat_tokenizer)
    empty = PairSet("none", ()).chat(chat_tokenizer)
    assert (len(empty), "chat" in empty.settings) == (0, True)


def test_a_tokenizer_without_a_template_is_named(nano_tokenizer: PreTrainedTokenizerBase):
    with pytest.raises(InputError, match=r"no chat template; leave out --chat, or take a chat model\."):
        one().chat(nano_tokenizer)


@pytest.mark.parametrize(
    ("template", "reason"),
    [("{{ raise_exception('A system message is needed.') }}", "A system message is needed"), ("{{ 1 / 0 }}", "zero")],
)
def test_a_template_that_takes_no_lone_message_is_named(
    template: str, reason: str, chat_tokenizer: PreTrainedTokenizerBase
):
    with pytest.raises(InputError, match="does not take a user's message alone") as caught:
        one().chat(with_template(chat_tokenizer, template))
    assert reason in str(caught.value)


def test_a_tokenizer_that_ends_texts_is_refused(chat_tokenizer: PreTrainedTokenizerBase):
    ending = deepcopy(chat_tokenizer)
    ending.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A <|end|>", special_tokens=[("<s>", 1), ("<|end|>", 4)]
    )
    with pytest.raises(InputError, match="ends every text with a special token"):
        one().chat(ending)
