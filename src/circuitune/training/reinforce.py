"""Reinforcement with TRL: GRPO and RLOO, rewarded for the exact answer and nothing else.

    from circuitune.training.reinforce import reinforce

    model, tokenizer = ct.load("tuned/checkpoints/step-00100")            # goes on with this adapter
    result = reinforce(model, tokenizer, task.split("train"), ReinforceSettings(method="grpo", steps=200),
                       folder=Path("reinforced"), evaluate={"test": task.split("test")}, seed=0)

A step draws a group of completions for each of its prompts, each as long as its answer has tokens, and rewards those
that are the answer: what `models.answering.answer` calls correct, sampled. Needs ``pip install 'circuitune[rl]'``.

    GRPO (Shao et al. 2024): a completion's advantage is (reward - mean of its group) / deviation of its group.
    RLOO (Ahmadian et al. 2024): it is reward - mean of the others in its group.

A group whose completions are all right, or all wrong, teaches nothing.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from torch import Tensor
from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from circuitune.adapters.lora import ADAPTER
from circuitune.core.atomic import ensure_writable_folder
from circuitune.core.errors import InputError
from circuitune.core.seeding import generator
from circuitune.models.anatomy import anatomy_of
from circuitune.models.encoding import PADDING, EncodedPairs
from circuitune.tasks.pairs import PairSet
from circuitune.training.callbacks import Checkpoints, Measurement, ReportProgress
from circuitune.training.course import Course, TrainingResult, TrainingRow, encoded, follow_course
from circuitune.training.methods import Reinforcement, ReinforceSettings
from circuitune.training.resuming import State
from circuitune.training.rows import AnswerRows, answer_rows
from circuitune.training.trainer import Continues, on_one_device
from circuitune.training.tuning import Adapter, Model, Tuning

try:
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer
    from trl.trainer.rloo_config import RLOOConfig
    from trl.trainer.rloo_trainer import RLOOTrainer
except ImportError as error:
    raise InputError("Methods grpo and rloo need TRL, which is not here: pip install 'circuitune[rl]'.") from error

PATIENCE = 20
"""Steps without anything to learn from, counted from the first, after which a training is given up."""

_SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")
_REFERENCE = "ref"  # TRL's name for its copy of the adapter
_CHECKPOINTING = next(  # its name before Transformers 5.23; TRL turns it on unless told otherwise
    name for name in ("activation_checkpointing", "gradient_checkpointing") if hasattr(TrainingArguments, name)
)


class ReinforceRow(TrainingRow):
    """training.csv: one step; ``loss`` is TRL's, ``reward`` the share of completions that are the answer.

    ``mixed`` is the share of groups with completions of both kinds: only these teach something.
    """

    reward: float
    mixed: float


@dataclass(frozen=True)
class Continued(Tuning):
    """The LoRA adapter that the model has already, trained on."""

    def attach(self, model: Model, rows: AnswerRows, steps: int, seed: int) -> PeftModel:
        """The same model, with its adapter's weights requiring gradients; InputError where it has none."""
        if not isinstance(model, PeftModel):
            raise InputError("Name the ranks: the model has no adapter to go on with.")
        if list(model.peft_config) != [ADAPTER] or not isinstance(model.peft_config[ADAPTER], LoraConfig):
            raise InputError("Only a single LoRA adapter is gone on with; merge others into the model first.")
        model.set_adapter(ADAPTER, inference_mode=False)
        return model

    def description(self) -> dict[str, Any]:
        """The method alone: the adapter's weights are among the model's."""
        return {"method": "Continued"}


def reinforce(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    train: PairSet,
    settings: ReinforceSettings,
    *,
    config: LoraConfig | None = None,
    folder: Path,
    evaluate: Mapping[str, PairSet],
    seed: int,
    label: str = "",
    arm: str = "",
    progress: ReportProgress | None = None,
    resumable: bool = False,
) -> TrainingResult:
    """Train an adapter on rewards for the answers of `train`.

    Takes ownership of `model`, as `finetune` does, and writes the same files. Random state outside is left as it was.

    Args:
        model: a model without an adapter, or one with the LoRA adapter to go on with.
        tokenizer: its tokenizer; must have an end-of-text token. Unchanged.
        train: the training pairs; prompts and answers, or sets of answers, are used.
        settings: by which method, how long, how many completions, how fast.
        config: the new adapter, such as ``RankPlan.to_lora_config(model)``; None: the one that the model has.
        folder: gets ``checkpoints/step-*/``, ``accuracy.csv`` and ``training.csv`` (`ReinforceRow`).
        evaluate: split name -> pairs on which accuracy is measured at each checkpoint.
        seed: of the adapter's initial weights, the order of prompts and the completions.
        label: the run's name in the tables.
        arm: the method's name in the tables.
        progress: called after every step with the steps done and the steps in all.
        resumable: as in `finetune`.

    Raises:
        InputError: as in `finetune`; a tokenizer without an end-of-text token, an adapter on the unembedding, a model
            without an adapter and no config, or rewards that are all the same for `PATIENCE` steps from the start.
        MachineError: the loss or a weight is not finite, or the disk refuses a file.
    """
    ensure_writable_folder(folder)
    inputs = {split: encoded(pairs, tokenizer, model) for split, pairs in evaluate.items()}
    learned = encoded(train, tokenizer, model)
    answers = Answers.of(learned)
    _require_trainable(learned, answers.longest, tokenizer, model)
    prompts = [pair.clean for pair in train]

    def trainer(checkpoints: Checkpoints, resumed: State | None, seed: int) -> Any:
        kind, config_kind = _KINDS[settings.method]
        return kind(
            model=checkpoints.model,
            tuning=checkpoints.tuning,
            resumed=resumed,
            answers=answers,
            args=on_one_device(config_kind(**_arguments(settings, answers, folder, seed, checkpoints.model))),
            train_dataset=_dataset(prompts, learned, settings, seed),
            processing_class=copy.deepcopy(tokenizer),  # TRL gives it a padding token
            callbacks=[_Passes(settings.prompts / len(learned)), checkpoints],
        )

    course = Course(
        tuning=Continued() if config is None else Adapter(config),
        rows=answer_rows(learned),
        measurement=Measurement(inputs, label, arm, seed, settings.steps),
        learned=learned,
        settings=settings,
        trainer=trainer,
        row=ReinforceRow,
    )
    with _restored(model):
        result = follow_course(course, model, tokenizer, folder, progress, resumable)
    if isinstance(result.model, PeftModel) and _REFERENCE in result.model.peft_config:
        result.model.delete_adapter(_REFERENCE)
    return result


@dataclass(frozen=True)
class Answers:
    """What is right after which prompt, as token ids.

    Attributes:
        right: for each row all completions that are right; more than one only where sets of answers are.
        lengths: tokens of the answer by the prompt's tokens.
    """

    right: tuple[frozenset[tuple[int, ...]], ...]
    lengths: Mapping[tuple[int, ...], int]

    @classmethod
    def of(cls, inputs: EncodedPairs) -> "Answers":
        """Those of encoded pairs. A prompt that has several answers counts with its longest."""
        answers = [_real(row) for row in inputs.answer.reshape(len(inputs), -1)]
        if inputs.answer_set is None:
            right = [frozenset([own]) for own in answers]
        else:
            right = [frozenset((token,) for token in _real(row)) for row in inputs.answer_set]
        lengths: dict[tuple[int, ...], int] = {}
        for index, own in enumerate(answers):
            prompt = inputs.clean[index] if inputs.mask is None else inputs.clean[index][inputs.mask[index]]
            tokens = tuple(prompt.tolist())
            lengths[tokens] = max(len(own), lengths.get(tokens, 0))
        return cls(tuple(right), lengths)

    @property
    def longest(self) -> int:
        """Tokens of the longest answer."""
        return max(self.lengths.values())

    def rewards(self, rows: Sequence[int], completions: Sequence[Sequence[int]]) -> list[float]:
        """1 where a completion's tokens begin with a right answer of the row, else 0."""
        return [
            float(any(tuple(said[: len(own)]) == own for own in self.right[row]))
            for row, said in zip(rows, completions, strict=True)
        ]

    def cut(self, prompts: Sequence[Sequence[int]], completions: Sequence[list[int]]) -> list[list[int]]:
        """Completions no longer than their prompt's answer: what follows is neither rewarded nor learned."""
        pairs = zip(prompts, completions, strict=True)
        return [said[: self.lengths[tuple(prompt)]] for prompt, said in pairs]


@dataclass
class _Passes(TrainerCallback):
    """Counts passes over the training rows; to TRL the prompts of all steps are one pass."""

    per_step: float

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Before the checkpoint of the step."""
        state.epoch = state.global_step * self.per_step


class _Rewarded(Continues):
    """What both trainers share: the reward, completions of the answer's length, and what is told of a step."""

    def __init__(self, *args: Any, answers: Answers, **kwargs: Any) -> None:
        self.answers = answers
        super().__init__(*args, reward_funcs=self.exact_answer, **kwargs)

    def exact_answer(self, completion_ids: list[list[int]], row: list[int], **kwargs: Any) -> list[float]:
        """TRL's reward function; `row` is a column of the dataset, a group's completions follow each other."""
        rewards = self.answers.rewards(row, completion_ids)
        trained: Any = self
        groups = torch.tensor(rewards).view(-1, trained.num_generations).mean(1)
        mixed = float(((groups > 0) & (groups < 1)).float().mean())
        step = trained.state.global_step + 1
        self.told.setdefault(step, {}).update(reward=float(groups.mean()), mixed=mixed)
        self._require_something_to_learn(step)
        return rewards

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """The trainer's, whose loss is kept."""
        trained: Any = super()
        loss: Tensor = trained.training_step(*args, **kwargs)
        self._tell_loss(loss.item())
        self._require_gradients()
        return loss

    def _require_something_to_learn(self, step: int) -> None:
        trained: Any = self
        if step != min(PATIENCE, trained.state.max_steps) or any(told["mixed"] for told in self.told.values()):
            return
        right = {told["reward"] for told in self.told.values()}
        if right == {1.0}:
            raise InputError(f"In {step} steps every completion was the answer; these rows have nothing to teach.")
        cause = "no completion was the answer" if right == {0.0} else "every group was all right or all wrong"
        raise InputError(
            f"In {step} steps {cause}, so there was nothing to learn from; begin with a model that answers some "
            "prompts (10 to 30 % do), raise the temperature, or draw larger groups."
        )

    def _send_telemetry(self) -> None:
        """Nothing is sent anywhere."""


class _Grpo(_Rewarded, GRPOTrainer):
    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        completions, logprobs = super()._generate_single_turn(prompt_ids, *args, **kwargs)
        return self.answers.cut(prompt_ids, completions), logprobs


class _Rloo(_Rewarded, RLOOTrainer):
    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        return self.answers.cut(prompt_ids, super()._generate_single_turn(prompt_ids, *args, **kwargs))


_KINDS: dict[Reinforcement, tuple[Any, Any]] = {"grpo": (_Grpo, GRPOConfig), "rloo": (_Rloo, RLOOConfig)}


def _arguments(
    settings: ReinforceSettings, answers: Answers, folder: Path, seed: int, model: Model
) -> dict[str, Any]:
    """TRL's arguments: one generation a step, in the type of the weights, and no files, logs or bars of its own."""
    return {
        "output_dir": str(folder),
        "max_steps": settings.steps,
        "per_device_train_batch_size": settings.prompts * settings.group,
        "num_generations": settings.group,
        "max_completion_length": answers.longest,
        "learning_rate": settings.learning_rate,
        "temperature": settings.temperature,
        "beta": settings.beta,
        "lr_scheduler_type": "linear",
        "max_grad_norm": 1.0,
        "seed": seed,
        "shuffle_dataset": False,  # `_dataset` is in order
        "use_cpu": model.device.type == "cpu",
        "use_cache": model.config.use_cache,  # as it is: the Trainer writes it into the config
        "bf16": False,
        _CHECKPOINTING: False,
        "save_strategy": "no",
        "eval_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def _dataset(prompts: Sequence[str], inputs: EncodedPairs, settings: ReinforceSettings, seed: int) -> Dataset:
    """The prompts of all steps, in order. Those of one step have one length, so no padding reaches the model.

    TRL pads prompts on the left, where the positions of absolute position embeddings would move. Every pass over the
    rows is a new order; rows of a length that do not fill a step wait for the next pass.
    """
    lengths, random = inputs.lengths().tolist(), generator(seed, "prompts")
    waiting: dict[int, list[int]] = {}
    order: list[int] = []
    while len(order) < settings.steps * settings.prompts:
        for row in torch.randperm(len(lengths), generator=random).tolist():
            same = waiting.setdefault(lengths[row], [])
            same.append(row)
            if len(same) == settings.prompts:
                order += waiting.pop(lengths[row])
    order = order[: settings.steps * settings.prompts]
    return Dataset.from_dict({"prompt": [prompts[row] for row in order], "row": order})


def _require_trainable(inputs: EncodedPairs, answer: int, tokenizer: PreTrainedTokenizerBase, model: Model) -> None:
    """InputError for what TRL would stumble over."""
    if tokenizer.eos_token is None:
        raise InputError("TRL needs an end-of-text token and the tokenizer has none; set tokenizer.eos_token.")
    positions, longest = anatomy_of(model).positions, int(inputs.lengths().max()) + answer
    if positions is not None and longest > positions:
        raise InputError(
            f"The longest prompt and the longest answer have {longest} tokens together and the model reads at most "
            f"{positions}; leave out the longest rows."
        )
    if isinstance(model, PeftModel) and hasattr(model.get_output_embeddings(), "lora_A"):
        raise InputError("TRL does not train an adapter on the unembedding; take one without it.")


def _real(tokens: Tensor) -> tuple[int, ...]:
    return tuple(token for token in tokens.tolist() if token != PADDING)


@contextmanager
def _restored(model: Model) -> Iterator[None]:
    """Afterwards the model is as it was but for its adapter: a trainer changes its special tokens and its forward."""
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    places = [base.config.get_text_config(), base.generation_config]
    kept = [(place, name, getattr(place, name)) for place in places for name in _SPECIAL]
    forward = vars(base).get("forward")
    try:
        yield
    finally:
        for place, name, token in kept:
            setattr(place, name, token)
        vars(base).pop("forward", None)
        if forward is not None:
            base.forward = forward
