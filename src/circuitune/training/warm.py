"""LoRA at the ranks of a plan that goes on from a shorter, thinner one: phase 2 of CircuitLoRA that keeps phase 1."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import PreTrainedModel

from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.warm_start import warm_start
from circuitune.core.manifest import sha256_file
from circuitune.models.loading import with_adapter
from circuitune.training.rows import AnswerRows
from circuitune.training.tuning import Tuning


@dataclass(frozen=True)
class Warm(Tuning):
    """An adapter of the plan's ranks whose first directions are phase 1's (`adapters.warm_start`).

    Attributes:
        phase1: the folder of phase 1's LoRA adapter.
        plan: ranks at least as high as phase 1's.
    """

    phase1: Path
    plan: RankPlan

    def attach(self, model: PreTrainedModel, rows: AnswerRows, steps: int, seed: int) -> PeftModel:
        """The model as it was after phase 1, with the plan's ranks; the fresh directions are drawn from the seed."""
        return warm_start(with_adapter(model, self.phase1), self.plan, seed)

    def description(self) -> dict[str, Any]:
        """The ranks, and phase 1 by content."""
        adapter = sha256_file(self.phase1 / "adapter_model.safetensors")
        return {"method": type(self).__name__, "phase1": adapter, "ranks": dict(self.plan.ranks)}
