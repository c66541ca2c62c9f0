"""The Transformers Trainer with one change: the loss is the answer's, at the positions that have a label."""

import inspect
from math import isfinite
from typing import Any

from peft import PeftModel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import Trainer

from circuitune.core.errors import MachineError
from circuitune.training.rows import IGNORED


class AnswerTrainer(Trainer):
    """The Trainer with the answer's negative log-likelihood, computed at labelled positions only.

    The loss of a step is the mean over all its answer tokens, however they fall into accumulated batches.
    """

    loss_is_scaled_for_ga = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.losses: dict[int, float] = {}
        base = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        assert base is not None
        self._keeps_some_logits = "logits_to_keep" in inspect.signature(base.forward).parameters

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
        outputs = model(
            input_ids=inputs["input_ids"], attention_mask=inputs.get("attention_mask"), use_cache=False, **keep
        )
        logits_BUV = outputs.logits if keep else outputs.logits[:, positions]
        total = cross_entropy(
            logits_BUV.flatten(0, 1).float(), labels_BU.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        assert num_items_in_batch
        loss = total / num_items_in_batch
        self._record(loss.item())
        return loss

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: the Trainer's estimate walks all parameters at every step, for a log that nobody reads."""
        return 0

    def _record(self, loss: float) -> None:
        step = self.state.global_step + 1
        if not isfinite(loss):
            raise MachineError(f"The training loss is {loss} at step {step}; lower the learning rate.")
        self.losses[step] = self.losses.get(step, 0.0) + loss
