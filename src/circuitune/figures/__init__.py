"""Drawings for papers and notebooks, in matplotlib, from plain values; see README.md beside this file."""

from circuitune.core.errors import InputError

try:
    import matplotlib as _matplotlib  # noqa: F401  (asked for here, once, before any drawing imports it)
except ImportError as error:
    raise InputError(
        "Figures are drawn with matplotlib, which is not installed; run: pip install 'circuitune[plot]'."
    ) from error

from circuitune.figures.style import FORMATS, Drawing

__all__ = ["FORMATS", "Drawing"]
