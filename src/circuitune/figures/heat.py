"""All edge scores at once, sources by destinations; and ranks, modules by layers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from circuitune.figures.style import ADDED, GROUND, INK, PAGE, REMOVED, SIZE, Drawing, drawing

_SIGNED: Final = LinearSegmentedColormap.from_list("signed", [REMOVED, "#ffffff", ADDED])
_RANKS: Final = LinearSegmentedColormap.from_list("ranks", ["#f4f9f8", SIZE])


def score_map(
    values: NDArray[Any], possible: NDArray[Any], source_layers: Sequence[int], destination_layers: Sequence[int]
) -> Drawing:
    """Every score, [sources, destinations]: blue where corrupting an edge raises the loss, orange where it lowers it.

    Shades follow the root of the magnitude, or a few edges would leave all others white. Grey: no edge.

    Args:
        values: scores.
        possible: which entries are edges.
        source_layers, destination_layers: layer of each row and column; -1 is the input, past the last the logits.
    """
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    roots = np.sign(values) * np.sqrt(np.abs(values) / largest)
    shown = np.ma.masked_array(roots, ~possible.astype(bool))
    height = 0.7 + (PAGE - 1.2) * min(0.8, max(0.3, values.shape[0] / values.shape[1]))
    with drawing(PAGE, height) as figure:
        axes = figure.subplots()
        axes.set_facecolor(GROUND)
        image = axes.imshow(shown, cmap=_SIGNED, norm=Normalize(-1, 1), origin="lower", aspect="auto")
        axes.set_xticks(*_middles(destination_layers))
        axes.set_yticks(*_middles(source_layers))
        axes.grid(visible=False)
        axes.set_xlabel("destination, by layer")
        axes.set_ylabel("source, by layer")
        scale = figure.colorbar(image, ax=axes, aspect=30, pad=0.01)
        scale.formatter = FuncFormatter(lambda root, _: f"{np.sign(root) * root**2 * largest:.2g}")
        scale.set_label("score", fontsize=6.5)
        scale.outline.set_visible(False)
        scale.ax.tick_params(labelsize=6)
    return figure


def _middles(layers: Sequence[int]) -> tuple[list[float], list[str]]:
    """Where the middle of each layer is, and its name; of many layers every fourth."""
    last = max(layers)
    found = {layer: [place for place, at in enumerate(layers) if at == layer] for layer in sorted(set(layers))}
    step = 1 if len(found) < 16 else 4
    crowded = 0 if step > 1 and -1 in found else None  # layer 0 then stands where the input does
    kept = [at for at in found if len(found[at]) == 1 or (at % step == 0 and at != crowded)]
    names = {-1: "input", last: "logits" if len(found[last]) == 1 else str(last)}
    return [sum(found[layer]) / len(found[layer]) for layer in kept], [names.get(at, str(at)) for at in kept]


def rank_map(ranks: Mapping[tuple[str, int], Sequence[int]]) -> Drawing:
    """LoRA ranks by kind of module (rows) and layer (columns), written into every cell where there is room.

    Args:
        ranks: of the modules of each (kind, layer), at least one; several where a mixture has many experts.
    """
    kinds = list(dict.fromkeys(kind for kind, _ in ranks))
    layers = sorted({layer for _, layer in ranks})
    means = np.full((len(kinds), len(layers)), np.nan)
    for (kind, layer), own in ranks.items():
        means[kinds.index(kind), layers.index(layer)] = sum(own) / len(own)
    with drawing(PAGE, 0.75 + 0.24 * len(kinds)) as figure:
        axes = figure.subplots()
        top = max(1.0, float(np.nanmax(means)))
        image = axes.imshow(means, cmap=_RANKS, norm=Normalize(0, top), aspect="auto")
        axes.set_yticks(range(len(kinds)), kinds)
        axes.xaxis.set_major_locator(MaxNLocator(16, integer=True))
        axes.set_xticks(range(len(layers)), [str(layer) for layer in layers])
        axes.grid(visible=False)
        axes.set_xlabel("layer")
        for (kind, layer), own in ranks.items():
            text = str(own[0]) if min(own) == max(own) else f"{min(own)}\N{EN DASH}{max(own)}"
            if len(text) * len(layers) < 120:
                dark = sum(own) / len(own) > 0.6 * top
                at = layers.index(layer), kinds.index(kind)
                axes.text(*at, text, ha="center", va="center", fontsize=6, color="white" if dark else INK)
        scale = figure.colorbar(image, ax=axes, aspect=12, pad=0.01)
        scale.locator = MaxNLocator(4, integer=True)
        scale.set_label("rank", fontsize=6.5)
        scale.outline.set_visible(False)
        scale.ax.tick_params(labelsize=6)
    return figure
