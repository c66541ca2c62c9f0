"""GraphML: read by NetworkX, read back by us, and closed to what XML can do besides."""

from pathlib import Path

import networkx
import pytest
import torch

from circuitune.circuits.graph import Graph
from circuitune.circuits.interchange import export_circuit, import_circuit
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.errors import InputError

GRAPH = Graph(3, 4, 4, parallel=True)


@pytest.fixture
def circuit() -> Circuit:
    values = torch.randn(GRAPH.edge_mask.shape, generator=torch.Generator().manual_seed(0)) * GRAPH.edge_mask
    return EdgeScores(values, GRAPH, None, None, {"method": "eap", "task": 'a "task" <&> é'}).top(0.3)


@pytest.fixture
def path(circuit: Circuit, tmp_path: Path) -> Path:
    export_circuit(circuit, tmp_path / "circuit.graphml", format="graphml")
    return tmp_path / "circuit.graphml"


def test_networkx_sees_the_circuit_s_nodes_and_edges(circuit: Circuit, path: Path):
    read = networkx.read_graphml(path)
    assert set(read.nodes) == set(circuit.nodes)
    names = {
        f"{source}->{target}" + (f"<{data['input']}>" if "input" in data else "")
        for source, target, data in read.edges(data=True)
    }
    assert names == set(circuit.edges)
    assert read.number_of_edges() == len(circuit)
    assert read.nodes["input"] == {"kind": "input", "layer": -1, "in_graph": True}
    assert read.nodes["logits"] == {"kind": "logits", "layer": 3, "in_graph": True}
    assert all(networkx.has_path(read, "input", node) and networkx.has_path(read, node, "logits") for node in read)
    assert circuit.scores is not None
    total = sum(data["score"] for _, _, data in read.edges(data=True))
    assert total == pytest.approx(float(circuit.scores.values[circuit.mask].double().sum()))


def test_a_file_that_networkx_saved_again_is_read(circuit: Circuit, path: Path):
    networkx.write_graphml(networkx.read_graphml(path, force_multigraph=True), path)
    found = import_circuit(path)
    assert found.circuit == circuit
    assert found.circuit.settings == circuit.settings


def test_a_document_type_is_refused_before_any_entity(path: Path):
    secret = path.with_name("secret.txt")
    secret.write_text("secret")
    for declaration in (
        f'<!DOCTYPE graphml [<!ENTITY x SYSTEM "file://{secret}">]>',
        '<!DOCTYPE graphml [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE graphml SYSTEM "http://localhost/graphml.dtd">',
    ):
        first, rest = path.read_text().split("\n", 1)
        target = path.with_name("trap.graphml")
        target.write_text("\n".join([first, declaration, rest]))
        with pytest.raises(InputError, match="declares a document type"):
            import_circuit(target)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</graphml>", "", "is not whole XML"),
        ('encoding="UTF-8"', 'encoding="klingon"', "is not whole XML"),
        ('<data key="graph.layers">3</data>', "", "no layers, heads and parallel"),
        ('<data key="graph.layers">3</data>', '<data key="graph.layers">many</data>', "'graph layers' is 'many'"),
        ('<data key="graph.layers">3</data>', '<data key="graph.layers">4</data>', "provenance.graph contradicts"),
        ('<data key="graph.parallel">true</data>', '<data key="graph.parallel">si</data>', "expected a boolean"),
        ('target="logits"', 'target="m7"', "'m7' is no node"),
        ('<data key="edge.in_graph">true</data>', "", "in_graph is missing"),
        ('<data key="edge.score">', '<data key="edge.score">x', "expected a double"),
        ('<data key="edge.score">', '<data key="edge.score">nan</data><data key="edge.in_graph">', "score is nan"),
        ('key="graph.provenance">{', 'key="graph.provenance">', "field provenance is not JSON"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_a_sentence(old: str, new: str, message: str, path: Path):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as refusal:
        import_circuit(path)
    assert message in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_edge_that_comes_twice_is_refused(path: Path):
    lines = path.read_text().splitlines()
    edge = next(line for line in lines if "<edge " in line)
    path.write_text("\n".join(line + (edge if "<edge " in line and line == edge else "") for line in lines))
    with pytest.raises(InputError, match="twice"):
        import_circuit(path)


def test_all_edges_of_scores_are_required(circuit: Circuit, path: Path):
    assert circuit.scores is not None
    export_circuit(circuit.scores, path, format="graphml")
    lines = path.read_text().splitlines()
    lines.remove(next(line for line in lines if "<edge " in line))
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"the first that is missing is input->a0\.h0<q>"):
        import_circuit(path)


def test_another_tool_s_graphml_is_refused(tmp_path: Path):
    networkx.write_graphml(networkx.path_graph(4), tmp_path / "other.graphml")
    with pytest.raises(InputError, match="only circuitune's GraphML"):
        import_circuit(tmp_path / "other.graphml")
