"""The command ``circuitune``: one file per verb, nothing heavy imported before a verb needs it."""

import errno
import os
import sys
from collections.abc import Sequence

from circuitune.core.errors import InputError, MachineError, out_of_memory

VERBS = {
    "run": "Fine-tune, follow the circuits, compare rank plans; ends in a report.",
    "tasks": "List, show, check or export pairs.",
    "models": "What is supported, or the anatomy of one model.",
    "check": "Say whether results on a model can be trusted.",
    "discover": "Find the circuit of a task in a model.",
    "evaluate": "Measure how faithful a circuit is.",
    "compare": "What changed between two circuits or two models.",
    "follow": "The circuits of a task along the checkpoints of a training.",
    "plan": "Turn edge scores or training data into LoRA ranks.",
    "train": "Fine-tune with LoRA, uniform or by a plan.",
    "sweep": "Do all runs of a study, and judge its claims.",
    "rerun": "Do one arm of a study's contest again.",
    "report": "Build the report of a run folder again, serve it, or draw its figures.",
    "import": "Read a circuit file of another tool.",
    "export": "Write a circuit, a rank plan or an adapter for another tool.",
    "runs": "List runs, or verify one.",
    "job": "Run one job of a run folder (for schedulers).",
    "doctor": "Say what this machine has and what is missing.",
    "completion": "Print what a shell needs to complete verbs and options.",
}
QUIET = "--quiet"
"""Anywhere in a command: nothing but results, warnings and errors."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit code.

    0: done. 2: the request or its input is wrong. 1: the machine failed. 130: interrupted.
    """
    sys.exit(call(sys.argv[1:] if arguments is None else arguments))


def call(arguments: Sequence[str]) -> int:
    """Run the command; its exit code. Errors are one sentence on stderr."""
    given = [argument for argument in arguments if argument != QUIET]
    if not given or given in (["--help"], ["-h"]):
        sys.stdout.write(overview())
        return 0
    try:
        from circuitune.cli.application import dispatch

        dispatch(given, quiet=len(given) < len(arguments))
        sys.stdout.flush()
    except InputError as error:
        return _failed(str(error), 2)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return _failed(f"{str(error.filename)[:60]}... is too long for the name of a file; give another path.", 2)
        return _failed(str(error), 1)
    except MachineError as error:
        return _failed(str(error), 1)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        return _failed("Out of memory; take fewer pairs, a smaller batch, or a smaller model.", 1)
    except KeyboardInterrupt:
        resumes = given[:1] in (["run"], ["job"], ["follow"], ["sweep"])
        return _failed("Stopped. The same command goes on from here." if resumes else "Stopped.", 130)
    return 0


def overview() -> str:
    """The text of ``circuitune --help``, without importing the verbs."""
    lines = [f"  {name:<12}{text}" for name, text in VERBS.items()]
    return "\n".join(
        [
            "Usage: circuitune VERB [OPTIONS]",
            "",
            "See which circuits fine-tuning rewires, and put your LoRA rank there.",
            "",
            *lines,
            "",
            "circuitune VERB --help explains a verb; circuitune --version prints the version.",
            "--quiet with any verb: nothing but results, warnings and errors.",
            "Start with: circuitune run",
            "",
        ]
    )


def _failed(message: str, code: int) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"circuitune: {' '.join(message.split())}\n")
    return code
