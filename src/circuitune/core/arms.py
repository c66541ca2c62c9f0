"""How the arms of a contest are called: one table for sentences, the page and the figures."""

from collections.abc import Mapping

TITLES: Mapping[str, str] = {
    "tune": "tuning",
    "phase1": "phase 1",
    "circuitlora": "CircuitLoRA",
    "uniform": "uniform LoRA",
    "random": "random layers",
    "compute": "uniform LoRA, equal compute",
    "base": "base circuit alone",
    "after": "circuit after alone",
    "bottom": "least important layers",
    "first": "first layers",
    "gradient": "gradient probe",
    "weights": "weight change",
    "mlp": "MLPs only",
    "modules": "by module, water-filling",
    "warm": "CircuitLoRA, warm start",
    "faster": "CircuitLoRA, critical layers faster",
    "adalora": "AdaLoRA",
    "eva": "EVA",
    "truncated": "wide LoRA, truncated",
    "full": "full fine-tuning",
    "union": "union of the parts' circuits",
    "transfer": "another task's layers",
    "alphas": "even ranks, planned alphas",
    "base_modules": "base circuit by module, water-filling",
    "data": "plan from training data",
    "eva_compute": "uniform LoRA, EVA's compute",
    "eva_even": "EVA's directions, even ranks",
    "data_compute": "uniform LoRA, compute of the plan from data",
}
"""Names of arms for people, as they stand within a sentence."""


def arm_name(arm: str) -> str:
    """The name at the start of a line: ``Uniform LoRA``; of an arm that a newer release has, what its file says."""
    title = TITLES.get(arm, arm)
    return title[:1].upper() + title[1:]
