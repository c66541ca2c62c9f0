"""``circuitune models``: what the engine supports, and what it sees in one model."""

from circuitune.cli.output import show, show_json, table
from circuitune.cli.sources import ModelOptions, load_model

PATH = "plain autograd in float64"
OTHERS = "the field's reference implementation"


def models(name: str | None = None, /, *, json: bool = False) -> None:
    """List the families and how each was checked, or describe one model: its shape, its nodes and edges.

    Examples:
      circuitune models
      circuitune models nano

    Parameters
    ----------
    name: str
        A model folder, the name of one on the hub, or nano.
    json: bool
        Print the result as JSON.
    """
    if name is None:
        _list(json)
        return
    from circuitune.circuits.graph import Graph
    from circuitune.models.anatomy import anatomy_of

    model, _ = load_model(name, ModelOptions(device="cpu"))
    anatomy = anatomy_of(model)
    graph = Graph.of(anatomy)
    facts = {
        "family": anatomy.family,
        "parameters": model.num_parameters(),
        "layers": anatomy.layers,
        "heads": anatomy.heads,
        "kv_heads": anatomy.kv_heads,
        "width": anatomy.width,
        "parallel": anatomy.parallel,
        "sources": len(graph.sources),
        "destinations": len(graph.destinations),
        "edges": graph.edges,
    }
    if json:
        show_json(facts)
    else:
        show(table(["", name], [[key, str(value)] for key, value in facts.items()]))


def _list(json: bool) -> None:
    from circuitune.models.families import FAMILIES, REFERENCE, REFUSED

    found = {name: [PATH, *([OTHERS] if name in REFERENCE else [])] for name in sorted(FAMILIES)}
    if json:
        show_json({"families": found, "refused": REFUSED, "embedded": ["nano"]})
        return
    rows = [[name, ", ".join(how)] for name, how in found.items()]
    show(table(["family (model_type)", "edge scores compared with"], rows))
    show("\nOf each also: full and empty circuit, single edges removed, the stream as the sum of its sources.")
    show("circuitune check MODEL tries all of it on your own checkpoint; docs/families.md adds a family.")
    show(f"Refused by name: {', '.join(sorted(REFUSED))}.")
