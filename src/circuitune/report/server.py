"""The page of a run over HTTP, for this machine alone: it follows a run at work, and fetches circuits one by one.

    GET /             the page; its payload names every circuit by its address
    GET /circuit/<h>  scores and edges of one circuit, as ``embedding`` packs them
    GET /state        {"version", "complete", "jobs"}: the page asks every few seconds whether there is more to show

Nothing else is answered. An address is looked up among the circuits the page has named; no part of a request becomes
a path. It is a hash of which files they are, when they were written and how long they are: a page never gets another
circuit than it was made with, also where its server has begun anew, or serves another run by now.

Names that lead to this machine by somebody else's DNS are refused by the Host header.
"""

import errno
import json
import re
from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from sys import exc_info
from typing import Any, Final, cast

from circuitune.core.errors import InputError
from circuitune.core.manifest import digest
from circuitune.core.records import CircuitRow
from circuitune.report.embedding import graph_of, pack
from circuitune.report.live import former_of, state_of, tables_of
from circuitune.report.payload import Located, Payload, describe, inside
from circuitune.report.render import render

ADDRESS: Final = "127.0.0.1"
PORTS: Final = 65_536
PATIENCE_S: Final = 30
"""How long a client may take to send its request or to take the answer."""
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer; what a page may do stands in the page."""


class Served:
    """A run folder as what can be asked for."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._known: dict[str, tuple[Path, Path]] = {}

    def page(self) -> str:
        """The whole page.

        Raises:
            InputError: the folder is no run, or a table or document in it is damaged.
        """
        state = state_of(self._run)  # first: what is written from here on makes the page look again
        page, _ = describe(self._run, tables_of(self._run), self._locate)
        problems = [*former_of(self._run), *cast(list[str], page["problems"])]
        return render(Payload({**page, "problems": problems, "served": asdict(state)}, {}), served=True)

    def state(self) -> str:
        """How far the run is, as JSON."""
        return json.dumps(asdict(state_of(self._run)))

    def circuit(self, address: str) -> str | None:
        """The data block of one circuit; None where no page has named it or it is another now.

        Raises:
            InputError: it cannot be read.
        """
        files = self._known.get(address)
        if files is None:
            return None
        block = pack(*files).data
        return block if _address(files) == address else None  # asked last: it may have changed while it was read

    def _locate(self, row: CircuitRow) -> Located:
        files = (inside(self._run, row.scores), inside(self._run, row.circuit))
        graph, address = graph_of(files[0]), _address(files)
        self._known[address] = files
        return Located(graph, None, f"/circuit/{address}")


def _address(files: tuple[Path, Path]) -> str:
    """What the files of a circuit are known by as long as neither changes."""
    try:
        status = [path.stat() for path in files]
    except OSError as error:
        raise InputError(f"{error.filename} is missing; discover it again.") from error
    seen = [(str(path), one.st_mtime_ns, one.st_size) for path, one in zip(files, status, strict=True)]
    return digest(seen)


class ReportServer(ThreadingHTTPServer):
    """A server of one run on the loopback interface.

    Args:
        run: the run folder.
        port: 0 takes any that is free; see ``server_port``.

    Raises:
        InputError: it is no run folder, or the port cannot be had.
    """

    daemon_threads = True

    def __init__(self, run: Path, port: int) -> None:
        if not 0 <= port < PORTS:
            raise InputError(f"--port {port} is no port; give a number from 0 to {PORTS - 1}.")
        self.served = Served(run)
        self.served.page()  # a folder that cannot be shown is refused at once
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            reason = "in use" if error.errno == errno.EADDRINUSE else f"not to be had ({error.strerror})"
            raise InputError(f"Port {port} of {ADDRESS} is {reason}; choose another with --port.") from error

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def answers_as(self, host: str) -> bool:
        """Whether this is what a Host header may say; browsers leave out port 80."""
        name, _, port = host.partition(":")
        return name in (ADDRESS, "localhost") and (port or "80") == str(self.server_port)

    def server_bind(self) -> None:
        """Without asking for the machine's own name, as the base class does: that can take seconds."""
        TCPServer.server_bind(self)
        self.server_port = self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader who leaves in the middle is no error."""
        if not isinstance(exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE_S
    server_version, sys_version = "circuitune", ""

    def do_GET(self) -> None:
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or not self._server.answers_as(hosts[0]):
            self._say(HTTPStatus.FORBIDDEN, f"This server answers as {self._server.address} only.")
            return
        found = self._find(self.path)
        if found is None:
            self._say(HTTPStatus.NOT_FOUND, "There is no such page.")
            return
        kind, make = found
        try:
            text = make()
        except InputError as error:
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
            return
        except Exception:  # such as a file that a job replaces meanwhile; the page asks again
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, "The run cannot be read just now; ask again.")
            return
        if text is None:
            self._say(HTTPStatus.NOT_FOUND, "There is no such circuit.")
        else:
            self._answer(HTTPStatus.OK, kind, text)

    do_HEAD = do_GET  # noqa: N815 (the base class looks it up by this name)

    @property
    def _server(self) -> ReportServer:
        return cast(ReportServer, self.server)

    def _find(self, path: str) -> tuple[str, Callable[[], str | None]] | None:
        """Type and maker of what a path asks for."""
        served = self._server.served
        if path == "/":
            return "text/html", served.page
        if path == "/state":
            return "application/json", served.state
        asked = re.fullmatch(r"/circuit/([0-9a-f]{64})", path)
        return ("text/plain", lambda: served.circuit(asked[1])) if asked else None

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class refuses: a method other than GET and HEAD, or what is no HTTP; nothing is echoed."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._say(HTTPStatus.METHOD_NOT_ALLOWED, "Only GET and HEAD are answered.", Allow="GET, HEAD")
        else:
            self._say(HTTPStatus(code), "The request was not understood.")

    def _say(self, status: HTTPStatus, sentence: str, **headers: str) -> None:
        self._answer(status, "text/plain", f"{sentence}\n", **headers)

    def _answer(self, status: HTTPStatus, kind: str, text: str, **headers: str) -> None:
        body = text.encode("utf-8")
        self.send_response(status)
        length = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body))}
        for name, value in {**HEADERS, **length, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: the page asks every few seconds."""
