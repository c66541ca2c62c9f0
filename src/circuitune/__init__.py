"""See which circuits fine-tuning rewires, and put your LoRA rank there.

    import circuitune as ct

    model, tokenizer = ct.load("nano")
    inputs = ct.encode(ct.task("add_sub", limit=100).sample(200), tokenizer)
    circuit = ct.attribute(model, inputs).top(0.05)

Names are imported when first used, so that `import circuitune` and the command stay fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from circuitune.adapters.allocation import RankPlan, rank_plan
    from circuitune.adapters.data_plan import plan_for
    from circuitune.circuits.attribution import attribute
    from circuitune.circuits.checking import check_model
    from circuitune.circuits.faithfulness import Faithfulness, evaluate, faithfulness_curve
    from circuitune.circuits.interchange import export_circuit, import_circuit
    from circuitune.circuits.scores import Circuit, EdgeScores
    from circuitune.core.errors import InputError, MachineError
    from circuitune.dynamics.change import compare
    from circuitune.models.encoding import EncodedPairs, encode
    from circuitune.models.loading import load
    from circuitune.tasks.files import read_pairs
    from circuitune.tasks.pairs import PairSet
    from circuitune.tasks.registry import task
    from circuitune.training.circuit_callback import CircuitCallback

__version__ = "0.1.0"

_HOMES = {
    "Circuit": "circuits.scores",
    "CircuitCallback": "training.circuit_callback",
    "EdgeScores": "circuits.scores",
    "EncodedPairs": "models.encoding",
    "Faithfulness": "circuits.faithfulness",
    "InputError": "core.errors",
    "MachineError": "core.errors",
    "PairSet": "tasks.pairs",
    "RankPlan": "adapters.allocation",
    "attribute": "circuits.attribution",
    "check_model": "circuits.checking",
    "compare": "dynamics.change",
    "encode": "models.encoding",
    "evaluate": "circuits.faithfulness",
    "export_circuit": "circuits.interchange",
    "faithfulness_curve": "circuits.faithfulness",
    "import_circuit": "circuits.interchange",
    "load": "models.loading",
    "plan_for": "adapters.data_plan",
    "rank_plan": "adapters.allocation",
    "read_pairs": "tasks.files",
    "task": "tasks.registry",
}

__all__ = [
    "Circuit",
    "CircuitCallback",
    "EdgeScores",
    "EncodedPairs",
    "Faithfulness",
    "InputError",
    "MachineError",
    "PairSet",
    "RankPlan",
    "attribute",
    "check_model",
    "compare",
    "encode",
    "evaluate",
    "export_circuit",
    "faithfulness_curve",
    "import_circuit",
    "load",
    "plan_for",
    "rank_plan",
    "read_pairs",
    "task",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'circuitune' has no attribute {name!r}")
    return getattr(import_module(f"circuitune.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
