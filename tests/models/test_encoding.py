from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

import circuitune
from circuitune.core.errors import InputError
from circuitune.models.encoding import EncodedPairs, encode
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.registry import task


@pytest.fixture(scope="module")
def nano_tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(Path(circuitune.__file__).parent / "models" / "nano")


@pytest.fixture(scope="module")
def digit_tokenizer() -> PreTrainedTokenizerBase:
    """One token per character, and a token at the beginning of every text."""
    vocabulary = {"<s>": 0} | {letter: place for place, letter in enumerate(" 0123456789+-=", start=1)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "<s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")


def pair_set(*rows: tuple[str, str, str, str | None]) -> PairSet:
    return PairSet("mine", tuple(Pair(*row, group=str(place)) for place, row in enumerate(rows)))


def ids(*rows: list[int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64)


WRONG = ids([3, 4])[0]
PLAIN = EncodedPairs(ids([1, 2, 3], [4, 5, 6]), ids([1, 9, 3], [4, 5, 7]), ids([1, 2])[0], WRONG)


def test_every_row_holds_the_tokens_of_its_pair(nano_tokenizer: PreTrainedTokenizerBase):
    pairs = task("add_sub", limit=9)
    inputs = encode(pairs, nano_tokenizer)
    assert inputs.mask is None
    assert inputs.wrong is not None
    for row, pair in enumerate(pairs):
        assert inputs.clean[row].tolist() == nano_tokenizer(pair.clean)["input_ids"]
        assert inputs.corrupted[row].tolist() == nano_tokenizer(pair.corrupted)["input_ids"]
        joined = nano_tokenizer([pair.clean + pair.answer, f"{pair.clean}{pair.wrong}"])["input_ids"]
        assert [inputs.answer[row], inputs.wrong[row]] == [joined[0][-1], joined[1][-1]]


def test_shorter_prompts_are_padded_on_the_right(digit_tokenizer: PreTrainedTokenizerBase):
    inputs = encode(pair_set(("1+1=", "1-1=", "2", "0"), ("10+1=", "10-1=", "9", "8")), digit_tokenizer)
    assert inputs.mask is not None
    assert inputs.mask.tolist() == [[True] * 5 + [False], [True] * 6]
    assert inputs.lengths().tolist() == [5, 6]
    assert inputs.first_difference().tolist() == [2, 3]


def test_rows_that_share_a_prompt_or_a_group_have_one_number(digit_tokenizer: PreTrainedTokenizerBase):
    rows = (
        ("1+1=", "2+1=", "2", "3"),
        ("4+1=", "4-1=", "5", "3"),
        ("2+1=", "1+1=", "3", "2"),
        ("4+2=", "4-1=", "6", "3"),
    )
    inputs = encode(pair_set(*rows), digit_tokenizer)
    assert inputs.groups is not None
    assert inputs.groups.tolist() == [0, 1, 0, 1]
    chosen = inputs.rows([2, 3]).cpu()
    assert chosen.groups is not None
    assert chosen.groups.tolist() == [0, 1]
    assert replace(inputs, groups=None).digest == inputs.digest
    for groups in (torch.zeros(3, dtype=torch.int64), torch.zeros(4)):
        with pytest.raises(InputError, match=r"groups must be int64 \[4\]"):
            replace(inputs, groups=groups)


def test_special_tokens_are_on_prompts_and_not_on_answers(digit_tokenizer: PreTrainedTokenizerBase):
    inputs = encode(pair_set(("1+1=", "1-1=", "2", "0")), digit_tokenizer)
    assert inputs.clean[0, 0] == 0
    assert inputs.answer.tolist() == digit_tokenizer("2", add_special_tokens=False)["input_ids"]


def test_answers_of_several_tokens_are_padded(digit_tokenizer: PreTrainedTokenizerBase):
    inputs = encode(pair_set(("5+5=", "5-5=", "10", "0"), ("1+1=", "1-1=", "2", "0")), digit_tokenizer)
    token = digit_tokenizer.convert_tokens_to_ids
    assert inputs.answer.tolist() == [[token("1"), token("0")], [token("2"), -100]]
    assert inputs.wrong is not None
    assert inputs.wrong.tolist() == [[token("0"), -100], [token("0"), -100]]


def test_wrong_is_none_unless_every_pair_has_one(digit_tokenizer: PreTrainedTokenizerBase):
    inputs = encode(pair_set(("1+1=", "1-1=", "2", "0"), ("2+1=", "2-1=", "3", None)), digit_tokenizer)
    assert inputs.wrong is None


def test_answers_given_as_token_ids(nano_tokenizer: PreTrainedTokenizerBase):
    (token,) = nano_tokenizer(" 70", add_special_tokens=False)["input_ids"]
    pairs = PairSet("ids", (Pair("24 + 46 =", "24 - 46 =", "", None, "a", 1, token),))
    assert encode(pairs, nano_tokenizer).answer.tolist() == [token]


def test_prompts_of_unequal_length_and_empty_sets_are_refused(digit_tokenizer: PreTrainedTokenizerBase):
    with pytest.raises(InputError, match="has 5 tokens and its corruption 6"):
        encode(pair_set(("1+1=", "1-11=", "2", "0")), digit_tokenizer)
    with pytest.raises(InputError, match="mine has no pairs"):
        encode(pair_set(), digit_tokenizer)


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6), st.booleans()), min_size=1, max_size=6))
def test_lengths_and_first_differences_do_not_count_padding(rows: list[tuple[int, int, bool]]):
    clean, corrupted = torch.zeros(len(rows), 6, dtype=torch.int64), torch.ones(len(rows), 6, dtype=torch.int64)
    mask = torch.zeros(len(rows), 6, dtype=torch.bool)
    for row, (length, first, left) in enumerate(rows):
        start = 6 - length if left else 0
        mask[row, start : start + length] = True
        corrupted[row, start : start + min(first, length)] = 0
    inputs = EncodedPairs(clean, corrupted, torch.zeros(len(rows), dtype=torch.int64), mask=mask)
    assert inputs.lengths().tolist() == [length for length, _, _ in rows]
    assert inputs.first_difference().tolist() == [min(first, length) for length, first, _ in rows]


def test_without_a_mask_every_token_counts():
    assert PLAIN.lengths().tolist() == [3, 3]
    assert PLAIN.first_difference().tolist() == [1, 2]
    same = EncodedPairs(PLAIN.clean, PLAIN.clean, PLAIN.answer)
    assert same.first_difference().tolist() == [3, 3]


@pytest.mark.parametrize("indices", [[1, 0], slice(1, None), torch.tensor([1])])
def test_rows_takes_the_same_rows_of_everything(indices: list[int] | slice | Tensor):
    mask = torch.tensor([[True, True, True], [False, True, True]])
    inputs = EncodedPairs(PLAIN.clean, PLAIN.corrupted, PLAIN.answer, PLAIN.wrong, mask)
    rows = inputs.rows(indices)
    assert rows.wrong is not None
    assert rows.mask is not None
    expected = [1, 0][: len(rows)]
    assert rows.clean.tolist() == inputs.clean[expected].tolist()
    assert rows.corrupted.tolist() == inputs.corrupted[expected].tolist()
    assert rows.answer.tolist() == inputs.answer[expected].tolist()
    assert rows.wrong.tolist() == WRONG[expected].tolist()
    assert rows.mask.tolist() == mask[expected].tolist()


def test_the_digest_sees_every_part():
    mask = torch.ones(2, 3, dtype=torch.bool)
    digests = {
        PLAIN.digest,
        EncodedPairs(PLAIN.corrupted, PLAIN.clean, PLAIN.answer, PLAIN.wrong).digest,
        EncodedPairs(PLAIN.clean, PLAIN.corrupted, PLAIN.answer).digest,
        EncodedPairs(PLAIN.clean, PLAIN.corrupted, PLAIN.answer + 1, PLAIN.wrong).digest,
        EncodedPairs(PLAIN.clean, PLAIN.corrupted, PLAIN.answer, PLAIN.wrong, mask).digest,
        EncodedPairs(PLAIN.clean, PLAIN.corrupted, PLAIN.answer[:, None], None).digest,
    }
    assert len(digests) == 6
    assert PLAIN.rows([0, 1]).digest == PLAIN.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clean": PLAIN.clean.int()}, "clean must hold int64"),
        ({"clean": PLAIN.clean[0]}, r"clean must be \[n, positions\]"),
        ({"clean": PLAIN.clean[:0], "corrupted": PLAIN.corrupted[:0]}, r"clean must be \[n, positions\]"),
        ({"corrupted": PLAIN.clean[:, :2]}, "must have one shape"),
        ({"answer": PLAIN.answer[:1]}, r"answer must be \[2\] or \[2, tokens\]"),
        ({"wrong": PLAIN.answer[:, None]}, "pad the shorter"),
        ({"answer": ids([-100, 3])[0]}, "answer has a row without a token"),
        ({"wrong": ids([3, -100])[0]}, "wrong has a row without a token"),
        ({"mask": torch.ones(2, 3)}, "mask must be bool"),
        ({"mask": torch.ones(2, 2, dtype=torch.bool)}, "mask must be bool"),
        ({"mask": torch.tensor([[True, False, True], [True, True, True]])}, "one side only"),
        ({"mask": torch.tensor([[False, True, False], [True, True, True]])}, "one side only"),
        ({"mask": torch.tensor([[False] * 3, [True] * 3])}, "at least one token"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(changes: dict[str, Tensor], message: str):
    tensors = {"clean": PLAIN.clean, "corrupted": PLAIN.corrupted, "answer": PLAIN.answer, "wrong": PLAIN.wrong}
    with pytest.raises(InputError, match=message):
        EncodedPairs(**{**tensors, **changes})  # type: ignore[arg-type]


def test_the_pythia_tokenizer_splits_add_sub_as_the_design_counts_it():
    folder = Path(__file__).parents[3] / "shared" / "tokenizers" / "gpt-neox-20b"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    inputs = encode(task("add_sub", size=200), AutoTokenizer.from_pretrained(folder))
    assert inputs.clean.shape == (200, 19)
    assert set(inputs.first_difference().tolist()) == {16}
    assert inputs.answer.shape == (200,)
    assert inputs.mask is None
