"""The faults themselves: a layer of files that fails, damaged bytes, a process that is killed or told to stop."""

import builtins
import io
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from circuitune.core.errors import InputError, MachineError

SENTENCE, CRASH = 2, 99
"""Exit codes of a child: one of our two errors, or anything else."""


class Ended(NamedTuple):
    """How a child ended: its exit code (negative: the signal), and its sentence or traceback."""

    code: int
    said: str

    @property
    def well(self) -> bool:
        """It did what it should, or said in one line why not."""
        return self.code == 0 or (self.code == SENTENCE and bool(self.said) and "\n" not in self.said)


@dataclass
class Child:
    """A copy of this process at work: libraries are loaded once, and it dies alone."""

    process: int
    pipe: int

    @classmethod
    def of(cls, work: Callable[[], object]) -> "Child":
        """Begin `work` in a copy of this process, which must not have taken a gradient yet."""
        reads, writes = os.pipe()
        if process := os.fork():
            os.close(writes)
            return cls(process, reads)
        code = 0
        try:
            work()
        except (InputError, MachineError) as error:
            code = SENTENCE
            os.write(writes, str(error).encode())
        except BaseException:
            code = CRASH
            os.write(writes, traceback.format_exc()[-4000:].encode())
        os._exit(code)

    def kill_after(self, seconds: float) -> Ended:
        """SIGKILL after so long; how it ended, which may have been before."""
        time.sleep(seconds)
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)
        return self.wait()

    def wait(self) -> Ended:
        """How it ended."""
        with os.fdopen(self.pipe, "rb") as pipe:
            said = pipe.read().decode(errors="replace")
        return Ended(os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1]), said)


def alone(work: Callable[[], object]) -> Ended:
    """Do `work` in a copy of this process."""
    return Child.of(work).wait()


class Failing:
    """Every operation of Python's file layer that writes; one of them, by its number, fails.

    Opening for writing, writing (half of the bytes arrive), fsync, rename and making folders. What a library writes
    by itself (safetensors, in Rust) is not under it.
    """

    def __init__(self, at: int | None, number: int) -> None:
        self.at, self.number, self.count = at, number, 0

    def passed(self) -> None:
        """One more operation; OSError if it is the one."""
        self.count += 1
        if self.count == self.at:
            raise OSError(self.number, os.strerror(self.number))

    @contextmanager
    def installed(self) -> Iterator["Failing"]:
        """Inside, the process writes through this layer."""
        opened = io.open

        def open_(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if not set(mode) & set("wax+") or isinstance(file, int):
                return opened(file, mode, *args, **kwargs)
            self.passed()
            return _File(opened(file, mode, *args, **kwargs), self)

        kept: list[tuple[Any, str, Any]] = [(io, "open", open_), (builtins, "open", open_)]
        kept += [(os, name, self._counted(getattr(os, name))) for name in ("fsync", "replace", "rename", "mkdir")]
        before = [(module, name, getattr(module, name)) for module, name, _ in kept]
        try:
            for module, name, value in kept:
                setattr(module, name, value)
            yield self
        finally:
            for module, name, value in before:
                setattr(module, name, value)

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.passed()
            return function(*args, **kwargs)

        return counted


class _File:
    """A file whose writes are counted."""

    def __init__(self, file: Any, layer: Failing) -> None:
        self._file, self._layer = file, layer

    def write(self, data: Any) -> int:
        """Write; when it fails, half of it has arrived."""
        try:
            self._layer.passed()
        except OSError:
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            raise
        return self._file.write(data)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def damaged(data: bytes, random: Random) -> bytes:
    """The bytes cut off, or with one bit flipped, at a random place; never the same."""
    if random.random() < 0.5:
        return data[: random.randrange(len(data))]
    changed = bytearray(data)
    changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(changed)


def mangled(data: bytes, random: Random) -> bytes:
    """The bytes damaged as above, or as an editor would: a piece doubled, left out, or of other characters."""
    if random.random() < 0.5:
        return damaged(data, random)
    start = random.randrange(len(data))
    piece = data[start : start + random.randrange(1, 40)]
    other = random.choice([b"", piece + piece, b'"', b"\n", b"\x00", b"{", b": ", b"- [", b"&a *a", b"1e999", b",,,"])
    return data[:start] + other + data[start + len(piece) :]


@contextmanager
def put(path: Path, data: bytes) -> Iterator[None]:
    """Inside, the file holds these bytes."""
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(before)
