"""``circuitune completion``: what a shell needs to complete verbs and options."""

from typing import Literal

from circuitune.cli.output import show


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print the script that lets a shell complete verbs and options with the Tab key.

    It belongs where the shell looks for such scripts: for zsh a file _circuitune on its fpath, for fish
    ~/.config/fish/completions/circuitune.fish.

    Example: circuitune completion bash > ~/.local/share/bash-completion/completions/circuitune

    Parameters
    ----------
    shell: str
        The shell to print it for.
    """
    from circuitune.cli.application import application

    show(application().generate_completion(shell=shell))
