"""A tokenizer of whole numbers, and pairs of sums for it."""

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from circuitune.tasks.pairs import Pair, PairSet


def number_tokenizer():
    words = ["<pad>", "+", "-", "=", *map(str, range(60))]
    made = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="<pad>"))
    made.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", unk_token="<pad>")


def total(*numbers):
    sign = " + ".join(map(str, numbers)) + " ="
    other = " + ".join(map(str, (*numbers[:-1], numbers[-1] + 1))) + " ="
    return Pair(sign, other, f" {sum(numbers)}", f" {sum(numbers) + 1}", group=sign)


def sums_of_two():
    return PairSet("sums", tuple(total(a, b) for a in range(1, 7) for b in range(1, 5)))


def ragged():
    numbers = [(a, a + 1, 2, 5)[:length] for a in range(1, 7) for length in (2, 3, 4)]
    return PairSet("ragged", tuple(total(*row) for row in numbers))


@pytest.fixture(scope="session")
def ragged_sums():
    """18 sums of two, three and four numbers: prompts of three lengths."""
    return ragged()


@pytest.fixture(scope="session")
def tokenizer():
    return number_tokenizer()


@pytest.fixture(scope="session")
def sums():
    """24 sums of two numbers: prompts of one length."""
    return sums_of_two()
