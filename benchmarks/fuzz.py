"""Damages one file of every kind thousands of times and says what its reader made of it.

    python benchmarks/fuzz.py                          # 300 inputs for each reader
    python benchmarks/fuzz.py --count 3000 --only recipe --only ledger
    python benchmarks/fuzz.py --engine atheris         # needs `pip install atheris`; guided by coverage of our code

A wrongly accepted input or a traceback is a bug: it is printed, kept with --keep, and the exit code is 1.
"""

import argparse
import logging
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from readers import READERS, Choices, Reader, damaged, intact, judged


class Drawn:
    """Choices of hypothesis."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def integer(self, low: int, high: int) -> int:
        """As hypothesis draws it."""
        return self._data.draw(st.integers(low, high))


class Consumed:
    """Choices of atheris: from the bytes that its coverage asks for."""

    def __init__(self, provider: object) -> None:
        self._provider = provider

    def integer(self, low: int, high: int) -> int:
        """As atheris has it."""
        return self._provider.ConsumeIntInRange(low, high)  # type: ignore[attr-defined]


Try = Callable[[Choices], None]


def tries(reader: Reader, outcomes: Counter[str], keep: Path | None) -> Try:
    """What an engine repeats: one damaged file, read and judged."""
    whole = intact(reader)

    def once(choose: Choices) -> None:
        content = damaged(whole, choose)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = judged(reader, Path(folder), content)
        outcomes[outcome] += 1
        if outcome.startswith("wrong") and outcomes[outcome] == 1:
            print(f"{reader.name}: {outcome}", file=sys.stderr)
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{reader.name.replace(' ', '_').replace('/', '_')}-{len(outcomes)}").write_bytes(content)

    return once


def with_hypothesis(once: Try, count: int, number: int) -> None:
    """So many inputs, the same ones for the same number."""

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        once(Drawn(data))

    run()


def with_atheris(once: Try, count: int, number: int) -> None:
    """So many inputs, in a child process: libFuzzer ends the one it runs in."""
    import atheris  # pyright: ignore[reportMissingImports]

    def run(data: bytes) -> None:
        once(Consumed(atheris.FuzzedDataProvider(data)))

    atheris.Setup([sys.argv[0], f"-runs={count}", f"-seed={number + 1}", "-max_len=512", "-verbosity=0"], run)
    atheris.Fuzz()


def row(name: str, outcomes: Counter[str], seconds: float) -> str:
    """One line of the table."""
    wrong = sum(count for outcome, count in outcomes.items() if outcome.startswith("wrong"))
    numbers = (sum(outcomes.values()), outcomes["refused"], outcomes["accepted"], wrong)
    return f"| {name} | {' | '.join(f'{number:,}' for number in numbers)} | {seconds:.0f} |"


COLUMNS = ("reader", "inputs tried", "refused", "accepted as valid", "wrongly accepted or traceback", "s")
HEADER = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def main() -> int:
    """The table on stdout, what is wrong on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("hypothesis", "atheris"), default="hypothesis")
    parser.add_argument("--count", type=int, default=300, help="inputs for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="a reader's name; may be given several times")
    parser.add_argument("--keep", type=Path, help="folder for inputs that went wrong")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    print(HEADER, flush=True)
    total: Counter[str] = Counter()
    started = time.monotonic()
    for reader in READERS:
        if options.only and reader.name not in options.only:
            continue
        began, outcomes = time.monotonic(), Counter[str]()
        once = tries(reader, outcomes, options.keep)
        if options.engine == "hypothesis":
            with_hypothesis(once, options.count, options.seed)
        else:
            outcomes = in_child(lambda once=once: with_atheris(once, options.count, options.seed), outcomes)
        print(row(reader.name, outcomes, time.monotonic() - began), flush=True)
        total += outcomes
    print(row("all", total, time.monotonic() - started))
    return int(any(outcome.startswith("wrong") for outcome in total))


def in_child(run: Callable[[], None], outcomes: Counter[str]) -> Counter[str]:
    """Run in a forked child and take its outcomes over, which it tells as it ends."""
    import atexit
    import json

    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        with os.fdopen(reading) as pipe:
            told = pipe.read()
        os.waitpid(child, 0)
        return Counter(json.loads(told or "{}"))
    os.close(reading)
    atexit.register(lambda: os.write(writing, json.dumps(outcomes).encode()))
    run()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
