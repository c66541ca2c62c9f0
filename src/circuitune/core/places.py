"""Paths that files name stay in the folder of the file, and a folder that came from elsewhere holds files alone."""

import os
from pathlib import Path

from circuitune.core.errors import InputError


def inside(folder: Path, name: str) -> Path:
    """The place that a file of ``folder`` names.

    Raises:
        InputError: it leads out of the folder (``..``, a root, a link), or is no path at all.
    """
    try:
        path = (folder / name).resolve()
        if path.is_relative_to(folder.resolve()):
            return path
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL in it, links in a circle
        raise InputError(f"{name[:60]!r} is no path; restore the file that names it.") from error
    raise InputError(f"{name[:200]} lies outside the folder of the file that names it; restore that file.")


def is_plain_name(name: str) -> bool:
    """Whether a name is that of a file or folder right here: no path, and not hidden."""
    return bool(name) and not name.startswith(".") and not set(name) & {"/", "\\", "\0"}


def require_contained(folder: Path) -> None:
    """See to it that whatever is read or removed below ``folder``, where it exists, is in it.

    Jobs at work may remove and replace what is there meanwhile.

    Raises:
        InputError: a link that leads out of it, or what is neither file nor folder (a pipe would be waited for).
    """
    top = folder.resolve()
    waiting = [top] if top.is_dir() else []
    while waiting:
        try:
            entries = os.scandir(waiting.pop())
        except FileNotFoundError:  # it has vanished, so there is nothing to contain
            continue
        with entries:
            for entry in entries:
                if entry.is_symlink():
                    _require_link_within(Path(entry.path), top)
                elif entry.is_dir():
                    waiting.append(Path(entry.path))
                elif not entry.is_file() and os.path.lexists(entry.path):  # what has vanished is no file either
                    raise InputError(f"{entry.path} is neither a file nor a folder; remove it.")


def _require_link_within(link: Path, top: Path) -> None:
    try:
        if link.resolve().is_relative_to(top):
            return
    except (OSError, RuntimeError):  # a circle leads nowhere
        pass
    raise InputError(f"{link} is a link that leads out of {top}; put what it stands for in its place, or remove it.")
