"""What the benchmark's child processes share: one model each, its runs timed and weighed one by one.

The reference's environment imports this file too: only the standard library, torch and safetensors may be used here.
"""

import ctypes
import ctypes.util
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Measure = Literal["attribute", "curve"]
Results = dict[str, Tensor]
Runner = Callable[[Measure, "Pairs"], Results]
"""Does what is measured and returns tensors for the parent to compare."""

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Pairs(NamedTuple):
    """Random prompts, and what a curve is made of.

    Attributes:
        clean, corrupted: int64 [n, positions].
        answer, wrong: int64 [n].
        shared: number of leading positions on which clean and corrupted prompts agree.
        scores: float32 [sources, destinations], to choose circuits by.
        circuits: bool [circuits, sources, destinations], the circuits so chosen.
    """

    clean: Tensor
    corrupted: Tensor
    answer: Tensor
    wrong: Tensor
    shared: int
    scores: Tensor | None = None
    circuits: Tensor | None = None

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        parts = {name: value for name, value in self._asdict().items() if isinstance(value, Tensor)}
        save_file({**parts, "shared": torch.tensor(self.shared)}, path)

    @classmethod
    def load(cls, path: Path) -> "Pairs":
        """Read a file written by `save`."""
        parts: dict[str, Any] = load_file(path)
        return cls(**{**parts, "shared": int(parts["shared"])})


class Measured(NamedTuple):
    """One run: seconds by the clock and on the processor (all threads), and the peak of resident bytes above the
    loaded model (None: unknown)."""

    wall: float
    processor: float
    peak: int | None


def serve(folder: Path, runner: Runner, forget: Callable[[], None] = lambda: None) -> None:
    """Answer the parent's requests, one JSON line each, until it closes the pipe.

    A first run on one pair, not measured, pays what is paid once; what is resident after it counts as the model.

    Args:
        folder: where pairs and results are exchanged.
        runner: what is measured.
        forget: drops what a run leaves behind at the model; not timed.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # a library that prints must not break the protocol

    def answer(value: object) -> None:
        print(json.dumps(value), file=answers, flush=True)

    runner("attribute", Pairs.load(folder / "warm-up.safetensors"))
    forget()
    base = resident()
    answer("ready")
    for line in sys.stdin:
        request = json.loads(line)
        pairs = Pairs.load(folder / f"{request['pairs']}.safetensors")
        measured, results = _measure(lambda m=request["measure"], p=pairs: runner(m, p), base)
        forget()
        save_file({name: value.contiguous() for name, value in results.items()}, folder / request["results"])
        answer(measured)


def _measure(run: Callable[[], Results], base: int | None) -> tuple[Measured, Results]:
    resident()
    if base is not None:
        CLEAR.write_text("5")  # sets the peak (VmHWM) back to what is resident now
    start, processor = time.perf_counter(), time.process_time()
    results = run()
    wall, processor = time.perf_counter() - start, time.process_time() - processor
    peak = None if base is None else status("VmHWM") - base
    return Measured(wall, processor, peak), results


def resident() -> int | None:
    """Resident bytes once freed memory is given back to the system; None where the system does not tell."""
    gc.collect()
    if not os.access(CLEAR, os.W_OK):
        return None
    trim = getattr(ctypes.CDLL(ctypes.util.find_library("c")), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return status("VmRSS")


def status(key: str) -> int:
    """Bytes of one line of the kernel's record of this process, such as VmHWM."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


class Child:
    """A child process that serves: once `ready`, `run` measures."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path, name: str) -> None:
        self.process, self.folder, self.name = process, folder, name

    def ready(self) -> None:
        """Wait until its model is loaded."""
        self._read()

    def run(self, measure: Measure, pairs: str) -> tuple[Measured, Results]:
        """Measure one run on pairs saved under that name."""
        results = f"{self.name}.results.safetensors"
        assert self.process.stdin is not None
        print(
            json.dumps({"measure": measure, "pairs": pairs, "results": results}), file=self.process.stdin, flush=True
        )
        measured = Measured(*self._read())
        return measured, load_file(self.folder / results)

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(
                f"The {self.name}'s process ended with status {self.process.wait()}; see its message above."
            )
        return json.loads(line)


@contextmanager
def child(name: str, command: Sequence[str | Path], folder: Path, threads: int) -> Iterator[Child]:
    """Start a child process with that many threads; it ends with the block."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    environment = {**os.environ, **limits, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    arguments, pipe = [str(part) for part in command], subprocess.PIPE
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        try:
            yield Child(process, folder, name)
        finally:
            process.kill()
