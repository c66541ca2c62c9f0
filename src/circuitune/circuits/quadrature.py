"""Rules for the integral over the path from the corrupted to the clean input."""

import math
import warnings

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from circuitune.core.errors import InputError

LARGE_RESIDUAL = 0.1
"""Completeness residual above which `completeness` warns."""

FIXED: dict[str, tuple[tuple[float, float], ...]] = {
    "eap": ((1.0, 1.0),),
    "clean-corrupted": ((1.0, 0.5), (0.0, 0.5)),
    "exact": (),
    "information-flow": (),
}
"""Methods whose points are not for the user to choose."""

INTEGRATED = ("eap-ig", "eap-ig-activations")
"""Methods whose points a quadrature rule places."""


def path_points(method: str, steps: int, quadrature: str) -> tuple[tuple[float, float], ...]:
    """Points alpha (weight of the clean input) and their weights on the path from corrupted to clean.

    ``left`` is alpha = k/m, k = 0..m-1 (EAP-IG's current code), ``right`` k = 1..m (its paper, and the study).
    """
    if method in FIXED:
        return FIXED[method]
    if method not in INTEGRATED:
        raise InputError(f"Unknown method {method!r}; use one of {', '.join((*INTEGRATED, *FIXED))}.")
    if steps < 1:
        raise InputError(f"{method} needs at least one step; got {steps}.")
    if quadrature == "gauss":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return tuple(((1 + float(x)) / 2, float(w) / 2) for x, w in zip(nodes, weights, strict=True))
    offsets = {"left": 0.0, "midpoint": 0.5, "right": 1.0}
    if quadrature not in offsets:
        raise InputError(f"Unknown quadrature {quadrature!r}; use midpoint, left, right or gauss.")
    return tuple(((k + offsets[quadrature]) / steps, 1 / steps) for k in range(steps))


def completeness(values: Float[Tensor, "S R"], raised: float, steps: int, quadrature: str) -> float:
    """Error of the path integral: the scores of the edges out of `input` should sum to the rise of the loss.

    Warns above `LARGE_RESIDUAL`, and names the number of steps that would do.

    Args:
        values: scores, mean over examples.
        raised: mean of loss(corrupted) - loss(clean).
        steps: points of the rule.
        quadrature: its name.
    """
    row = values[0].double()
    residual = float((row.sum() - raised).abs() / row.abs().sum().clamp_min(torch.finfo(torch.float64).tiny))
    if residual > LARGE_RESIDUAL:
        # The one-sided rules converge as 1/m, the others at least as 1/m^2.
        order = 1 if quadrature in ("left", "right") else 2
        enough = math.ceil(steps * (residual / LARGE_RESIDUAL) ** (1 / order))
        warnings.warn(
            f"completeness residual {residual:.2f}: {steps} {quadrature} steps integrate the path poorly; "
            f"about {enough} steps would bring it to {LARGE_RESIDUAL}.",
            stacklevel=3,
        )
    return residual
