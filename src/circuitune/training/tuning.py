"""How a model is tuned: what is trained, and what a checkpoint holds of it.

`Tuning` is the frame that `finetune` trains in; an adapter that is trained and saved as it is (LoRA in its variants,
IA3) needs nothing else. Methods that do more override the part that differs.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from peft import PeftConfig, PeftModel
from peft.optimizers import create_loraplus_optimizer
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from circuitune.adapters.lora import attach, plain_config, save_adapter
from circuitune.adapters.modules import linear_modules
from circuitune.core.errors import InputError
from circuitune.models.anatomy import anatomy_of
from circuitune.training.rows import AnswerRows

Model = PreTrainedModel | PeftModel

LORA_PLUS_RATIO = 16.0
"""Learning rate of B over that of A: the value that the paper recommends (Hayou, Ghosh and Yu 2024)."""

FASTER = 2.0
"""Learning rate of the faster layers over that of the others, as in the study's released notebook."""


class Tuning:
    """What one method does around a training; every part has the answer of a plain adapter."""

    def attach(self, model: PreTrainedModel, rows: AnswerRows, steps: int, seed: int) -> Model:
        """The model ready to train: what shall change requires gradients, the rest does not.

        Args:
            model: without an adapter; changed in place.
            rows: the training rows.
            steps: optimizer steps of the whole training.
            seed: of initial weights; random state outside is left as it was.
        """
        raise NotImplementedError

    def optimizer(self, model: Model, kind: Any, options: Mapping[str, Any], weight_decay: float) -> Optimizer | None:
        """An optimizer of the Trainer's kind with learning rates of its own; None: the Trainer's."""
        return None

    def callbacks(self, model: Model) -> list[TrainerCallback]:
        """What happens between the steps."""
        return []

    def penalty(self, model: Model) -> Tensor | None:
        """A term of the loss beside the answers', once per step."""
        return None

    def state(self, model: Model) -> dict[str, Tensor]:
        """All that training changes in the model, by name."""
        return {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}

    def restore(self, model: Model, state: Mapping[str, Tensor]) -> None:
        """Put a `state` back into a model that was attached in the same way."""
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.data.copy_(state[name])

    @contextmanager
    def as_saved(self, model: Model) -> Iterator[Model]:
        """Inside, the model computes with what a checkpoint holds."""
        yield model

    def save(self, model: Model, tokenizer: PreTrainedTokenizerBase, folder: Path) -> int:
        """Write a checkpoint; returns how many trained weights it holds. Equal weights give equal bytes."""
        assert isinstance(model, PeftModel)
        return save_adapter(model, folder)

    def finished(self, model: Model) -> Model:
        """The model after the last step, as its last checkpoint holds it."""
        return model

    def description(self) -> dict[str, Any]:
        """What tells this tuning from others, as JSON keeps it."""
        return {"method": type(self).__name__, **vars(self)}


@dataclass(frozen=True)
class Adapter(Tuning):
    """An adapter, trained and saved as it is: LoRA, rsLoRA, DoRA, IA3 or whatever else PEFT knows.

    Attributes:
        config: what PEFT shall put into the model.
    """

    config: PeftConfig

    def attach(self, model: PreTrainedModel, rows: AnswerRows, steps: int, seed: int) -> PeftModel:
        """The model with the adapter, its weights drawn from the seed."""
        return attach(model, self.config, seed)

    def description(self) -> dict[str, Any]:
        """The method and its config."""
        said = super().description() | {"adapter": plain_config(self.config)}
        return {name: value for name, value in said.items() if name != "config"}


@dataclass(frozen=True)
class LoraPlus(Adapter):
    """LoRA+: B learns `LORA_PLUS_RATIO` times as fast as A (Hayou, Ghosh and Yu 2024), with PEFT's optimizer."""

    def optimizer(self, model: Model, kind: Any, options: Mapping[str, Any], weight_decay: float) -> Optimizer:
        """The settings' learning rate is A's."""
        assert isinstance(model, PeftModel)
        rest = {name: value for name, value in options.items() if name != "lr"}
        return create_loraplus_optimizer(
            model,
            kind,
            lr=options["lr"],
            loraplus_lr_ratio=LORA_PLUS_RATIO,
            loraplus_weight_decay=weight_decay,
            **rest,
        )


@dataclass(frozen=True)
class FasterLayers(Adapter):
    """LoRA whose named layers learn `FASTER` times as fast as the others.

    Attributes:
        layers: which, counted from 0.
    """

    layers: tuple[int, ...]

    def attach(self, model: PreTrainedModel, rows: AnswerRows, steps: int, seed: int) -> PeftModel:
        """The model with the adapter; InputError where it lacks one of the layers."""
        require_layers(self.layers, len(anatomy_of(model).blocks))
        return super().attach(model, rows, steps, seed)

    def optimizer(self, model: Model, kind: Any, options: Mapping[str, Any], weight_decay: float) -> Optimizer:
        """Two groups of parameters; weight decay on all of them, as the Trainer has it for LoRA."""
        blocks = anatomy_of(model).blocks
        fast = {id(parameter) for layer in self.layers for parameter in blocks[layer].module.parameters()}
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        rate = options["lr"]
        groups = [
            {"params": [one for one in trained if id(one) not in fast], "lr": rate},
            {"params": [one for one in trained if id(one) in fast], "lr": FASTER * rate},
        ]
        return kind(groups, weight_decay=weight_decay, **options)


def narrowest(model: PreTrainedModel) -> int:
    """Features on the smaller side of the narrowest linear module: no change of its weights has a higher rank."""
    return min(min(cast(Tensor, model.get_submodule(name).weight).shape) for name in linear_modules(model))


def require_layers(layers: Collection[int], count: int) -> None:
    """InputError where a layer is named that a model of `count` layers does not have."""
    outside = [layer for layer in layers if not 0 <= layer < count]
    if outside:
        raise InputError(f"There is no layer {outside[0]} in a model of {count} layers (counted from 0).")
