"""Which variants of a test are part of ``make test``; the others wait for ``make check``."""

from collections.abc import Collection
from typing import Any

import pytest


def slow_but(values: Collection[Any], *quick: Any) -> list[Any]:
    """The values as parameters; all but the ``quick`` ones are slow."""
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)), marks=() if value in quick else pytest.mark.slow
        )
        for value in values
    ]
