"""Comparisons in notebooks: counts and verdicts in HTML, frames of every name and measure, drawings."""

from circuitune.circuits.graph import Graph
from circuitune.dynamics.change import compare
from circuitune.dynamics.comparison import compare_with_chance
from dynamics.strategies import sampled, scores_of

GRAPH = Graph(layers=3, heads=4, kv_heads=4, parallel=False)
BEFORE, AFTER = (scores_of(GRAPH, seed).top(0.2) for seed in (0, 1))


def test_a_frame_of_a_change_names_what_was_added_removed_and_kept():
    change = compare(BEFORE, AFTER)
    found = change.to_pandas()
    for kind, part in (("edge", change.edges), ("node", change.nodes)):
        for status in ("added", "removed", "kept"):
            own = found[(found["kind"] == kind) & (found["status"] == status)]
            assert tuple(own["name"]) == getattr(part, status)


def test_html_of_a_change_counts_it():
    change = compare(BEFORE, AFTER)
    shown = change._repr_html_()
    assert f"<td>edges</td><td>{change.edges.before}</td><td>{change.edges.after}</td>" in shown
    assert len(shown) < 1000


def test_a_change_is_drawn_by_layer():
    titles = [axes.get_title(loc="left") for axes in compare(BEFORE, AFTER).plot().axes]
    assert titles == ["Edges by source", "Edges by destination", "Nodes"]


def test_a_comparison_says_its_verdicts_and_draws_measures_over_their_nulls():
    before, after = (sampled(scores_of(GRAPH, seed), 20, 0.3, seed) for seed in (0, 1))
    found = compare_with_chance(before, after, size=0.2)
    assert "Do the sets of edges differ?" in found._repr_html_()
    table = found.to_pandas().set_index("measure")
    assert list(table.index) == list(found.measures)
    for name, record in found.measures.items():
        assert table.loc[name, "estimate"] == record["estimate"]
        assert table.loc[name, "low"] == record["low"]
    assert table.loc["edge_rate", "verdict"] == found.verdicts["edge_rate"].outcome
    rows = [text.get_text() for text in found.plot().axes[0].get_yticklabels()]
    assert rows == ["before and after", "halves of the pairs", "rewired"]


def test_circuits_without_scores_of_pairs_show_what_there_is():
    found = compare_with_chance(BEFORE, AFTER)
    assert found.to_pandas()["low"].isna().all()
    assert [text.get_text() for text in found.plot().axes[0].get_yticklabels()] == ["before and after", "rewired"]
