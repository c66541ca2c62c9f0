"""The served page over real HTTP: who may ask, what is answered, and what a run at work shows."""

import json
import shutil
import socket
from collections.abc import Generator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from circuitune.core import records
from circuitune.core.csvio import read_rows
from circuitune.core.errors import InputError
from circuitune.core.manifest import complete
from circuitune.report.payload import collect
from circuitune.report.server import ReportServer
from report.serving import serving
from report.synthetic import take_back


@pytest.fixture(scope="module")
def server(made: Path) -> Generator[ReportServer]:
    with serving(made) as one:
        yield one


def ask(
    server: ReportServer, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[HTTPResponse, str]:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers=headers or {})
    answer = connection.getresponse()
    text = answer.read().decode("utf-8")
    connection.close()
    return answer, text


def payload_of(server: ReportServer) -> dict[str, Any]:
    _, html = ask(server, "/")
    text = html.split('<script type="application/json" id="payload">')[1].split("</script>")[0]
    return json.loads(text)


def rows(payload: dict[str, Any], table: str) -> list[dict[str, Any]]:
    found = payload["tables"][table]
    return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]] if found else []


def test_every_circuit_is_what_the_file_embeds(server: ReportServer, made: Path) -> None:
    embedded = collect(made)
    served = payload_of(server)
    assert len(served["circuits"]) == len(embedded.blobs) > 20
    for entry, block in zip(served["circuits"], embedded.blobs.values(), strict=True):
        answer, text = ask(server, entry["blob"])
        assert (answer.status, answer.getheader("Content-Type")) == (200, "text/plain; charset=utf-8")
        assert text == block


def test_the_page_says_what_the_file_says_but_for_the_circuits(server: ReportServer, made: Path) -> None:
    served, embedded = payload_of(server), json.loads(json.dumps(dict(collect(made).page)))
    assert served.pop("served")["jobs"] == 0
    for entry in served["circuits"] + embedded["circuits"]:
        del entry["blob"], entry["scale"]
    assert served == embedded


def test_the_page_may_ask_its_own_server_and_nobody_else(server: ReportServer) -> None:
    answer, html = ask(server, "/")
    [policy] = [line for line in html.splitlines() if "Content-Security-Policy" in line]
    assert "default-src 'none'; script-src 'sha256-" in policy
    assert "connect-src 'self'; base-uri" in policy
    assert policy.count("connect-src") == 1  # of two the first holds
    assert 'id="circuit-0"' not in html
    assert answer.getheader("Content-Security-Policy") == "frame-ancestors 'none'"
    assert answer.getheader("X-Content-Type-Options") == "nosniff"
    assert answer.getheader("Cross-Origin-Resource-Policy") == "same-origin"
    assert answer.getheader("Access-Control-Allow-Origin") is None


def test_it_listens_on_loopback_only(server: ReportServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "localhost:1", "127.0.0.1:{port}.evil.example", ""]
)
@pytest.mark.parametrize("path", ["/", "/state", "/circuit/0", "/nowhere"])
def test_another_host_is_refused(server: ReportServer, host: str, path: str) -> None:
    answer, text = ask(server, path, headers={"Host": host.format(port=server.server_port)})
    assert answer.status == 403
    assert "synthetic" not in text


def test_both_names_of_this_machine_are_answered_and_two_at_once_are_not(server: ReportServer) -> None:
    for name in ("127.0.0.1", "localhost"):
        assert ask(server, "/state", headers={"Host": f"{name}:{server.server_port}"})[0].status == 200
    own = f"Host: 127.0.0.1:{server.server_port}\r\n"
    assert raw(server, f"GET /state HTTP/1.1\r\n{own}{own}\r\n").startswith("HTTP/1.0 403 ")
    assert raw(server, "GET /state HTTP/1.1\r\n\r\n").startswith("HTTP/1.0 403 ")


def raw(server: ReportServer, request: str) -> str:
    """The answer to bytes that no client library would send."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(request.encode("latin-1"))
        return b"".join(iter(lambda: connection.recv(65_536), b"")).decode("utf-8")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_nothing_but_get_and_head_is_answered(server: ReportServer, method: str) -> None:
    answer, text = ask(server, "/", method)
    assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD")
    assert text == "Only GET and HEAD are answered.\n"


def test_head_is_the_answer_without_its_body(server: ReportServer) -> None:
    for path in ("/state", payload_of(server)["circuits"][0]["blob"]):
        answer, text = ask(server, path, "HEAD")
        assert (answer.status, text) == (200, "")
        assert int(answer.getheader("Content-Length") or 0) == len(ask(server, path)[1])
    assert ask(server, "/nowhere", "HEAD")[0].status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/report.html", "/tables/accuracy.csv", "/recipe.yaml", "/../recipe.yaml", "/circuit/../../recipe.yaml",
        "/circuit/%2e%2e%2frecipe.yaml", "//etc/passwd", "/etc/passwd", "/circuit/", "/circuit/0", "/circuit/-1",
        f"/circuit/{'0' * 64}", f"/circuit/{'A' * 64}", f"/circuit/{'0' * 65}", f"/circuit/{'0' * 64}?x",
        "/circuit/٣", "/?x", "/state/", "http://127.0.0.1/state", "*",
    ],
)  # fmt: skip
def test_any_other_path_is_not_there(server: ReportServer, path: str) -> None:
    own = f"Host: 127.0.0.1:{server.server_port}\r\n\r\n"
    answer = raw(server, f"GET {path.encode().decode('latin-1')} HTTP/1.1\r\n{own}")
    assert answer.startswith("HTTP/1.0 404 ")
    assert answer.endswith(("There is no such page.\n", "There is no such circuit.\n"))


@pytest.mark.parametrize(
    "request_line", ["nonsense", "GET / HTTP/9.9", "GET / HTTP/x", f"GET /{'a' * 70_000} HTTP/1.1"]
)
def test_what_is_no_request_is_not_repeated(server: ReportServer, request_line: str) -> None:
    answer = raw(server, f"{request_line}\r\n\r\n")
    assert answer.endswith("The request was not understood.\n")
    assert ask(server, "/state")[0].status == 200


def state(server: ReportServer) -> dict[str, Any]:
    return json.loads(ask(server, "/state")[1])


def test_a_run_at_work_grows_on_the_page(run: Path) -> None:
    whole = {
        table: read_rows(run / "tables" / f"{table}.csv", model)
        for table, model in (
            ("accuracy", records.AccuracyRow),
            ("faithfulness", records.FaithfulnessRow),
            ("circuits", records.CircuitRow),
        )
    }
    take_back(run)
    with serving(run) as server:
        begun = state(server)
        assert (begun["complete"], begun["jobs"]) == (0, 6)
        first = payload_of(server)
        assert first["served"] == begun
        assert first["tables"]["accuracy"] is first["graph"] is None
        assert "no summary yet" in first["sentences"][0]

        complete(run / "jobs" / "train-tune-seed1-0123456789ab")
        assert state(server)["version"] != begun["version"]
        assert state(server)["complete"] == 1
        shown = rows(payload_of(server), "accuracy")
        assert shown == [row.model_dump() for row in whole["accuracy"] if row.label == "tune seed 1"]

        complete(run / "jobs" / "circuits-tune-seed1-0123456789ab")
        later = payload_of(server)
        counts = {"nodes", "edges"}  # in a synthetic run those of faithfulness are not those of the circuits
        assert [{k: v for k, v in row.items() if k not in counts} for row in rows(later, "circuits")] == [
            row.model_dump(exclude=counts) for row in whole["circuits"] if row.label == "tune seed 1"
        ]
        assert {row["label"] for row in rows(later, "faithfulness")} == {"tune seed 1"}
        blobs = {entry["step"]: entry["blob"] for entry in later["circuits"]}
        kept = {step: ask(server, blob)[1] for step, blob in blobs.items()}

        complete(run / "jobs" / "circuits-tune-seed0-0123456789ab")
        last = payload_of(server)
        assert [entry["label"] for entry in last["circuits"]] == 11 * ["tune seed 0"] + 11 * ["tune seed 1"]
        for step, blob in blobs.items():  # a page opened before goes on asking by the old addresses
            assert ask(server, blob)[1] == kept[step]


def test_tables_of_an_earlier_recipe_do_not_hide_what_the_jobs_say(made: Path, run: Path) -> None:
    tables = (run / "tables").rename(run / "kept")
    (run / "tables").mkdir()
    for path in tables.iterdir():
        (run / "tables" / path.name).write_bytes(path.read_bytes())
    take_back(run)
    tables.rename(run / "tables")
    complete(run / "jobs" / "train-tune-seed1-0123456789ab")
    with serving(run) as server:
        shown = payload_of(server)
        assert {row["label"] for row in rows(shown, "accuracy")} == {"tune seed 1"}
        assert rows(shown, "methods")
        assert "but those of accuracy, faithfulness and circuits, may be of the run before" in shown["problems"][0]
        for job in (run / "jobs").iterdir():
            complete(job)
        assert {row["label"] for row in rows(payload_of(server), "accuracy")} == {"tune seed 0", "tune seed 1"}
        before = state(server)
        complete(run)
        assert state(server)["version"] != before["version"]
        sealed = payload_of(server)
        assert len(rows(sealed, "accuracy")) == len(collect_rows(made, "accuracy"))
        assert sealed["problems"] == []


def test_circuits_of_a_composed_tasks_parts_are_counted_and_not_shown(run: Path) -> None:
    take_back(run)
    for kind in ("train", "circuits"):
        part = run / "jobs" / f"{kind}-phase1-seed0-0123456789ab"
        spec = json.loads((part / "spec.json").read_text())
        (part / "spec.json").write_text(json.dumps({**spec, "part": "addition"}))
        complete(part)
    complete(run / "jobs" / "circuits-tune-seed1-0123456789ab")
    with serving(run) as server:
        shown = payload_of(server)
        assert shown["served"]["complete"] == 3
        assert shown["tables"]["accuracy"] is None
        assert {row["label"] for row in rows(shown, "faithfulness")} == {"tune seed 1"}
        assert {entry["label"] for entry in shown["circuits"]} == {"tune seed 1"}
        assert shown["problems"] == []  # nothing is there of an earlier recipe


def test_an_address_leads_to_one_circuit_after_a_restart_and_to_none_of_another_run(
    run: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(run, tmp_path / "another")  # equal names, sizes and times
    with serving(run) as server:
        blobs = [entry["blob"] for entry in payload_of(server)["circuits"]]
        blocks = [ask(server, blob)[1] for blob in blobs[:3]]
    take_back(run)
    complete(run / "jobs" / "circuits-tune-seed1-0123456789ab")  # they come in another order now
    with serving(run) as server:
        assert {entry["blob"] for entry in payload_of(server)["circuits"]} < set(blobs)
        complete(run / "jobs" / "circuits-tune-seed0-0123456789ab")
        payload_of(server)
        assert [ask(server, blob)[1] for blob in blobs[:3]] == blocks
    with serving(other) as server:
        assert not set(blobs) & {entry["blob"] for entry in payload_of(server)["circuits"]}
        assert ask(server, blobs[0])[0].status == 404


def test_a_circuit_that_was_found_anew_is_not_given_to_a_page_of_the_old_one(run: Path) -> None:
    with serving(run) as server:
        first, second = (entry["blob"] for entry in payload_of(server)["circuits"][:2])
        row = read_rows(run / "tables" / "circuits.csv", records.CircuitRow)[1]
        path, block = run / row.scores, ask(server, second)[1]
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
        assert ask(server, second)[0].status == 404
        assert ask(server, first)[0].status == 200
        again = payload_of(server)["circuits"][1]["blob"]
        assert ask(server, again)[1] == block


def test_what_nobody_foresaw_is_a_sentence_and_the_server_goes_on(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def vanished() -> str:
        raise FileNotFoundError(run / "jobs")

    with serving(run) as server:
        monkeypatch.setattr(server.served, "state", vanished)
        answer, text = ask(server, "/state")
        assert (answer.status, text) == (500, "The run cannot be read just now; ask again.\n")
        monkeypatch.undo()
        assert ask(server, "/state")[0].status == 200
    assert "Traceback" not in capsys.readouterr().err


def collect_rows(run: Path, table: str) -> list[list[Any]]:
    tables: Any = collect(run).page["tables"]
    return tables[table]["rows"]


def test_nothing_asked_makes_it_ask_again(server: ReportServer) -> None:
    assert state(server) == state(server) == payload_of(server)["served"]


def test_a_circuit_that_cannot_be_read_is_a_sentence(run: Path) -> None:
    with serving(run) as server:
        entry = payload_of(server)["circuits"][0]
        row = read_rows(run / "tables" / "circuits.csv", records.CircuitRow)[0]
        data = bytearray((run / row.scores).read_bytes())
        data[-3] ^= 0x10
        (run / row.scores).write_bytes(data)
        answer, text = ask(server, entry["blob"])
        assert (answer.status, answer.getheader("Content-Type")) == (500, "text/plain; charset=utf-8")
        assert text.startswith("step-00000.safetensors is damaged")
        (run / row.scores).write_bytes(b"cut off")
        later = payload_of(server)
        assert len(later["circuits"]) == len(collect(run).blobs)
        assert "step-00000.safetensors is missing" in later["problems"][0]


def test_a_damaged_table_is_a_sentence_and_then_shown_when_mended(run: Path) -> None:
    path = run / "tables" / "accuracy.csv"
    whole = path.read_bytes()
    with serving(run) as server:
        path.write_bytes(b"label\n")
        answer, text = ask(server, "/")
        assert answer.status == 500
        assert "accuracy.csv is no table of AccuracyRow" in text
        path.write_bytes(whole)
        assert ask(server, "/")[0].status == 200


def test_what_cannot_be_served_is_refused_at_once(server: ReportServer, made: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"Port {server.server_port} of 127.0.0.1 is in use; choose another"):
        ReportServer(made, server.server_port)
    with pytest.raises(InputError, match="--port 70000 is no port"):
        ReportServer(made, 70_000)
    with pytest.raises(InputError, match="is no run folder"):
        ReportServer(tmp_path, 0)
