"""How long, how fast and how often: methods by name, the settings of a fine-tuning, and the steps that follow."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Literal, get_args

from circuitune.core.errors import InputError

Spacing = Literal["even", "log"]

MethodName = Literal["full", "lora", "rslora", "dora", "lora+", "ia3", "adalora", "eva", "truncated"]
"""The ways to fine-tune; `tuning` says what each does."""

Reinforcement = Literal["grpo", "rloo"]
"""The ways to train an adapter on rewards; `reinforce` says what each does."""

PLANNED = ("lora", "rslora", "dora", "lora+")
"""Methods that take one rank or a rank plan."""

RANKED = ("adalora", "eva", "truncated")
"""Methods that take one rank; the others have none."""

LEARNING_RATES: dict[MethodName, float] = {"full": 8e-6, "ia3": 8e-3, "adalora": 8e-3, "lora+": 1.5e-4}
"""Peaks unlike LoRA's: the study's (reference paper, section 3), for LoRA+ half of LoRA's, as PEFT advises."""


def require_ranks(method: str, rank: int | None, plan: object | None) -> None:
    """InputError unless the method is known and gets just the ranks that it takes."""
    if method not in get_args(MethodName):
        raise InputError(f"There is no method {method!r}; choose one of {', '.join(get_args(MethodName))}.")
    if method in PLANNED and (rank is None) == (plan is None):
        raise InputError(f"Name the ranks of method {method}: either one rank or a rank plan.")
    if method not in PLANNED and plan is not None:
        raise InputError(
            f"Method {method} takes no rank plan; {'give one rank' if method in RANKED else 'leave it out'}."
        )
    if method in RANKED and rank is None:
        raise InputError(f"Name the rank of method {method}.")
    if method not in (*PLANNED, *RANKED) and rank is not None:
        raise InputError(f"Method {method} has no rank; leave it out.")
    if rank is not None and rank < 1:
        raise InputError(f"A rank must be at least 1; got {rank}.")


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of one fine-tuning; the defaults are the study's LoRA (reference paper, section 3).

    AdamW, gradient norm clipped to 1, learning rate raised over the warm-up and then lowered linearly to 0.

    Attributes:
        epochs: passes over the training rows; may be a fraction.
        learning_rate: its peak.
        batch_size: rows per forward pass.
        accumulation: forward passes per optimizer step.
        weight_decay: AdamW's, on weights that are not biases or norms.
        warmup_steps: steps of rising learning rate; at most half of all steps are used.
        checkpoints: how many, apart from the one at step 0; the last is at the last step.
        spacing: steps of the checkpoints evenly or logarithmically spaced.
        max_steps: number of optimizer steps; replaces `epochs`.
    """

    epochs: float = 2.0
    learning_rate: float = 3e-4
    batch_size: int = 8
    accumulation: int = 4
    weight_decay: float = 0.01
    warmup_steps: int = 25
    checkpoints: int = 10
    spacing: Spacing = "even"
    max_steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "learning_rate"):
            _require(name, getattr(self, name), "a positive number", lambda value: isfinite(value) and value > 0)
        for name in ("batch_size", "accumulation", "checkpoints"):
            _require(name, getattr(self, name), "at least 1", lambda value: value >= 1)
        for name in ("weight_decay", "warmup_steps"):
            _require(name, getattr(self, name), "at least 0", lambda value: isfinite(value) and value >= 0)
        if self.max_steps is not None:
            _require("max_steps", self.max_steps, "at least 1", lambda value: value >= 1)
        _require_spacing(self.spacing)

    def steps_per_epoch(self, rows: int) -> int:
        """Optimizer steps in one pass over `rows` training rows; the last may be smaller."""
        return ceil(ceil(rows / self.batch_size) / self.accumulation)

    def steps(self, rows: int) -> int:
        """Optimizer steps of the whole fine-tuning on `rows` training rows."""
        return self.max_steps or ceil(self.epochs * self.steps_per_epoch(rows))


@dataclass(frozen=True)
class ReinforceSettings:
    """Settings of one reinforcement.

    AdamW, gradient norm clipped to 1, learning rate lowered linearly to 0; all else is TRL's default.

    Attributes:
        method: by which a completion's advantage follows from the rewards of its group.
        steps: number of optimizer steps.
        prompts: prompts per step.
        group: completions per prompt.
        learning_rate: its peak.
        temperature: of the completions.
        beta: weight of the divergence from the model that it began with; 0 leaves it out.
        checkpoints: how many, apart from the one at step 0; the last is at the last step.
        spacing: steps of the checkpoints evenly or logarithmically spaced.
    """

    method: Reinforcement = "grpo"
    steps: int = 200
    prompts: int = 16
    group: int = 8
    learning_rate: float = 1e-3
    temperature: float = 1.0
    beta: float = 0.0
    checkpoints: int = 10
    spacing: Spacing = "even"

    def __post_init__(self) -> None:
        if self.method not in get_args(Reinforcement):
            raise InputError(f"Rewards are learned from by 'grpo' or 'rloo'; got {self.method!r}.")
        for name in ("learning_rate", "temperature"):
            _require(name, getattr(self, name), "a positive number", lambda value: isfinite(value) and value > 0)
        for name in ("steps", "prompts", "checkpoints"):
            _require(name, getattr(self, name), "at least 1", lambda value: value >= 1)
        _require("group", self.group, "at least 2, as completions are judged by each other", lambda value: value >= 2)
        _require("beta", self.beta, "at least 0", lambda value: isfinite(value) and value >= 0)
        _require_spacing(self.spacing)


def checkpoint_steps(total: int, count: int, spacing: Spacing = "even") -> tuple[int, ...]:
    """Steps at which to save: 0, then `count` spaced steps (all of them if there are fewer), the last at `total`.

    ``log`` spaces them by a constant factor from step 1 on, pushed apart where rounding would merge two.
    """
    if total < 1 or count < 1:
        raise InputError(f"Checkpoints need at least one step and a count of at least one; got {total} and {count}.")
    count = min(count, total)
    if spacing == "even" or count == 1:
        return tuple(round(index * total / count) for index in range(count + 1))
    steps = [0]
    for index in range(count):
        steps.append(max(steps[-1] + 1, round(total ** (index / (count - 1)))))
    return tuple(steps)


def _require(name: str, value: float, expected: str, holds: Callable[[float], bool]) -> None:
    if not holds(value):
        raise InputError(f"The training setting {name} must be {expected}; got {value}.")


def _require_spacing(spacing: str) -> None:
    if spacing not in ("even", "log"):
        raise InputError(f"Checkpoints are spaced 'even' or 'log'; got {spacing!r}.")
