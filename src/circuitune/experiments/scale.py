"""What a study of large models takes, from the model's shape alone: no weights, no tokenizer, no network.

The shape is a configuration in Transformers' fields, written in the study file. The model is built on the meta
device, so that parameters, edges and the engine's memory are those of the real one; the rest is a stated assumption:

- **time**: a forward pass takes 2 operations per parameter and token, a backward pass twice that, and a GPU does so
  many operations a second (`TERAFLOPS`). What clean and corrupted prompts share is computed once by the engine and
  counted twice here, which errs high.
- **memory**: the larger of training (weights, 16 bytes per trained parameter, what the linear maps read and write
  twice over, the logits) and finding circuits (weights, the engine's own prediction, scores of single pairs).
- **tokens**: every word, number and sign of a prompt is one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from circuitune.adapters.modules import linear_modules
from circuitune.circuits.graph import Graph
from circuitune.circuits.memory import BUDGET, attribution_memory
from circuitune.core.errors import InputError
from circuitune.core.placement import Dtype
from circuitune.experiments.estimate import TRAINED, passes
from circuitune.experiments.inputs import read, require_layers
from circuitune.experiments.plan import plan
from circuitune.experiments.recipe import Recipe
from circuitune.experiments.specs import JobSpec, ModelRef, TrainSpec, by_folder
from circuitune.models.anatomy import Anatomy, anatomy_of
from circuitune.models.explaining import explained
from circuitune.models.loading import NANO, NANO_FOLDER, require_sane
from circuitune.tasks.pairs import PairSet

TERAFLOPS: Mapping[Dtype, float] = {"float64": 10.0, "float32": 20.0, "bfloat16": 150.0, "float16": 150.0}
"""1e12 operations that one data-centre GPU is assumed to do in a second, by the type of the weights."""
BYTES: Mapping[Dtype, int] = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
CONFIGS: Any = AutoConfig
MODELS: Any = AutoModelForCausalLM
_TOKEN = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")


@dataclass(frozen=True)
class Need:
    """What one run takes: its jobs, the memory of the largest, and operations of all of them."""

    jobs: int
    memory: int
    operations: float

    def hours(self, teraflops: float) -> float:
        """Of one GPU that does so many 1e12 operations a second."""
        return self.operations / (teraflops * 1e12) / 3600


def config_of(name: str, revision: str | None = None) -> PreTrainedConfig:
    """The configuration of a model folder, of a name on the hub, or of nano; InputError where it cannot be read."""
    place = str(NANO_FOLDER) if name == NANO else name
    with explained(
        name, lambda why: f"The configuration of {name} cannot be read ({why}); check the name or folder."
    ):
        return cast(PreTrainedConfig, CONFIGS.from_pretrained(place, revision=revision or "main"))


def config_from(shape: Mapping[str, Any]) -> PreTrainedConfig:
    """The configuration of a shape; InputError where it names no architecture of Transformers, or its fields not."""
    kind = shape.get("model_type")
    what = f"shape: {kind!r} is no model_type of Transformers, or its fields do not fit"
    with explained("the shape", lambda why: f"{what} ({why}); correct them."):
        return CONFIGS.for_model(str(kind), **{key: value for key, value in shape.items() if key != "model_type"})


def require_shape(shape: Mapping[str, Any], model: str, revision: str | None = None) -> None:
    """InputError where a study's shape is not that of its model, whose configuration is read."""
    config = config_of(model, revision)
    for key, value in shape.items():
        if (own := getattr(config, key, None)) != value:
            raise InputError(f"shape: {key} is {value}, and {model} has {own}; correct the shape, or the model.")


@dataclass(frozen=True)
class Outline:
    """A model without weights, and what time and memory depend on: its edges, and what one LoRA rank on all costs."""

    parameters: int
    vocabulary: int
    rank_cost: int
    anatomy: Anatomy
    graph: Graph


def outline(config: PreTrainedConfig) -> Outline:
    """What a model of this configuration would be, built on the meta device.

    Raises:
        InputError: sizes that no model has, or fields of which Transformers makes none.
    """
    name = config.name_or_path or "shape"
    require_sane(config, name)
    with (
        explained(name, lambda why: f"{name}: Transformers makes no model of its fields ({why}); correct them."),
        torch.device("meta"),
    ):
        model = cast(PreTrainedModel, MODELS.from_config(config, dtype=torch.float32))
    anatomy = anatomy_of(model)
    return Outline(
        parameters=model.num_parameters(),
        vocabulary=int(getattr(config, "vocab_size", 0)),
        rank_cost=sum(one.rank_cost for one in linear_modules(model).values()),
        anatomy=anatomy,
        graph=Graph.of(anatomy),
    )


def need(recipe: Recipe, model: Outline) -> Need:
    """What a run of the recipe takes with a model of this shape.

    Raises:
        InputError: an unknown task, an unreadable file, or more critical layers than the model can spare.
    """
    require_layers(recipe, model.graph.layers)
    jobs = plan(recipe, ModelRef(name=recipe.model, fingerprint="unknown")).jobs
    pairs = read(recipe.data, Path())
    rows = min(len(pairs.split("train")), recipe.training.rows or len(pairs))
    tests = min(len(pairs.split("test")), recipe.training.test_rows or len(pairs))
    length = tokens(pairs)
    named = by_folder(jobs)
    count = sum(passes(spec, named, rows) + _evaluated(spec, tests) for spec in jobs)
    training = max(_training(recipe, spec, model, length) for spec in jobs if isinstance(spec, TrainSpec))
    return Need(len(jobs), max(training, _finding(recipe, model, length)), 2.0 * model.parameters * length * count)


def tokens(pairs: PairSet) -> float:
    """Words, numbers and signs of a prompt, on average."""
    return sum(len(_TOKEN.findall(pair.clean)) for pair in pairs) / max(len(pairs), 1)


def _evaluated(spec: JobSpec, tests: int) -> int:
    """Prompts that a fine-tuning answers: at its start and at every checkpoint."""
    return (spec.training.checkpoints + 1) * tests if isinstance(spec, TrainSpec) else 0


def _training(recipe: Recipe, spec: TrainSpec, model: Outline, length: float) -> int:
    """Bytes of a fine-tuning at its peak; AdamW's states, gradients and what is trained are float32."""
    stored = BYTES[recipe.dtype or "float32"]
    if spec.method == "full":
        fixed = TRAINED * model.parameters
    else:
        most = max(spec.ranks.rank, spec.ranks.critical_rank or 0)
        fixed = stored * model.parameters + TRAINED * most * model.rank_cost
    held = 2 * stored * model.rank_cost + 12 * model.vocabulary  # logits, their softmax and its gradient in float32
    return round(fixed + spec.training.batch_size * length * held)


def _finding(recipe: Recipe, model: Outline, length: float) -> int:
    """Bytes of finding circuits; an analysis holds the scores of every pair before and after beside it."""
    predicted = attribution_memory(model.anatomy, model.graph, recipe.discovery.steps).peak(1, round(length))
    scores = 4 * len(model.graph.sources) * len(model.graph.destinations)
    held = 2 * scores * recipe.discovery.pairs if recipe.tuning else 0
    return BYTES[recipe.dtype or "float32"] * model.parameters + max(BUDGET, predicted) + held
