"""A model of 3 random layers that speaks nano's tokens, a recipe of seconds, and runs of it in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM

from circuitune.experiments.inputs import Frozen, freeze
from circuitune.experiments.job import run_job
from circuitune.experiments.plan import Plan, plan
from circuitune.experiments.recipe import Recipe, load_recipe
from circuitune.experiments.run import conclude
from circuitune.experiments.specs import JobSpec
from circuitune.experiments.store import Run, create
from circuitune.models.loading import NANO_FOLDER

RECIPE = """\
extends: default
name: tiny
training: {learning_rate: 0.05, epochs: 1, rows: 120, test_rows: 40, batch_size: 40, checkpoints: 2, warmup_steps: 0}
discovery: {pairs: 6, evaluation_pairs: 6, steps: 2, share: 0.2}
analysis: {random_models: 2, rewirings: 10, draws: 2, halvings: 3}
contest: {random_draws: 1}
"""


def save_model(folder: Path, layers: int = 3) -> Path:
    """Write the model's folder and return it."""
    tokenizer = AutoTokenizer.from_pretrained(NANO_FOLDER)
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPTNeoXForCausalLM(config)
        for parameter in model.parameters():  # Transformers' own initialisation hardly moves the logits
            parameter.data = 0.3 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def recipe(model: Path, folder: Path, **data: object) -> Recipe:
    """The recipe for a model; ``folder`` gets its file."""
    path = folder / "tiny.yaml"
    path.write_text(RECIPE)
    changes: dict[str, object] = {"model": str(model)}
    return load_recipe(path, {**changes, "data": data} if data else changes)


def slower(model: Path, folder: Path) -> Recipe:
    """A recipe whose trainings last seconds: time to lose a worker in the middle of one."""
    chosen = recipe(model, folder)
    return chosen.model_copy(update={"training": chosen.training.model_copy(update={"epochs": 40})})


def prepared(frozen: Frozen, folder: Path) -> tuple[Run, Plan]:
    """A run folder with every spec and no work done."""
    run, jobs = create(folder, frozen.recipe, frozen.files), plan(frozen.recipe, frozen.model)
    run.prepare(jobs.jobs)
    return run, jobs


def finish(run: Run, jobs: Plan) -> None:
    """Do all jobs one after the other in this process, then tables and summary."""
    for spec in jobs.jobs:
        run_job(run.job(spec).folder)
    conclude(run, jobs)


def finished(chosen: Recipe, folder: Path) -> tuple[Run, Plan]:
    """A finished run."""
    run, jobs = prepared(freeze(chosen), folder)
    finish(run, jobs)
    return run, jobs


def content(folder: Path) -> dict[str, bytes]:
    """All that must be equal between two runs: every file but times, host and the report built from them."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("environment.json", "report.html")
    }


class Record:
    """An observer that keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

    def started(self, spec: JobSpec) -> None:
        self.events.append(("started", spec.label))

    def advanced(self, spec: JobSpec, share: float) -> None:
        assert 0 <= share <= 1

    def warned(self, spec: JobSpec, text: str) -> None:
        self.events.append(("warned", text))

    def finished(self, spec: JobSpec, seconds: float | None) -> None:
        self.events.append(("kept" if seconds is None else "finished", spec.label))

    @contextmanager
    def watch(self, *_: object) -> Iterator["Record"]:
        yield self
