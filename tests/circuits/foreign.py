"""Files as other tools write them, put together from their description and not by our code."""

import json
import random
from pathlib import Path
from typing import Any

import torch


def edge_names(layers: int, heads: int, parallel: bool, *, collapsed: bool = False) -> list[str]:
    """Every edge of a model, in the reference's order of construction."""
    names: list[str] = []
    before = ["input"]
    letters = [""] if collapsed else ["<q>", "<k>", "<v>"]
    for layer in range(layers):
        own = [f"a{layer}.h{head}" for head in range(heads)]
        names += [f"{source}->{head}{letter}" for source in before for head in own for letter in letters]
        names += [f"{source}->m{layer}" for source in (before if parallel else before + own)]
        before = [*before, *own, f"m{layer}"]
    return names + [f"{source}->logits" for source in before]


def node_names(layers: int, heads: int) -> list[str]:
    names = ["input"]
    for layer in range(layers):
        names += [*(f"a{layer}.h{head}" for head in range(heads)), f"m{layer}"]
    return [*names, "logits"]


def destination_names(layers: int, heads: int) -> list[str]:
    names: list[str] = []
    for layer in range(layers):
        names += [f"a{layer}.h{head}<{letter}>" for letter in "qkv" for head in range(heads)]
        names.append(f"m{layer}")
    return [*names, "logits"]


def new_json(
    layers: int = 2, heads: int = 2, parallel: bool = True, *, share: float = 0.5, seed: int = 0
) -> dict[str, Any]:
    """A file of the new schema with random scores; the circuit is a random share of the edges."""
    draw = random.Random(seed)
    edges = {
        name: {"score": draw.gauss(0, 1e-3), "in_graph": draw.random() < share}
        for name in edge_names(layers, heads, parallel)
    }
    ends = {end.split("<")[0] for name, edge in edges.items() if edge["in_graph"] for end in name.split("->")}
    return {
        "cfg": {"n_layers": layers, "n_heads": heads, "parallel_attn_mlp": parallel, "d_model": 8},
        "nodes": {name: {"in_graph": name in ends or name == "logits"} for name in node_names(layers, heads)},
        "edges": edges,
    }


def old_json(layers: int = 2, heads: int = 2, parallel: bool = True, **options: Any) -> dict[str, Any]:
    """A file of the old schema."""
    file = new_json(layers, heads, parallel, **options)
    del file["cfg"]["d_model"]
    return {**file, "nodes": {name: node["in_graph"] for name, node in file["nodes"].items()}}


def collapsed_json(layers: int = 2, heads: int = 2, *, seed: int = 0) -> dict[str, Any]:
    """A file with q, k and v merged: the circuit's edges alone, and only the nodes they join."""
    draw = random.Random(seed)
    names = [name for name in edge_names(layers, heads, True, collapsed=True) if draw.random() < 0.5]
    names = list(dict.fromkeys([*names, "input->a0.h0", "a0.h0->logits"]))
    return {
        "cfg": {"n_layers": layers, "n_heads": heads, "parallel_attn_mlp": True},
        "nodes": dict.fromkeys(sorted({end for name in names for end in name.split("->")}), True),
        "edges": {name: {"score": draw.gauss(0, 1e-9), "in_graph": True} for name in names},
    }


def new_pt(layers: int = 2, heads: int = 2, parallel: bool = True, **options: Any) -> dict[str, Any]:
    """A `.pt` of the new form, with the content of `new_json`."""
    file = new_json(layers, heads, parallel, **options)
    sources, destinations = node_names(layers, heads)[:-1], destination_names(layers, heads)
    scores, marks = torch.zeros(len(sources), len(destinations)), torch.zeros(len(sources), len(destinations))
    for name, edge in file["edges"].items():
        source, destination = name.split("->")
        place = sources.index(source), destinations.index(destination)
        scores[place], marks[place] = edge["score"], edge["in_graph"]
    return {
        "cfg": file["cfg"],
        "src_nodes": sources,
        "dst_nodes": destinations,
        "edges_scores": scores,
        "edges_in_graph": marks.bool(),
        "nodes_in_graph": torch.tensor([file["nodes"][name]["in_graph"] for name in sources]),
    }


def old_pt(**options: Any) -> dict[str, Any]:
    """A `.pt` of the old form."""
    file = new_pt(**options)
    sources = dict(zip(file["src_nodes"], file["nodes_in_graph"].tolist(), strict=True))
    parts = {"cfg": file["cfg"], "src_nodes": sources, "dst_nodes": file["dst_nodes"]}
    return {**parts, "edges": file["edges_scores"], "edges_in_graph": file["edges_in_graph"]}


def save_json(path: Path, file: Any) -> Path:
    path.write_text(json.dumps(file))
    return path


def save_pt(path: Path, file: Any) -> Path:
    torch.save(file, path)
    return path
