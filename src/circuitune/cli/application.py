"""The table of verbs as a cyclopts application; each verb's file is imported when it is called."""

import os
import warnings
from collections.abc import Sequence
from keyword import iskeyword

from cyclopts import App, CycloptsError, Parameter

from circuitune.cli import VERBS
from circuitune.cli.output import hush, warn
from circuitune.core.errors import InputError

QUIET = {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}


def application() -> App:
    """All verbs, none of them imported."""
    app = App(
        name="circuitune",
        help="See which circuits fine-tuning rewires, and put your LoRA rank there.",
        version=_version,
        help_format="plaintext",
        default_parameter=Parameter(negative=()),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for name in VERBS:
        module = f"{name}_" if iskeyword(name) else name
        app.command(f"circuitune.cli.{module}:{module}", name=name)
    return app


def dispatch(arguments: Sequence[str], *, quiet: bool = False) -> None:
    """Parse the arguments and call the verb; InputError where they do not fit it."""
    hush(quiet)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    warnings.showwarning = warn
    try:
        application()(list(arguments), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        verb = f" {arguments[0]}" if arguments[0] in VERBS else ""
        raise InputError(f"{error} See circuitune{verb} --help.") from error


def _version() -> str:
    from importlib.metadata import version

    return version("circuitune")
