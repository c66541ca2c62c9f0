"""Everything that runs are given is read and checked before anything is written; what they share, only once."""

from dataclasses import dataclass, field
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from circuitune.core.errors import InputError
from circuitune.core.manifest import digest
from circuitune.experiments.estimate import Size
from circuitune.experiments.inputs import (
    ELSEWHERE,
    Frozen,
    Model,
    load_whole,
    metric_for,
    prepare,
    read,
    require_layers,
    size_of,
    sized,
)
from circuitune.experiments.recipe import DataRecipe, Recipe
from circuitune.models.anatomy import anatomy_of
from circuitune.models.finite import broken_weight
from circuitune.tasks.pairs import PairSet
from circuitune.tasks.perturb import disjoint_splits, perturbed
from circuitune.training.text import read_passages


@dataclass
class Validator:
    """Loads models and pairs as the jobs of runs will, so that a bad request fails first.

    It keeps the model it loaded last and the pairs it read for that one: the runs of a study mostly share them.
    """

    _asked: tuple[str, str | None] | None = None
    _loaded: tuple[Model, PreTrainedTokenizerBase] | None = None
    _pairs: dict[str, PairSet] = field(default_factory=dict[str, PairSet])

    def size(self, frozen: Frozen, run: Path) -> Size:
        """What the time of a run depends on, once its inputs are known to be good.

        ``run`` is the run folder; the user's file is still where the user has it.

        Raises:
            InputError: whatever is wrong with them, or with the recipe for this model.
        """
        recipe = frozen.recipe
        sources = [_placed(data, frozen) for data in (recipe.data, *recipe.other_data.values())]
        for data in sources:
            if data.file is None and self._key(data) not in self._pairs:
                read(data, run)  # an unknown task is found before the model is loaded
        model, tokenizer = self._model(recipe)
        require_layers(recipe, anatomy_of(model).layers)
        found = [self._prepared(data, run, model, tokenizer) for data in sources]
        if recipe.text is not None:
            read_passages(_origin(recipe.text.file, frozen), tokenizer, model)
        for pairs in found:
            metric_for(pairs, recipe.discovery.metric)
        _require_robustness(recipe, found[0], tokenizer)
        rows = len(found[0].split("train"))
        return sized(size_of(model, found[0], tokenizer), min(rows, recipe.training.rows or rows))

    def _model(self, recipe: Recipe) -> tuple[Model, PreTrainedTokenizerBase]:
        asked = (recipe.model, recipe.revision)
        if self._loaded is None or self._asked != asked:
            self._loaded = None  # two models need not fit at once
            self._pairs.clear()
            self._loaded, self._asked = load_whole(recipe.model, revision=recipe.revision), asked
            if weight := broken_weight(self._loaded[0]):
                raise InputError(
                    f"{recipe.model}: the weight {weight} holds NaN or infinity; restore the model, or give another."
                )
        return self._loaded

    def _prepared(self, data: DataRecipe, run: Path, model: Model, tokenizer: PreTrainedTokenizerBase) -> PairSet:
        key = self._key(data)
        if key not in self._pairs:
            self._pairs[key] = prepare(data, run, model, tokenizer).pairs
        return self._pairs[key]

    @staticmethod
    def _key(data: DataRecipe) -> str:
        return digest(data.model_dump(mode="json"))


def _placed(data: DataRecipe, frozen: Frozen) -> DataRecipe:
    """The same data with the file where the user has it."""
    return data if data.file is None else data.model_copy(update={"file": str(_origin(data.file, frozen))})


def _origin(file: str, frozen: Frozen) -> Path:
    """Where the user has a file, by its name in the run folder."""
    return frozen.files[file].resolve()


def _require_robustness(recipe: Recipe, pairs: PairSet, tokenizer: PreTrainedTokenizerBase) -> None:
    """InputError where the circuit split cannot be resampled, or divided, as far as the recipe asks."""
    how = recipe.robustness
    if how is None:
        return
    circuit = pairs.split("circuit")
    disjoint_splits(circuit, how.parts)
    if how.noise:
        others = [pairs.split(part) for part in ELSEWHERE]
        perturbed(circuit.sample(recipe.discovery.pairs), max(how.noise), tokenizer=tokenizer, avoid=others)
