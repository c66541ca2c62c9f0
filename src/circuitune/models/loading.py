"""A name or a folder in, a model in eval mode and its tokenizer out.

    model, tokenizer = load("nano")                       # the embedded model: no download
    model, tokenizer = load("EleutherAI/pythia-160m")     # Hugging Face hub
    model, tokenizer = load("runs/x/jobs/y/checkpoints/step-00940")   # a folder, of a model or of a PEFT adapter

A folder is read without touching the network.
"""

import json
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging import CRITICAL
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import model_info
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
from peft import PeftModel
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging
from transformers.utils.peft_utils import find_adapter_config_file

from circuitune.core.errors import InputError, MachineError

NANO = "nano"
"""Name of the embedded model, and what adapters trained on it name as their base: run folders stay movable."""

NANO_FOLDER = Path(__file__).parent / "nano"

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "pytorch_model.bin.index.json")
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "*.tiktoken",
    "tekken.json",
)
_ADAPTER = ("adapter_model.safetensors", "adapter_model.bin")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True)
class _Place:
    """Where to read: `source` is what Transformers gets; `shown` is what the user wrote.

    `folder` is None for a hub model; `offline`: read folders and the hub's cache only.
    """

    shown: str
    source: str
    folder: Path | None
    revision: str | None
    trust_remote_code: bool
    offline: bool

    @property
    def options(self) -> dict[str, Any]:
        """Keywords of every ``from_pretrained``."""
        return {
            "revision": self.revision or "main",
            "trust_remote_code": self.trust_remote_code,
            "local_files_only": self.offline,
        }

    def has(self, *patterns: str) -> bool:
        """Whether the folder holds a file of one of these names; a hub model is taken to."""
        return self.folder is None or any(next(self.folder.glob(pattern), None) for pattern in patterns)


def load(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
) -> tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase]:
    """Load a causal language model and its tokenizer.

    Args:
        name: "nano", a folder of a model or of a PEFT adapter, or a name on the Hugging Face hub. An adapter's base
            is what its ``adapter_config.json`` names: any of these, a relative folder also seen from the adapter's.
        revision: branch, tag or commit on the hub.
        trust_remote_code: run the model code of the repository or folder.
        dtype: such as "bfloat16"; None: as stored, but half precision on the CPU becomes float32.
        device: such as "cuda:0"; None: the CPU.

    Raises:
        InputError: no such folder or model; a folder without config, weights or tokenizer; an encoder-decoder;
            weights that do not fit the config.
        MachineError: not enough memory.
    """
    place = _find(os.fspath(name), revision, trust_remote_code)
    with _explained(place), _quiet(place):
        adapter = find_adapter_config_file(
            place.source, revision=place.options["revision"], local_files_only=place.offline
        )
        if adapter is None:
            model, tokenizer = _model(place, dtype), _tokenizer(place)
        else:
            model, tokenizer = _adapted(place, Path(adapter), dtype)
        if dtype is None and model.dtype in (torch.float16, torch.bfloat16) and _on_cpu(device):
            model = model.float()
        if device is not None:
            cast(nn.Module, model).to(device)
        return model.eval(), tokenizer


def load_tokenizer(
    name: str | os.PathLike[str], *, revision: str | None = None, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Load the tokenizer alone: no weights are read. An adapter without one has that of its base.

    Raises:
        InputError: no such folder or model, or none of the two brings a tokenizer.
    """
    place = _find(os.fspath(name), revision, trust_remote_code)
    with _explained(place), _quiet(place):
        adapter = find_adapter_config_file(
            place.source, revision=place.options["revision"], local_files_only=place.offline
        )
        if adapter is None or (place.folder is not None and place.has(*_TOKENIZER)):
            return _tokenizer(place)
        return _tokenizer(_base(place, Path(adapter)))


def _find(name: str, revision: str | None, trust_remote_code: bool) -> _Place:
    if name == NANO:
        return _Place(NANO, str(NANO_FOLDER), NANO_FOLDER, None, False, True)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _Place(name, str(folder.resolve()), folder.resolve(), revision, trust_remote_code, True)
    if folder.exists():
        raise InputError(f"{name} is a file; give the folder that holds the model.")
    if not _HUB_NAME.fullmatch(name):
        raise InputError(
            f"There is no folder {name}, and it is no name on the Hugging Face hub; give a model's folder."
        )
    return _Place(name, name, None, revision, trust_remote_code, not _reachable(name, revision))


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


def _model(place: _Place, dtype: str | torch.dtype | None) -> PreTrainedModel:
    if not place.has("config.json"):
        raise InputError(f"{place.shown} holds no config.json, so it is no model's folder; give one that does.")
    if not place.has(*_WEIGHTS):
        raise InputError(f"{place.shown} holds no weights (model.safetensors); save the model there or give another.")
    config = AutoConfig.from_pretrained(place.source, **place.options)
    if config.is_encoder_decoder:
        raise InputError(
            f"{place.shown} is an encoder-decoder ({config.model_type}); give a decoder-only language model."
        )
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        place.source,
        config=config,
        dtype=dtype or "auto",
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # refused below, in words
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
    return model


def _tokenizer(place: _Place) -> PreTrainedTokenizerBase:
    if not place.has(*_TOKENIZER):
        raise InputError(f"{place.shown} holds no tokenizer (tokenizer.json); save the model's tokenizer there.")
    return AutoTokenizer.from_pretrained(place.source, **place.options)


def _adapted(
    place: _Place, config: Path, dtype: str | torch.dtype | None
) -> tuple[PeftModel, PreTrainedTokenizerBase]:
    """A PEFT adapter on its base, with its own tokenizer if it brings one."""
    if not place.has(*_ADAPTER):
        raise InputError(f"{place.shown} holds an adapter's config but no adapter_model.safetensors; save it there.")
    found = _base(place, config)
    with _explained(found):
        model, tokenizer = _model(found, dtype), _tokenizer(found)
    with peft_quiet():
        adapted = PeftModel.from_pretrained(model, place.source, revision=place.revision)
    own = place.folder is not None and place.has(*_TOKENIZER)
    return adapted, _tokenizer(place) if own else tokenizer


def _base(place: _Place, config: Path) -> _Place:
    """Where the base of an adapter is."""
    named = json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not named:
        raise InputError(f"{config} names no base model; set base_model_name_or_path to the model it was trained on.")
    beside = place.folder / named if place.folder else Path(named)
    base = str(beside) if beside.is_dir() and not Path(named).is_dir() and named != NANO else named
    try:
        return _find(base, None, place.trust_remote_code)
    except InputError as error:
        raise InputError(
            f"{place.shown} is an adapter of {named}, which is not there; put the model there."
        ) from error


@contextmanager
def peft_quiet() -> Iterator[None]:
    """Around what makes a ``PeftModel``: no warning that no user of ours could heed.

    PEFT 0.21 reads ``is_gradient_checkpointing`` of every model it wraps, which Transformers 5.23 has renamed.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def _on_cpu(device: str | torch.device | None) -> bool:
    return device is None or torch.device(device).type == "cpu"


@contextmanager
def _explained(place: _Place) -> Iterator[None]:
    """Turn what Transformers, PEFT and safetensors raise into one sentence about this place."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise MachineError(f"Not enough memory to load {place.shown}.") from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". :")
        if place.folder is None:
            raise InputError(
                f"{place.shown} is no folder here and does not load from the Hugging Face hub ({reason}); "
                "check its spelling and the network, or give a folder."
            ) from error
        raise InputError(f"{place.shown} does not load ({reason}); give a complete model's folder.") from error


@contextmanager
def _quiet(place: _Place) -> Iterator[None]:
    """No bars while a folder is read (downloads show theirs), and no tables of what is raised as an error."""
    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    if place.folder is not None:
        logging.disable_progress_bar()
    logging.set_verbosity(CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
