"""Rules for the integral over the path from the corrupted to the clean input."""

import numpy as np

from circuitune.core.errors import InputError


def path_points(method: str, steps: int, quadrature: str) -> list[tuple[float, float]]:
    """Points alpha (weight of the clean input) and their weights on the path from corrupted to clean.

    ``left`` is alpha = k/m, k = 0..m-1 (EAP-IG's current code), ``right`` k = 1..m (its paper, and the study).
    """
    if method not in ("eap", "eap-ig"):
        raise InputError(f"Unknown method {method!r}; use 'eap' or 'eap-ig'.")
    if method == "eap":
        return [(1.0, 1.0)]
    if steps < 1:
        raise InputError(f"eap-ig needs at least one step; got {steps}.")
    if quadrature == "gauss":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return [((1 + float(x)) / 2, float(w) / 2) for x, w in zip(nodes, weights, strict=True)]
    offsets = {"left": 0.0, "midpoint": 0.5, "right": 1.0}
    if quadrature not in offsets:
        raise InputError(f"Unknown quadrature {quadrature!r}; use midpoint, left, right or gauss.")
    return [((k + offsets[quadrature]) / steps, 1 / steps) for k in range(steps)]
