"""The Transformers Trainer with the answer's loss, and with states of its own to go on from after a kill."""

import inspect
from collections.abc import Callable
from math import isfinite
from typing import Any

from peft import PeftModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from transformers import Trainer

from circuitune.core.errors import MachineError
from circuitune.models.finite import origin
from circuitune.training.resuming import (
    State,
    optimizer_state,
    random_state,
    restore_optimizer,
    restore_random_state,
)
from circuitune.training.rows import IGNORED
from circuitune.training.tuning import Tuning


def on_one_device(arguments: Any) -> Any:
    """The Trainer's arguments, but for one GPU where several are visible: no DataParallel over all of them."""
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1
    return arguments


class Continues:
    """What a Trainer needs to go on from a `State` of ours; stands before the Trainer among a class's bases.

    ``train(resume_from_checkpoint=...)`` takes the folder of a state (`resuming`), not of a checkpoint.

    Args:
        tuning: what of the model is trained.
        resumed: the state to go on from.
    """

    def __init__(self, *args: Any, tuning: Tuning, resumed: State | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tuning = tuning
        self.told: dict[int, dict[str, float]] = {}
        self._resumed = resumed

    def snapshot(self, rows: list[dict[str, Any]]) -> State:
        """All that the next step depends on, and what was measured so far (any JSON)."""
        trained: Any = self
        optimizer, rates = optimizer_state(trained.optimizer)
        random_tensors, random_plain = random_state()
        parts = {"model": self.tuning.state(self._tuned), "optimizer": optimizer, "random": random_tensors}
        plain = {
            "rates": rates,
            "schedule": trained.lr_scheduler.state_dict(),
            "random": random_plain,
            "told": list(self.told.values()),
            "rows": rows,
        }
        return State({f"{part}/{name}": value for part, own in parts.items() for name, value in own.items()}, plain)

    # What the Trainer calls to go on, in this order; it knows of files, and these of a state.

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self.tuning.restore(self._tuned, self._state.part("model"))
        self.told = dict(enumerate(self._state.plain["told"], start=1))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            trained: Any = self
            restore_optimizer(trained.optimizer, self._state.part("optimizer"), self._state.plain["rates"])
            trained.lr_scheduler.load_state_dict(self._state.plain["schedule"])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            restore_random_state(self._state.part("random"), self._state.plain["random"])

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Nothing: no state of ours holds one, and a file of that name would be unpickled."""

    @property
    def _state(self) -> State:
        assert self._resumed is not None
        return self._resumed

    @property
    def _tuned(self) -> Any:
        trained: Any = self
        return trained.model

    def _tell_loss(self, loss: float, run: Callable[[], object] | None = None) -> None:
        """Add to the loss of the step under way; MachineError where it is not finite. ``run`` repeats the forward."""
        trained: Any = self
        step = trained.state.global_step + 1
        if not isfinite(loss):
            where = origin(self._tuned, run)
            raise MachineError(f"The training loss is {loss} at step {step}: {where}; lower the learning rate.")
        told = self.told.setdefault(step, {})
        told["loss"] = told.get("loss", 0.0) + loss

    def _require_gradients(self) -> None:
        """MachineError where a gradient is not finite: clipping by the norm would make every weight NaN."""
        trained: Any = self
        gradients = {name: own.grad for name, own in self._tuned.named_parameters() if own.grad is not None}
        if not bool(get_total_norm(gradients.values()).isfinite()):
            broken = [name for name, gradient in gradients.items() if not bool(gradient.isfinite().all())]
            raise MachineError(
                f"The gradient of {broken[0] if broken else 'all weights together'} is not finite at step "
                f"{trained.state.global_step + 1}; lower the learning rate, or train in a type that overflows later."
            )


class AnswerTrainer(Continues, Trainer):
    """The Trainer with the answer's negative log-likelihood, computed at labelled positions only.

    The loss of a step is the mean over all its answer tokens, however they fall into accumulated batches. The
    method (`tuning`) may change the optimizer and add to the loss.
    """

    loss_is_scaled_for_ga = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        base = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        assert base is not None
        self._keeps_some_logits = "logits_to_keep" in inspect.signature(base.forward).parameters

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """The method's optimizer, or else the Trainer's."""
        if self.optimizer is None:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self._tuned)
            self.optimizer = self.tuning.optimizer(self._tuned, kind, options, self.args.weight_decay)
        return super().create_optimizer(model)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """The step's batches, and how many answer tokens they hold together."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        return batches, sum(int((batch["labels"] != IGNORED).sum()) for batch in batches)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Tensor], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """One forward and backward pass of a model in training mode; returns the detached loss.

        The Trainer's own sets that mode in every module at every step, a good part of a small model's step.
        """
        inputs = self._prepare_inputs(inputs)
        with self.compute_loss_context_manager():
            loss = self.compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)
        self.accelerator.backward(loss)
        self._require_gradients()
        return loss.detach()

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Summed negative log-likelihood of this batch's answer tokens, divided by the number of them in the step.

        Raises:
            MachineError: the loss is not finite.
        """
        positions, labels_BU = inputs["positions"], inputs["labels"]
        keep = {"logits_to_keep": positions} if self._keeps_some_logits else {}
        given = {"input_ids": inputs["input_ids"], "attention_mask": inputs.get("attention_mask"), "use_cache": False}
        outputs = model(**given, **keep)
        logits_BUV = outputs.logits if keep else outputs.logits[:, positions]
        total = cross_entropy(
            logits_BUV.flatten(0, 1).float(), labels_BU.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        assert num_items_in_batch
        loss = total / num_items_in_batch
        self._tell_loss(loss.item(), lambda: model(**given, **keep))
        penalty = self.tuning.penalty(self._tuned)
        return loss if penalty is None else loss + penalty / self.current_gradient_accumulation_steps

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: the Trainer's estimate walks all parameters at every step, for a log that nobody reads."""
        return 0
