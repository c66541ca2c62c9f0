"""A tokenizer of letters, digits and three roles, and rows of training data it reads."""

from functools import cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<unk>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]


@cache
def tokenizer(chat: bool = True) -> PreTrainedTokenizerBase:
    """One token a character."""
    characters = "abcdefghijklmnopqrstuvwxyz0123456789 +-=.,"
    vocabulary = {word: place for place, word in enumerate([*SPECIAL, *characters])}
    one = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    one.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    one.decoder = decoders.Fuse()
    made = PreTrainedTokenizerFast(
        tokenizer_object=one, unk_token="<unk>", eos_token="<|end|>", additional_special_tokens=SPECIAL[1:]
    )
    made.chat_template = TEMPLATE if chat else None
    return made


def sums(count: int) -> list[dict[str, str]]:
    """Prompts of 4 to 6 tokens, each different, with completions of 1 to 4."""
    return [
        {"prompt": f"{row} + {row % 7}"[-6:], "completion": f"={row + row % 7}" + "." * (row % 3)}
        for row in range(count)
    ]


def messages(row: dict[str, str]) -> dict[str, list[dict[str, str]]]:
    """The same row as a conversation."""
    return {
        "messages": [
            {"role": "user", "content": row["prompt"]},
            {"role": "assistant", "content": row["completion"]},
        ]
    }
