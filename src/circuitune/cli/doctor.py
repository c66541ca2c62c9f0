"""``circuitune doctor``: whether this machine can do what the other verbs ask of it."""

import os
import shutil
from pathlib import Path

from circuitune.cli.output import show, show_json, table
from circuitune.core.errors import MachineError

NEEDED_SPACE = 1 << 30
"""Bytes that a run with the default recipe may take on disk."""


def doctor(*, json: bool = False) -> None:
    """Say what this machine has and what is missing; leaves with 1 if something is.

    Example: circuitune doctor

    Parameters
    ----------
    json: bool
        Print the result as JSON.
    """
    from circuitune.core.environment import describe

    machine = describe()
    space = shutil.disk_usage(Path.cwd()).free
    problems = [*_nano_problems(), *_space_problems(space)]
    facts: dict[str, object] = {
        "python": machine.python,
        **machine.packages,
        "cores": machine.cpus,
        "memory": f"{(machine.memory or 0) / 2**30:.0f} GiB",
        "free disk": f"{space / 2**30:.0f} GiB",
        "accelerator": _accelerator(),
    }
    if json:
        show_json({"facts": facts, "problems": problems})
    else:
        show(table(["", "found"], [[name, str(value)] for name, value in facts.items()]))
        show("\n".join(problems) or "Nothing is missing.")
    if problems:
        raise MachineError("Something is missing; see above.")


def _accelerator() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return "Apple GPU" if torch.backends.mps.is_available() else "none (the embedded model needs none)"


def _nano_problems() -> list[str]:
    """Load the embedded model and let it answer."""
    from circuitune.core.errors import InputError
    from circuitune.models.loading import load

    try:
        load("nano")
    except (InputError, OSError) as error:
        return [f"The embedded model cannot be loaded ({error}); install circuitune again."]
    return []


def _space_problems(free: int) -> list[str]:
    problems = []
    if free < NEEDED_SPACE:
        problems.append(f"Only {free / 2**20:.0f} MiB are free on this disk; a run may need {NEEDED_SPACE >> 20}.")
    if not os.access(Path.cwd(), os.W_OK):
        problems.append("The current folder is not writable; runs go to ./runs unless --out says otherwise.")
    return problems
