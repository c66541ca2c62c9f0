"""A server of a run's page beside the test."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from circuitune.report.server import ReportServer


@contextmanager
def serving(run: Path) -> Generator[ReportServer]:
    with ReportServer(run, 0) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
