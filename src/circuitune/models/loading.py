"""A name or a folder in, a model in eval mode and its tokenizer out.

    model, tokenizer = load("nano")                       # the embedded model: no download
    model, tokenizer = load("EleutherAI/pythia-160m")     # Hugging Face hub, or pythia-160m@step1000 for a revision
    model, tokenizer = load("runs/x/jobs/y/checkpoints/step-00940")   # a folder, of a model or of a PEFT adapter

A folder is read without touching the network, also where it is an adapter's and names a base on the hub: that is
then taken from what was downloaded before. Weights are read from safetensors; pickled ones (``.bin``) only if asked
for, and then tensors alone.
"""

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from logging import CRITICAL
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import hf_hub_download, model_info, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
from peft import PeftModel, get_peft_model_state_dict, load_peft_weights, set_peft_model_state_dict
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging
from transformers.utils.peft_utils import find_adapter_config_file

from circuitune.core.errors import InputError
from circuitune.core.manifest import digest, sha256_file
from circuitune.core.parsing import parse_json
from circuitune.core.places import is_plain_name
from circuitune.models.explaining import explained

NANO = "nano"
"""Name of the embedded model, and what adapters trained on it name as their base: run folders stay movable."""

NANO_FOLDER = Path(__file__).parent / "nano"

_SAFE = ("*.safetensors", "*.safetensors.index.json")
_PICKLED = ("pytorch_model*.bin", "pytorch_model.bin.index.json", "adapter_model.bin")
_WEIGHTS = (*_SAFE, *_PICKLED[:2])
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "*.tiktoken",
    "tekken.json",
)
_MEGATRON = "megatron.core"
"""What PEFT writes into every adapter's config; it is imported only where there is a ``megatron_config``."""
_ADAPTER = ("adapter_model.safetensors", "adapter_model.bin")
_MOST_PER_BYTE = 16
"""Weights in a byte of a quantised model's file; the tightest formats have five."""
_LARGEST = {"num_hidden_layers": 2_000, "vocab_size": 10**8, "hidden_size": 10**7, "intermediate_size": 10**8}
"""Sizes that no model has: a config of one line could otherwise ask for any amount of memory and time."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class _Place:
    """Where to read: `source` is what Transformers gets; `shown` is what the user wrote.

    `folder` is None for a hub model; `offline`: read folders and the hub's cache only; `pickled`: weights may be.
    """

    shown: str
    source: str
    folder: Path | None
    revision: str | None
    trust_remote_code: bool
    offline: bool
    pickled: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """Keywords of every ``from_pretrained``."""
        return {
            "revision": self.revision or "main",
            "trust_remote_code": self.trust_remote_code,
            "local_files_only": self.offline,
        }

    @property
    def origin(self) -> tuple[str, str | None]:
        """Equal for places that hold one model."""
        return self.source, self.revision

    def has(self, *patterns: str) -> bool:
        """Whether the folder holds a file of one of these names; a hub model is taken to."""
        return self.folder is None or any(next(self.folder.glob(pattern), None) for pattern in patterns)


def load(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    pickled_weights: bool = False,
    offline: bool = False,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase]:
    """Load a causal language model and its tokenizer.

    Args:
        name: "nano", a folder of a model or of a PEFT adapter, a Trainer's checkpoints among them, or a name on the
            Hugging Face hub, also with its revision (``NAME@REVISION``). An adapter's base is what its
            ``adapter_config.json`` names: any of these, a relative folder also seen from the adapter's. A base on the
            hub that an adapter's folder names is not downloaded: it must be in the hub's cache.
        revision: branch, tag or commit on the hub.
        trust_remote_code: run the model code of the repository or folder.
        pickled_weights: read weights in PyTorch's pickled form (``.bin``) where there are no others; tensors alone.
        offline: take a hub model from the hub's cache, and ask nobody.
        dtype: such as "bfloat16"; None: as stored, but half precision on the CPU becomes float32.
        device: such as "cuda:0", or "auto" (`chosen_device`); None: the CPU.

    Raises:
        InputError: no such folder or model; a folder without config, weights or tokenizer; an encoder-decoder;
            weights that do not fit the config; a type or device that is none, or not there.
        MachineError: not enough memory.
    """
    place = _find(os.fspath(name), revision, trust_remote_code, pickled_weights, offline)
    dtype = chosen_dtype(dtype)
    with _explained(place), _quiet(place):
        adapter = _adapter_config(place)
        base = place if adapter is None else _base(place, adapter)
        where = chosen_device(device, base.shown)
        if adapter is None:
            model, tokenizer = _model(place, dtype), _tokenizer(place)
        else:
            model, tokenizer = _adapted(place, base, dtype)
        return _placed(model, dtype, where).eval(), tokenizer


def load_tokenizer(
    name: str | os.PathLike[str], *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Load the tokenizer alone: no weights are read. An adapter without one has that of its base.

    Raises:
        InputError: no such folder or model, or none of the two brings a tokenizer.
    """
    place = _find(os.fspath(name), revision, trust_remote_code)
    with _explained(place), _quiet(place):
        adapter = _adapter_config(place)
        if adapter is None or (place.folder is not None and place.has(*_TOKENIZER)):
            return _tokenizer(place)
        return _tokenizer(_base(place, adapter))


class Loader:
    """Loads one model after another, as `load` does; the base that adapters share is read once.

    A model it gave out is used up when the next is loaded: adapters of one shape change places in it.
    """

    def __init__(
        self,
        *,
        trust_remote_code: bool = False,
        pickled_weights: bool = False,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        self._consent, self._dtype, self._device = (trust_remote_code, pickled_weights), chosen_dtype(dtype), device
        self._base: _Place | None = None
        self._model: Any = None
        self._config: dict[str, Any] | None = None  # of the adapter on it
        self._contents: dict[tuple[str, str | None], str] = {}

    @property
    def options(self) -> dict[str, str]:
        """How models are loaded, as far as it is not as usual: results depend on it."""
        given = {"dtype": self._dtype, "device": None if self._device in (None, "auto", "cpu") else self._device}
        return {name: str(value).removeprefix("torch.") for name, value in given.items() if value is not None}

    def load(self, name: str | os.PathLike[str], *, revision: str | None = None) -> PreTrainedModel | PeftModel:
        """The model alone, in eval mode; names and errors are those of `load`."""
        place = _find(os.fspath(name), revision, *self._consent)
        with _explained(place), _quiet(place):
            adapter = _adapter_config(place)
            base = place if adapter is None else _base(place, adapter)
            where = chosen_device(self._device, base.shown)
            config = None if adapter is None else _said(adapter)
            same = self._base is not None and base.origin == self._base.origin
            if not same or self._config not in (None, config):
                self._read(base)
            if config is not None and (self._config is None or not self._exchanged(place)):
                self._adapt(base, place, config)
            self._model = _placed(self._model, self._dtype, where)
            return self._model.eval()

    def content(self, name: str | os.PathLike[str], *, revision: str | None = None) -> str:
        """What tells a model's weights from others, without loading them: SHA-256 over files, or the hub's commit.

        An adapter's is of its own files and of its base.
        """
        place = _find(os.fspath(name), revision, *self._consent)
        if place.origin not in self._contents:
            with _explained(place), _quiet(place):
                adapter = _adapter_config(place)
                parts = [_own_content(place, adapter)]
                if adapter is not None:
                    parts.append(self.content(_base(place, adapter).shown))
                self._contents[place.origin] = digest(parts)
        return self._contents[place.origin]

    def _read(self, base: _Place) -> None:
        self._base = self._model = self._config = None  # before the next one is read: two might not fit
        with _explained(base):
            self._model, self._base = _model(base, self._dtype), base

    def _adapt(self, base: _Place, place: _Place, config: dict[str, Any]) -> None:
        """Put an adapter on the base, which is read again where another is on it."""
        if self._config is not None:
            self._read(base)
        model, self._base = self._model, None  # an adapter that does not load leaves traces in it
        self._model = _with_adapter(model, place)
        self._base, self._config = base, config

    def _exchanged(self, place: _Place) -> bool:
        """Put the adapter's weights in place of those that are on the base; False where they are others by name."""
        _require_adapter(place)
        weights = load_peft_weights(place.source, device="cpu", revision=place.revision)
        own = get_peft_model_state_dict(self._model, save_embedding_layers=False)  # "auto" would ask the hub
        if weights.keys() != own.keys():
            return False
        set_peft_model_state_dict(self._model, weights)
        return True


def _own_content(place: _Place, adapter: Path | None) -> str:
    """Of the files that hold a model's or an adapter's weights and shape; on the hub of the commit."""
    if place.folder is None:
        config = adapter or hf_hub_download(
            place.source, "config.json", revision=place.revision, local_files_only=place.offline
        )
        return Path(config).parent.name
    patterns = ("config.json", *_WEIGHTS) if adapter is None else (adapter.name, *_ADAPTER)
    files = sorted({path for pattern in patterns for path in place.folder.glob(pattern)})
    return digest({path.name: sha256_file(path) for path in files})


def _adapter_config(place: _Place) -> Path | None:
    """Where the ``adapter_config.json`` is; None where the place holds a model.

    Raises:
        InputError: it names a module of Megatron: PEFT before 0.21 imports whichever is named there.
    """
    found = find_adapter_config_file(place.source, revision=place.options["revision"], local_files_only=place.offline)
    if found is None:
        return None
    said = _said(Path(found))
    if said.get("megatron_config") or said.get("megatron_core") not in (None, _MEGATRON):
        raise InputError(
            f"{place.shown}: its adapter_config.json asks for a module of Megatron, which could be any code; remove "
            "megatron_config and megatron_core from it, if the adapter does without."
        )
    return Path(found)


def _find(
    name: str, revision: str | None, trust_remote_code: bool, pickled: bool = False, offline: bool = False
) -> _Place:
    if name == NANO:
        return _Place(NANO, str(NANO_FOLDER), NANO_FOLDER, None, False, True)
    try:
        folder = Path(name).expanduser()
        if folder.is_dir():
            return _Place(name, str(folder.resolve()), folder.resolve(), revision, trust_remote_code, True, pickled)
        if folder.exists():
            raise InputError(f"{name} is a file; give the folder that holds the model.")
    except (OSError, RuntimeError) as error:  # too long, not ours to read, or the home of a user that is none
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise InputError(
            f"{name} is no place where a model can be ({reason}); give a model's folder, or a name on the hub."
        ) from error
    named, at, own = name.partition("@")
    if not _HUB_NAME.fullmatch(named) or (at and not own):
        raise InputError(
            f"There is no folder {name}, and it is no name on the Hugging Face hub; give a model's folder."
        )
    if own and revision not in (None, own):
        raise InputError(f"{name} names a revision, and {revision} was asked for as well; give one of the two.")
    revision = own or revision
    shown = f"{named}@{revision}" if revision else named
    offline = offline or not _reachable(named, revision)
    return _Place(shown, named, None, revision, trust_remote_code, offline, pickled)


def _reachable(name: str, revision: str | None) -> bool:
    """Whether the hub answers and has the model; asked once, where Transformers would try for a minute."""
    try:
        model_info(name, revision=revision, timeout=10)
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{name} is no folder here and no model on the Hugging Face hub (or one that needs `hf auth login`); "
            "check its spelling, or give a folder."
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"{name} has no revision {revision} on the Hugging Face hub; give another.") from error
    except Exception:  # no network, in whichever way: the cache may hold the model
        return False
    return True


def _model(place: _Place, dtype: torch.dtype | None) -> PreTrainedModel:
    if not place.has("config.json"):
        inside = sorted(path.name for path in place.folder.glob("checkpoint*")) if place.folder else []
        fix = f"give what is in it, such as {place.shown}/{inside[0]}" if inside else "give one that does"
        raise InputError(f"{place.shown} holds no config.json, so it is no model's folder; {fix}.")
    if not place.has(*_WEIGHTS):
        raise InputError(f"{place.shown} holds no weights (model.safetensors); save the model there or give another.")
    _require_safetensors(place)
    config = AutoConfig.from_pretrained(place.source, **place.options)
    require_sane(config, place.shown, place.trust_remote_code)
    if config.is_encoder_decoder:
        raise InputError(
            f"{place.shown} is an encoder-decoder ({config.model_type}); give a decoder-only language model."
        )
    _require_proportion(config, place)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        place.source,
        config=config,
        dtype=dtype or "auto",
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # refused below, in words
        use_safetensors=None if place.pickled else True,
        **place.options,
    )
    model, report = loaded
    missing, misfits = sorted(report["missing_keys"]), sorted(report["mismatched_keys"])
    if missing or misfits:
        first = missing[0] if missing else misfits[0][0]
        raise InputError(
            f"{place.shown}: the weights lack {len(missing)} of the tensors that config.json asks for and "
            f"{len(misfits)} have another shape (first: {first}); give a complete causal language model."
        )
    if place.shown == NANO:
        model.name_or_path = model.config._name_or_path = NANO
    elif place.folder is None:
        model.name_or_path = place.shown  # with its revision: what adapters trained on it name as their base
    return model


def _tokenizer(place: _Place) -> PreTrainedTokenizerBase:
    if place.folder is not None and place.folder.name.startswith("checkpoint-") and not place.has(*_TOKENIZER):
        above = replace(place, source=str(place.folder.parent), folder=place.folder.parent)
        place = (
            above if above.has(*_TOKENIZER) else place
        )  # a Trainer keeps it with its checkpoints only if it has it
    if not place.has(*_TOKENIZER):
        raise InputError(f"{place.shown} holds no tokenizer (tokenizer.json); save the model's tokenizer there.")
    return AutoTokenizer.from_pretrained(place.source, **place.options)


def _adapted(place: _Place, base: _Place, dtype: torch.dtype | None) -> tuple[PeftModel, PreTrainedTokenizerBase]:
    """A PEFT adapter on its base, with its own tokenizer if it brings one."""
    with _explained(base):
        model, tokenizer = _model(base, dtype), _tokenizer(base)
    own = place.folder is not None and place.has(*_TOKENIZER)
    return _with_adapter(model, place), _tokenizer(place) if own else tokenizer


def with_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """A model with the adapter of a folder on it, from safetensors; InputError where that does not load."""
    place = _find(str(folder), None, False)
    with _explained(place):
        return _with_adapter(model, place)


def _require_safetensors(place: _Place) -> None:
    """InputError where a folder's weights would be unpickled and nobody asked for that."""
    if place.pickled or place.folder is None:
        return
    indexed = [
        name
        for index in place.folder.glob("*.safetensors.index.json")
        for name in cast(dict[str, Any], _said(index).get("weight_map", {})).values()
    ]
    foreign = [name for name in indexed if not str(name).endswith(".safetensors") or not is_plain_name(str(name))]
    if foreign:
        raise InputError(
            f"{place.shown}: its index names {str(foreign[0])[:200]!r}, which is no safetensors file in it."
        )
    if not place.has(*_SAFE):
        raise InputError(f"{place.shown} {_PICKLED_ONLY}")


_PICKLED_ONLY = (
    "has its weights in PyTorch's pickled form (.bin) alone; save them as safetensors, or allow it with "
    "--pickled-weights (in Python pickled_weights=True), if you trust whom they come from."
)


def _require_proportion(config: Any, place: _Place) -> None:
    """InputError where a folder's config asks for far more weights than its files can hold: they would be made up."""
    if place.folder is None:
        return
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=place.trust_remote_code)
    wanted = sum(parameter.numel() for parameter in model.parameters())
    held = sum(path.stat().st_size for pattern in _WEIGHTS for path in place.folder.glob(pattern))
    if wanted > 10**6 + _MOST_PER_BYTE * held:
        raise InputError(
            f"{place.shown}: its config.json describes {wanted:,} weights and its files hold {held:,} bytes; give a "
            "complete model's folder."
        )


def require_sane(config: Any, shown: str, trusted: bool = False) -> None:
    """InputError where a config asks for sizes that no model has, or for code from the hub to run in the model."""
    for name, most in _LARGEST.items():
        size = getattr(config, name, None)
        if isinstance(size, int) and size > most:
            raise InputError(f"{shown}: its config.json says {name} {min(size, 10**12):,}, which no model has.")
    for name in ("_attn_implementation", "_experts_implementation"):
        kernel = getattr(config, name, None)
        if isinstance(kernel, str) and "/" in kernel and not trusted:
            raise InputError(
                f"{shown}: its config.json asks for the code {kernel[:200]!r} from the hub; remove that, or "
                "allow it with --trust-remote-code."
            )


def _with_adapter(model: PreTrainedModel, place: _Place) -> PeftModel:
    _require_adapter(place)
    with peft_quiet():
        return PeftModel.from_pretrained(model, place.source, revision=place.revision)


def _require_adapter(place: _Place) -> None:
    """InputError where an adapter has no weights, pickled ones that nobody asked for, or a config that runs code."""
    _adapter_config(place)
    if not place.has(*_ADAPTER):
        raise InputError(f"{place.shown} holds an adapter's config but no adapter_model.safetensors; save it there.")
    if place.pickled:
        return
    if place.folder is None:
        try:
            hf_hub_download(place.source, _ADAPTER[0], revision=place.revision, local_files_only=place.offline)
        except EntryNotFoundError as error:  # also where the cache alone is looked into
            raise InputError(f"{place.shown} {_PICKLED_ONLY}") from error
    elif not place.has(_ADAPTER[0]):
        raise InputError(f"{place.shown} {_PICKLED_ONLY}")


def _said(path: Path) -> dict[str, Any]:
    """The members of a JSON object in a file, none where it holds another value; ValueError where it is no JSON."""
    found = parse_json(path.read_text(encoding="utf-8"))
    return cast(dict[str, Any], found) if isinstance(found, dict) else {}


def _base(place: _Place, config: Path) -> _Place:
    """Where the base of an adapter is."""
    said = _said(config)
    named = said.get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise InputError(f"{config} names no base model; set base_model_name_or_path to the model it was trained on.")
    revision = said.get("revision")  # PEFT's field is the base's, not the adapter's own
    beside = place.folder / named if place.folder else Path(named)
    base = str(beside) if beside.is_dir() and not Path(named).is_dir() and named != NANO else named
    try:
        found = _find(base, revision, place.trust_remote_code, place.pickled, offline=place.offline)
    except InputError as error:
        wanted = f"{named}@{revision}" if revision else named
        raise InputError(
            f"{place.shown} is an adapter of {wanted}, which is not there; put the model there."
        ) from error
    if found.origin == place.origin or (found.folder is not None and found.has("adapter_config.json")):
        raise InputError(
            f"{config} names {named} as its base model, which is an adapter itself; "
            "set base_model_name_or_path to the model it was trained on."
        )
    if place.folder is not None and found.folder is None and not _is_cached(found):
        raise InputError(
            f"{place.shown} is an adapter of {found.shown} on the Hugging Face hub, and a file causes no download; "
            f"get its base first: hf download {found.source} --revision {found.revision or 'main'}."
        )
    return found


def _is_cached(place: _Place) -> bool:
    """Whether the hub's cache has the config of a hub model."""
    return isinstance(try_to_load_from_cache(place.source, "config.json", revision=place.revision), str)


@contextmanager
def peft_quiet() -> Iterator[None]:
    """Around what makes a ``PeftModel``: no warning that no user of ours could heed.

    PEFT 0.21 reads ``is_gradient_checkpointing`` of every model it wraps, which Transformers 5.23 has renamed; and of
    an AdaLoRA whose ranks have fallen it says that its pattern matches nothing, though it is used.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "The following rank_pattern keys did not match")
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")
        yield


def chosen_device(device: str | torch.device | None, name: str, *, here: bool = True) -> torch.device:
    """Where a model runs: as asked, or with "auto" on the first GPU; nano, and what None asks for, on the CPU.

    ``here``: on this machine; of another one "auto" knows nothing, and is the CPU.

    Raises:
        InputError: no such device, or (``here``) not on this machine.
    """
    if device == "auto":
        device = "cuda" if here and torch.cuda.is_available() and name != NANO else None
    try:
        where = torch.device("cpu" if device is None else device)
    except RuntimeError as error:
        raise InputError(f"{device} is no device; give cpu, cuda, cuda:1 or auto.") from error
    if where.type in ("cpu", "meta"):  # meta holds no numbers
        where = torch.device("cpu")
    if here and where.type == "cuda" and (where.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(
            f"PyTorch sees {count} GPUs here, so {where} cannot be used; give cpu or auto"
            f"{'' if count else ', or install a PyTorch built for your GPU'}."
        )
    return where


def chosen_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """The type that a name such as "bfloat16" stands for; InputError where it is no floating-point type."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype is not None and not (isinstance(found, torch.dtype) and found.is_floating_point):
        raise InputError(f"{dtype} is no type of weights; give float32, bfloat16, float16 or float64.")
    return found


def _placed(model: Any, dtype: torch.dtype | None, where: torch.device) -> Any:
    """The model on its device; half precision that nobody asked for is float32 on a CPU, which is slow at it."""
    if dtype is None and model.dtype in (torch.float16, torch.bfloat16) and where.type == "cpu":
        model = model.float()
    if where.type == "cpu":
        return model
    try:
        return model.to(where)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, AssertionError) as error:  # the latter from a PyTorch built without it
        raise InputError(f"{where} cannot be used here ({str(error).splitlines()[0]}); give cpu or cuda.") from error


def _explained(place: _Place) -> AbstractContextManager[None]:
    """What libraries raise while this place is read, in one sentence about it."""
    return explained(place.shown, partial(_refusal, place))


def _refusal(place: _Place, reason: str) -> str:
    if place.folder is not None:
        return f"{place.shown} does not load ({reason}); give a complete model's folder."
    if "safetensors" in reason and not place.pickled:
        return f"{place.shown} {_PICKLED_ONLY}"
    return (
        f"{place.shown} is no folder here and does not load from the Hugging Face hub ({reason}); "
        "check its spelling and the network, or give a folder."
    )


@contextmanager
def _quiet(place: _Place) -> Iterator[None]:
    """No bars while a folder is read (downloads show theirs), and no tables of what is raised as an error."""
    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")  # or a service is asked to convert others' models
    if place.folder is not None:
        logging.disable_progress_bar()
    logging.set_verbosity(CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
