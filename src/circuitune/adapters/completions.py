"""Rows of a fine-tuning set as token ids: prompts, completions, and what stands in for a corrupted prompt.

    sample = read_completions("sft.jsonl", tokenizer)               # a file, a saved dataset, or rows in memory
    sample.inputs                                                    # EncodedPairs: the answer is the completion

A row has ``prompt`` and ``completion``, texts or lists of messages, or ``messages`` that end with the assistant's:
that last message is the completion and all before it the prompt, as the tokenizer's chat template writes them.

Nobody gives a corrupted prompt here. What takes its place is either

- a mean (ablations ``mean`` and ``mean-positional``): what every node writes on average over the sampled rows, per
  position where all rows have one length. It asks nothing of the rows, so none is left out; or
- ``interchange``: the prompt of another row of as many tokens, with this row's completion still after it, so what is
  measured is how much the completion owes to its own prompt. Rows whose prompt has no other of its length are left
  out and counted.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from circuitune.circuits.ablation import Ablation
from circuitune.core.errors import InputError
from circuitune.core.seeding import numpy_generator
from circuitune.models.encoding import PADDING, EncodedPairs
from circuitune.tasks.chat import ChatTokenizer, rendered
from circuitune.tasks.formats import Row, read_table
from circuitune.tasks.tokens import answer_ids, prompt_ids

ROWS = 100
"""How many rows are sampled unless asked otherwise."""

MAX_TOKENS = 256
"""Tokens of prompt and completion together, above which a row is cut at its end."""

LEAST = 10
"""Rows below which there is nothing to average over."""

POOL = 20
"""Times the asked rows, so many are read at most to find prompts of equal length."""

Corruption = Literal["mean", "interchange"]
Dataset = str | PathLike[str] | Sequence[Mapping[str, object]]
"""A file or folder, a list of rows, or a dataset of the library ``datasets`` with one split."""

NO_COMPLETION = "no token of a completion within the limit"
NO_PROMPT = "no prompt before the completion"
NO_PARTNER = "no other prompt of as many tokens"


@dataclass(frozen=True)
class Completions:
    """A sample of a fine-tuning set.

    Attributes:
        inputs: prompts, their stand-ins (the prompts themselves where a mean takes their place), and the completions
            [n, tokens] padded with -100.
        ablation: what edges carry that are ablated, as `circuits.attribution.attribute` names it.
        source: the dataset's name.
        total: rows of the dataset.
        read: rows that were looked at.
        cut: how many of the sample were cut to `max_tokens`.
        left_out: reason -> how many rows.
        max_tokens: most tokens of a row.
        seed: of the draw.
        sha256: of the file or folder; None for rows in memory.
    """

    inputs: EncodedPairs
    ablation: Ablation
    source: str
    total: int
    read: int
    cut: int
    left_out: Mapping[str, int]
    max_tokens: int
    seed: int
    sha256: str | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def lengths(self) -> Int[Tensor, " n"]:
        """Tokens that each row is run on: the prompt and all of the completion but its last token."""
        return self.inputs.lengths() + self.answered - 1

    @property
    def answered(self) -> Int[Tensor, " n"]:
        """Tokens of each completion."""
        return (self.inputs.answer != PADDING).sum(1)

    @property
    def sentence(self) -> str:
        """What was taken, cut and left out, in words."""
        cut = f", {self.cut} of them cut to {self.max_tokens} tokens" if self.cut else ""
        left = "".join(f"; {count} left out ({reason})" for reason, count in self.left_out.items())
        return f"{len(self)} of {self.total} rows of {self.source}{cut}{left}."


@dataclass(frozen=True)
class _Example:
    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    cut: bool


@dataclass(frozen=True)
class _Source:
    name: str
    count: int
    row: Callable[[int], Row]
    sha256: str | None = None


def read_completions(
    dataset: Dataset,
    tokenizer: ChatTokenizer,
    *,
    rows: int = ROWS,
    max_tokens: int = MAX_TOKENS,
    ablation: Corruption = "mean",
    seed: int = 0,
) -> Completions:
    """Draw rows of a fine-tuning set and encode them.

    Plain prompts carry the special tokens that the tokenizer adds by default, completions none: the end-of-sequence
    token that a trainer appends is not counted, because a base model that never saw it would be judged by it. A chat
    template's own tokens count as the template writes them.

    Args:
        dataset: see `Dataset`; CSV, JSON lines, Parquet or a folder that ``Dataset.save_to_disk`` wrote.
        tokenizer: of the model to train.
        rows: how many to draw at most.
        max_tokens: rows with more are cut at their end, as trainers do; without a token of the completion left, they
            are left out.
        ablation: ``mean`` or ``interchange`` (module docstring).
        seed: of the draw.

    Raises:
        InputError: no rows; a row, by number, without the columns or with something else in them; a conversation
            without a chat template; fewer than 10 usable rows.
    """
    if ablation not in get_args(Corruption):
        raise InputError(f"{ablation!r} is no way to ablate rows without pairs; use mean or interchange.")
    if rows < LEAST or max_tokens < 2:
        raise InputError(f"A plan from data takes at least {LEAST} rows of 2 tokens; got {rows} of {max_tokens}.")
    source = _source(dataset)
    pool, left_out, seen = _drawn(source, tokenizer, rows if ablation == "mean" else POOL * rows, max_tokens, seed)
    others = _partners(pool) if ablation == "interchange" else [example.prompt for example in pool]
    pairs = [(example, other) for example, other in zip(pool, others, strict=True) if other is not None]
    if len(pairs) < len(pool):
        left_out[NO_PARTNER] = len(pool) - len(pairs)
    _require_enough(source, pairs, left_out)
    chosen = pairs[:rows]
    made = Completions(
        inputs=_encoded(chosen),
        ablation=ablation,
        source=source.name,
        total=source.count,
        read=seen,
        cut=sum(example.cut for example, _ in chosen),
        left_out=dict(left_out),
        max_tokens=max_tokens,
        seed=seed,
        sha256=source.sha256,
    )
    if ablation == "mean" and int(made.lengths.min()) == int(made.lengths.max()):
        return replace(made, ablation="mean-positional")
    return made


def _require_enough(source: _Source, pairs: Sequence[object], left_out: Mapping[str, int]) -> None:
    if len(pairs) >= LEAST:
        return
    why = "".join(f"; {count} have {reason}" for reason, count in left_out.items())
    fix = "ablate by the mean" if NO_PARTNER in left_out else "give more rows"
    raise InputError(
        f"{source.name} has {len(pairs)} usable rows and a plan needs at least {LEAST}{why}: {fix}"
        f"{' or raise the limit of tokens' if NO_COMPLETION in left_out else ''}."
    )


# Rows


def _source(dataset: Dataset) -> _Source:
    """The rows by number, and how many; InputError where there are none."""
    if isinstance(dataset, str | PathLike):
        path = Path(dataset)
        table = read_table(path)
        source = _Source(str(path), len(table.rows), lambda index: table.rows[index], table.sha256)
    else:
        if isinstance(dataset, Mapping):  # a datasets.DatasetDict
            splits = ", ".join(map(str, cast("Mapping[object, object]", dataset)))
            raise InputError(f"The dataset has the parts {splits}; give one of them, such as dataset['train'].")
        if not hasattr(dataset, "__len__"):
            raise InputError("The dataset is a stream of unknown length; give a list of some hundred of its rows.")
        source = _Source("the dataset", len(dataset), lambda index: (index + 1, dataset[index]))
    if not source.count:
        raise InputError(f"{source.name} has no rows; give it rows of prompt and completion, or of messages.")
    return source


def _drawn(
    source: _Source, tokenizer: ChatTokenizer, most: int, max_tokens: int, seed: int
) -> tuple[list[_Example], Counter[str], int]:
    """At most `most` usable rows in a seeded order, why others were left out, and how many were looked at."""
    pool: list[_Example] = []
    left_out: Counter[str] = Counter()
    seen = 0
    for index in numpy_generator(seed, "rows of a dataset").permutation(source.count).tolist():
        if len(pool) == most:
            break
        number, cells = source.row(index)
        seen += 1
        prompt, completion = _ids(f"{source.name}, row {number},", cells, tokenizer)
        kept = completion[: max(0, max_tokens - len(prompt))]
        if not prompt:
            left_out[NO_PROMPT] += 1
        elif not kept:
            left_out[NO_COMPLETION] += 1
        else:
            pool.append(_Example(tuple(prompt), tuple(kept), len(kept) < len(completion)))
    return pool, left_out, seen


def _ids(place: str, cells: Mapping[str, object], tokenizer: ChatTokenizer) -> tuple[list[int], list[int]]:
    """Token ids of a row's prompt and completion."""
    if "prompt" in cells and "completion" in cells:
        prompt, completion = cells["prompt"], cells["completion"]
        if isinstance(prompt, str) and isinstance(completion, str):
            return prompt_ids(tokenizer, [prompt])[0], answer_ids(tokenizer, [prompt], [completion])[0]
        before, reply = _messages(place, "prompt", prompt), _messages(place, "completion", completion)
    elif "messages" in cells:
        conversation = _messages(place, "messages", cells["messages"])
        before, reply = conversation[:-1], conversation[-1:]
        if not before or reply[0]["role"] != "assistant":
            raise InputError(
                f"{place} has messages that do not end with a reply of the assistant; add it or remove the row."
            )
    else:
        found = ", ".join(map(repr, cells)) or "no columns"
        raise InputError(
            f"{place} has {found}, and neither prompt and completion nor messages; rename its columns to these."
        )
    return _conversation_ids(place, before, reply, tokenizer)


def _messages(place: str, column: str, value: object) -> list[dict[str, str]]:
    messages = cast("list[Any]", value) if isinstance(value, list) else []
    right = [
        message
        for message in messages
        if isinstance(message, Mapping)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str)
    ]
    if not messages or len(right) < len(messages):
        raise InputError(
            f"{place} column {column}, is neither text (with text in its other column) nor a list of messages with a "
            "role and a text as content; correct it or remove the row."
        )
    return [dict(message) for message in right]


def _conversation_ids(
    place: str, before: list[dict[str, str]], reply: list[dict[str, str]], tokenizer: ChatTokenizer
) -> tuple[list[int], list[int]]:
    """The reply is what the chat template writes after the prompt, its closing tokens included."""
    if not isinstance(getattr(tokenizer, "chat_template", None), str):
        raise InputError(
            f"{place} is a conversation and the tokenizer has no chat template; give prompt and completion as texts, "
            "or take a chat model."
        )
    whole = _rendered(place, before + reply, tokenizer)
    for start in (_rendered(place, before, tokenizer, True), _rendered(place, before, tokenizer)):
        if whole.startswith(start):
            break
    else:
        raise InputError(
            f"{place} reads differently in the chat template with the reply after it, so the reply cannot be told "
            "from the prompt; give prompt and completion as texts."
        )
    head, joined = (tokenizer([text], add_special_tokens=False)["input_ids"][0] for text in (start, whole))
    # What a trainer feeds is the whole text's tokens; where one straddles the border, it belongs to the reply.
    border = next((at for at, (a, b) in enumerate(zip(head, joined, strict=False)) if a != b), len(head))
    return joined[:border], joined[border:]


def _rendered(place: str, messages: list[dict[str, str]], tokenizer: ChatTokenizer, generation: bool = False) -> str:
    refused = f"{place} is refused by the tokenizer's chat template"
    return rendered(messages, tokenizer, generation=generation, refused=refused, fix="correct or remove the row")


# Pairs


def _partners(pool: Sequence[_Example]) -> Iterator[tuple[int, ...] | None]:
    """For each row another prompt of as many tokens: the next one, cyclically, that differs; None without any."""
    buckets: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    for prompt in dict.fromkeys(example.prompt for example in pool):
        buckets[len(prompt)].append(prompt)
    following = {
        prompt: bucket[(place + 1) % len(bucket)]
        for bucket in buckets.values()
        for place, prompt in enumerate(bucket)
    }
    for example in pool:
        other = following[example.prompt]
        yield None if other == example.prompt else other


def _encoded(pairs: Sequence[tuple[_Example, tuple[int, ...]]]) -> EncodedPairs:
    """Padded on the right; rows of one prompt are one group, because they are not independent."""
    prompts = [example.prompt for example, _ in pairs]
    numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    return EncodedPairs(
        clean=_padded(prompts, 0),
        corrupted=_padded([other for _, other in pairs], 0),
        answer=_padded([example.completion for example, _ in pairs], PADDING),
        mask=None if bool(mask.all()) else mask,
        groups=torch.tensor([numbers[prompt] for prompt in prompts]),
    )


def _padded(rows: Sequence[Sequence[int]], filler: int) -> Int[Tensor, "n width"]:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=filler)
