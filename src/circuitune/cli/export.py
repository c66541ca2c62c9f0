"""``circuitune export``: scores, a circuit, a rank plan or an adapter as a file of another tool."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from circuitune.cli.evaluate import read_file
from circuitune.cli.output import say, show, show_json
from circuitune.core.errors import InputError

if TYPE_CHECKING:
    from circuitune.adapters.allocation import RankPlan

Format = Literal["eap-ig-json", "eap-ig-json-old", "pt", "mib", "graphml"]
Tool = Literal["trl", "axolotl", "peft", "card"]


def export(
    file: Path,
    /,
    *,
    format: Format | None = None,
    for_: Annotated[Tool | None, Parameter(name="--for")] = None,
    uniform: bool = False,
    model: str | None = None,
    dataset: str | None = None,
    out: Path | None = None,
    binary: bool = False,
    json: bool = False,
) -> None:
    """Write scores, a circuit, a rank plan or an adapter for another tool.

    Readers: EAP-IG 2 of eap-ig-json and pt, EAP-IG 0.2 of eap-ig-json-old, NetworkX of graphml, the benchmark of mib.
    A rank plan becomes a Python program for TRL, keys for an axolotl configuration, a section of a model card, or a
    PEFT folder to go on from. An adapter of many ranks becomes one of a single rank, for servers that read no
    patterns.

    Examples:
      circuitune export circuit.safetensors --format eap-ig-json --out c.json
      circuitune export scores.safetensors --format mib --out ioi_gpt2
      circuitune export circuit.safetensors --format graphml --out c.graphml
      circuitune export circuit_plan.json --for trl --dataset sft.csv --out a.py
      circuitune export circuit_plan.json --for axolotl --out lora.yaml
      circuitune export circuit_plan.json --for peft --out start
      circuitune export adapter --uniform --out padded

    Parameters
    ----------
    file: Path
        scores.safetensors or circuit.safetensors, as `circuitune discover` writes them; with --for circuit_plan.json;
        with --uniform the folder of a LoRA adapter.
    format: str
        What to write of scores or a circuit.
    for_: str
        Whom to write a rank plan for: trl, axolotl, peft, or card for a model card. Without --out on stdout.
    uniform: bool
        Pad an adapter to one rank and one scale; its outputs stay equal.
    model: str
        With --for the base model, by default the one the plan was made with; with --uniform the base whose modules
        without factors get zeros.
    dataset: str
        With --for trl what the program trains on: a file, a saved dataset or a name on the hub; by default what the
        plan was made from.
    out: Path
        The file to write; for mib (then named TASK_MODEL), peft and --uniform the folder.
    binary: bool
        For mib: nine circuits of the benchmark's sizes, cut from the scores, in place of the scores.
    json: bool
        Print the result as JSON.
    """
    if sum([format is not None, for_ is not None, uniform]) != 1:
        raise InputError(
            "Name what to write: --format of scores or a circuit, --for whom a rank plan, or --uniform of an adapter."
        )
    if format is not None:
        if out is None:
            raise InputError("Name what to write to with --out.")
        _circuit(file, format, out, binary, json)
    elif for_ is not None:
        _plan(file, for_, model, dataset, out, json)
    else:
        _adapter(file, model, out, json)


def _circuit(file: Path, format: Format, out: Path, binary: bool, json: bool) -> None:
    from circuitune.circuits.interchange import export_circuit, mib_circuits
    from circuitune.circuits.scores import EdgeScores

    what = read_file(file)
    if binary:
        if format != "mib" or not isinstance(what, EdgeScores):
            raise InputError("--binary cuts scores to nine circuits; give a scores file and --format mib.")
        what = mib_circuits(what)
    made = export_circuit(what, out, format=format)
    for note in made.notes:
        say(note)
    _written({"format": format}, made.files, {"notes": list(made.notes)}, json)


def _plan(file: Path, tool: Tool, model: str | None, dataset: str | None, out: Path | None, json: bool) -> None:
    """A rank plan for a trainer or for readers."""
    from circuitune.adapters.allocation import RankPlan
    from circuitune.core.atomic import ensure_writable_folder, write_text

    plan = RankPlan.load(file)
    name = model or plan.provenance.get("model")
    if not isinstance(name, str):
        raise InputError(f"{file} does not say which model it is for; name it with --model.")
    if tool == "peft":
        _folder(file, plan, name, out, json, offline=model is None)
        return
    text = _text(plan, tool, name, dataset, offline=model is None)
    if out is None:
        if json:
            show_json({"for": tool, "text": text})
        else:
            show(text.rstrip("\n"))
        return
    if out.is_dir():
        raise InputError(f"--out {out} is a folder; name the file to write.")
    ensure_writable_folder(out.parent)
    write_text(out, text)
    _written({"for": tool}, [out], {}, json)


def _text(plan: "RankPlan", tool: Tool, model: str, dataset: str | None, *, offline: bool) -> str:
    """What is written; ``offline``: the model's name comes from the plan, and a file causes no download."""
    from circuitune.adapters.export import axolotl_fragment, model_card, skeleton, trl_script

    said = plan.provenance
    rows = dataset or ("dataset_sha256" in said and said.get("dataset"))  # rows in memory have no name to load by
    if tool == "trl" and not isinstance(rows, str):
        raise InputError("The plan was not made from a file of training data; name what to train on with --dataset.")
    base = skeleton(model, offline=offline)
    if tool == "trl":
        return trl_script(plan, base, model=model, dataset=str(rows))
    return (axolotl_fragment if tool == "axolotl" else model_card)(plan, base, model=model)


def _folder(file: Path, plan: "RankPlan", name: str, out: Path | None, json: bool, *, offline: bool) -> None:
    """A PEFT adapter before training, with the scores that lie beside the plan."""
    from circuitune.adapters.export import save_peft_folder
    from circuitune.experiments.inputs import load_whole

    if out is None or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise InputError("Name an empty or new folder with --out: an adapter is several files.")
    say(f"Loading {name} ...")
    loaded, _ = load_whole(name, offline=offline)
    made = save_peft_folder(plan, loaded, out, name=name, scores=_scores(file, plan))
    _written({"for": "peft"}, made, {}, json)


def _scores(file: Path, plan: "RankPlan") -> Path | None:
    """The scores beside the plan if it was made from them; of others it says that they stay."""
    from circuitune.adapters.export import own_scores
    from circuitune.cli.plan import scores_beside

    path = scores_beside(file)
    if not path.is_file():
        return None
    try:
        own_scores(plan, path)
    except InputError as error:
        say(f"The adapter goes without scores: {error}")
        return None
    return path


def _adapter(file: Path, model: str | None, out: Path | None, json: bool) -> None:
    """An adapter with one rank."""
    from circuitune.adapters.export import skeleton
    from circuitune.adapters.modules import linear_modules
    from circuitune.adapters.uniform import pad_uniform

    if out is None:
        raise InputError("Name the folder to write with --out.")
    made = pad_uniform(file, out, None if model is None else linear_modules(skeleton(model)))
    before, after = made.parameters
    facts = {"rank": made.rank, "scale": made.scale, "modules": made.modules, "zeros": made.zeros}
    if not json:
        padded = f", {made.zeros} of them zero" if made.zeros else ""
        show(f"Rank {made.rank} and alpha / r = {made.scale:g} on {made.modules} modules{padded}; {before:,} weights")
        show(f"became {after:,}, the outputs are the same. The server must allow rank {made.rank}.")
    _written(facts, made.files, {"parameters": {"before": before, "after": after}}, json)


def _written(kind: dict[str, Any], files: Any, more: dict[str, Any], json: bool) -> None:
    if json:
        show_json({**kind, "files": [str(path) for path in files], **more})
        return
    for path in files:
        show(f"Written: {path}")
