"""``circuitune compare``: what differs between two circuits, and whether it is more than chance."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from circuitune.cli.discover import NO_PAIRS, usable
from circuitune.cli.evaluate import read_file
from circuitune.cli.output import say, show, show_json, table, working
from circuitune.cli.sources import LOADED, ModelOptions, PairOptions, load_pairs
from circuitune.core.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from circuitune.dynamics.comparison import Comparison


def compare(
    before: str,
    after: str,
    /,
    *,
    loading: ModelOptions = LOADED,
    source: PairOptions = NO_PAIRS,
    share: float = 0.05,
    metric: Literal["auto", "logit_diff", "kl", "nll"] = "auto",
    pairs_count: int = 200,
    resamples: int = 200,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Say what changed between two circuits, and whether that is more than the chance of the pairs.

    Edges and nodes added, removed and kept, beside error bars over pairs, what disjoint splits of the pairs and
    circuits rewired with their degrees kept give, and tests of single edges. Each side is a saved circuit or scores
    file, or a model; models need --task or --pairs. Scores files need those of every pair (discover --per-example).

    Examples:
      circuitune compare base/scores.safetensors tuned/scores.safetensors
      circuitune compare nano tuned/checkpoints/step-00500 --task add_sub
      circuitune compare EleutherAI/pythia-160m@step1000 EleutherAI/pythia-160m@step143000 --task add_sub

    Parameters
    ----------
    before: str
        A circuit or scores file; a folder of a model, an adapter or a Trainer's checkpoint; the name of a model on
        the hub, also as NAME@REVISION; or nano.
    after: str
        The same.
    share: float
        Share of all edges that scores are cut to.
    metric: str
        For models: auto is the logit difference where wrong answers are known, else kl.
    pairs_count: int
        For models: how many pairs to use at most.
    resamples: int
        How often pairs are drawn again for error bars, 200 or more.
    seed: int
        Of resamples, splits and rewirings.
    json: bool
        Print the result as JSON, with the names of all changed edges and nodes.
    """
    from circuitune.dynamics.bootstrap import LEAST_RESAMPLES
    from circuitune.dynamics.comparison import compare_with_chance

    if not 0 < share <= 1:
        raise InputError(f"--share {share} is no share of the edges; give a number above 0, at most 1.")
    if resamples < LEAST_RESAMPLES:
        raise InputError(f"--resamples {resamples} is too few for error bars; give {LEAST_RESAMPLES} or more.")
    sides = (before, after)
    models = [side for side in dict.fromkeys(sides) if not _is_file(side)]
    if models and source.task is None and source.pairs is None:
        raise InputError(f"{models[0]} is no file, so it is taken for a model: name pairs with --task or --pairs.")
    found = {side: read_file(Path(side)) for side in sides if _is_file(side)}
    if models:
        found |= _score(models, loading, source, metric, pairs_count)
    with working(f"Comparing, {resamples} resamples"):
        result = compare_with_chance(found[before], found[after], size=share, resamples=resamples, seed=seed)
    if json:
        show_json(result.to_record())
        return
    show("\n".join(result.sentences))
    show(f"\n{_measures(result)}\n\n{_counts(result)}")
    show(f"\nEdges by the layer they leave (-1 is the input):\n{_layers(result)}")


def _is_file(side: str) -> bool:
    try:
        return side.endswith(".safetensors") or Path(side).is_file()
    except OSError:  # too long for a file; the loader refuses it
        return False


def _score(
    models: list[str], loading: ModelOptions, source: PairOptions, metric: str, pairs_count: int
) -> dict[str, Any]:
    """Each model's scores of the same pairs, one by one; the first model checks them and answers for missing ones."""
    from circuitune.circuits.attribution import attribute
    from circuitune.models.encoding import encode
    from circuitune.models.loading import Loader

    tokenizers, loader = _tokenizers(models, loading.trust_remote_code), Loader(**asdict(loading))
    say(f"Loading {models[0]} ...")
    first = loader.load(models[0])
    pairs, chosen = load_pairs(source, first, tokenizers[0], metric, "circuit")
    sample = usable(pairs, chosen).sample(pairs_count)
    scores: dict[str, Any] = {}
    for name, tokenizer in zip(models, tokenizers, strict=True):
        model = first if name == models[0] else loader.load(name)
        say(f"Scoring all edges of {name} on {len(sample)} pairs, metric {chosen} ...")
        scores[name] = attribute(model, encode(sample, tokenizer), metric=chosen, per_example=True)
    return scores


def _tokenizers(models: list[str], trusting: bool) -> "list[PreTrainedTokenizerBase]":
    """Each model's own; one that brings none, as a Trainer's checkpoint may, has the first that another brings."""
    from circuitune.models.loading import load_tokenizer

    own: list[PreTrainedTokenizerBase | InputError] = []
    for name in models:
        try:
            own.append(load_tokenizer(name, trust_remote_code=trusting))
        except InputError as error:
            own.append(error)
    there = [found for found in own if not isinstance(found, InputError)]
    for found in own:
        if isinstance(found, InputError) and not there:
            raise found
    return [there[0] if isinstance(found, InputError) else found for found in own]


def _measures(result: "Comparison") -> str:
    """Every measure with its interval, and beside it what chance gives on average and at most."""
    from circuitune.dynamics.showing import comparison_columns

    columns = comparison_columns(result)
    del columns["verdict"]  # in the sentences above
    return table([name.replace("_", " ") for name in columns], list(zip(*columns.values(), strict=True)))


def _counts(result: "Comparison") -> str:
    parts = {"nodes": result.change.nodes, "edges": result.change.edges}
    rows = [
        [kind, part.before, part.after, len(part.added), len(part.removed), len(part.kept)]
        for kind, part in parts.items()
    ]
    return table(["kind", "before", "after", "added", "removed", "kept"], rows)


def _layers(result: "Comparison") -> str:
    rows = [
        [layer.layer, layer.possible, layer.before, layer.after, layer.added, layer.removed]
        for layer in result.change.layers
        if layer.kind == "edge" and layer.side == "source"
    ]
    return table(["layer", "possible", "before", "after", "added", "removed"], rows)
