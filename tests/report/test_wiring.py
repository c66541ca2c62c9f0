import pytest

from circuitune.circuits.graph import Graph
from circuitune.core.errors import InputError
from circuitune.report.wiring import wiring, wiring_of_record

SHAPES = [
    Graph(8, 8, 8, parallel=True),
    Graph(3, 2, 2, parallel=False),
    Graph(2, 6, 2, parallel=False),
    Graph(2, 4, 1, parallel=True),
    Graph(1, 1, 1, parallel=False),
    Graph(3, 4, 2, parallel=False, collapsed=True),
]


@pytest.mark.parametrize("graph", SHAPES, ids=str)
def test_names_and_edges_are_those_of_the_engines_graph(graph: Graph) -> None:
    ours = wiring_of_record(graph.to_record(), graph.shape)

    assert ours.sources == graph.sources
    assert ours.destinations == graph.destinations
    assert list(ours.readable) == graph.edge_mask.sum(0).tolist()
    assert ours.edges == graph.edges
    assert ours.merged == graph.collapsed


def test_the_embedded_models_graph_has_its_known_size() -> None:
    assert wiring(8, 8, 8, parallel=True).edges == 6573


@pytest.mark.parametrize(
    "record",
    [{}, {"layers": 0, "heads": 2, "kv_heads": 2}, {"layers": 1, "heads": 3, "kv_heads": 2}, {"layers": "2"}],
)
def test_what_is_no_graph_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(InputError, match="graph of"):
        wiring_of_record(record, (3, 4))


@pytest.mark.timeout(5)
def test_a_record_of_an_absurd_size_makes_nothing_of_that_size() -> None:
    with pytest.raises(InputError, match="not its graph's"):
        wiring_of_record({"layers": 10**12, "heads": 10**9, "kv_heads": 1, "parallel": True}, (3, 4))
