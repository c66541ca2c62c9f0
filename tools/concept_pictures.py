"""The pictures of docs/concepts.md, from nano's own numbers: docs/images/{edges,eap-ig,faithfulness,nulls}.svg.

    python tools/concept_pictures.py          # about four minutes on one core: two fine-tunings for the last picture

Each drawing has two sets of colours and follows the reader's system, light or dark.
"""

import argparse
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

import circuitune as ct
from circuitune.core.statistics import Interval
from circuitune.dynamics.bootstrap import bootstrap_change
from circuitune.dynamics.measures import Overlap, overlap
from circuitune.dynamics.nulls import between_halves
from circuitune.dynamics.rewiring import rewired_overlaps
from circuitune.training.finetune import finetune
from circuitune.training.methods import TrainingSettings

STYLE = """
  .card { fill: #ffffff; stroke: #d9dde3 } .box { fill: #f2f4f7; stroke: #9aa4b2 } .grid { stroke: #e4e7ec }
  .axis, .thin { stroke: #98a2b3; fill: none } .thin { stroke-opacity: .45 } text { fill: #1d2433 }
  .soft { fill: #5b6576 } .a { stroke: #c2410c; fill: none } .b { stroke: #1d4ed8; fill: none }
  .fa { fill: #c2410c } .fb { fill: #1d4ed8 } .dot { fill: #5b6576; fill-opacity: .55 }
  text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif } .small { font-size: 12px }
  .bold { font-weight: 600 } .mid { text-anchor: middle } .end { text-anchor: end }
  @media (prefers-color-scheme: dark) {
    .card { fill: #171b22; stroke: #343b47 } .box { fill: #242a34; stroke: #6b7688 } .grid { stroke: #2a313c }
    .axis, .thin { stroke: #7d8899 } text { fill: #e6e9ee } .soft { fill: #a5afbe }
    .a { stroke: #fb923c } .b { stroke: #7aa7ff } .fa { fill: #fb923c } .fb { fill: #7aa7ff } .dot { fill: #a5afbe }
  }"""

Point = tuple[float, float]


class Drawing:
    """SVG elements on a card of a width and a height in pixels; `alt` is what a screen reader says."""

    def __init__(self, width: int, height: int, alt: str) -> None:
        self.size, self.alt, self.parts = (width, height), alt, list[str]()

    def text(self, x: float, y: float, words: str, kind: str = "") -> None:
        """Words at a place; `kind` names classes of `STYLE`."""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{words}</text>')

    def line(self, points: Iterable[Point], kind: str, width: float = 1.5, dashes: str = "none") -> None:
        """A line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(
            f'<polyline points="{path}" class="{kind}" fill="none" stroke-width="{width}" '
            f'stroke-dasharray="{dashes}"/>'
        )

    def curve(self, start: Point, end: Point, kind: str, width: float) -> None:
        """A curve that leaves and arrives level."""
        (x, y), (u, v) = start, end
        bend = (u - x) / 2
        path = f"M{x:.1f} {y:.1f} C{x + bend:.1f} {y:.1f} {u - bend:.1f} {v:.1f} {u:.1f} {v:.1f}"
        self.parts.append(f'<path d="{path}" class="{kind}" stroke-width="{width}"/>')

    def dot(self, x: float, y: float, kind: str, radius: float = 4) -> None:
        """A filled circle."""
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" class="{kind}"/>')

    def box(self, x: float, y: float, width: float, height: float, kind: str = "box") -> None:
        """A rectangle with round corners."""
        self.parts.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" class="{kind}"/>')

    def save(self, path: Path) -> None:
        """Write the file."""
        width, height = self.size
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" aria-label="{self.alt}">\n<style>{STYLE}\n</style>\n'
            f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="10" class="card"/>\n'
            + "\n".join(self.parts)
            + "\n</svg>\n",
            encoding="utf-8",
        )


@dataclass(frozen=True)
class Frame:
    """Where values lie in a drawing: the pixels of a rectangle and the values at its edges."""

    left: float
    right: float
    top: float
    bottom: float
    x: Point
    y: Point

    def at(self, x: float, y: float) -> Point:
        """The place of a value."""
        (low, high), (floor, ceiling) = self.x, self.y
        across, up = (x - low) / (high - low), (y - floor) / (ceiling - floor)
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)

    def draw(self, drawing: Drawing, xs: Sequence[tuple[float, str]], ys: Sequence[tuple[float, str]]) -> None:
        """Grid lines and labels at the given values."""
        for value, label in ys:
            _, y = self.at(self.x[0], value)
            drawing.line([(self.left, y), (self.right, y)], "grid", 1)
            drawing.text(self.left - 8, y + 4, label, "soft small end")
        for value, label in xs:
            drawing.text(self.at(value, 0)[0], self.bottom + 20, label, "soft small mid")
        drawing.line([(self.left, self.bottom), (self.right, self.bottom)], "axis", 1)


def edges() -> Drawing:
    """All edges of a toy model of two layers with two heads each, four of them the circuit."""
    drawing = Drawing(720, 280, "Heads and MLPs of two layers joined by thin edges; four thick ones are the circuit.")
    columns = [("input",), ("a0.h0", "a0.h1"), ("m0",), ("a1.h0", "a1.h1"), ("m1",), ("logits",)]
    place: dict[str, Point] = {}
    for column, names in enumerate(columns):
        for row, name in enumerate(names):
            place[name] = (26 + column * 119, 118 + (row * 130 - 65 if len(names) > 1 else 0))

    def ports(name: str) -> list[tuple[str, Point]]:
        x, y = place[name]
        if not name.startswith("a"):
            return [(name, (x, y))]
        return [(f"{name}<{letter}>", (x, y - 13 + 13 * n)) for n, letter in enumerate("qkv")]

    chosen = {("input", "a0.h1<v>"), ("a0.h1", "a1.h0<k>"), ("input", "m0"), ("m0", "a1.h0<v>"), ("a1.h0", "logits")}
    later = [(a, c) for a in place for c in place if place[a][0] < place[c][0]]
    ends = {(a, destination): (place[a], spot) for a, c in later for destination, spot in ports(c)}
    for (source, destination), ((x, y), end) in sorted(ends.items(), key=lambda item: item[0] in chosen):
        inside = (source, destination) in chosen
        drawing.curve((x + 70, y), end, "a" if inside else "thin", 2.5 if inside else 1)
    for name, (x, y) in place.items():
        drawing.box(x, y - 24, 70, 48)
        drawing.text(x + (42 if name.startswith("a") else 35), y + 4, name, "mid bold")
        for destination, (px, py) in ports(name) if name.startswith("a") else []:
            drawing.text(px + 5, py + 4, destination[-2], "soft small")
    drawing.text(26, 240, "Every thin line is an edge: one source as read by one later destination.", "soft")
    drawing.text(26, 260, f"{len(ends)} edges here; the {len(chosen)} thick ones stand for a circuit.", "soft")
    return drawing


def ioi() -> tuple[torch.nn.Module, ct.EncodedPairs, ct.EncodedPairs]:
    """nano, pairs to find the circuit of ioi on, and others to measure it on."""
    model, tokenizer = ct.load("nano")
    pairs = ct.task("ioi")
    found, held_out = (ct.encode(pairs.split(part).sample(200), tokenizer) for part in ("circuit", "validation"))
    return model, found, held_out


def path(model: torch.nn.Module, inputs: ct.EncodedPairs, share: float) -> tuple[float, float]:
    """The mean loss, and its slope, with the embeddings at this share of the way from corrupted (0) to clean (1)."""
    embedding = model.get_input_embeddings()  # type: ignore[operator]
    mask = torch.ones_like(inputs.clean, dtype=torch.bool) if inputs.mask is None else inputs.mask
    clean, corrupted = embedding(inputs.clean).detach(), embedding(inputs.corrupted).detach()
    where = torch.tensor(share, requires_grad=True)
    rows, last = torch.arange(len(mask)), mask.sum(1) - 1
    logits: Tensor = model(inputs_embeds=corrupted + where * (clean - corrupted)).logits[rows, last]
    assert inputs.wrong is not None
    loss = (logits[rows, inputs.wrong] - logits[rows, inputs.answer]).mean()
    return loss.item(), torch.autograd.grad(loss, where)[0].item()


def integral(model: torch.nn.Module, inputs: ct.EncodedPairs) -> Drawing:
    """The loss along the path of EAP-IG, the slope that EAP takes for all of it, and the five of EAP-IG."""
    curve = [(k / 40, *path(model, inputs, k / 40)) for k in range(41)]
    (_, start, _), (_, end, slope) = curve[0], curve[-1]
    points = [(share, *path(model, inputs, share)) for share in (0.1, 0.3, 0.5, 0.7, 0.9)]
    mean = sum(point[2] for point in points) / len(points)
    print(f"eap-ig: loss {start:.2f} corrupted, {end:.2f} clean; rise {start - end:.2f}")
    print(f"eap-ig: EAP {-slope:.2f}, five points {-mean:.2f}")
    drawing = Drawing(720, 340, "The loss falls along a curve from corrupted to clean prompt; one tangent misses it.")
    frame = Frame(70, 480, 30, 270, (0, 1), (-15, 15))
    frame.draw(drawing, [(0, "corrupted"), (0.5, "half way"), (1, "clean")], [(y, str(y)) for y in (-10, 0, 10)])
    drawing.line([frame.at(0, end - slope), frame.at(1, end)], "a", 2, "6 4")
    drawing.line([frame.at(share, loss) for share, loss, _ in curve], "axis", 2.5)
    for share, loss, tilt in points:
        drawing.line([frame.at(share + d, loss + d * tilt) for d in (-0.07, 0.07)], "b", 3.5)
        drawing.dot(*frame.at(share, loss), "fb", 3.5)
    drawing.dot(*frame.at(1, end), "fa")
    drawing.text(70, 318, "the embedding of the prompt, from the corrupted one to the clean one", "soft small")
    drawing.text(70, 20, "loss (wrong answer's logit - right one's)", "soft small")
    rows = [
        ("What corrupting really costs", f"{start - end:.1f}", ""),
        ("EAP: the slope at the clean", "", "fa"),
        ("prompt, for the whole way", f"{-slope:.1f}", "fa"),
        ("EAP-IG: the mean of the slopes", "", "fb"),
        ("at five points", f"{-mean:.1f}", "fb"),
    ]
    for (words, number, kind), y in zip(rows, (60, 110, 130, 180, 200), strict=True):
        drawing.text(505, y, words, kind)
        drawing.text(505, y + 22, number, f"bold {kind}")
    return drawing


def faithfulness(model: torch.nn.Module, found: ct.EncodedPairs, held_out: ct.EncodedPairs) -> Drawing:
    """How much of ioi circuits of several sizes carry, beside random edges."""
    shares = (0.001, 0.002, 0.003, 0.005, 0.01, 0.05, 0.2, 0.5)
    scores = ct.attribute(model, found)
    chance = torch.rand(scores.values.shape, generator=torch.Generator().manual_seed(0)) * scores.graph.edge_mask
    lines = {
        "fb": ct.faithfulness_curve(model, held_out, scores, shares=shares).results,
        "fa": ct.faithfulness_curve(model, held_out, ct.EdgeScores(chance, scores.graph), shares=shares).results,
    }
    drawing = Drawing(720, 330, "Faithfulness rises to 1 with few edges of the circuit; random edges carry nothing.")
    places = range(len(shares))
    frame = Frame(60, 520, 30, 265, (-0.3, len(shares) - 0.7), (-0.1, 1.15))
    labels = [f"{share:.1%}" if share < 0.01 else f"{share:.0%}" for share in shares]
    frame.draw(drawing, list(enumerate(labels)), [(0, "0"), (0.5, "0.5"), (1, "1")])
    for kind, results in lines.items():
        drawn = [(n, r.normalized) for n, r in zip(places, results, strict=True) if r.normalized]
        print("faithfulness", kind, [(shares[n], f"{m.estimate:.3f} [{m.low:.3f}, {m.high:.3f}]") for n, m in drawn])
        drawing.line([frame.at(n, value.estimate) for n, value in drawn], kind[1], 2)
        for n, value in drawn:
            drawing.line([frame.at(n, value.low), frame.at(n, value.high)], kind[1], 2)
            drawing.dot(*frame.at(n, value.estimate), kind)
    drawing.text(60, 312, "share of all 6,573 edges that are kept", "soft small")
    drawing.text(60, 20, "faithfulness, with its 95 % interval over pairs", "soft small")
    drawing.text(535, frame.at(0, 1)[1] + 4, "the strongest edges", "fb")
    drawing.text(535, frame.at(0, 0)[1] + 4, "as many random edges", "fa")
    return drawing


def tuned_scores(seed: int) -> ct.EdgeScores:
    """Scores of nano after one epoch of sums and differences, LoRA of rank 2."""
    model, tokenizer = ct.load("nano")
    assert isinstance(model, PreTrainedModel)
    pairs = ct.task("add_sub", style="short")
    config = ct.RankPlan.uniform(model, rank=2).to_lora_config(model)
    settings = TrainingSettings(epochs=1, learning_rate=5e-3, checkpoints=1)
    with tempfile.TemporaryDirectory() as folder:
        result = finetune(
            model, tokenizer, pairs.split("train"), settings, config=config, folder=Path(folder),
            evaluate={"validation": pairs.split("validation")}, seed=seed,
        )  # fmt: skip
    return add_sub_scores(result.model)


def add_sub_scores(model: torch.nn.Module) -> ct.EdgeScores:
    """Scores on 200 pairs of add_sub, pair by pair."""
    pairs = ct.task("add_sub", style="short").split("circuit").sample(200)
    return ct.attribute(model, ct.encode(pairs, ct.load("nano")[1]), per_example=True)


def nulls() -> Drawing:
    """The change of fine-tuning beside what chance alone changes."""
    before, after, other = add_sub_scores(ct.load("nano")[0]), tuned_scores(0), tuned_scores(1)
    interval = bootstrap_change(before, after, size=0.05).measures["edge_rate"]
    base, one, two = (scores.top(0.05) for scores in (before, after, other))

    def rates(comparisons: Iterable[Overlap]) -> list[float]:
        return [comparison.edges.rate or 0.0 for comparison in comparisons]

    rows = [
        ("before and after fine-tuning", rates([overlap(base, one)]), "fa"),
        ("two seeds of that fine-tuning", rates([overlap(one, two), overlap(two, one)]), "dot"),
        ("two halves of the pairs, before", rates(between_halves(before, 0.05)), "dot"),
        ("two halves of the pairs, after", rates(between_halves(after, 0.05)), "dot"),
        ("same degrees, edges at random", rates(rewired_overlaps(base, one, 20)), "dot"),
    ]
    drawing = Drawing(720, 320, "The change of fine-tuning beside that between seeds, halves and rewired circuits.")
    frame = Frame(240, 690, 30, 255, (0, 1.3), (0, len(rows)))
    for tick in (0, 0.25, 0.5, 0.75, 1, 1.25):
        x, _ = frame.at(tick, 0)
        drawing.line([(x, frame.top), (x, frame.bottom)], "grid", 1)
        drawing.text(x, frame.bottom + 20, f"{tick:g}", "soft small mid")
    for n, (words, values, kind) in enumerate(rows):
        y = frame.at(0, len(rows) - n - 0.5)[1]
        print("nulls", words, [round(value, 3) for value in sorted(values)])
        drawing.text(frame.left - 14, y + 4, words, "end" if n else "end bold")
        for value in values:
            drawing.dot(frame.at(value, 0)[0], y, kind, 5 if n else 6)
    if isinstance(interval, Interval):
        print("nulls: the interval of the change", interval)
        drawing.line([frame.at(value, len(rows) - 0.5) for value in (interval.low, interval.high)], "a", 3)
    drawing.text(240, 302, "edge rate: edges that came or went, as a share of the first circuit's", "soft small")
    return drawing


def main() -> None:
    """Draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    out: Path = parser.parse_args().out
    edges().save(out / "edges.svg")
    model, found, held_out = ioi()
    integral(model, found).save(out / "eap-ig.svg")
    faithfulness(model, found, held_out).save(out / "faithfulness.svg")
    nulls().save(out / "nulls.svg")


if __name__ == "__main__":
    main()
