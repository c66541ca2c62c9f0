"""How well a model expects ordinary text: what fine-tuning on a task costs elsewhere.

passages = read_passages(Path("held-out.txt"), tokenizer, model)
before, after = text_loss(base, passages), text_loss(tuned, passages)      # nats per token
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from circuitune.core.errors import InputError
from circuitune.models.anatomy import anatomy_of
from circuitune.models.running import prepared
from circuitune.tasks.tokens import Tokenizer, prompt_ids

LOGITS = 1 << 26
"""Most logits of a batch (float32: 256 MiB), as long as one passage fits."""


def read_passages(path: Path, tokenizer: Tokenizer, model: PreTrainedModel | PeftModel) -> list[list[int]]:
    """Token ids of the passages of a UTF-8 text, one per line; empty lines are skipped.

    Raises:
        InputError: no such file, no UTF-8, no passage, or one of fewer than two tokens or more than the model reads.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise InputError(f"{path} cannot be read ({reason}); give a text file with one passage per line.") from error
    numbered = [(number, text) for number, line in enumerate(lines, 1) if (text := line.strip())]
    if not numbered:
        raise InputError(f"{path} holds no passage; write one per line.")
    passages = prompt_ids(tokenizer, [text for _, text in numbered])
    most = anatomy_of(model).positions or math.inf
    for (number, _), ids in zip(numbered, passages, strict=True):
        if not 2 <= len(ids) <= most:
            what = "fewer than two tokens" if len(ids) < 2 else f"{len(ids)} tokens, and the model reads {most}"
            raise InputError(f"{path}, line {number}: the passage has {what}; lengthen, split or remove it.")
    return passages


def text_loss(model: PreTrainedModel | PeftModel, passages: Sequence[Sequence[int]]) -> float:
    """Mean negative log-likelihood in nats of every token after a passage's first; the model is left as it was.

    Args:
        model: runs in eval mode.
        passages: token ids, each of at least two (`read_passages`).
    """
    total = torch.zeros((), dtype=torch.float64)
    with prepared(model), torch.no_grad():
        for tokens_BP in _batches(passages, model.config.vocab_size):
            logits_BPV = model(input_ids=tokens_BP.to(model.device), use_cache=False).logits[:, :-1]
            losses = cross_entropy(
                logits_BPV.flatten(0, 1).float().cpu(), tokens_BP[:, 1:].flatten(), reduction="none"
            )
            total += losses.double().sum()
    return float(total) / sum(len(ids) - 1 for ids in passages)


def _batches(passages: Sequence[Sequence[int]], vocabulary: int) -> Iterator[Tensor]:
    """Passages of one length together, so that no padding reaches the model; int64 [B, P]."""
    groups: dict[int, list[Sequence[int]]] = defaultdict(list)
    for ids in passages:
        groups[len(ids)].append(ids)
    for length, group in sorted(groups.items()):
        size = max(1, LOGITS // (length * vocabulary))
        for start in range(0, len(group), size):
            yield torch.tensor(group[start : start + size])
