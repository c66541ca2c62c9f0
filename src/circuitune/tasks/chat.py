"""Pairs as a conversation: the prompt is the user's message, the answer begins the model's reply.

The wrapped prompt is plain text, special tokens spelled out, so that everything downstream treats it as any other.
Clean and corrupted prompts get the same words around them: they keep equal lengths and the start they share.
"""

from dataclasses import replace
from typing import Any, Protocol

from circuitune.core.errors import InputError
from circuitune.core.manifest import sha256_bytes
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.tokens import Tokenizer, decoded


class ChatTokenizer(Tokenizer, Protocol):
    """Any Transformers tokenizer; ``chat_template`` is None for models that are no chat models."""

    chat_template: Any

    def apply_chat_template(
        self, conversation: Any, *, tokenize: bool = True, add_generation_prompt: bool = False
    ) -> Any:
        """The conversation as the model was trained to read it."""
        ...


def wrapped(pairs: PairSet, tokenizer: ChatTokenizer) -> PairSet:
    """The pairs with every prompt in the tokenizer's chat template, up to where the reply begins.

    Answers get the white space that the template puts before a reply (often none) in place of their own. A special
    token at the very start is left to the tokenizer where it adds one to any text, so that there is one, not two.
    InputError where the tokenizer has no template, the template takes no lone user's message, or the pairs are
    wrapped already.
    """
    if not isinstance(tokenizer.chat_template, str):
        raise InputError("This tokenizer has no chat template; leave out --chat, or take a chat model.")
    if "chat" in pairs.settings:
        raise InputError(f"{pairs.name}: these prompts are in a chat template already; wrap them once.")
    pairs = decoded(pairs, tokenizer)
    settings = {**pairs.settings, "chat": sha256_bytes(tokenizer.chat_template.encode())}
    if not len(pairs):
        return replace(pairs, settings=settings)
    start = _doubled_start(_asked(pairs[0].clean, tokenizer), tokenizer)
    lead = _lead(pairs[0], tokenizer)

    def reply(text: str) -> str:
        return lead + text.lstrip()

    def asked(prompt: str) -> str:  # a missing corruption stays missing, for `check` to say so
        return _asked(prompt, tokenizer).removeprefix(start) if prompt else ""

    def one(pair: Pair) -> Pair:
        return replace(
            pair,
            clean=asked(pair.clean),
            corrupted=asked(pair.corrupted),
            answer=reply(pair.answer),
            wrong=None if pair.wrong is None else reply(pair.wrong),
            answer_set=None if pair.answer_set is None else tuple(map(reply, pair.answer_set)),
            wrong_set=None if pair.wrong_set is None else tuple(map(reply, pair.wrong_set)),
        )

    return replace(pairs, pairs=tuple(map(one, pairs)), settings=settings)


def _asked(prompt: str, tokenizer: ChatTokenizer) -> str:
    return _said([{"role": "user", "content": prompt}], tokenizer, generation=True)


def _said(conversation: list[dict[str, str]], tokenizer: ChatTokenizer, generation: bool) -> str:
    refused = "The tokenizer's chat template does not take a user's message alone"
    return rendered(conversation, tokenizer, generation=generation, refused=refused, fix="leave out --chat")


def rendered(
    conversation: list[dict[str, str]], tokenizer: ChatTokenizer, *, generation: bool, refused: str, fix: str
) -> str:
    """A conversation as the tokenizer's chat template writes it, with what opens a reply where ``generation`` is set.

    Raises:
        InputError: the template refuses it; the sentence says ``refused``, the template's reason, and ``fix``.
    """
    try:
        return str(tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=generation))
    except Exception as error:  # whatever the template raises: templates are programs of the model's makers
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(f"{refused} ({reason}); {fix}.") from error


def _doubled_start(text: str, tokenizer: ChatTokenizer) -> str:
    """The special token that the template writes first and the tokenizer would put there once more; "" if none."""
    plain, added = (tokenizer([text], add_special_tokens=special)["input_ids"][0] for special in (False, True))
    if added == plain:
        return ""
    if added[1:] != plain:
        raise InputError(
            "This tokenizer ends every text with a special token, so no answer can follow a prompt; leave out --chat."
        )
    first = str(tokenizer.decode(added[:1]))
    return first if text.startswith(first) else ""


def _lead(pair: Pair, tokenizer: ChatTokenizer) -> str:
    """The white space between the generation prompt and a reply, as the template writes a whole conversation."""
    bare, asked = pair.answer.strip(), _asked(pair.clean, tokenizer)
    if not bare:
        return ""
    conversation = [{"role": "user", "content": pair.clean}, {"role": "assistant", "content": bare}]
    whole = _said(conversation, tokenizer, generation=False)
    before = whole.removeprefix(asked).partition(bare)[0]
    return before if whole.startswith(asked) and not before.strip() else ""
