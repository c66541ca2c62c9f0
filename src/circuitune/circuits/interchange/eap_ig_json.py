"""The JSON of EAP-IG: a configuration, its nodes and all its edges by name.

The new schema (version 2, the benchmark) has objects for nodes, the old one (0.1, 0.2, FinetuneCircuits) true or
false. Files whose q, k and v edges were merged (``input->a0.h0``) list only the edges of the circuit.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from circuitune.circuits.graph import Graph
from circuitune.circuits.interchange.contents import Contents, is_sparse
from circuitune.circuits.interchange.listing import gaps, gather, listed_edges, model_graph, require_all, short
from circuitune.circuits.interchange.provenance import read_provenance
from circuitune.core.atomic import write_text
from circuitune.core.errors import InputError

NEW, OLD = "eap-ig-json", "eap-ig-json-old"


def read(path: Path) -> tuple[Contents, str]:
    """The contents of a file of either schema, and the schema's name.

    Raises:
        InputError: the file is not readable, not JSON, or not a graph.
    """
    file = _decode(path)
    for name in ("cfg", "nodes", "edges"):
        if not isinstance(file.get(name), dict):
            raise InputError(f"{path}: field {name} is {_kind(file.get(name))}; expected an object as EAP-IG has.")
    nodes, edges = file["nodes"], file["edges"]
    collapsed = _is_collapsed(edges, file.get("provenance"), path)
    graph = model_graph(
        file["cfg"], path, collapsed=collapsed, listed=len(edges) if edges and not collapsed else None
    )
    marked, node_scores, node_notes = _nodes(nodes, graph, path)
    listing = gather(_entries(edges, path), graph, path)
    made, notes = read_provenance(file.get("provenance"), path, graph)
    if (edges and not graph.collapsed) or (made is not None and made.kind == "scores"):
        require_all(listing, graph, path)
    contents = Contents(
        graph=graph,
        mask=listing.mask,
        scores=listing.scores,
        nodes=marked,
        node_scores=node_scores,
        provenance=made,
        notes=(*notes, *node_notes, *(gaps(listing, graph, path) if edges else ())),
    )
    old = graph.collapsed or all(isinstance(node, bool) for node in nodes.values())
    return contents, OLD if old else NEW


def write(contents: Contents, path: Path, *, width: int | None = None) -> None:
    """Write the new schema; ``width`` is the model's, for its ``cfg`` (readers need it for neurons alone).

    Edges without scores get 1 in the circuit and 0 outside, because readers require a number. Collapsed graphs are
    beyond this schema.
    """
    nodes: dict[str, dict[str, Any]] = {}
    for name in contents.graph.sources:
        nodes[name] = {"in_graph": name in (contents.nodes or ())}
        score = contents.node_scores.get(name, math.nan)
        if not math.isnan(score):
            nodes[name]["score"] = score
    nodes["logits"] = {"in_graph": True}
    scored = contents if contents.scores is not None else replace(contents, scores=contents.mask.float())
    _dump(scored, path, {**_cfg(contents.graph), "d_model": width or 0}, nodes)


def write_old(contents: Contents, path: Path) -> None:
    """Write the old schema; if collapsed, a circuit's own edges alone, as FinetuneCircuits does."""
    names = (*contents.graph.sources, "logits")
    nodes = {name: name == "logits" or name in (contents.nodes or ()) for name in names}
    _dump(contents, path, _cfg(contents.graph), nodes)


def _dump(contents: Contents, path: Path, cfg: Mapping[str, Any], nodes: Mapping[str, Any]) -> None:
    graph, scores = contents.graph, contents.scores
    listed = contents.mask if graph.collapsed and is_sparse(contents) else graph.edge_mask
    values = ["null"] * int(listed.sum()) if scores is None else map(repr, scores[listed].tolist())
    marks = ("true" if member else "false" for member in contents.mask[listed].tolist())
    edges = [  # a million edges: their names need no escapes, so the text is put together here
        f'"{source}->{destination}": {{"score": {value}, "in_graph": {mark}}}'
        for (source, destination), value, mark in zip(listed_edges(listed, graph), values, marks, strict=True)
    ]
    parts = [f'"cfg": {json.dumps(cfg)}', f'"nodes": {json.dumps(nodes)}', f'"edges": {{{", ".join(edges)}}}']
    if contents.provenance is not None:
        parts.append(f'"provenance": {json.dumps(contents.provenance.model_dump(mode="json"), allow_nan=False)}')
    write_text(path, f"{{{', '.join(parts)}}}\n")


def _cfg(graph: Graph) -> dict[str, int | bool]:
    return {"n_layers": graph.layers, "n_heads": graph.heads, "parallel_attn_mlp": graph.parallel}


def _decode(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "no text in UTF-8, or nested too deeply"
        raise InputError(f"{path} is not whole JSON ({reason}); export or download it again.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds {_kind(value)} in place of an object with cfg, nodes and edges.")
    return value


def _is_collapsed(edges: Mapping[str, Any], provenance: object, path: Path) -> bool:
    """Whether edges into heads have no letter; a file without edges is about nodes, or says so itself."""
    if not edges:
        graph = provenance.get("graph") if isinstance(provenance, dict) else None
        return isinstance(graph, dict) and graph.get("collapsed") is True
    split = next((name for name in edges if name.endswith(">")), None)
    merged = next((name for name in edges if "->a" in name and not name.endswith(">")), None)
    if split is not None and merged is not None:
        raise InputError(
            f"{path}: field edges has both {short(split)} and {short(merged)}; expected q, k and v all apart or all "
            "merged."
        )
    return split is None


def _nodes(
    nodes: Mapping[str, Any], graph: Graph, path: Path
) -> tuple[frozenset[str], dict[str, float], tuple[str, ...]]:
    """Names of the marked nodes, scores of the scored ones, notes."""
    known, marked, scores = {*graph.sources, "logits"}, set[str](), dict[str, float]()
    neurons = False
    for name, node in nodes.items():
        if name not in known:
            raise InputError(f"{path}: field nodes has {short(name)}, which is no node of its graph.")
        fields = node if isinstance(node, dict) else {"in_graph": node}
        member, score = fields.get("in_graph"), fields.get("score")
        if member not in (True, False):
            raise InputError(f"{path}: field nodes.{name}.in_graph is {short(member)}; expected true or false.")
        if member and name != "logits":
            marked.add(name)
        if score is not None and name != "logits":
            scores[name] = _node_score(score, name, path)
        neurons = neurons or "neurons" in fields or "neurons_scores" in fields
    if scores:
        scores = {name: scores.get(name, math.nan) for name in graph.sources}
    notes = (f"Neurons in {path.name} (fields neurons, neurons_scores) were ignored.",) if neurons else ()
    return frozenset(marked), scores, notes


def _node_score(score: object, name: str, path: Path) -> float:
    if type(score) is float and not math.isinf(score):
        return score
    if type(score) is int and abs(score) < 2**53:
        return float(score)
    raise InputError(f"{path}: field nodes.{name}.score is {short(score)}; expected a number, or NaN if not scored.")


def _entries(edges: Mapping[str, Any], path: Path) -> Any:
    for name, edge in edges.items():
        if not isinstance(edge, dict):
            raise InputError(f"{path}: field edges has {short(name)} as {_kind(edge)}; expected score and in_graph.")
        yield name, edge.get("score"), edge.get("in_graph")


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "missing"}
    return kinds.get(type(value), "a number")
