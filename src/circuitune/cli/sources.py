"""What the single steps share: options on pairs and models, and pairs and models as those options say."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from circuitune.cli.output import say
from circuitune.core.errors import InputError
from circuitune.core.placement import Device, Dtype

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from circuitune.experiments.inputs import Model
    from circuitune.tasks.pairs import PairSet

Part = Literal["train", "circuit", "validation", "test", "all"]


@Parameter(name="*")
@dataclass(frozen=True)
class ModelOptions:
    """How models are loaded."""

    device: Device = "auto"
    "Where the model runs: auto is the first GPU if there is one (nano stays on the CPU)."
    dtype: Dtype | None = None
    "Type of its weights; by default as stored, but half precision on the CPU becomes float32."
    trust_remote_code: bool = False
    "Run the Python code that the model's folder or repository brings; only for models you trust."
    pickled_weights: bool = False
    "Read weights in PyTorch's pickled form (.bin), tensors alone, where there are no safetensors."


LOADED = ModelOptions()


@Parameter(name="*")
@dataclass(frozen=True)
class PairOptions:
    """Which pairs."""

    task: str | None = None
    "A task by name; `circuitune tasks list` has them."
    pairs: Path | None = None
    "Your own file: CSV or JSONL with clean, corrupted, answer (or label) and, if known, wrong."
    settings: Annotated[tuple[str, ...], Parameter(name="--set", show_default=False)] = ()
    "A task's parameter, such as limit=300; may be given several times."
    answer_prefix: str | None = None
    "What stands before every bare answer of the file, such as a space."
    strict: bool = False
    "Stop if any row breaks a rule, in place of leaving it out."
    chat: bool = False
    "Put the prompts into the tokenizer's chat template."
    multi_token: bool = False
    "Keep answers of several tokens."
    part: Part | None = None
    "Which split to use; by default the circuit split of a task and all rows of a file (train: validation)."


def parameters(settings: tuple[str, ...]) -> dict[str, Any]:
    """``("limit=300",)`` as ``{"limit": 300}``; InputError where one has no equals sign."""
    from circuitune.core.parsing import parse_yaml

    parsed: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise InputError(f"--set {setting} is not NAME=VALUE; write for example --set limit=300.")
        try:
            parsed[name] = parse_yaml(value)
        except ValueError as error:
            raise InputError(f"--set {name}: the value cannot be read ({error}); quote it.") from error
    return parsed


def read_source(options: PairOptions) -> "PairSet":
    """The pairs the options name, unchecked; InputError where they name none, or both kinds."""
    from circuitune.tasks.files import read_pairs
    from circuitune.tasks.registry import task

    if (options.task is None) == (options.pairs is None):
        raise InputError("Name the pairs: either --task NAME or --pairs FILE.")
    if options.pairs is not None:
        if options.settings:
            raise InputError("--set belongs to a task; a file has no parameters.")
        return read_pairs(options.pairs, answer_prefix=options.answer_prefix)
    if options.answer_prefix is not None:
        raise InputError("--answer-prefix belongs to a file; a task's answers are complete.")
    assert options.task is not None
    return task(options.task, **parameters(options.settings))


def load_pairs(
    options: PairOptions, model: "Model", tokenizer: "PreTrainedTokenizerBase", metric: str, part: Part
) -> tuple["PairSet", str]:
    """Valid pairs of the asked part, and the metric they allow; ``part`` is a task's default.

    Says on stderr how many rows were left out and why.
    """
    from circuitune.experiments.inputs import complete_wrong, metric_for, require_context
    from circuitune.tasks.checks import check

    source = read_source(options)
    if options.chat:
        source = source.chat(tokenizer)
    checked = check(source, tokenizer, multi_token=options.multi_token, strict=options.strict)
    report_left_out(checked.left_out)
    pairs = checked.pairs
    require_context(pairs, model, tokenizer)
    if options.pairs is not None and metric in ("auto", "logit_diff"):
        pairs = complete_wrong(pairs, model, tokenizer)
    metric = metric_for(pairs, metric)
    wanted = options.part or (part if options.pairs is None else "all")
    if wanted == "all":  # as a part of its own: a sample of an unsplit set would draw from a tenth of it
        return replace(pairs, part="circuit"), metric
    return pairs.split(wanted), metric


def report_left_out(left_out: Any) -> None:
    """The rows that broke a rule, on stderr: how many, and the first ten."""
    if left_out:
        say(f"{len(left_out)} rows broke a rule and were left out:")
    for row in left_out[:10]:
        say(f"  row {row.row if row.row is not None else '?'}: {row.reason}")
    if len(left_out) > 10:
        say(f"  and {len(left_out) - 10} more")


def load_model(name: str, how: ModelOptions) -> tuple["Model", "PreTrainedTokenizerBase"]:
    """A model and its tokenizer, saying so on stderr."""
    from circuitune.models.loading import load

    say(f"Loading {name} ...")
    return load(name, **asdict(how))
