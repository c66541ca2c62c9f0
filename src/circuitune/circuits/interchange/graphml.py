"""GraphML, for NetworkX, Gephi and Cytoscape; what was written can be read back.

Nodes are those of the circuit; an edge into a head says in ``input`` whether it enters q, k or v, so that a head can
have three edges from one source (a multigraph). A circuit lists its own edges alone, scores list all.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from jaxtyping import Bool
from torch import Tensor

from circuitune.circuits.graph import Graph
from circuitune.circuits.interchange.contents import Contents, is_sparse
from circuitune.circuits.interchange.listing import gaps, gather, listed_edges, model_graph, require_all, short
from circuitune.circuits.interchange.provenance import read_provenance
from circuitune.core.atomic import write_text
from circuitune.core.errors import InputError

NAME = "graphml"
KEYS = {
    "graph": {"layers": "int", "heads": "int", "parallel": "boolean", "collapsed": "boolean", "provenance": "string"},
    "node": {"kind": "string", "layer": "int", "in_graph": "boolean"},
    "edge": {"input": "string", "score": "double", "in_graph": "boolean"},
}


def write(contents: Contents, path: Path) -> None:
    """Write a directed GraphML graph with the nodes that its edges join."""
    graph = contents.graph
    listed = contents.mask if is_sparse(contents) else graph.edge_mask
    ends = {end.partition("<")[0] for edge in listed_edges(listed, graph) for end in edge}
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">']
    for owner, keys in KEYS.items():
        for name, kind in keys.items():
            lines.append(f' <key id="{owner}.{name}" for="{owner}" attr.name="{name}" attr.type="{kind}"/>')
    lines += [' <graph id="circuit" edgedefault="directed">', f"  {_data('graph', _about(contents))}"]
    lines += (_node(name, contents) for name in (*graph.sources, "logits") if name in ends)
    lines += _edges(contents, listed)
    write_text(path, "\n".join([*lines, " </graph>", "</graphml>", ""]))


def read(path: Path) -> tuple[Contents, str]:
    """The contents of a file that `write` made (also one that NetworkX saved again), and the format's name.

    Raises:
        InputError: the file is not readable, not XML, has a document type (and so could pull in other files), or is
            not ours.
    """
    file = _parse(path)
    about = {name: _value(file.about.get(name), kind, f"graph {name}", path) for name, kind in KEYS["graph"].items()}
    cfg = {"n_layers": about["layers"], "n_heads": about["heads"], "parallel_attn_mlp": about["parallel"]}
    if None in cfg.values():
        raise InputError(
            f"{path}: the graph has no layers, heads and parallel; only circuitune's GraphML can be read."
        )
    graph = model_graph(cfg, path, collapsed=about["collapsed"] is True)
    listing = gather(_entries(file.edges, path), graph, path)
    made, notes = read_provenance(about["provenance"], path, graph)
    if made is None or made.kind == "scores":
        require_all(listing, graph, path)
    return (
        Contents(
            graph=graph,
            mask=listing.mask,
            scores=listing.scores,
            provenance=made,
            notes=(*notes, *gaps(listing, graph, path)),
        ),
        NAME,
    )


def _about(contents: Contents) -> dict[str, Any]:
    graph, made = contents.graph, contents.provenance
    return {
        "layers": graph.layers,
        "heads": graph.heads,
        "parallel": graph.parallel,
        "collapsed": graph.collapsed,
        "provenance": None if made is None else made.model_dump_json(ensure_ascii=True),
    }


def _node(name: str, contents: Contents) -> str:
    graph: Graph = contents.graph
    if name == "logits":
        kind, layer = "logits", graph.layers
    else:
        row = graph.sources.index(name)
        kind, layer = graph.source_kind[row], graph.source_layer[row]
    marked = name == "logits" or name in (contents.nodes or ())
    data = _data("node", {"kind": kind, "layer": layer, "in_graph": marked})
    return f'  <node id="{name}">{data}</node>'


def _edges(contents: Contents, listed: Bool[Tensor, "S R"]) -> Iterator[str]:
    graph, scores = contents.graph, contents.scores
    values = [None] * int(listed.sum()) if scores is None else scores[listed].tolist()
    marks = contents.mask[listed].tolist()
    for (source, destination), value, mark in zip(listed_edges(listed, graph), values, marks, strict=True):
        target, _, letter = destination.partition("<")
        name = f"{source}->{target}&lt;{letter[:-1]}&gt;" if letter else f"{source}->{target}"
        entered = f'<data key="edge.input">{letter[:-1]}</data>' if letter else ""
        score = "" if value is None else f'<data key="edge.score">{value!r}</data>'
        member = f'<data key="edge.in_graph">{"true" if mark else "false"}</data>'
        yield f'  <edge id="{name}" source="{source}" target="{target}">{entered}{score}{member}</edge>'


def _data(owner: str, values: Mapping[str, Any]) -> str:
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}
    return "".join(
        f'<data key="{owner}.{name}">{escape(text)}</data>'
        for name, text in texts.items()
        if values[name] is not None
    )


class _DoctypeError(Exception):
    """The file has a document type declaration, the door to entities."""


class _Reader:
    """Collects the data of the graph and of its edges from a parser's events."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.about: dict[str, str] = {}
        self.edges: list[dict[str, str]] = []
        self._owner: dict[str, str] | None = None
        self._key: str | None = None
        self._text: list[str] = []

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        raise _DoctypeError

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        kind = tag.rpartition("}")[2]
        if kind == "key":
            self.names[attributes.get("id", "")] = attributes.get("attr.name", "")
        elif kind == "graph":
            self._owner = self.about
        elif kind == "node":
            self._owner = {}
        elif kind == "edge":
            self._owner = {"source": attributes.get("source", ""), "target": attributes.get("target", "")}
            self.edges.append(self._owner)
        elif kind == "data":
            self._key, self._text = self.names.get(attributes.get("key", "")), []

    def data(self, text: str) -> None:
        if self._key is not None:
            self._text.append(text)

    def end(self, tag: str) -> None:
        kind = tag.rpartition("}")[2]
        if kind == "data" and self._key is not None:
            if self._owner is not None and self._key not in ("source", "target"):
                self._owner[self._key] = "".join(self._text)
            self._key = None
        elif kind in ("node", "edge"):
            self._owner = self.about

    def close(self) -> "_Reader":
        return self


def _parse(path: Path) -> _Reader:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    reader = _Reader()
    parser = ET.XMLParser(target=reader)
    try:
        parser.feed(data)
        parser.close()
    except _DoctypeError as error:
        raise InputError(f"{path} declares a document type, which GraphML needs not; remove it.") from error
    except (ET.ParseError, ValueError, LookupError) as error:  # bad markup; an encoding that is not, or unknown
        raise InputError(f"{path} is not whole XML ({error}); export it again.") from error
    return reader


def _entries(edges: list[dict[str, str]], path: Path) -> Iterator[tuple[str, Any, Any]]:
    for edge in edges:
        letter = edge.get("input")
        name = f"{edge['source']}->{edge['target']}{f'<{letter}>' if letter else ''}"
        score, member = (_value(edge.get(key), KEYS["edge"][key], f"edge {name} {key}", path) for key in _MARKS)
        yield name, score, member


_MARKS = ("score", "in_graph")


def _value(text: str | None, kind: str, field: str, path: Path) -> Any:
    """The text as a value of a GraphML type; None stays None."""
    if text is None or kind == "string":
        return text
    try:
        if kind == "boolean":
            return {"true": True, "false": False}[text.lower()]
        return int(text) if kind == "int" else float(text)
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: field {short(field)} is {short(text)}; expected a {kind}.") from error
