"""Every reader of a file in the product, with an intact file of its kind and what must hold of whatever it accepts.

`fuzz.py` and ``tests/trust`` damage the intact files with `damaged` and ask `judged`: a file is refused in one
sentence, or it is read, and then it is a valid file of its kind. Anything else is wrong.
"""

import gzip
import io
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import torch

from circuitune.adapters.allocation import RankPlan
from circuitune.adapters.completions import read_completions
from circuitune.adapters.uniform import pad_uniform
from circuitune.circuits.graph import Graph
from circuitune.circuits.interchange import Imported, export_circuit, import_circuit
from circuitune.circuits.scores import Circuit, EdgeScores
from circuitune.cli.sources import parameters
from circuitune.core import tensors
from circuitune.core.csvio import read_rows, write_rows
from circuitune.core.errors import InputError, MachineError
from circuitune.core.formats import mark, require_readable
from circuitune.core.manifest import COMPLETE, complete, is_complete, verify
from circuitune.core.records import (
    AccuracyRow,
    CircuitRow,
    FaithfulnessRow,
    PairsRecord,
    SizeRecord,
    SummaryRecord,
    read_record,
)
from circuitune.experiments.ledger import read_ledger
from circuitune.experiments.recipe import Recipe, load_recipe, to_yaml
from circuitune.experiments.registration import load_registration
from circuitune.experiments.scale import config_from, outline
from circuitune.experiments.specs import PairsSpec, folder_name
from circuitune.experiments.store import JobFolder
from circuitune.experiments.study import Study, load_study
from circuitune.models.loading import load, load_tokenizer
from circuitune.report.embedding import pack
from circuitune.report.live import tables_of
from circuitune.report.payload import collect
from circuitune.report.render import render
from circuitune.tasks.files import read_pairs
from circuitune.tasks.pairs import PairSet
from circuitune.tasks.registry import task
from circuitune.testing import tiny_model
from circuitune.training.resuming import Attempts, attempt, read_state
from circuitune.training.text import read_passages

SLOW_S = 20.0
"""Seconds above which reading a small file counts as hanging."""

OPTIONS = {"seed": 0, "epochs": 1}
"""Of a training that was not finished."""

GRAPH = Graph(1, 2, 2, parallel=True)


class Choices(Protocol):
    """Where chance comes from: hypothesis, atheris, or a test that wants one case."""

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        ...


@dataclass(frozen=True)
class Reader:
    """A reader.

    Attributes:
        name: for the table.
        make: writes intact files into an empty folder; the first path that it returns is the one to damage.
        read: reads that path; InputError or MachineError where it refuses.
        valid: None, or what of an accepted value is wrong, in words.
        wrap: the file's bytes from what is damaged, or None where those hold no more than the bytes before
            (a checksum or a compression would otherwise hide all that lies behind it).
        content: what is damaged; by default the file's bytes.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    valid: Callable[[Any], str | None] = lambda value: None
    wrap: Callable[[bytes], bytes | None] = lambda data: data
    content: Callable[[Path], bytes] = Path.read_bytes


# Damage

HOSTILE = (
    *(b"../../../../etc/passwd", b"/etc/passwd", b"<script>alert(1)</script>", b"</script>", b"=1+1", b"\\ud800"),
    *(
        b"NaN",
        b"Infinity",
        b"-1",
        b"0",
        b"1e999",
        b"9" * 5000,
        b"0x" + b"f" * 5000,
        b"1000000000000",
        b"null",
        b"true",
    ),
    *(
        b"[" * 3000,
        b'{"a":' * 3000,
        b"- " * 3000,
        b"[" * 400 + b"]" * 400,
        b"&a [*a]",
        b"!!python/object/apply:os.system [id]",
        b"{}",
        b"[]",
    ),
    *(b"\x00", b"\r", b"\xff\xfe", b"\xe2\x80\xa8", b"'", b'"', b"\\u0000", b"<!DOCTYPE a>", b"$\\frac$", b"\x1b[2J"),
)


def damaged(data: bytes, choose: Choices, most: int = 2) -> bytes:
    """The bytes after some changes; each is of a kind that happens to files, or that somebody would try."""
    found = bytearray(data)
    for _ in range(choose.integer(1, most)):
        _CHANGES[choose.integer(0, len(_CHANGES) - 1)](found, choose)
    return bytes(found)


def _place(found: bytearray, choose: Choices) -> int:
    return choose.integer(0, max(0, len(found) - 1))


def _flip(found: bytearray, choose: Choices) -> None:
    if found:
        found[_place(found, choose)] ^= 1 << choose.integer(0, 7)


def _cut(found: bytearray, choose: Choices) -> None:
    start = _place(found, choose)
    del found[start : start + choose.integer(1, 200)]


def _end(found: bytearray, choose: Choices) -> None:
    del found[_place(found, choose) :]


def _insert(found: bytearray, choose: Choices) -> None:
    start = _place(found, choose)
    found[start:start] = bytes(choose.integer(0, 255) for _ in range(choose.integer(1, 8)))


def _double(found: bytearray, choose: Choices) -> None:
    start = _place(found, choose)
    piece = found[start : start + choose.integer(1, 400)]
    found[start:start] = piece


def _hostile(found: bytearray, choose: Choices) -> None:
    """Something hostile at any place."""
    start = _place(found, choose)
    found[start:start] = HOSTILE[choose.integer(0, len(HOSTILE) - 1)]


def _value(found: bytearray, choose: Choices) -> None:
    """Something hostile in the place of a whole number, word or text."""
    values = [match.span() for match in re.finditer(rb'"[^"\n]{0,80}"|-?\d[\d.e+-]*|\b[a-z_]+\b', found[:20_000])]
    if values:
        start, stop = values[choose.integer(0, len(values) - 1)]
        new = HOSTILE[choose.integer(0, len(HOSTILE) - 1)]
        found[start:stop] = b'"' + new + b'"' if found[start : start + 1] == b'"' and choose.integer(0, 3) else new


_CHANGES = (_flip, _cut, _end, _insert, _double, _hostile, _value, _value, _value)


# Judging


def judged(reader: Reader, folder: Path, content: bytes) -> str:
    """``refused``, ``accepted``, or ``wrong: `` and why, of the reader's file in ``folder`` with this content."""
    data = reader.wrap(content)
    if data is None:
        return "refused"
    path = reader.make(folder)
    path.write_bytes(data)
    started = time.monotonic()
    try:
        value = reader.read(path)
        problem = reader.valid(value)
    except (InputError, MachineError) as error:
        problem = None if "\n" not in str(error) and len(str(error)) < 4000 else "more than one sentence"
        value = None
    except Exception as error:
        return f"wrong: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if problem is None and time.monotonic() - started > SLOW_S:
        problem = f"{time.monotonic() - started:.0f} s"
    return f"wrong: {problem}" if problem else "refused" if value is None else "accepted"


def intact(reader: Reader) -> bytes:
    """What is damaged: the content of the intact file."""
    with TemporaryDirectory() as folder:
        return reader.content(reader.make(Path(folder)))


# Intact files


def sample_scores() -> EdgeScores:
    """Scores of a layer of two heads."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(GRAPH.edge_mask.shape, generator=generator) * GRAPH.edge_mask
    return EdgeScores(values, GRAPH, 0.01, settings={"method": "eap", "model": "tiny", "pairs": 3})


def _accuracy(**changes: Any) -> AccuracyRow:
    fields: dict[str, Any] = {"label": "tune seed 0", "arm": "tune", "seed": 0, "step": 1, "steps": 2, "epoch": 0.5}
    fields |= {"split": "test", "examples": 4, "correct": 2, "accuracy": 0.5, "low": 0.1, "high": 0.9, "loss": None}
    return AccuracyRow(**fields | changes)


def _wrote(name: str, write: Callable[[Path], object]) -> Callable[[Path], Path]:
    """A maker of one file."""

    def make(folder: Path) -> Path:
        path = folder / name
        write(path)
        return path

    return make


def _text(name: str, text: str) -> Callable[[Path], Path]:
    return _wrote(name, lambda path: path.write_text(text, encoding="utf-8"))


def _pairs() -> PairSet:
    return task("add_sub", limit=12, style="short").sample(6)


def _pairs_csv(path: Path) -> None:
    rows = [f'"{p.clean}","{p.corrupted}",{p.answer.strip()},{(p.wrong or "").strip()}\n' for p in _pairs()]
    path.write_text("clean,corrupted,answer,wrong\n" + "".join(rows))


def _pairs_jsonl(path: Path) -> None:
    rows = [{"clean": p.clean, "corrupted": p.corrupted, "answer": p.answer, "wrong": p.wrong} for p in _pairs()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _sft(path: Path) -> None:
    rows: list[dict[str, Any]] = [{"prompt": f"{n} + {n} =", "completion": f" {2 * n}"} for n in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _parquet(path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [{"clean": p.clean, "corrupted": p.corrupted, "answer": p.answer, "wrong": p.wrong} for p in _pairs()]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def _export(format: Any, path: Path) -> None:
    export_circuit(sample_scores().top(5) if format == "graphml" else sample_scores(), path, format=format)


def _plan(path: Path) -> None:
    model = tiny_model("gpt_neox")
    RankPlan.two_level(model, [1], 2, 4).save(path)


RECIPE = """\
extends: quick
name: tried
model: nano
data: {task: add_sub, parameters: {limit: 20, style: short}}
training: {epochs: 1, learning_rate: 0.05, batch_size: 40, warmup_steps: 0, checkpoints: 2}
tuning: {rank: 2, seeds: [0, 1]}
discovery: &how {pairs: 6, evaluation_pairs: 6, steps: 2, share: 0.2}
"""

REGISTRATION = """\
study: tried
question: Does it change?
model: nano
tuning: {rank: 2, seeds: [0, 1, 2]}
discovery: {pairs: 6, evaluation_pairs: 6, steps: 2, share: 0.2, metric: logit_diff}
tasks:
  add_sub:
    data: {task: add_sub, parameters: {limit: 20, style: short}}
    training: {epochs: 1, learning_rate: 0.05, batch_size: 40, warmup_steps: 0, checkpoints: 2}
hypotheses:
  edges: {claim: 2, role: primary, measure: edge_rate, smallest: 0.1, hypothesis: It does., effect: Rate,
    against: None}
rule: {level: 0.95, alpha: 0.05, seeds: 8, tasks: 1, resamples: 1000}
"""

STUDY = """\
extends: default
name: tried
registration: registration.yaml
model: nano
contest: null
tuning: {rank: 2, seeds: [0, 1]}
discovery: {pairs: 6, evaluation_pairs: 6, steps: 2, share: 0.2, metric: logit_diff}
shape: {model_type: gpt_neox, num_hidden_layers: 2, hidden_size: 16, num_attention_heads: 2, intermediate_size: 32,
  vocab_size: 64, hidden_act: gelu, dtype: float32, rope_parameters: {rope_type: default, rope_theta: 10000}}
runs:
  - name: add_sub
    data: {task: add_sub, parameters: {limit: 20, style: short}}
    training: {epochs: 1, learning_rate: 0.05, batch_size: 40, warmup_steps: 0, checkpoints: 2}
"""


def _study(folder: Path) -> Path:
    _text("registration.yaml", REGISTRATION)(folder)
    return _text("study.yaml", STUDY)(folder)


def _ledger(path: Path) -> None:
    rows = io.StringIO()
    files = {"accuracy.csv": "label\n", "trained.json": "{}"}
    for number in range(3):
        rows.write(json.dumps({"job": f"train-{number:012x}", "files": files}) + "\n")
    path.write_bytes(gzip.compress(rows.getvalue().encode(), mtime=0))


def _spec(folder: Path) -> Path:
    """``spec.json`` in a folder named after it."""
    said = {"kind": "pairs", "label": "pairs", "stage": "tune", "model": {"name": "nano", "fingerprint": "0" * 12}}
    spec = PairsSpec.model_validate({**said, "data": {"task": "add_sub"}, "metric": "auto"})
    place = folder / "jobs" / folder_name(spec)
    place.mkdir(parents=True, exist_ok=True)
    (place / "spec.json").write_text(spec.model_dump_json())
    return place / "spec.json"


def _complete(folder: Path) -> Path:
    (folder / "some").mkdir(exist_ok=True)
    (folder / "some" / "file.txt").write_text("text")
    complete(folder)
    return folder / COMPLETE


def write_run(name: str, folder: Path) -> Path:
    """A run folder with what the report reads; returns the file of this name."""
    (folder / "tables").mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "environment.json").write_text('{"created": "2026-01-01", "packages": {"torch": "2.13.0"}}')
    (folder / "summary.json").write_text(_SUMMARY)
    write_rows(folder / "tables" / "accuracy.csv", [_accuracy()], AccuracyRow)
    sample_scores().save(folder / "s.safetensors")
    sample_scores().top(5).save(folder / "c.safetensors")
    row = {"label": "tune seed 0", "role": "tune", "seed": 0, "step": 1, "share": 0.2, "nodes": 3, "edges": 5}
    paths = {"scores": "s.safetensors", "circuit": "c.safetensors"}
    write_rows(folder / "tables" / "circuits.csv", [CircuitRow.model_validate(row | paths)], CircuitRow)
    return folder / name


@cache
def model_files() -> dict[str, bytes]:
    """A tiny model's folder ``base`` and an adapter's on it, as file contents by relative name."""
    from peft import LoraConfig
    from transformers import AutoTokenizer

    from circuitune.adapters.lora import attach, save_adapter
    from circuitune.models.loading import NANO_FOLDER

    with TemporaryDirectory() as name:
        folder = Path(name)
        model = tiny_model("gpt_neox")
        model.save_pretrained(folder / "base")
        AutoTokenizer.from_pretrained(NANO_FOLDER).save_pretrained(folder / "base")
        adapted = attach(model, LoraConfig(r=2, target_modules=["dense"], task_type="CAUSAL_LM"), seed=0)
        adapted.peft_config["default"].base_model_name_or_path = "../base"
        save_adapter(adapted, folder / "adapter")
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _model(name: str, folder: Path) -> Path:
    for own, data in model_files().items():
        path = folder / own
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return folder / name


def _state(folder: Path) -> Path:
    from safetensors.torch import save_file

    place = folder / "step-00002"
    place.mkdir(exist_ok=True)
    save_file({"random/cpu": torch.zeros(3, dtype=torch.uint8)}, place / "state.safetensors")
    (place / "state.json").write_text('{"rates": [0.1], "schedule": {}, "random": {}, "told": [], "rows": []}')
    complete(place)
    return place / "state.json"


# What must hold of what is accepted


def _same(first: object, second: object) -> str | None:
    return None if first == second else "read again it is another"


def _written_again(value: Any, name: str, write: Callable[[Path], object], read: Callable[[Path], Any]) -> str | None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return _same(read(path), value)


def _is_same_scores(found: EdgeScores) -> str | None:
    own = sample_scores()
    equal = torch.equal(found.values, own.values) and found.settings == own.settings and found.graph == own.graph
    return None if equal else "the checksum fits other scores"


def _sound_scores(found: EdgeScores) -> str | None:
    fits = found.values.shape == found.graph.edge_mask.shape and bool(found.values.isfinite().all())
    return None if fits and isinstance(dict(found.settings), dict) and found._repr_html_() else "scores of no graph"


def _sound_circuit(found: Circuit) -> str | None:
    return "edges that are none" if bool((found.mask & ~found.graph.edge_mask).any()) else None


def _sound_import(found: Imported) -> str | None:
    problems = [_sound_circuit(circuit) for circuit in found.circuits]
    problems += [_sound_scores(found.scores)] if found.scores is not None else []
    return next((problem for problem in problems if problem), None)


def _sound_pairs(found: PairSet) -> str | None:
    if not all(pair.clean.strip() and (pair.answer or pair.answer_id is not None) for pair in found):
        return "a pair without prompt or answer"
    return _written_again(found.digest, "p.jsonl", found.to_jsonl, lambda path: PairSet.from_jsonl(path).digest)


def _sound_recipe(found: Recipe) -> str | None:
    write = lambda path: path.write_text(to_yaml(found), encoding="utf-8")  # noqa: E731
    return _written_again(found, "r.yaml", write, load_recipe)


def _sound_plan(found: RankPlan) -> str | None:
    return _written_again(found, "plan.json", found.save, RankPlan.load) if found.ranks else None


def _sound_rows(found: list[AccuracyRow]) -> str | None:
    write = lambda path: write_rows(path, found, AccuracyRow)  # noqa: E731
    return _written_again(found, "t.csv", write, lambda path: read_rows(path, AccuracyRow))


def _sound_page(found: str) -> str | None:
    return None if found.count("<script>") == 1 and "<script>alert" not in found else "data became markup"


# Ways in behind a checksum or a compression


def _resealed(data: bytes, kind: str) -> bytes | None:
    """A scores or circuit file with this metadata and a checksum that fits."""
    try:
        metadata = json.loads(data)
        arrays = {
            "values": sample_scores().values,
            **({"mask": sample_scores().top(5).mask} if kind == "circuit" else {}),
        }
        with TemporaryDirectory() as folder:
            tensors.save(Path(folder) / "f", arrays, metadata)
            return (Path(folder) / "f").read_bytes()
    except (ValueError, RecursionError, TypeError, MachineError):
        return None


def _metadata(path: Path) -> bytes:
    return json.dumps(tensors.load(path)[1]).encode()


def _completed(path: Path) -> object:
    """A training's state behind hashes that fit, as an attempt that goes on reads it."""
    complete(path.parent)
    found = Attempts(path.parent.parent).newest()
    return None if found is None else read_state(found)


def _checked(path: Path) -> object:
    return None if verify(path.parent) else is_complete(path.parent) or None


def _padded(path: Path) -> object:
    with TemporaryDirectory() as out:
        return pad_uniform(path, Path(out) / "padded")


def _settings(path: Path) -> object:
    return parameters((f"limit={path.read_bytes().decode('utf-8', 'replace')}",))


def _pairs_table(path: Path) -> None:
    first, second, *others = _pairs()
    lists = replace(first, answer_set=("1", "=2"), wrong_set=("3",))
    ids = replace(second, answer="", wrong=None, answer_id=7, wrong_id=8)
    PairSet("n", (lists, ids, *others)).to_csv(path)


@cache
def _small() -> tuple[Any, Any]:
    """nano's tokenizer, and a model of its vocabulary."""
    return load_tokenizer("nano"), tiny_model("gpt_neox")


def _passages(path: Path) -> object:
    return read_passages(path, *_small())


def _saved_dataset(name: str, folder: Path) -> Path:
    """A file of a dataset as its library saves it."""
    for own, data in _dataset_files().items():
        (folder / own).write_bytes(data)
    return folder / name


@cache
def _dataset_files() -> dict[str, bytes]:
    from datasets import Dataset

    rows = [{"clean": p.clean, "corrupted": p.corrupted, "answer": p.answer, "wrong": p.wrong} for p in _pairs()]
    with TemporaryDirectory() as name:
        Dataset.from_list(rows).save_to_disk(name)
        return {path.name: path.read_bytes() for path in Path(name).iterdir()}


def _of_dataset(name: str, file: str) -> Reader:
    return Reader(name, partial(_saved_dataset, file), lambda path: read_pairs(path.parent), _sound_pairs)


def _options(folder: Path) -> Path:
    """What an attempt at a training that was not finished wrote down."""
    with suppress(MachineError), attempt(folder, OPTIONS):
        raise MachineError("The machine stopped.")
    return next(path for path in folder.rglob("*.json"))


def _same_options(path: Path) -> bool:
    with attempt(path.parent.parent, OPTIONS):
        return True


def _of_job(name: str, folder: Path) -> Path:
    """A file of a job of a run that is at work, as a page that follows it reads them."""
    write_run("recipe.yaml", folder)
    place = folder / "jobs" / "circuits-tune-seed0-000000000000"
    place.mkdir(parents=True, exist_ok=True)
    (place / "spec.json").write_text('{"kind": "discover", "discovery": {"share": 0.2}}')
    row = {"label": "tune seed 0", "arm": "tune", "seed": 0, "step": 1, "share": 0.2, "edges": 5, "nodes": 3}
    row |= {"metric": "kl", "model": 0.0, "circuit": 0.1, "corrupted": 1.0, "normalized": 0.9, "normalized_low": None}
    row |= {"normalized_high": None, "reason": "", "kl": 0.1, "accuracy": 0.5, "percent_released": None}
    write_rows(place / "faithfulness.csv", [FaithfulnessRow.model_validate(row)], FaithfulnessRow)
    for kind, value in {"scores": sample_scores(), "circuits": sample_scores().top(5)}.items():
        value.save(place / kind / "step-00001.safetensors")
    complete(place)
    return place / name


def _readable(path: Path) -> bool:
    require_readable(path.parent)
    return True


def _live(path: Path) -> object:
    return tables_of(path.parent.parent.parent)


def _completions(path: Path) -> object:
    return read_completions(path, load_tokenizer("nano"))  # pyright: ignore[reportArgumentType]


def _outlined(path: Path) -> Study:
    """A study as a dry run reads it: the model of its shape is made, without weights."""
    study = load_study(path)
    if study.shape is not None:
        outline(config_from(study.shape))
    return study


def _pairs_record() -> str:
    size = SizeRecord(parameters=3, layers=1, tokens=2.5)
    said: dict[str, Any] = {"name": "n", "settings": {"limit": 3, "more": [1.5, None]}, "digest": "0", "metric": "kl"}
    return PairsRecord(**said, parts={"train": 3}, left_out=[], wrong="given", size=size).model_dump_json()


def _table(path: Path) -> None:
    write_rows(path, [_accuracy(), _accuracy(label="=1+1")], AccuracyRow)


def _page(path: Path) -> str:
    return render(collect(next(folder for folder in path.parents if (folder / "tables").is_dir())))


def _on_page(name: str) -> Reader:
    return Reader(f"report: {name}", partial(write_run, name), _page, _sound_page)


def _of_model(name: str, file: str, read: Callable[[Path], Any]) -> Reader:
    return Reader(name, partial(_model, file), lambda path: read(path.parent))


_SUMMARY = '{"title": "t", "sentences": ["one"], "notes": [], "findings": {}}'
_SCORES = _wrote("s.safetensors", lambda path: sample_scores().save(path))
_CIRCUIT = _wrote("c.safetensors", lambda path: sample_scores().top(5).save(path))
_LEDGER = _wrote("jobs.jsonl.gz", _ledger)

READERS: tuple[Reader, ...] = (
    Reader("record", _text("s.json", _SUMMARY), lambda path: read_record(path, SummaryRecord)),
    Reader("record of pairs", _text("p.json", _pairs_record()), lambda path: read_record(path, PairsRecord)),
    Reader("table", _wrote("t.csv", _table), lambda path: read_rows(path, AccuracyRow), _sound_rows),
    Reader("scores", _SCORES, EdgeScores.load, _is_same_scores),
    Reader(
        "scores, checksum made to fit",
        *(_SCORES, EdgeScores.load, _sound_scores),
        wrap=partial(_resealed, kind="scores"),
        content=_metadata,
    ),
    Reader("circuit", _CIRCUIT, Circuit.load, _sound_circuit),
    Reader(
        "circuit, checksum made to fit",
        *(_CIRCUIT, Circuit.load, _sound_circuit),
        wrap=partial(_resealed, kind="circuit"),
        content=_metadata,
    ),
    Reader(
        "scores in a report, checksum made to fit",
        *(partial(write_run, "s.safetensors"), lambda path: pack(path, path.parent / "c.safetensors")),
        wrap=partial(_resealed, kind="scores"),
        content=_metadata,
    ),
    Reader("EAP-IG JSON", _wrote("g.json", partial(_export, "eap-ig-json")), import_circuit, _sound_import),
    Reader("EAP-IG JSON, old", _wrote("g.json", partial(_export, "eap-ig-json-old")), import_circuit, _sound_import),
    Reader("EAP-IG .pt", _wrote("g.pt", partial(_export, "pt")), import_circuit, _sound_import),
    Reader("GraphML", _wrote("g.graphml", partial(_export, "graphml")), import_circuit, _sound_import),
    Reader("pairs, CSV", _wrote("p.csv", _pairs_csv), read_pairs, _sound_pairs),
    Reader("pairs, JSON lines", _wrote("p.jsonl", _pairs_jsonl), read_pairs, _sound_pairs),
    Reader("pairs, Parquet", _wrote("p.parquet", _parquet), read_pairs, _sound_pairs),
    Reader("pairs, own table", _wrote("p.csv", _pairs_table), read_pairs, _sound_pairs),
    _of_dataset("saved dataset's state", "state.json"),
    _of_dataset("saved dataset's columns", "dataset_info.json"),
    _of_dataset("saved dataset's rows", "data-00000-of-00001.arrow"),
    Reader("passages", _text("text.txt", "One and two.\nTwo and three.\n"), _passages),
    Reader("pairs, own format", _wrote("p.jsonl", lambda path: _pairs().to_jsonl(path)), read_pairs, _sound_pairs),
    Reader("fine-tuning rows", _wrote("sft.jsonl", _sft), _completions),
    Reader("rank plan", _wrote("circuit_plan.json", _plan), RankPlan.load, _sound_plan),
    Reader("recipe", _text("r.yaml", RECIPE), load_recipe, _sound_recipe),
    Reader("registration", _text("registration.yaml", REGISTRATION), load_registration),
    Reader("study", _study, _outlined),
    Reader("task parameter", _text("limit.txt", "{a: [1, 2.5, text], b: 2026-01-01}"), _settings),
    Reader("ledger", _LEDGER, read_ledger),
    Reader(
        "ledger, compressed anew",
        *(_LEDGER, read_ledger),
        wrap=lambda data: gzip.compress(data, 1),
        content=lambda path: gzip.decompress(path.read_bytes()),
    ),
    Reader("job's spec", _spec, lambda path: JobFolder(path.parent).spec),
    Reader("COMPLETE.json", _complete, _checked),
    Reader("state of a training", _state, _completed),
    Reader("options of a training", _options, _same_options),
    Reader("run.json", _wrote("run.json", lambda path: mark(path.parent, "1.0")), _readable),
    *(Reader(f"run at work: {name}", partial(_of_job, name), _live) for name in ("spec.json", "faithfulness.csv")),
    *map(_on_page, ("recipe.yaml", "environment.json", "summary.json", "tables/accuracy.csv", "tables/circuits.csv")),
    _of_model("model's config", "base/config.json", load),
    _of_model("model's weights", "base/model.safetensors", load),
    _of_model("tokenizer's config", "base/tokenizer_config.json", load_tokenizer),
    _of_model("tokenizer", "base/tokenizer.json", load_tokenizer),
    _of_model("adapter's config", "adapter/adapter_config.json", load),
    _of_model("adapter's weights", "adapter/adapter_model.safetensors", load),
    _of_model("adapter's config, to pad", "adapter/adapter_config.json", _padded),
    _of_model("adapter's weights, to pad", "adapter/adapter_model.safetensors", _padded),
)
"""All of them."""
