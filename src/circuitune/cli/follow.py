"""``circuitune follow``: the circuits of a task along the checkpoints of a training."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from circuitune.cli.discover import NO_PAIRS, usable
from circuitune.cli.output import say, show, show_json, table
from circuitune.cli.sources import LOADED, ModelOptions, PairOptions, load_pairs
from circuitune.core.errors import InputError

if TYPE_CHECKING:
    from circuitune.dynamics.measures import Counts
    from circuitune.training.following import Checkpoint, StepChange


def follow(
    model: str,
    /,
    *,
    checkpoints: Path | None = None,
    revisions: Annotated[tuple[str, ...], Parameter(consume_multiple=True, show_default=False)] = (),
    loading: ModelOptions = LOADED,
    source: PairOptions = NO_PAIRS,
    share: float = 0.05,
    metric: Literal["auto", "logit_diff", "kl", "nll"] = "auto",
    pairs_count: int = 200,
    per_example: bool = False,
    out: Path = Path("followed"),
    json: bool = False,
) -> None:
    """Follow the circuits of a task along checkpoints that are there already.

    Every checkpoint is scored on the same pairs, one file per step. The same command goes on where it was, also when
    there are more checkpoints.

    Examples:
      circuitune follow my-gpt2 --checkpoints output --pairs ioi.csv --out circuits
      circuitune follow EleutherAI/pythia-160m --revisions step1000 step8000 step143000 --task add_sub --out circuits

    Parameters
    ----------
    model: str
        The model before training, which is step 0: a folder, the name of one on the hub, or nano. With --revisions
        the model on the hub.
    checkpoints: Path
        A Trainer's output folder (checkpoint-500 and so on) or that of circuitune train.
    revisions: tuple[str, ...]
        Revisions on the hub, in order.
    share: float
        Share of all edges that scores are cut to.
    metric: str
        auto is the logit difference where wrong answers are known, else kl.
    pairs_count: int
        How many pairs to use at most.
    per_example: bool
        Keep the scores of every pair too: then `circuitune compare` of two files says what is more than chance.
    out: Path
        A folder of its own for the scores, step-00500.safetensors and so on.
    json: bool
        Print the result as JSON, with nodes as well as edges.
    """
    from circuitune.models.encoding import encode
    from circuitune.models.loading import Loader, load_tokenizer
    from circuitune.training import following

    if not 0 < share <= 1:
        raise InputError(f"--share {share} is no share of the edges; give a number above 0, at most 1.")
    if (checkpoints is None) == (not revisions):
        raise InputError("Say what to follow: either --checkpoints FOLDER or --revisions A B C.")
    points = (
        following.revisions(model, revisions) if checkpoints is None else following.checkpoints_in(checkpoints, model)
    )
    start = points[0] if checkpoints is None else following.Checkpoint(0, model)
    say(f"Loading {start} ...")
    loader = Loader(**asdict(loading))
    tokenizer = load_tokenizer(start.name, revision=start.revision, trust_remote_code=loading.trust_remote_code)
    loaded = loader.load(start.name, revision=start.revision)
    pairs, chosen = load_pairs(source, loaded, tokenizer, metric, "circuit")
    sample = usable(pairs, chosen).sample(pairs_count)
    del loaded  # the next checkpoint may need its place
    say(f"Scoring all edges of {len(points)} checkpoints on {len(sample)} pairs, metric {chosen} ...")
    series = following.follow(
        points,
        encode(sample, tokenizer),
        out,
        metric=chosen,
        per_example=per_example,
        loader=loader,
        report=_Report(points).done,
    )
    _show(following.along(series, share), out, json)


class _Report:
    """A line on stderr for each checkpoint."""

    def __init__(self, points: "Sequence[Checkpoint]") -> None:
        self._places = {point: f"[{place}/{len(points)}]" for place, point in enumerate(points, 1)}

    def done(self, point: "Checkpoint", seconds: float | None) -> None:
        took = "kept from before" if seconds is None else f"{seconds:.1f} s"
        say(f"{self._places[point]} step {point.step}, {point}: {took}")


def _show(rows: "tuple[StepChange, ...]", out: Path, json: bool) -> None:
    if json:
        show_json({"folder": str(out), "steps": [_record(row) for row in rows]})
        return
    header = ["step", "edges", "changed since first", "rate", "jaccard", "since previous", "rate", "jaccard"]
    cells = [
        [
            row.step,
            row.from_first.edges.after,
            *_against(row.from_first.edges, row.from_first.edges.rate),
            *_against(row.from_previous.edges, row.edge_rate),
            row.edge_cumulative,
            row.completeness,
        ]
        for row in rows
    ]
    show(table([*header, "cumulative", "completeness"], cells))
    show("Rates are relative to the edges of the first circuit.")
    show(f"Scores: {out}")


def _against(counts: "Counts", rate: float | None) -> list[Any]:
    return [counts.changed, rate, counts.jaccard]


def _record(row: "StepChange") -> dict[str, Any]:
    kinds = {"edges": (row.edge_rate, row.edge_cumulative), "nodes": (row.node_rate, row.node_cumulative)}
    parts: dict[str, Any] = {}
    for kind, (rate, cumulative) in kinds.items():
        first, previous = (getattr(counts, kind) for counts in (row.from_first, row.from_previous))
        parts[kind] = {
            "count": first.after,
            "from_first": {"changed": first.changed, "rate": first.rate, "jaccard": first.jaccard},
            "from_previous": {"changed": previous.changed, "rate": rate, "jaccard": previous.jaccard},
            "cumulative": cumulative,
        }
    return {"step": row.step, **parts, "completeness": row.completeness}
