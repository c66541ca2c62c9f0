"""Legend of tensor shapes, and the aliases used in signatures.

A tensor's name ends in its shape where that is not obvious: ``difference_SBPD``.

===== =======================================================
B     batch (examples)
P     position (token)
S     source: a node that writes to the residual stream
R     destination (reader): a q, k, v, MLP or logits input
D     model width
H     attention head
E     head width
L     layer
K     LoRA rank
V     vocabulary
===== =======================================================
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

TokensBP = Int[Tensor, "B P"]
MaskBP = Bool[Tensor, "B P"]
LogitsBV = Float[Tensor, "B V"]
LossB = Float[Tensor, "B"]
ScoresSR = Float[Tensor, "S R"]
EdgesSR = Bool[Tensor, "S R"]
