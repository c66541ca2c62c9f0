"""Time and memory of the engine beside a floor and, where there is a checkout of it, beside the field's reference.

    python benchmarks/engine.py                                     # ours and the floor
    python benchmarks/engine.py --reference ../EAP-IG --reference-python ../eap/bin/python      # and the reference

Models have random weights. Measured are EAP-IG scores of all edges (`attribute`, m = 5 points) and a faithfulness
curve of 10 circuit sizes (`curve`). Every subject runs in a process of its own, all of them in turn, one repeat
after the other: ratios are taken within a repeat. Memory is the peak of resident bytes above the loaded model.

The floor is what no gradient method on a Transformers model can go without, see `floor_attribute`: the prefix that
clean and corrupted prompts share, a clean and a corrupted run, and m forward and backward passes. The reference is
described in reference_child.py.
"""

import argparse
import copy
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, PreTrainedModel

from circuitune.circuits.attribution import attribute
from circuitune.circuits.faithfulness import SHARES, faithfulness_curve
from circuitune.circuits.graph import Graph
from circuitune.circuits.scores import EdgeScores
from circuitune.core.environment import describe
from circuitune.models.anatomy import anatomy_of
from circuitune.models.encoding import EncodedPairs
from measuring import Child, Measure, Measured, Pairs, Results, child, serve

STEPS = 5
MEASURES: tuple[Measure, ...] = ("attribute", "curve")


def _neox(layers: int, heads: int, width: int, vocabulary: int) -> dict[str, Any]:
    return {
        "model_type": "gpt_neox",
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "vocab_size": vocabulary,
    }


SHAPES: dict[str, dict[str, Any]] = {
    "pythia-160m": _neox(12, 12, 768, 50304),
    "gpt2": {"model_type": "gpt2"},
    "small": _neox(6, 8, 256, 8192),
    "tiny": _neox(2, 2, 32, 64),
}


class Case(NamedTuple):
    """Prompts of `length` tokens; clean and corrupted ones differ from the `first`-th on (counted from 1)."""

    length: int
    first: int

    @classmethod
    def parse(cls, text: str) -> "Case":
        """``19@17`` -> Case(19, 17)."""
        length, _, first = text.partition("@")
        if not (length.isdecimal() and first.isdecimal() and 1 <= int(first) <= int(length)):
            raise argparse.ArgumentTypeError(
                f"{text!r} is not TOKENS@FIRST with FIRST between 1 and TOKENS, such as 19@17."
            )
        return cls(int(length), int(first))

    def __str__(self) -> str:
        return f"{self.length}@{self.first}"


CASES = (Case(19, 17), Case(32, 25), Case(19, 1))


def random_model(shape: str, dtype: torch.dtype) -> PreTrainedModel:
    """A model of that shape with weights from a fixed seed; biases and norms are random too."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**SHAPES[shape]))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.to(dtype).eval()


def random_pairs(case: Case, count: int, vocabulary: int) -> Pairs:
    """Pairs of random tokens that differ at every position from the case's first on."""
    generator = torch.Generator().manual_seed(case.length * 1000 + case.first)

    def draw(low: int, *shape: int) -> Tensor:
        return torch.randint(low, vocabulary, shape, generator=generator)

    clean, answer, shared = draw(0, count, case.length), draw(0, count), case.first - 1
    changed = (clean[:, shared:] + draw(1, count, case.length - shared)) % vocabulary
    corrupted = torch.cat([clean[:, :shared], changed], 1)
    return Pairs(clean, corrupted, answer, (answer + draw(1, count)) % vocabulary, shared)


class Ends(NamedTuple):
    """Embeddings after the shared prefix [n, positions, width], its cache, and the clean run's logits [n, V]."""

    clean: Tensor
    corrupted: Tensor
    prefix: DynamicCache | None
    logits: Tensor


def last_logits(model: Any, embeddings: Tensor, prefix: DynamicCache | None) -> Tensor:
    """Logits at the last position, given the embeddings after the prefix; the prefix stays as it is."""
    cache = copy.copy(prefix)
    if cache is not None:
        cache.layers = [copy.copy(layer) for layer in cache.layers]
    output = model(inputs_embeds=embeddings, past_key_values=cache, use_cache=cache is not None, logits_to_keep=1)
    return output.logits[:, -1]


@torch.no_grad()
def floor_ends(model: Any, pairs: Pairs) -> Ends:
    """Run the shared prefix, the clean and the corrupted prompts once each."""
    prefix = None
    if pairs.shared:
        prefix = DynamicCache()
        shared = pairs.clean[:, : pairs.shared]
        model(input_ids=shared, past_key_values=prefix, use_cache=True, logits_to_keep=1)
    embed = model.get_input_embeddings()
    clean, corrupted = (embed(tokens[:, pairs.shared :]) for tokens in (pairs.clean, pairs.corrupted))
    logits = last_logits(model, clean, prefix)
    last_logits(model, corrupted, prefix)
    return Ends(clean, corrupted, prefix, logits)


def floor_attribute(model: Any, pairs: Pairs) -> Results:
    """Prefix, clean run, corrupted run, and m forward and backward passes between the two, on all pairs at once.

    Weights are frozen: the gradient is taken by the embeddings alone.
    """
    ends = floor_ends(model, pairs)
    for step in range(STEPS):
        between = ends.corrupted + step / STEPS * (ends.clean - ends.corrupted)
        logits = last_logits(model, between.requires_grad_(), ends.prefix)
        answer, wrong = (logits.gather(1, ids[:, None]) for ids in (pairs.answer, pairs.wrong))
        torch.autograd.grad((wrong - answer).sum(), between)
    return {"logits": ends.logits}


@torch.no_grad()
def floor_curve(model: Any, pairs: Pairs) -> Results:
    """Prefix, clean run, corrupted run, and one forward pass per circuit."""
    ends = floor_ends(model, pairs)
    for _ in SHARES:
        last_logits(model, ends.clean, ends.prefix)
    return {"logits": ends.logits}


def ours_attribute(model: Any, pairs: Pairs) -> Results:
    """Scores [sources, destinations]; the reference's quadrature, so that they compare."""
    return {"scores": attribute(model, encoded(pairs), steps=STEPS, quadrature="left").values}


def ours_curve(model: Any, pairs: Pairs) -> Results:
    """Mean logit difference of every circuit of the curve; choosing the circuits is part of it."""
    assert pairs.scores is not None
    scores = EdgeScores(pairs.scores, Graph.of(anatomy_of(model)))
    curve = faithfulness_curve(model, encoded(pairs), scores)
    return {"scores": torch.stack([result.circuit.metric.mean() for result in curve.results])}


def encoded(pairs: Pairs) -> EncodedPairs:
    """The pairs as the engine takes them."""
    return EncodedPairs(pairs.clean, pairs.corrupted, pairs.answer, pairs.wrong)


def serve_here(subject: str, folder: Path, threads: int) -> None:
    """Be the child process of the floor or of ours."""
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", "completeness residual")  # the weights are random
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    for parameter in model.parameters():  # into memory of this process, where a file may have been mapped
        parameter.data = parameter.data.clone()
    runs = {"floor": (floor_attribute, floor_curve), "ours": (ours_attribute, ours_curve)}[subject]
    if subject == "floor":
        model.requires_grad_(False)
    serve(folder, lambda measure, pairs: runs[MEASURES.index(measure)](model, pairs))


@dataclass(frozen=True)
class Row:
    """All repeats of one subject on one case.

    Attributes:
        subject: ``floor``, ``ours`` or ``reference``.
        wall, processor: seconds of every repeat, by the clock and on the processor.
        peak: bytes above the loaded model of every repeat; None where the system does not tell.
        beside: subject that the ratios are to: the floor for ours (ours / floor), ours for the reference
            (reference / ours); None for the floor.
        time, memory: ratios of every repeat; of processor time, which others on the machine hardly change, where
            subjects have one thread, else by the clock.
        difference: largest difference to our scores (of the curve: to our circuits' logit differences), relative
            to the largest of ours.
    """

    case: str
    measure: Measure
    subject: str
    wall: list[float]
    processor: list[float]
    peak: list[int | None]
    beside: str | None = None
    time: list[float] | None = None
    memory: list[float] | None = None
    difference: float | None = None

    def seconds(self, threads: int) -> list[float]:
        """What `time` is a ratio of."""
        return self.processor if threads == 1 else self.wall


def row(
    case: Case, measure: Measure, subject: str, runs: Sequence[Measured], beside: Row | None = None, threads: int = 1
) -> Row:
    """Collect the runs of a subject, with their ratios to the runs of another."""
    wall, processor, peak = [run.wall for run in runs], [run.processor for run in runs], [run.peak for run in runs]
    plain = Row(str(case), measure, subject, wall, processor, peak)
    if beside is None:
        return plain
    time = [a / b for a, b in zip(plain.seconds(threads), beside.seconds(threads), strict=True)]
    memory = [a / b for a, b in zip(plain.peak, beside.peak, strict=True) if a and b]
    return replace(plain, beside=beside.subject, time=time, memory=memory or None)


def difference(theirs: Results, ours: Results) -> float:
    """Largest difference, relative to the largest value of ours."""
    a, b = theirs["scores"].double(), ours["scores"].double()
    return float((a - b).abs().max() / b.abs().max())


def rows(
    children: Sequence[Child], graph: Graph, cases: Sequence[Case], options: argparse.Namespace
) -> Iterator[Row]:
    """Measure every case, the subjects in turn."""
    for case in cases:
        pairs = random_pairs(case, options.pairs, _vocabulary(options.shape))
        for measure in MEASURES:
            pairs.save(options.folder / "pairs.safetensors")
            runs: dict[str, list[Measured]] = {subject.name: [] for subject in children}
            results: dict[str, Results] = {}
            for _ in range(options.repeats):
                for subject in children:
                    measured, results[subject.name] = subject.run(measure, "pairs")
                    runs[subject.name].append(measured)
            floor = row(case, measure, "floor", runs["floor"])
            ours = row(case, measure, "ours", runs["ours"], floor, options.threads)
            yield from (floor, ours)
            if "reference" in runs:
                reference = row(case, measure, "reference", runs["reference"], ours, options.threads)
                yield replace(reference, difference=difference(results["reference"], results["ours"]))
            if measure == "attribute":
                pairs = with_circuits(pairs, EdgeScores(results["ours"]["scores"], graph))


def with_circuits(pairs: Pairs, scores: EdgeScores) -> Pairs:
    """The pairs with the scores a curve is made from and the circuits it then runs."""
    return pairs._replace(scores=scores.values, circuits=torch.stack([scores.top(share).mask for share in SHARES]))


def _vocabulary(shape: str) -> int:
    return AutoConfig.for_model(**SHAPES[shape]).vocab_size


COLUMNS = "{:<7} {:<10} {:<10} {:>22}  {:<32} {:>7}  {:<28} {}"
HEADER = COLUMNS.format("case", "measure", "subject", "seconds", "time", "MB", "memory", "difference")


def line(result: Row, threads: int) -> str:
    """One row of the table: medians, ranges in brackets."""
    peaks = [peak / 2**20 for peak in result.peak if peak is not None]
    return COLUMNS.format(
        result.case,
        result.measure,
        result.subject,
        _spread(result.seconds(threads)),
        f"{_spread(result.time)} x {result.beside}" if result.time else "",
        f"{median(peaks):.0f}" if peaks else "unknown",
        f"{_spread(result.memory)} x {result.beside}" if result.memory else "",
        "" if result.difference is None else f"{result.difference:.1e}",
    ).rstrip()


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.3g} ({min(values):.3g}–{max(values):.3g})"


def table(results: Sequence[Row], threads: int) -> Iterator[str]:
    """The lines of the table; says where the reference was not run."""
    yield HEADER
    for result in results:
        yield line(result, threads)
        if result.subject == "ours" and not any(r.subject == "reference" for r in results):
            yield COLUMNS.format(result.case, result.measure, "reference", "not run", "", "", "", "").rstrip()


def busy(results: Sequence[Row], threads: int) -> float:
    """Largest share of a run's wall time that was not spent on the processor."""
    return max(1 - p / threads / w for r in results for w, p in zip(r.wall, r.processor, strict=True))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Time and memory of the engine beside its floor and the reference.")
    parser.add_argument("--shape", choices=SHAPES, default="pythia-160m", help="shape of the model")
    parser.add_argument(
        "--case",
        type=Case.parse,
        action="append",
        metavar="TOKENS@FIRST",
        help="length of the prompts and the first token in which clean and corrupted differ; may be repeated",
    )
    parser.add_argument("--pairs", type=int, default=32, help="pairs per run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="threads of every subject")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--reference", type=Path, metavar="CHECKOUT", help="a checkout of hannamw/EAP-IG")
    parser.add_argument("--reference-python", metavar="PYTHON", help="the Python of an environment that can run it")
    parser.add_argument("--reference-batch", type=int, help="pairs per batch of the reference (default: all)")
    parser.add_argument("--reference-frozen", action="store_true", help="spare the reference its weights' gradients")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write settings and every single run there")
    options = parser.parse_args(arguments)
    if (options.reference is None) != (options.reference_python is None):
        parser.error("--reference and --reference-python belong together.")
    for name in ("pairs", "repeats", "threads", "reference_batch"):
        if (value := getattr(options, name)) is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, not {value}.")
    options.case = options.case or list(CASES)
    options.reference_batch = options.reference_batch or options.pairs
    return options


def commands(options: argparse.Namespace) -> dict[str, list[str | Path]]:
    """How to start each subject's process."""
    here, folder, threads = Path(__file__), options.folder, str(options.threads)
    found: dict[str, list[str | Path]] = {
        name: [sys.executable, here, "serve", name, folder, threads] for name in ("floor", "ours")
    }
    if options.reference is not None:
        child_file = here.with_name("reference_child.py")
        extra = [options.reference.resolve(), folder, threads, str(STEPS), str(options.reference_batch)]
        found["reference"] = [options.reference_python, child_file, *extra]
        if options.reference_frozen:
            found["reference"].append("frozen")
    return found


def measure_all(options: argparse.Namespace) -> list[Row]:
    """Write the model, start the processes, measure."""
    model = random_model(options.shape, getattr(torch, options.dtype))
    graph = Graph.of(anatomy_of(model))
    model.save_pretrained(options.folder)
    del model
    random_pairs(Case(3, 2), 1, _vocabulary(options.shape)).save(options.folder / "warm-up.safetensors")
    with ExitStack() as stack:
        children = [
            stack.enter_context(child(name, command, options.folder, options.threads))
            for name, command in commands(options).items()
        ]
        for started in children:
            started.ready()
        results = []
        for result in rows(children, graph, options.case, options):
            print(line(result, options.threads), file=sys.stderr, flush=True)  # a run can take an hour
            results.append(result)
        return results


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    if arguments[:1] == ["serve"]:
        serve_here(arguments[1], Path(arguments[2]), int(arguments[3]))
        return
    options = parse(arguments)
    load = os.getloadavg()[0]
    with TemporaryDirectory(prefix="circuitune-benchmark-") as folder:
        options.folder = Path(folder)
        results = measure_all(options)
    threads = f"{options.threads} thread{'s' * (options.threads > 1)}"
    print(
        f"{options.shape} shape, random weights, {options.dtype}, {threads}, {options.pairs} pairs, m = {STEPS}, "
        f"{len(SHARES)} circuits per curve, {options.repeats} repeats: median (range)"
    )
    print(*table(results, options.threads), sep="\n")
    print(
        "A case is TOKENS@FIRST: length, and first token in which clean and corrupted differ. Seconds are "
        f"{'on the processor' if options.threads == 1 else 'by the clock'}; MB: peak above the loaded model. "
        f"Load of the machine at the start: {load:.1f}; a run waited for the processor at most "
        f"{busy(results, options.threads):.0%} of its time."
    )
    if options.json is not None:
        _write(options, load, results)


def _write(options: argparse.Namespace, load: float, results: Sequence[Row]) -> None:
    names = ("shape", "pairs", "repeats", "threads", "dtype", "reference_batch", "reference_frozen")
    settings = {name: getattr(options, name) for name in names} | {"steps": STEPS, "shares": SHARES, "load": load}
    settings["environment"] = describe().model_dump()
    options.json.write_text(json.dumps({"settings": settings, "rows": [asdict(r) for r in results]}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
