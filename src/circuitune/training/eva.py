"""EVA: LoRA whose A starts as the main directions of what each module reads, with ranks where they explain most.

PEFT has the method (Paischer et al. 2024), and computes directions and ranks from the training rows.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from peft import EvaConfig, LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer, initialize_lora_eva_weights
from torch import Tensor, nn
from transformers import PreTrainedModel

from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.lora import ADAPTER, attach
from circuitune.core.errors import InputError, MachineError
from circuitune.core.seeding import forked
from circuitune.training.rows import AnswerRows
from circuitune.training.tuning import Tuning, narrowest

DIRECTIONS = 4
"""PEFT looks for so many directions per rank: a module may get twice the rank, and the search takes twice as many."""

_TOKENS = 512
_LIMIT = 2000


@dataclass(frozen=True)
class Eva(Tuning):
    """EVA on all linear modules.

    Attributes:
        rank: the mean rank; a module gets between 0 and twice as much.
        even: every module keeps that rank, and only the first directions are EVA's.
    """

    rank: int
    even: bool = False

    def attach(self, model: PreTrainedModel, rows: AnswerRows, steps: int, seed: int) -> PeftModel:
        """The model with LoRA of the ranks and initial weights that the rows ask for.

        Raises:
            InputError: a rank that is too large for the model, or too few rows for it.
            MachineError: the directions do not settle.
        """
        wanted, most = DIRECTIONS * self.rank, narrowest(model)
        if wanted > most:
            raise InputError(
                f"EVA looks for {DIRECTIONS} directions per rank and the narrowest module has {most} features; "
                f"give a rank of at most {most // DIRECTIONS}."
            )
        batches = Batches(rows, max(_TOKENS, wanted), model.device, seed)
        if batches.smallest < wanted:
            raise InputError(
                f"EVA needs {wanted} tokens of training rows for rank {self.rank} and there are {batches.smallest}; "
                "give more rows or a lower rank."
            )
        # All tokens of a prompt count: only one or two have a label, too few for the directions of a batch.
        config = RankPlan.uniform(model, rank=self.rank).to_lora_config(
            model,
            init_lora_weights="eva",
            eva_config=EvaConfig(use_label_mask=False, rho=1.0 if self.even else 2.0),
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "lora with eva initialization used with low_cpu_mem", UserWarning)
            adapted = attach(model, config, seed)
        with forked(seed):
            initialize_lora_eva_weights(adapted, batches, forward_fn=_forward, show_progress_bar=False)
        _name_targets(adapted)
        return adapted


class Batches:
    """Batches of training rows, over and over: PEFT takes as many as its directions need to settle.

    Args:
        rows: the training rows.
        tokens: how many a batch holds at least, where there are so many.
        device: where the model is.
        seed: of the order.
    """

    def __init__(self, rows: AnswerRows, tokens: int, device: torch.device, seed: int) -> None:
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
        groups: list[list[int]] = [[]]
        for index in order:
            if sum(rows.lengths[row] for row in groups[-1]) >= tokens:
                groups.append([])
            groups[-1].append(index)
        if len(groups) > 1 and sum(rows.lengths[row] for row in groups[-1]) < tokens:
            groups[-2] += groups.pop()
        self._batches = [_inputs(rows, group, device) for group in groups]

    @property
    def smallest(self) -> int:
        """Tokens of the batch that has fewest."""
        return min(int(batch["attention_mask"].sum()) for batch in self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for number in range(_LIMIT):
            yield self._batches[number % len(self)]
        raise MachineError(
            f"EVA's directions have not settled after {_LIMIT} batches of training rows; give a lower rank."
        )


def _inputs(rows: AnswerRows, group: list[int], device: torch.device) -> dict[str, Tensor]:
    batch = rows.batch(group)
    mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"]))
    return {"input_ids": batch["input_ids"].to(device), "attention_mask": mask.to(device)}


def _forward(model: nn.Module, inputs: dict[str, Tensor]) -> None:
    model(**inputs, use_cache=False)


def _name_targets(model: PeftModel) -> None:
    """The config names the modules that kept a rank in full; PEFT may have shortened the list."""
    modules = model.get_base_model().named_modules()
    config = model.peft_config[ADAPTER]
    assert isinstance(config, LoraConfig)
    config.target_modules = [name for name, module in modules if isinstance(module, LoraLayer)]
