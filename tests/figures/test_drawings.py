"""What drawings hold, read back from matplotlib's own objects."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import PathPatch

from circuitune.core.records import LayerRow
from circuitune.figures.circuit import Shape, circuit_drawing, degrees
from circuitune.figures.forest import Difference, forest
from circuitune.figures.heat import rank_map, score_map
from circuitune.figures.intervals import Estimate, change_and_chance
from circuitune.figures.layers import layer_drawing
from circuitune.figures.lines import Line, Panel, Point, line_panels
from circuitune.figures.style import ADDED, COLUMN, KEPT, PAGE, REMOVED
from circuitune.figures.tables import Table, table

SHAPE = Shape(layers=2, heads=4, kv_heads=2, parallel=False)
BEFORE = {("input", "a0.h1<q>"): 0.5, ("a0.h1", "logits"): 0.3}
AFTER = {("input", "a0.h1<q>"): 0.4, ("input", "m1"): 0.2}


def colours(axes) -> list[str]:
    """Of the edges; nodes are boxes of another class."""
    return [to_hex(patch.get_edgecolor()) for patch in axes.patches if type(patch) is PathPatch]


def words(figure) -> list[str]:
    legend = [text.get_text() for own in figure.legends for text in own.get_texts()]
    return legend + [text.get_text() for axes in figure.axes for text in axes.texts]


def test_edges_kept_added_and_removed_have_their_colours_and_a_legend():
    figure = circuit_drawing(SHAPE, {"Before": BEFORE, "After": AFTER})
    before, after = figure.axes[:2]
    assert colours(before) == [KEPT, REMOVED]
    assert colours(after) == [KEPT, ADDED]
    assert [axes.get_title(loc="left") for axes in (before, after)] == ["Before", "After"]
    assert {"in both", "removed", "added"} <= set(words(figure))
    assert figure.get_figwidth() == PAGE


def test_one_circuit_stands_in_a_column_and_of_many_edges_the_strongest_are_drawn():
    figure = circuit_drawing(SHAPE, {"": {**BEFORE, ("m0", "m1"): 0.1}}, most=2)
    assert len(colours(figure.axes[0])) == 2
    assert figure.get_figwidth() == COLUMN


def test_an_edge_into_a_shared_head_counts_for_every_head_of_its_group():
    found = degrees(SHAPE, {("input", "a1.kv1<k>"): 1.0, ("a0.h0", "a1.h2<q>"): 1.0})
    assert found == {"input": 1, "a0.h0": 1, "a1.h2": 2, "a1.h3": 1}
    figure = circuit_drawing(SHAPE, {"": {("input", "a1.kv1<k>"): 1.0}})
    assert len(colours(figure.axes[0])) == 2


def test_nodes_are_darker_the_more_edges_they_have():
    figure = circuit_drawing(SHAPE, {"": {**BEFORE, **AFTER}})
    boxes = [patch for patch in figure.axes[0].patches if type(patch) is not PathPatch]
    shades = [sum(patch.get_facecolor()[:3]) for patch in boxes]
    names = ["input", *(f"a0.h{head}" for head in range(4)), "m0"]
    by_name = dict(zip(names, shades, strict=False))
    assert by_name["input"] == by_name["a0.h1"] < by_name["a0.h0"] == 3.0


def test_a_line_carries_its_interval_and_breaks_where_there_is_no_value():
    figure = line_panels([Panel("", [Line("a", [Point(0, 1, 0.5, 1.5), Point(1, None), Point(2, 3)])])], x="x", y="y")
    [line], [band] = figure.axes[0].lines, figure.axes[0].collections
    assert np.isnan(line.get_ydata()[1])
    assert band.get_paths()[0].vertices[:, 1].min() == 0.5
    assert not figure.legends  # one line needs none


@pytest.mark.parametrize(("count", "width"), [(1, COLUMN), (2, PAGE), (10, PAGE)])
def test_panels_fill_a_column_or_a_page(count: int, width: float):
    panels = [Panel(f"seed {n}", [Line("a", [Point(0, 1)]), Line("b", [Point(0, 2)])]) for n in range(count)]
    figure = line_panels(panels, x="x", y="y")
    assert figure.get_figwidth() == width
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()] == [p.title for p in panels]
    assert len(figure.legends[0].get_texts()) == 2


def test_an_estimate_has_its_interval_and_chance_its_range():
    estimates = [
        Estimate("edge_rate", "change", 1.1, 1.0, 1.3),
        Estimate("edge_rate", "split", 0.4, 0.2, 0.6),
        Estimate("node_rate", "change", None, None, None),
    ]
    figure = change_and_chance(estimates)
    assert figure is not None
    [axes] = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["before and after", "halves of the pairs"]
    interval, dot, mean = (list(line.get_xdata()) for line in axes.lines)
    assert (interval, dot, mean) == ([1.0, 1.3], [1.1], [0.4, 0.4])
    [bar] = axes.patches
    assert (bar.get_x(), bar.get_width()) == (0.2, pytest.approx(0.4))
    assert change_and_chance(estimates[2:]) is None


def test_layers_show_means_and_how_far_fine_tunings_differ():
    def row(comparison: str, added: int, removed: int) -> LayerRow:
        counts = {"possible": 9, "before": 3, "after": 3, "share_absent_added": None, "share_present_removed": None}
        where = {"comparison": comparison, "role": "change", "kind": "edge", "side": "source", "layer": 0}
        return LayerRow.model_validate({**where, **counts, "added": added, "removed": removed})

    figure = layer_drawing([row("one", 2, 1), row("two", 4, 1)])
    removed, added = figure.axes[0].patches
    assert (removed.get_x(), removed.get_width()) == (0, -1)
    assert added.get_width() == 3
    assert [2, 4] in [list(line.get_xdata()) for line in figure.axes[0].lines]
    assert "least to most" in words(figure)
    assert "between two seeds" not in words(figure)


def test_a_table_is_as_wide_as_its_words_and_safe_as_markdown():
    content = Table(["name", "two\nlines"], [["a|b", "1"], ["", "2"]])
    assert content.markdown.splitlines() == ["| name | two lines |", "| :-- | --: |", "| a\\|b | 1 |", "|  | 2 |"]
    wide = Table(["name", "two\nlines"], [["a much longer name", "1"]])
    assert table(wide).get_figwidth() > table(content).get_figwidth()
    assert {"name", "two", "lines", "1"} <= set(words(table(content)))


def test_the_map_of_scores_covers_every_entry_and_masks_what_is_no_edge():
    values = np.array([[1.0, -4.0, 2.0], [0.0, 0.0, 1.0]])
    figure = score_map(values, np.array([[True, True, True], [False, False, True]]), [-1, 0], [0, 0, 1])
    image = figure.axes[0].images[0].get_array()
    assert image.mask.tolist() == [[False] * 3, [True, True, False]]
    assert image[0].tolist() == pytest.approx([0.5, -1.0, 0.5**0.5])
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["0", "logits"]


def test_ranks_are_written_into_their_cells():
    figure = rank_map({("mlp", 0): [4], ("mlp", 1): [1, 8], ("attention", 0): [2], ("attention", 1): [0]})
    assert words(figure) == ["4", "1–8", "2", "0"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["mlp", "attention"]


def test_a_forest_has_a_row_per_task_full_where_something_was_found_and_nothing_for_what_is_missing():
    rows = [Difference("one", 0.2, 0.1, 0.3, True), Difference("two", -0.1, -0.3, 0.1, False)]
    drawn = forest(
        {"first: supported": rows, "second: undecided": [*rows, Difference("three", None, None, None, False)]}, "less"
    )
    first, second = drawn.axes
    dots = [line for line in first.lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == [0.2, -0.1]
    assert dots[0].get_markerfacecolor() != dots[1].get_markerfacecolor()
    assert [tuple(line.get_xdata()) for line in first.lines if len(line.get_xdata()) == 2][1:] == [
        (0.1, 0.3),
        (-0.3, 0.1),
    ]
    assert [label.get_text() for label in second.get_yticklabels()] == ["one", "two", "three"]
    assert sum(line.get_marker() == "o" for line in second.lines) == 2
