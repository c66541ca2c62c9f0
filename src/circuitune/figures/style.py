"""What all drawings share: the page's colours, the widths of a paper's columns, and files without dates.

No global state: a drawing is made and written inside its own style, and ``pyplot`` is not used.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final

import matplotlib
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

COLUMN: Final = 3.3
"""Width of a column of a paper, in inches."""

PAGE: Final = 6.9
"""Width of two columns and what is between them."""

INK, SOFT, RULE = "#1d1c1a", "#615e57", "#e4e0d7"
ADDED, REMOVED, KEPT = "#1565b0", "#c44e00", "#8a867d"
NULL, NULL_EDGE = "#dcd7cb", "#8c867a"
SIZE, SIZE_PALE, GROUND = "#0b5d57", "#b9d8d3", "#f3f0e8"
"""Colours of the light page (``web/src/style.css``): blue and orange stay apart for colour-blind readers, and what is
removed is dashed besides."""

FORMATS: Final = ("png", "svg", "pdf")

_TIMELESS: Final = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""What a file would say of when and with what it was made."""

_STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same letters on every machine
    "text.parse_math": False,  # labels are data: a dollar sign in them is one
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.labelsize": 7,
    "axes.labelcolor": SOFT,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "text.color": INK,
    "xtick.color": NULL_EDGE,
    "ytick.color": NULL_EDGE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 0,
    "xtick.major.width": 0.6,
    "axes.edgecolor": NULL_EDGE,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "figure.constrained_layout.use": True,
    "figure.dpi": 144,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # letters as TrueType, which journals ask for
    "svg.hashsalt": "circuitune",
}


class Drawing(Figure):
    """A matplotlib figure that shows itself in a notebook without ``pyplot``, and whose files carry no date."""

    def _repr_png_(self) -> bytes:
        return self.encode("png", dpi=144)

    def encode(self, form: str, **options: Any) -> bytes:
        """The bytes of a ``png``, ``svg`` or ``pdf`` file; equal drawings give equal bytes."""
        buffer = BytesIO()
        with matplotlib.rc_context(_STYLE):
            self.savefig(buffer, format=form, metadata=_TIMELESS[form], **options)
        return buffer.getvalue()


@contextmanager
def drawing(width: float, height: float) -> Iterator[Drawing]:
    """An empty drawing of this size in inches, to be drawn on inside the block, in the common style.

    Everything is given its place once, at the end: else each file would move it a little for the next one.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Drawing(figsize=(width, height))
        yield figure
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def percent(value: float, _: object = None) -> str:
    """0.931 -> "93 %", also as a formatter of an axis."""
    return f"{100 * value:.3g} %".replace("-", "\N{MINUS SIGN}")


def mixed(first: str, second: str, share: float) -> str:
    """The colour this share of the way from the first to the second."""
    ends = (to_rgb(first), to_rgb(second))
    red, green, blue = ((1 - share) * one + share * other for one, other in zip(*ends, strict=True))
    return to_hex((red, green, blue))
