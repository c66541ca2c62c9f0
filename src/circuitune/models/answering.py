"""What a model answers: correct or not, how likely the answer was, and what it said instead."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from circuitune.models.anatomy import anatomy_of
from circuitune.models.encoding import PADDING, EncodedPairs
from circuitune.models.running import prepared
from circuitune.tasks.pairs import Pair, PairSet
from circuitune.tasks.tokens import Tokenizer, answer_ids, prompt_ids


@dataclass(frozen=True, eq=False)
class Answers:
    """A model's answers to n prompts, on the CPU.

    Attributes:
        correct: the answer is what greedy decoding says, token by token (what it says after the answer is not
            judged); with sets of answers, the most likely token is any of the right ones.
        loss: negative log-likelihood of the answer in nats, summed over its tokens.
        predicted: the most likely first token.
    """

    correct: Bool[Tensor, "n"]
    loss: Float[Tensor, "n"]
    predicted: Int[Tensor, "n"]


def answer(model: PreTrainedModel | PeftModel, inputs: EncodedPairs, batch_size: int = 256) -> Answers:
    """Let the model answer the clean prompts; it runs in eval mode and is left as it was.

    Rows are grouped by length, so no padding reaches the model. InputError where a prompt is longer than it reads.
    """
    inputs.require_context(anatomy_of(model).positions)
    n = len(inputs)
    correct, loss = torch.zeros(n, dtype=torch.bool), torch.zeros(n)
    predicted = torch.zeros(n, dtype=torch.int64)
    with prepared(model), torch.no_grad():
        for rows, tokens_BP, answer_BT in _batches(inputs, batch_size):
            logits_BTV = _logits(model, torch.cat([tokens_BP, answer_BT[:, :-1]], 1), answer_BT.shape[1])
            guess_BT = logits_BTV.argmax(-1)
            chosen_BT = logits_BTV.log_softmax(-1).gather(-1, answer_BT[..., None])[..., 0]
            correct[rows] = _right(inputs, rows, guess_BT, answer_BT)
            loss[rows] = -chosen_BT.sum(1)
            predicted[rows] = guess_BT[:, 0]
    return Answers(correct, loss, predicted)


def _right(inputs: EncodedPairs, rows: Tensor, guess_BT: Tensor, answer_BT: Tensor) -> Bool[Tensor, "B"]:
    if inputs.answer_set is None:
        return (guess_BT == answer_BT).all(1)
    return (guess_BT == inputs.answer_set[rows.to(inputs.answer_set.device)].cpu()).any(1)


def fill_wrong(pairs: PairSet, model: PreTrainedModel | PeftModel, tokenizer: Tokenizer) -> PairSet:
    """The same pairs; where ``wrong`` is missing, the model's own answer on the corrupted prompt.

    A pair keeps None where that is the right answer of the clean prompt, or is no text that follows the prompt as
    the same single token.
    """
    missing = [index for index, pair in enumerate(pairs) if pair.wrong is None]
    if not missing:
        return pairs
    prompts = prompt_ids(tokenizer, [pairs[index].corrupted for index in missing])
    longest = max(map(len, prompts))
    tokens = torch.tensor([ids + [0] * (longest - len(ids)) for ids in prompts])
    mask = torch.arange(longest) < torch.tensor([len(ids) for ids in prompts])[:, None]
    unknown = torch.zeros(len(prompts), dtype=torch.int64)
    said = answer(model, EncodedPairs(tokens, tokens, unknown, None, mask)).predicted.tolist()
    filled = list(pairs)
    for index, token in zip(missing, said, strict=True):
        filled[index] = replace(pairs[index], wrong=_text(pairs[index], token, tokenizer))
    return replace(pairs, pairs=tuple(filled))


def _text(pair: Pair, token: int, tokenizer: Tokenizer) -> str | None:
    """The text of a predicted token, written as the pair's answer is: with its leading space or without."""
    bare = str(tokenizer.decode([token]))
    space = pair.answer[: len(pair.answer) - len(pair.answer.lstrip())]
    for text in (space + bare.lstrip(), bare):
        if text.strip() and answer_ids(tokenizer, [pair.corrupted], [text]) == [[token]]:
            return None if text == pair.answer else text
    return None


def _batches(inputs: EncodedPairs, batch_size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Row numbers, unpadded prompts [B, P] and answers [B, T], all rows of a batch of one length each."""
    answers = inputs.answer.reshape(len(inputs), -1).cpu()
    lengths, counts = inputs.lengths().cpu(), (answers != PADDING).sum(1)
    for length, count in sorted(set(zip(lengths.tolist(), counts.tolist(), strict=True))):
        group = ((lengths == length) & (counts == count)).nonzero()[:, 0]
        for rows in group.split(batch_size):
            tokens = inputs.clean[rows]
            if inputs.mask is not None:
                tokens = tokens[inputs.mask[rows]].view(len(rows), length)
            yield rows, tokens, answers[rows, :count]


def _logits(model: PreTrainedModel | PeftModel, tokens_BP: Tensor, keep: int) -> Float[Tensor, "B T V"]:
    """Float32 logits at the last `keep` positions, on the CPU."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    options = {"logits_to_keep": keep} if "logits_to_keep" in inspect.signature(base.forward).parameters else {}
    logits = model(input_ids=tokens_BP.to(model.device), use_cache=False, **options).logits
    return logits[:, -keep:].float().cpu()
