"""Tables as a paper prints them: rules above, below and under the header, nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from circuitune.figures.style import INK, NULL_EDGE, Drawing, drawing

SIZE = 7
"""Of the letters, in points; the rest in inches."""
ROW, HEADER = 0.165, 0.125
GAP, EDGE = 0.16, 0.05


@dataclass(frozen=True)
class Table:
    """A header and rows of text; the first column stands to the left, all others to the right."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def markdown(self) -> str:
        """The same for a text; a cell's line breaks and bars do not break its row."""
        lines = [self.header, [":--", *["--:"] * (len(self.header) - 1)], *self.rows]
        return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _plain(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def table(content: Table) -> Drawing:
    """The table, as wide as its words are."""
    lines = [list(content.header), *map(list, content.rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(content.header))]
    total = sum(widths) + GAP * (len(widths) - 1) + 2 * EDGE
    under = 0.12 + HEADER * max(cell.count("\n") + 1 for cell in content.header)  # the rule below the header
    height = under + ROW * len(content.rows) + 0.09
    with drawing(total, height) as figure:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, total), ylim=(height, 0))
        axes.axis("off")
        for y, weight in ((0.02, 1.1), (under, 0.6), (height - 0.02, 1.1)):
            axes.plot([0, total], [y, y], color=INK if weight > 1 else NULL_EDGE, linewidth=weight)
        for column, width in enumerate(widths):
            left = EDGE + sum(widths[:column]) + GAP * column
            at, side = (left, "left") if column == 0 else (left + width, "right")
            for up, words in enumerate(reversed(content.header[column].split("\n"))):
                axes.text(at, under - 0.05 - HEADER * up, words, ha=side, weight="bold", fontsize=SIZE)
            for place, row in enumerate(content.rows):
                axes.text(at, under + ROW * (place + 0.78), row[column], ha=side, fontsize=SIZE)
    return figure


def _width(text: str) -> float:
    """Of the longest line, in inches, in bold."""
    font = FontProperties(family="DejaVu Sans", weight="bold")
    lines = [line for line in text.split("\n") if line]  # nothing has no outline
    paths = [TextPath((0, 0), line, size=SIZE, prop=font) for line in lines]
    return max([path.get_extents().width for path in paths], default=0.0) / 72
