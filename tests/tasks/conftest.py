from functools import cache
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

import circuitune
from circuitune.tasks.pairs import PairSet
from circuitune.tasks.registry import TASKS, task

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
def small_tasks() -> dict[str, PairSet]:
    """Every task of ours, 300 rows of each."""
    return {name: small(name) for name in TASKS}


@pytest.fixture(scope="session")
def digit_tokenizer() -> PreTrainedTokenizerBase:
    """Splits numbers into digits, as Qwen's does: a space, words with their space, single digits and signs."""
    return word_tokenizer(r"\d| ?[^\W\d]+| ?[^\s\w]|\s")


@pytest.fixture(scope="session")
def group_tokenizer() -> PreTrainedTokenizerBase:
    """Splits numbers into groups of up to three digits, as Llama 3's does, without their space."""
    return word_tokenizer(r"\d{1,3}| ?[^\W\d]+| ?[^\s\w]|\s")


def word_tokenizer(pattern: str) -> PreTrainedTokenizerBase:
    """Every match of the pattern in our tasks is a token, whatever follows."""
    splitter = pre_tokenizers.Split(Regex(pattern), "isolated")
    words = {word for word, _ in splitter.pre_tokenize_str(all_text())} | set("0123456789 ")
    words |= {f"{number:0{width}d}" for width in (1, 2, 3) for number in range(10**width)}
    vocabulary = {word: place for place, word in enumerate(["<unk>", *sorted(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


@cache
def all_text() -> str:
    """Prompts and answers of every task."""
    pairs = [pair for name in TASKS for pair in small(name)]
    return "\n".join(f"{pair.clean}\n{pair.corrupted}\n{pair.answer}" for pair in pairs)


@cache
def small(name: str) -> PairSet:
    """300 rows of a task, quickly made."""
    return task(name, size=300, **({"largest_start": 30} if name == "sequence" else {}))


CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="session")
def chat_tokenizer() -> PreTrainedTokenizerBase:
    """Puts ``<s>`` before every text, and its chat template writes one too."""
    special = ["<unk>", "<s>", "<|user|>", "<|assistant|>", "<|end|>"]
    vocabulary = {word: place for place, word in enumerate([*special, *(chr(code) for code in range(32, 127))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        additional_special_tokens=special[2:],
        chat_template=CHAT_TEMPLATE,
    )


@pytest.fixture(scope="session")
def pythia_tokenizer() -> PreTrainedTokenizerBase:
    return shared_tokenizer("gpt-neox-20b")


@pytest.fixture(scope="session")
def gpt2_tokenizer() -> PreTrainedTokenizerBase:
    return shared_tokenizer("gpt2")


def shared_tokenizer(name: str) -> PreTrainedTokenizerBase:
    folder = SHARED / "tokenizers" / name
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def released() -> Path:
    folder = SHARED / "reference" / "released"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder
