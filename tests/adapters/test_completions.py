"""Rows of a fine-tuning set become prompts, completions and what stands in for a corruption."""

import csv
import json
from collections import Counter

import datasets
import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from adapters.sft import messages, sums, tokenizer
from circuitune.adapters.completions import NO_COMPLETION, NO_PARTNER, NO_PROMPT, read_completions
from circuitune.core.errors import InputError


def texts(sample):
    """(prompt, completion) of every row, decoded."""
    lengths = sample.inputs.lengths().tolist()
    clean = [ids[:length] for ids, length in zip(sample.inputs.clean.tolist(), lengths, strict=True)]
    answers = [[token for token in ids if token >= 0] for ids in sample.inputs.answer.tolist()]
    return [tuple(tokenizer().decode(ids) for ids in pair) for pair in zip(clean, answers, strict=True)]


def test_plain_rows_are_prompt_and_completion():
    rows = sums(30)
    sample = read_completions(rows, tokenizer())
    assert Counter(texts(sample)) == Counter((row["prompt"], row["completion"]) for row in rows)
    assert (sample.read, sample.cut, sample.left_out) == (30, 0, {})
    assert sample.lengths.tolist() == [len(prompt) + len(completion) - 1 for prompt, completion in texts(sample)]


def test_a_sample_is_drawn_by_its_seed():
    rows = sums(60)
    one, again, other = (read_completions(rows, tokenizer(), rows=20, seed=seed) for seed in (0, 0, 1))
    assert one.inputs.digest == again.inputs.digest != other.inputs.digest
    assert (len(one), one.read, one.total) == (20, 20, 60)


def test_a_conversation_is_split_before_the_last_reply():
    rows = [messages(row) for row in sums(20)]
    rows[3]["messages"] = [{"role": "system", "content": "add"}, *rows[3]["messages"]]
    sample = read_completions(rows, tokenizer())
    prompts, completions = zip(*texts(sample), strict=True)
    assert all(prompt.endswith("<|end|><|assistant|>") for prompt in prompts)
    assert all(completion.startswith("=") and completion.endswith("<|end|>") for completion in completions)
    assert sum(prompt.startswith("<|system|>add<|end|><|user|>") for prompt in prompts) == 1
    apart = [{"prompt": row["messages"][:-1], "completion": row["messages"][-1:]} for row in rows]
    assert read_completions(apart, tokenizer()).inputs.digest == sample.inputs.digest


def test_a_token_that_straddles_the_border_belongs_to_the_reply():
    """The template ends in a space, and the tokenizer joins a space to the word after it, as trainers will see it."""
    words = ["<unk>", " ", "ask", ":", " add", " one", " reply"]
    one = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    one.pre_tokenizer = pre_tokenizers.Split(Regex(" ?[a-z]+|:| "), "isolated")
    one.decoder = decoders.Fuse()
    joining = PreTrainedTokenizerFast(tokenizer_object=one, unk_token="<unk>")
    joining.chat_template = (
        "{% for m in messages %}{{ 'ask: ' if m['role'] == 'user' else ' reply: ' }}{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %} reply: {% endif %}"
    )
    sample = read_completions([messages({"prompt": "add", "completion": "one"})] * 10, joining)
    assert joining.decode(sample.inputs.clean[0].tolist()) == "ask: add reply:"
    assert joining.decode(sample.inputs.answer[0].tolist()) == " one"


def test_long_rows_are_cut_at_their_end_and_counted():
    rows = [*sums(20), {"prompt": "a", "completion": "b" * 50}, {"prompt": "a" * 50, "completion": "b"}]
    rows += [{"prompt": "", "completion": "b"}, {"prompt": "a", "completion": ""}]
    sample = read_completions(rows, tokenizer(), max_tokens=12)
    assert ("a", "b" * 11) in texts(sample)
    assert (len(sample), sample.cut) == (21, 1)
    assert sample.left_out == {NO_COMPLETION: 2, NO_PROMPT: 1}
    for part in ("21 of 24 rows", "1 of them cut to 12 tokens", f"2 left out ({NO_COMPLETION})"):
        assert part in sample.sentence


def test_rows_of_equal_length_are_each_others_corruption():
    rows = [*sums(40), {"prompt": "a prompt alone", "completion": "b"}]
    sample = read_completions(rows, tokenizer(), ablation="interchange")
    prompts = {row["prompt"] for row in rows}
    for clean, other, length in zip(
        sample.inputs.clean.tolist(), sample.inputs.corrupted.tolist(), sample.inputs.lengths().tolist(), strict=True
    ):
        assert clean != other
        assert tokenizer().decode(other[:length]) in prompts
    assert sample.left_out == {NO_PARTNER: 1}
    assert sample.ablation == "interchange"


def test_a_mean_is_by_position_where_all_rows_have_one_length():
    rows = [{"prompt": f"{row} +", "completion": "=7"} for row in range(10, 30)]
    assert read_completions(rows, tokenizer()).ablation == "mean-positional"
    assert read_completions([*rows[:-1], {"prompt": "1", "completion": "2"}], tokenizer()).ablation == "mean"


def test_every_format_gives_the_same_rows(tmp_path):
    rows = sums(20)
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with (tmp_path / "a.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    table = datasets.Dataset.from_list(rows)
    table.to_parquet(tmp_path / "a.parquet")
    table.save_to_disk(tmp_path / "saved")
    wanted = read_completions(rows, tokenizer()).inputs.digest
    for place in ("a.jsonl", "a.csv", "a.parquet", "saved"):
        found = read_completions(tmp_path / place, tokenizer())
        assert found.inputs.digest == wanted, place
        assert found.sha256 is not None
    assert read_completions(table, tokenizer()).inputs.digest == wanted


TWO_BAD = [{"question": "a", "answer": "b"}]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (TWO_BAD, "row 1, has 'question', 'answer', and neither prompt and completion nor messages"),
        ([{"prompt": 3, "completion": "b"}], "row 1, column prompt, is neither text"),
        ([{"prompt": [{"role": "user", "content": "a"}], "completion": "b"}], "column completion, is neither text"),
        ([{"messages": [{"role": "user"}]}], "column messages, is neither text"),
        ([{"messages": "hello"}], "column messages"),
        ([{"messages": [{"role": "user", "content": "a"}]}], "do not end with a reply of the assistant"),
        ([], "has no rows"),
        (sums(9), "has 9 usable rows and a plan needs at least 10: give more rows"),
        ({"train": sums(30), "test": sums(9)}, "the parts train, test"),
        (iter(sums(30)), "a stream"),
    ],
)
def test_rows_that_do_not_fit_are_one_sentence(rows, message):
    with pytest.raises(InputError, match=message):
        read_completions(rows, tokenizer())


def test_the_number_of_a_bad_row_is_that_of_the_file(tmp_path):
    rows = [*sums(20), {"prompt": "a"}]
    path = tmp_path / "sft.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=r"sft.jsonl, row 21, has 'prompt', and neither"):
        read_completions(path, tokenizer())
    path.write_text("")
    with pytest.raises(InputError, match="is empty; give it one row for each example"):
        read_completions(path, tokenizer())
    with pytest.raises(InputError, match="does not exist"):
        read_completions(tmp_path / "none.jsonl", tokenizer())


def test_too_few_rows_of_equal_length_name_the_way_out():
    rows = [{"prompt": "a" * length, "completion": "b"} for length in range(1, 21)]
    with pytest.raises(InputError, match=rf"0 usable rows .*20 have {NO_PARTNER}: ablate by the mean"):
        read_completions(rows, tokenizer(), ablation="interchange")
    assert len(read_completions(rows, tokenizer())) == 20


def test_a_conversation_needs_a_template_that_keeps_its_start():
    rows = [messages(row) for row in sums(20)]
    with pytest.raises(InputError, match="no chat template"):
        read_completions(rows, tokenizer(chat=False))
    changed = tokenizer.__wrapped__()
    changed.chat_template = "{{ messages | length }}" + str(changed.chat_template)
    with pytest.raises(InputError, match="reads differently"):
        read_completions(rows, changed)
    changed.chat_template = "{{ raise_exception('no') }}"
    with pytest.raises(InputError, match=r"refused by the tokenizer's chat template \(no\)"):
        read_completions(rows, changed)


def test_requests_that_cannot_be_met():
    with pytest.raises(InputError, match="no way to ablate"):
        read_completions(sums(20), tokenizer(), ablation="zero")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least 10 rows of 2 tokens"):
        read_completions(sums(20), tokenizer(), rows=5)
