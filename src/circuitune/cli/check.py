"""``circuitune check``: whether results on a model can be trusted."""

from typing import TYPE_CHECKING, Any

from circuitune.cli.discover import NO_PAIRS, usable
from circuitune.cli.output import say, show, show_json, table
from circuitune.cli.sources import LOADED, ModelOptions, PairOptions, load_model, load_pairs
from circuitune.core.errors import MachineError

if TYPE_CHECKING:
    from circuitune.circuits.checking import Report
    from circuitune.models.encoding import EncodedPairs

PAIRS = 8
"""Pairs taken of a task or file: what fails, fails on few."""


def check(
    model: str,
    /,
    *,
    loading: ModelOptions = LOADED,
    source: PairOptions = NO_PAIRS,
    json: bool = False,
) -> None:
    """Try on a model everything that scores and circuits rely on; leaves with 1 if something fails.

    Without --task or --pairs it takes pairs of random tokens of the model's vocabulary.

    Examples:
      circuitune check EleutherAI/pythia-160m
      circuitune check my-gpt2 --pairs ioi.csv

    Parameters
    ----------
    model: str
        A model folder (also of a PEFT adapter), the name of one on the hub, or nano.
    json: bool
        Print the result as JSON.
    """
    from circuitune.circuits.checking import check_model
    from circuitune.models.anatomy import anatomy_of

    loaded, tokenizer = load_model(model, loading)
    anatomy_of(loaded)  # an unsupported architecture is told before any pair is read
    if source == NO_PAIRS:
        inputs, metric = _random(loaded, tokenizer), "logit_diff"
    else:
        inputs, metric = _encoded(source, loaded, tokenizer)
    say(f"Checking it on {len(inputs)} pairs, metric {metric} ...")
    report = check_model(loaded, inputs, metric=metric)
    if json:
        show_json(report.to_record())
    else:
        _show(report)
    if not report.passed:
        raise MachineError(report.verdict)


def _random(model: Any, tokenizer: Any) -> "EncodedPairs":
    from circuitune.circuits.checking import ordinary_ids, random_tokens
    from circuitune.models.anatomy import anatomy_of

    anatomy = anatomy_of(model)
    special = set(tokenizer.all_special_ids)
    usable = [token for token in ordinary_ids(anatomy) if token < len(tokenizer) and token not in special]
    say(f"No pairs given: taking pairs of random tokens out of {len(usable)} that are not special.")
    return random_tokens(anatomy, usable=usable)


def _encoded(source: PairOptions, model: Any, tokenizer: Any) -> tuple["EncodedPairs", str]:
    from circuitune.models.encoding import encode

    pairs, metric = load_pairs(source, model, tokenizer, "auto", "circuit")
    return encode(usable(pairs, metric).sample(PAIRS), tokenizer), metric


def _show(report: "Report") -> None:
    rows = [
        [check.name, check.value, check.bound, "ok" if check.passed else "FAILS"]
        for check in report.checks
        if check.bound is not None
    ]
    show(table(["check", "error", "bound", ""], rows))
    for check in report.checks:
        if check.bound is None or not check.passed:
            show(check.sentence)
    if report.passed:
        show(report.verdict)
