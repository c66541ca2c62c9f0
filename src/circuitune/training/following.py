"""Circuits along checkpoints that are there already: a Trainer's, our own, or a model's revisions on the hub.

    points = checkpoints_in("output", start="EleutherAI/pythia-160m")
    points = revisions("EleutherAI/pythia-160m", ["step1000", "step8000", "step143000"])
    series = follow(points, inputs, "circuits")            # step -> EdgeScores; later read_series("circuits")
    rows = along(series)

What `CircuitCallback` does during a training, afterwards. A step whose file is whole and was made in the same way
from the same weights and pairs is not done again; the base that adapters share is read once.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from circuitune.circuits.ablation import Ablation
from circuitune.circuits.attribution import attribute
from circuitune.circuits.gradients import Method
from circuitune.circuits.graph import Graph
from circuitune.circuits.memory import BUDGET
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.core.atomic import ensure_writable_folder
from circuitune.core.errors import InputError, MachineError
from circuitune.dynamics.layers import STUDY_SHARE
from circuitune.dynamics.measures import Overlap, overlap
from circuitune.models.anatomy import anatomy_of
from circuitune.models.encoding import EncodedPairs
from circuitune.models.loading import NANO, Loader
from circuitune.training.circuit_callback import step_file

_FOLDER = re.compile(r"(?:checkpoint|step)-(\d+)")


@dataclass(frozen=True)
class Checkpoint:
    """A model on the way: its optimizer step, its name as in `load`, and on the hub its revision."""

    step: int
    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name


def checkpoints_in(folder: str | Path, start: str | None = None) -> tuple[Checkpoint, ...]:
    """The checkpoints of a training in the order of their steps.

    Args:
        folder: holds a Trainer's ``checkpoint-500`` and so on, or our own ``step-00500`` (also in ``checkpoints``).
        start: the model before training; it is step 0 where the folder has none.

    Raises:
        InputError: no such folder, no checkpoints in it, or two of one step.
    """
    inside = [found for place in (Path(folder), Path(folder) / "checkpoints") if (found := _numbered(place))]
    if not inside:
        raise InputError(
            f"{folder} holds no checkpoint-N or step-N folders; give a Trainer's output folder, or that of "
            "circuitune train."
        )
    found = inside[0]
    for one, other in pairwise(found):
        if one.step == other.step:
            raise InputError(f"{one} and {other} are both step {one.step}; move one of them away.")
    before = () if start is None or found[0].step == 0 else (Checkpoint(0, start),)
    return *before, *found


def revisions(name: str, names: Sequence[str]) -> tuple[Checkpoint, ...]:
    """Revisions of a model on the hub, in the order given; steps are the numbers they end in, if those increase.

    Raises:
        InputError: a folder or nano, which have no revisions, a name that brings one, or a revision given twice.
    """
    if name == NANO or _exists(name):
        raise InputError(f"{name} is no model on the hub, so it has no revisions; give a folder of checkpoints.")
    if "@" in name:
        raise InputError(f"{name} names a revision already; give {name.partition('@')[0]} and list its revisions.")
    if double := next((one for one in names if names.count(one) > 1), None):
        raise InputError(f"The revision {double} is there twice; name each once.")
    numbers = [int(found[0]) for one in names if (found := re.search(r"\d+$", one))]
    increasing = len(numbers) == len(names) and all(one < other for one, other in pairwise(numbers))
    steps = numbers if increasing else range(len(names))
    return tuple(Checkpoint(step, name, revision) for step, revision in zip(steps, names, strict=True))


def follow(
    checkpoints: Sequence[Checkpoint],
    inputs: EncodedPairs,
    folder: str | Path,
    *,
    metric: str = "logit_diff",
    method: Method = "eap-ig",
    steps: int = 5,
    ablation: Ablation = "interchange",
    per_example: bool = False,
    memory: int = BUDGET,
    loader: Loader | None = None,
    report: Callable[[Checkpoint, float | None], None] | None = None,
) -> dict[int, EdgeScores]:
    """Score every checkpoint on the same pairs, one file per step, as `CircuitCallback` names them.

    Args:
        checkpoints: two or more, in order.
        inputs: pairs, encoded by the tokenizer that all of them share.
        folder: a folder of its own for the files; what is whole there is taken as it is.
        metric, method, steps, ablation, per_example, memory: as in `attribute`.
        loader: what has loaded the first model already.
        report: called after each step, with the seconds it took; None where it was there.

    Returns:
        The scores by step, without those of single pairs, which stay in the files.

    Raises:
        InputError: fewer than two checkpoints, models of different shapes, a folder with other files in it or with
            scores made in another way, or a checkpoint that does not load.
        MachineError: scores that are not finite, or a full disk.
    """
    if len(checkpoints) < 2:
        raise InputError(f"There is nothing to follow in {len(checkpoints)} checkpoint; give two or more.")
    how: dict[str, Any] = {
        "metric": metric,
        "method": method,
        "steps": steps,
        "ablation": ablation,
        "per_example": per_example,
    }
    place, loader = ensure_writable_folder(Path(folder)), loader or Loader()
    options = {**how, **loader.options}
    made = {"options": options, "pairs_digest": inputs.digest}
    series = _kept(checkpoints, place, made, loader)
    for checkpoint in checkpoints:  # one that is not there is refused before hours go into the others
        loader.content(checkpoint.name, revision=checkpoint.revision)
    previous: str | None = None
    for checkpoint in checkpoints:
        begun, weights = time.monotonic(), loader.content(checkpoint.name, revision=checkpoint.revision)
        path = step_file(place, checkpoint.step)
        kept = series.get(checkpoint.step)
        own = {"step": checkpoint.step, "weights": weights, "previous": previous, "options": options}
        if kept is None:
            model = loader.load(checkpoint.name, revision=checkpoint.revision)
            _require_shape(model, checkpoint, checkpoints[0], next(iter(series.values()), None), inputs)
            try:
                scores = attribute(model, inputs, **how, memory=memory)
            except MachineError as error:
                raise MachineError(f"{checkpoint}: {error}") from error
            scores = replace(scores, settings={**scores.settings, **own})
            scores.save(path)
            series[checkpoint.step] = _means(scores)
        elif kept.settings.get("previous") != previous:  # a checkpoint came in between, or was taken out
            replace(EdgeScores.load(path), settings={**kept.settings, **own}).save(path)
        if report is not None:
            report(checkpoint, time.monotonic() - begun if kept is None else None)
        previous = weights
    return {checkpoint.step: series[checkpoint.step] for checkpoint in checkpoints}


class StepChange(NamedTuple):
    """One checkpoint of a series against the first and against the one before it (the first against itself).

    ``edge_rate`` and ``node_rate`` are changes since the one before, relative to the *first* circuit;
    ``edge_cumulative`` and ``node_cumulative`` their sums so far (Delta_S). None where the first circuit is empty.
    """

    step: int
    from_first: Overlap
    from_previous: Overlap
    edge_rate: float | None
    node_rate: float | None
    edge_cumulative: float | None
    node_cumulative: float | None
    completeness: float | None


def along(series: Mapping[int, EdgeScores], share: float = STUDY_SHARE) -> tuple[StepChange, ...]:
    """How circuits change along a series of scores (`follow`, `read_series`), each cut to ``share`` of all edges.

    Raises:
        InputError: scores of different graphs.
    """
    rows: list[StepChange] = []
    first: Circuit | None = None
    before: Circuit | None = None  # no more than three circuits are held at a time
    edges = nodes = 0
    for step, scores in series.items():
        circuit = scores.top(share)
        first = circuit if first is None else first
        before = circuit if before is None else before
        start, last = overlap(first, circuit), overlap(before, circuit)
        edges, nodes = edges + last.edges.changed, nodes + last.nodes.changed
        rows.append(
            StepChange(
                step=step,
                from_first=start,
                from_previous=last,
                edge_rate=_over(last.edges.changed, start.edges.before),
                node_rate=_over(last.nodes.changed, start.nodes.before),
                edge_cumulative=_over(edges, start.edges.before),
                node_cumulative=_over(nodes, start.nodes.before),
                completeness=scores.completeness,
            )
        )
        before = circuit
    return tuple(rows)


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError:  # too long for a file; the loader refuses it
        return False


def _numbered(folder: Path) -> list[Checkpoint]:
    found = [(path, _FOLDER.fullmatch(path.name)) for path in folder.glob("*-*") if path.is_dir()]
    return sorted((Checkpoint(int(match[1]), str(path)) for path, match in found if match), key=lambda one: one.step)


def _kept(
    checkpoints: Sequence[Checkpoint], folder: Path, made: Mapping[str, Any], loader: Loader
) -> dict[int, EdgeScores]:
    """The scores that are whole, by step. InputError for a file of something else: it is not ours to overwrite."""
    own = {step_file(folder, checkpoint.step): checkpoint for checkpoint in checkpoints}
    others = [path for path in sorted(folder.iterdir()) if path not in own and not path.name.startswith(".")]
    if others:
        raise InputError(
            f"{folder} holds {others[0].name}, which belongs to none of these checkpoints; move it away, or give the "
            "sweep a folder of its own."
        )
    kept: dict[int, EdgeScores] = {}
    for path, checkpoint in own.items():
        try:
            scores = _means(EdgeScores.load(path))
        except InputError:  # missing or damaged
            continue
        weights = loader.content(checkpoint.name, revision=checkpoint.revision)
        if any(scores.settings.get(name) != value for name, value in {**made, "weights": weights}.items()):
            raise InputError(
                f"{path} was made from other weights, pairs or options than those of {checkpoint}; remove it, or "
                "give the sweep a folder of its own."
            )
        kept[checkpoint.step] = scores
    return kept


def _require_shape(
    model: nn.Module, checkpoint: Checkpoint, first: Checkpoint, scored: EdgeScores | None, inputs: EncodedPairs
) -> None:
    """InputError unless the model has the nodes of those scored before and knows all tokens of the pairs."""
    graph = Graph.of(anatomy_of(model))
    if scored is not None and graph != scored.graph:
        raise InputError(
            f"{checkpoint} has {graph.layers} layers of {graph.heads} heads and {first} {scored.graph.layers} of "
            f"{scored.graph.heads}; follow checkpoints of one model."
        )
    known, largest = len(model.get_input_embeddings().weight), int(inputs.clean.max())  # type: ignore[operator]
    if largest >= known:
        raise InputError(
            f"{checkpoint} knows {known} tokens and the pairs hold token {largest}; follow checkpoints of one model."
        )


def _over(count: int, whole: int) -> float | None:
    return count / whole if whole else None


def _means(scores: EdgeScores) -> EdgeScores:
    return replace(scores, examples=None, groups=None)
