"""What a run is given: the model by content, the pairs read and checked, and a recipe that no longer changes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from circuitune.core.errors import InputError
from circuitune.core.manifest import digest, sha256_file
from circuitune.core.records import PairsRecord, SizeRecord
from circuitune.experiments.estimate import Size
from circuitune.experiments.recipe import RECIPE, DataRecipe, Recipe, TextRecipe, parsed, read_text
from circuitune.experiments.specs import ModelRef
from circuitune.experiments.store import HASHED, INPUTS, require_input
from circuitune.models.anatomy import anatomy_of
from circuitune.models.answering import fill_wrong
from circuitune.models.loading import NANO, NANO_FOLDER, chosen_device, load
from circuitune.tasks.checks import Checked, check
from circuitune.tasks.files import read_pairs
from circuitune.tasks.pairs import PairSet
from circuitune.tasks.registry import task
from circuitune.tasks.splits import Part
from circuitune.tasks.tokens import prompt_ids

WrongSource = Literal["given", "computed", "model", "none"]
Model = PreTrainedModel | PeftModel
MODEL_FILES = (".json", ".safetensors", ".bin", ".model", ".txt", ".jinja")
"""Endings of the files that decide what a model folder computes."""
ELSEWHERE: tuple[Part, ...] = ("train", "validation", "test")
"""Parts whose prompts pairs of the circuit split must not become when they are resampled."""
MOST = 0.75
"""Share of pairs that must have a wrong answer for the logit difference to be the metric."""


@dataclass(frozen=True)
class Frozen:
    """A recipe whose inputs are pinned.

    Attributes:
        recipe: with the data file's path inside the run folder, the model folder's absolute, and the very device.
        model: the model's name and fingerprint, and how it is loaded.
        files: path inside the run folder -> the user's file to copy there.
    """

    recipe: Recipe
    model: ModelRef
    files: dict[str, Path]


def freeze(recipe: Recipe, *, here: bool = True, folder: Path | None = None) -> Frozen:
    """Pin the recipe's inputs and its device; InputError where one that it names is missing.

    ``here``: the jobs run on this machine, so the device must be there. ``folder``: of the run; one that was begun
    keeps its device.
    """
    place = Path(recipe.model)
    name = str(place.resolve()) if recipe.model != NANO and place.exists() else recipe.model
    asked = (_kept_device(folder) if recipe.device == "auto" else None) or recipe.device
    device = str(chosen_device(asked, name, here=here))
    model = reference(name, recipe.revision).model_copy(update={"device": device, "dtype": recipe.dtype})
    copies: dict[str, Path] = {}
    changes: dict[str, object] = {"model": name, "device": device, "data": _pinned(recipe.data, copies)}
    if recipe.composition is not None:
        others = {
            field: {name: _pinned(data, copies) for name, data in getattr(recipe.composition, field).items()}
            for field in ("parts", "unrelated")
        }
        changes["composition"] = recipe.composition.model_copy(update=others)
    if recipe.contest is not None:
        own: dict[str, object] = {"kept": {name: _pinned(data, copies) for name, data in recipe.contest.kept.items()}}
        if recipe.contest.text is not None:
            inside = _copied(recipe.contest.text.file, "give a text file with one passage per line", copies)
            own["text"] = TextRecipe(file=inside)
        changes["contest"] = recipe.contest.model_copy(update=own)
    return Frozen(recipe.model_copy(update=changes), model, copies)


def _kept_device(folder: Path | None) -> str | None:
    """The device that a run which was begun in the folder is on; None where there is none."""
    path = folder / RECIPE if folder is not None else None
    if path is None or not path.is_file():
        return None
    return parsed(read_text(path, f"Recipe {path}", "start a run of its own"), f"Recipe {path}").get("device")


def _pinned(data: DataRecipe, copies: dict[str, Path]) -> DataRecipe:
    """The same data with a file's path inside the run folder; the file is added to ``copies``."""
    if data.file is None:
        return data
    return data.model_copy(update={"file": _copied(data.file, "give a CSV or JSONL file of pairs", copies)})


def _copied(file: str, hint: str, copies: dict[str, Path]) -> str:
    """The path of a file inside the run folder, by its content; the file is added to ``copies``."""
    path = Path(file)
    if not path.is_file():
        raise InputError(f"{file} is no file; {hint}.")
    run = path.parent.parent.parent
    if path.parent.parent == run / INPUTS and (run / RECIPE).is_file():  # the recipe of a run folder, given again
        require_input(path)
    inside = f"{INPUTS}/{sha256_file(path)[:HASHED]}/{path.name}"
    copies[inside] = path
    return inside


def reference(name: str, revision: str | None) -> ModelRef:
    """A model by content: its folder's files, or the hub name with the revision that the cache holds."""
    folder = NANO_FOLDER if name == NANO else Path(name)
    if folder.is_file():
        raise InputError(f"{name} is a file; --model takes a folder, a hub name, or nano.")
    if not folder.is_dir():
        return ModelRef(name=name, fingerprint=_hub_revision(name, revision))
    names = {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.suffix in MODEL_FILES
    }
    return ModelRef(name=folder.name, fingerprint=digest(names))


def _hub_revision(name: str, revision: str | None) -> str:
    """The commit of the hub model in the local cache (downloading its small config where it is not there)."""
    from huggingface_hub import hf_hub_download  # pyright: ignore[reportUnknownVariableType]
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        path = Path(hf_hub_download(name, "config.json", revision=revision))
    except HFValidationError as error:
        raise InputError(f"{name} is neither a folder nor the name of a model on the hub; check --model.") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"{name} is no folder here and could not be fetched from the hub; check the name or the network."
        ) from error
    return path.parent.name


def load_whole(name: str, **how: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model that can be fine-tuned, as `load` does; InputError where it is a PEFT adapter."""
    model, tokenizer = load(name, **how)
    if isinstance(model, PeftModel):
        raise InputError(
            f"{name} is a PEFT adapter; merge it into its base (merge_and_unload), save that, and give it."
        )
    return model, tokenizer


def load_pinned(
    name: str, revision: str | None, expected: ModelRef
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model and make sure it is the one that was pinned; InputError where it has changed."""
    if reference(name, revision).fingerprint != expected.fingerprint:
        raise InputError(f"The model {name} has changed since the run began; restore it, or start a run of its own.")
    return load_whole(name, revision=revision, device=expected.device, dtype=expected.dtype)


def given(file: str, run: Path) -> Path:
    """The path of a file that a recipe names; InputError where it is a run's copy and has changed."""
    path = run / file
    if file.startswith(f"{INPUTS}/"):
        require_input(path)
    return path


def read(data: DataRecipe, run: Path) -> PairSet:
    """The recipe's pairs, all of them, unchecked; a file's path is taken from ``run``."""
    if data.file is not None:
        return read_pairs(given(data.file, run), answer_prefix=data.answer_prefix)
    assert data.task is not None
    return task(data.task, **cast(dict[str, Any], data.parameters))


@dataclass(frozen=True)
class Prepared:
    """Pairs that keep the rules, and where their wrong answers come from."""

    checked: Checked
    wrong: WrongSource

    @property
    def pairs(self) -> PairSet:
        """The pairs."""
        return self.checked.pairs


def prepare(data: DataRecipe, run: Path, model: Model, tokenizer: PreTrainedTokenizerBase) -> Prepared:
    """Read and check the pairs; a file's missing wrong answers become the model's own on the corrupted prompt.

    Raises:
        InputError: an unreadable file, an unknown task, fewer than 40 valid pairs, ``strict`` and an invalid one, or
            a prompt longer than the model reads.
    """
    pairs = read(data, run)
    checked = check(pairs, tokenizer, strict=data.strict)
    require_context(checked.pairs, model, tokenizer)
    own: WrongSource = "given" if all(pair.wrong is not None for pair in checked.pairs) else "none"
    if data.file is None:
        return Prepared(checked, own)
    source = cast(WrongSource, checked.pairs.settings.get("wrong", own))
    filled = complete_wrong(checked.pairs, model, tokenizer)
    return Prepared(Checked(filled, checked.left_out), source if filled is checked.pairs else "model")


def require_context(pairs: PairSet, model: Model, tokenizer: PreTrainedTokenizerBase) -> None:
    """InputError where a prompt has more tokens than the model reads; it names the row of the longest."""
    positions = anatomy_of(model).positions
    lengths = prompt_lengths(pairs, tokenizer)
    long = sum(length > positions for length in lengths) if positions is not None else 0
    if long:
        place = lengths.index(max(lengths))
        row = pairs[place].row or place + 1
        raise InputError(
            f"{pairs.name}: {long} of {len(pairs)} prompts have more than the {positions} tokens that the model "
            f"reads (row {row} has {max(lengths)}); shorten them, leave them out, or take a model that reads more."
        )


def prompt_lengths(pairs: PairSet, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens of every clean prompt; the corrupted one of a valid pair has as many."""
    return [len(ids) for ids in prompt_ids(tokenizer, [pair.clean for pair in pairs])]


def complete_wrong(pairs: PairSet, model: Model, tokenizer: PreTrainedTokenizerBase) -> PairSet:
    """The pairs with the model's own answer to the corrupted prompt wherever the wrong answer is missing.

    A pair whose own answer is the right one keeps none.
    """
    return fill_wrong(pairs, model, tokenizer) if any(pair.wrong is None for pair in pairs) else pairs


def metric_for(pairs: PairSet, requested: str) -> str:
    """The metric of the run's circuits: as requested, or by what the pairs allow.

    Raises:
        InputError: the logit difference was asked for and too few pairs have a wrong answer.
    """
    have = sum(pair.wrong is not None for pair in pairs) / max(len(pairs), 1)
    if requested == "auto":
        return "logit_diff" if have >= MOST else "kl"
    if requested == "logit_diff" and have < MOST:
        raise InputError(
            f"The logit difference needs wrong answers, and only {have:.0%} of the pairs have one; "
            "add a column `wrong`, or set discovery.metric to kl."
        )
    return requested


def recall(frozen: Frozen, pairs: PairsRecord) -> Size:
    """What `Validator.size` returned when these pairs were made; only the recipe for this model is checked again.

    Raises:
        InputError: the recipe asks for more critical layers than this model can spare.
    """
    require_layers(frozen.recipe, pairs.size.layers)
    return sized(pairs.size, pairs.parts["train"])


def size_of(model: Model, pairs: PairSet, tokenizer: PreTrainedTokenizerBase) -> SizeRecord:
    """What the time of a run depends on."""
    lengths = prompt_lengths(pairs, tokenizer)
    return SizeRecord(
        parameters=model.num_parameters(), layers=anatomy_of(model).layers, tokens=sum(lengths) / len(lengths)
    )


def sized(known: SizeRecord, rows: int) -> Size:
    """What the time of a run depends on, whose trainings take so many rows."""
    return Size(parameters=known.parameters, tokens=known.tokens, rows=rows)


def require_layers(recipe: Recipe, layers: int) -> None:
    """InputError where a model of so many layers has none left beside the critical ones."""
    wanted = critical_count(recipe.critical_layers, layers)
    if wanted >= layers:
        raise InputError(
            f"{recipe.model} has {layers} layers: {wanted} critical ones leave none to compare; "
            "lower contest.critical_layers, or take a deeper model."
        )


def critical_count(requested: int | None, layers: int) -> int:
    """How many layers are critical: as requested, or the study's five of 24 in proportion, at least one."""
    return requested if requested is not None else max(1, round(5 * layers / 24))
