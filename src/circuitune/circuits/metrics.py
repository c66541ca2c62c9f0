"""What a run of the model is judged by. Each metric gives one loss per example: lower is better."""

from collections.abc import Callable
from dataclasses import dataclass

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
        loss: see `Loss`.
        sign: reported value = sign * loss (the logit difference is minus its loss).
    """

    name: str
    loss: Loss
    sign: int = 1


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


METRICS = {
    "logit_diff": Metric("logit_diff", logit_diff, sign=-1),
    "kl": Metric("kl", kl),
    "nll": Metric("nll", nll),
}


def resolve(metric: str | Loss, inputs: EncodedPairs) -> Metric:
    """The metric a user means, checked against the pairs.

    Raises:
        InputError: an unknown name; ``logit_diff`` on pairs without ``wrong``; answers of several tokens.
    """
    if isinstance(metric, str) and metric not in METRICS:
        raise InputError(f"Unknown metric {metric!r}; use one of {', '.join(METRICS)}, or pass a function.")
    if inputs.answer.ndim != 1:
        raise InputError(
            f"Answers must be single tokens for this engine; got {inputs.answer.shape[1]} tokens. "
            "Leave out the rows whose answer the tokenizer splits."
        )
    if metric == "logit_diff" and inputs.wrong is None:
        raise InputError(
            "metric 'logit_diff' needs a wrong answer for every pair and these pairs have none; "
            "add a 'wrong' column, or use metric 'kl' or 'nll'."
        )
    if isinstance(metric, str):
        return METRICS[metric]
    return Metric(getattr(metric, "__name__", "custom"), metric)
