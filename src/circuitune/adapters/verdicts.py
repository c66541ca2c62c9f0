"""What registered contests say of rank plans, said wherever one is made; a test holds it against ``docs/studies``."""

from collections.abc import Mapping

from circuitune.dynamics.layers import RULES

FROM_CHANGE = (
    "not better on the embedded model. In the registered contest (four tasks, two budgets, ten seeds) ranks placed "
    "by the change of circuits were below even ranks on 5 of 8 runs and above on 0 (by 95 % intervals)."
)
EVEN = (
    "no other ranks have been above them on every task tried at equal parameters and equal compute. The nearest, "
    "EVA, was on 1 of 2 tasks of the registered study (with up to 8 % more parameters), and open on the other."
)
FROM_DATA = (
    "undecided on the embedded model. In the registered study (two tasks, ten seeds) ranks from training data were "
    "above even ranks on 1 task and below on 1 (by 95 % intervals)."
)


def contest_verdict(provenance: Mapping[str, object]) -> str:
    """What is known of plans such as this one against uniform LoRA of the same size; empty where nothing is."""
    if "dataset" in provenance:
        return FROM_DATA
    rule = RULES.get(str(provenance.get("rule")))
    return FROM_CHANGE if rule is not None and not rule.alone else ""
