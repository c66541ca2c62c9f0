"""What a run of the model is judged by. Each metric gives one loss per example: lower is better."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitune.core.errors import InputError
from circuitune.models.encoding import EncodedPairs

LogitsBV = Float[Tensor, "B V"]
AnswerB = Int[Tensor, " B"]
LossB = Float[Tensor, " B"]
Loss = Callable[[LogitsBV, LogitsBV, AnswerB, AnswerB | None], LossB]
"""(logits of the run, logits of the clean run, answer ids, wrong ids or None) -> loss per example."""


@dataclass(frozen=True)
class Metric:
    """A named loss.

    Attributes:
        name: as users write it; a user's callable goes by its ``__name__``.
        loss: see `Loss`; with `sets`, answer and wrong are [B, k] ids padded with -100.
        sign: reported value = sign * loss (the logit difference is minus its loss).
        sets: the loss takes sets of answers.
    """

    name: str
    loss: Loss
    sign: int = 1
    sets: bool = False


def _pick(logits: LogitsBV, tokens: AnswerB) -> LossB:
    return logits.gather(1, tokens[:, None])[:, 0]


def logit_diff(logits: LogitsBV, clean_logits: LogitsBV, answer: AnswerB, wrong: AnswerB | None) -> LossB:
    """-(logit of the answer - logit of the corrupted prompt's answer)."""
    assert wrong is not None
    return _pick(logits, wrong) - _pick(logits, answer)


def nll(logits: LogitsBV, clean_logits: LogitsBV, answer: AnswerB, wrong: AnswerB | None) -> LossB:
    """-log p(answer)."""
    return -_pick(logits.log_softmax(-1), answer)


def kl(logits: LogitsBV, clean_logits: LogitsBV, answer: AnswerB, wrong: AnswerB | None) -> LossB:
    """KL(clean run || run), summed over the vocabulary (the study averages over it: the same up to a factor)."""
    clean = clean_logits.log_softmax(-1)
    return (clean.exp() * (clean - logits.log_softmax(-1))).sum(-1)


def prob_diff(
    logits: LogitsBV, clean_logits: LogitsBV, answer: Int[Tensor, "B k"], wrong: Int[Tensor, "B j"] | None
) -> LossB:
    """-(probability of the right answers - of the wrong ones), as for greater-than (Hanna et al. 2023)."""
    assert wrong is not None
    p = logits.softmax(-1)

    def mass(tokens: Tensor) -> Tensor:
        return (p.gather(1, tokens.clamp_min(0)) * (tokens >= 0)).sum(1)

    return mass(wrong) - mass(answer)


METRICS = {
    "logit_diff": Metric("logit_diff", logit_diff, sign=-1),
    "kl": Metric("kl", kl),
    "nll": Metric("nll", nll),
    "prob_diff": Metric("prob_diff", prob_diff, sign=-1, sets=True),
}


def resolve(metric: str | Loss, inputs: EncodedPairs) -> Metric:
    """The metric a user means, checked against the pairs.

    Raises:
        InputError: an unknown name; a metric that needs ``wrong`` on pairs without; answers of several tokens with a
            metric that reads one.
    """
    if isinstance(metric, str) and metric not in METRICS:
        raise InputError(f"Unknown metric {metric!r}; use one of {', '.join(METRICS)}, or pass a function.")
    single = not isinstance(metric, str) or metric == "prob_diff"
    if inputs.answer.ndim != 1 and single:
        raise InputError(
            f"These answers have up to {inputs.answer.shape[1]} tokens, and this metric reads one position; "
            "use metric 'logit_diff', 'nll' or 'kl', or leave out the rows whose answer the tokenizer splits."
        )
    if metric in ("logit_diff", "prob_diff") and inputs.wrong is None:
        raise InputError(
            f"metric {metric!r} needs a wrong answer for every pair and these pairs have none; "
            "add a 'wrong' column, or use metric 'kl' or 'nll'."
        )
    if isinstance(metric, str):
        return METRICS[metric]
    return Metric(getattr(metric, "__name__", "custom"), metric)


@dataclass(frozen=True)
class Part:
    """Runs whose losses, summed with their signs, are the metric's loss.

    Attributes:
        inputs: prompts, with all but the last token of the answer appended; ``answer`` is [n, tokens].
        metric: the loss of the run, summed over the answer's positions.
        sign: of this part in the sum.
    """

    inputs: EncodedPairs
    metric: Metric
    sign: int


def parts_of(inputs: EncodedPairs, metric: Metric) -> list[Part]:
    """One part for answers of one token. Longer ones are teacher-forced, each answer in a run of its own.

    The logit difference becomes log p(answer) - log p(wrong), each from the prompt with that answer appended.
    """
    if inputs.answer.ndim == 1:
        return [Part(inputs, metric, 1)]
    answered = appended(inputs, inputs.answer)
    if metric.name != "logit_diff":
        return [Part(answered, metric, 1)]
    assert inputs.wrong is not None
    return [Part(answered, METRICS["nll"], 1), Part(appended(inputs, inputs.wrong), METRICS["nll"], -1)]


def appended(inputs: EncodedPairs, answers: Int[Tensor, "n tokens"]) -> EncodedPairs:
    """Clean and corrupted prompts with the answer's tokens, all but the last, after them; padded on the right."""
    inputs, answers = inputs.cpu(), answers.cpu()
    lengths, tokens = inputs.lengths(), (answers >= 0).sum(1)
    total = lengths + tokens - 1
    mask = torch.arange(int(total.max())) < total[:, None]
    clean, corrupted = torch.zeros_like(mask, dtype=torch.int64), torch.zeros_like(mask, dtype=torch.int64)
    for row in range(len(inputs)):
        real = slice(None) if inputs.mask is None else inputs.mask[row]
        for target, source in ((clean, inputs.clean), (corrupted, inputs.corrupted)):
            target[row, : total[row]] = torch.cat([source[row][real], answers[row, : tokens[row] - 1]])
    return EncodedPairs(clean, corrupted, answers, None, None if bool(mask.all()) else mask)
