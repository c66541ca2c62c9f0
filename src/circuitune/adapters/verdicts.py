"""What registered contests say of rank plans, said wherever one is made; a test holds it against ``docs/studies``."""

from collections.abc import Mapping

from circuitune.dynamics.layers import RULES

FROM_CHANGE = (
    "not better on the embedded model. In the registered contest (four tasks, two budgets, ten seeds) ranks placed "
    "by the change of circuits were below even ranks on 5 of 8 runs and above on 0 (by 95 % intervals)."
)
EVEN = "no other ranks have been above them at equal parameters and equal compute in the registered studies."
FROM_DATA = "not yet measured: no contest has set plans from training data against uniform LoRA of the same size."


def contest_verdict(provenance: Mapping[str, object]) -> str:
    """What is known of plans such as this one against uniform LoRA of the same size; empty where nothing is."""
    if "dataset" in provenance:
        return FROM_DATA
    rule = RULES.get(str(provenance.get("rule")))
    return FROM_CHANGE if rule is not None and not rule.alone else ""
