"""``circuitune models``: what the engine supports, and what it sees in one model."""

from circuitune.cli.output import show, show_json, table
from circuitune.cli.sources import load_model


def models(name: str | None = None, /, *, json: bool = False) -> None:
    """List the supported families, or describe one model: its shape, and the nodes and edges of its graph.

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
        from circuitune.models.families import FAMILIES

        found = sorted(FAMILIES)
        if json:
            show_json({"families": found, "embedded": ["nano"]})
        else:
            show(f"Families (model_type): {', '.join(found)}\nEmbedded: nano")
        return
    from circuitune.circuits.graph import Graph
    from circuitune.models.anatomy import anatomy_of

    model, _ = load_model(name)
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
