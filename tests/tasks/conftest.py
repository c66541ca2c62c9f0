from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

import circuitune

SHARED = Path(__file__).parents[3] / "shared"


@pytest.fixture(scope="session")
def nano_tokenizer() -> PreTrainedTokenizerBase:
    """The embedded model's: numbers 0..999 and the tasks' words are single tokens."""
    return AutoTokenizer.from_pretrained(Path(circuitune.__file__).parent / "models" / "nano")


@pytest.fixture(scope="session")
def letter_tokenizer() -> PreTrainedTokenizerBase:
    """Every character is a token; a character outside ASCII is unknown."""
    vocabulary = {"<unk>": 0} | {chr(code): code - 31 for code in range(32, 127)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


@pytest.fixture(scope="session")
def pythia_tokenizer() -> PreTrainedTokenizerBase:
    folder = SHARED / "tokenizers" / "gpt-neox-20b"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def released() -> Path:
    folder = SHARED / "reference" / "released"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder
