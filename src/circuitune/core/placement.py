"""Where and in which type a model is loaded: what options and recipes may say."""

from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
"""``auto``: the first GPU, if there is one."""
Dtype = Literal["float64", "float32", "bfloat16", "float16"]
"""Of the weights."""
