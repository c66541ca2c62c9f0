"""Small random models and pairs, for tests of this package and of users' own tasks and families.

model = tiny_model("llama", heads=4, kv_heads=2)
inputs = random_pairs(12, positions=9, first_difference=4)
"""

from circuitune.testing.inputs import random_pairs
from circuitune.testing.models import SHAPES, in_double, tiny_model

__all__ = ["SHAPES", "in_double", "random_pairs", "tiny_model"]
