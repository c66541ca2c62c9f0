"""Payload and built assets -> one HTML file."""

import base64
import hashlib
import html
import json
from importlib import resources
from pathlib import Path
from string import Template
from typing import Final

from circuitune.core.atomic import write_text
from circuitune.report.payload import Payload, collect

PAGE: Final = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>$title</title>
<link rel="icon" href="data:,">
<style>$style</style>
</head>
<body>
<div id="page">
<h1>$title</h1>
$sentences
<noscript><p>The figures of this page are drawn by its own script, which this browser does not run.</p></noscript>
</div>
<script type="application/json" id="payload">$payload</script>
$blobs
<script>$script</script>
</body>
</html>
""")


def build(run: Path) -> Path:
    """Write ``report.html`` into a run folder, atomically, and return its path.

    Raises:
        InputError: the folder is no run, or a table or document in it is damaged.
        MachineError: the file could not be written.
    """
    path = Path(run) / "report.html"
    write_text(path, render(collect(Path(run))))
    return path


def render(payload: Payload, *, served: bool = False) -> str:
    """The whole page; everything that comes from data is escaped. A ``served`` page may ask its own server."""
    script, style = _asset("report.js"), _asset("report.css")
    blocks = (f'<script type="text/plain" id="{name}">{data}</script>' for name, data in payload.blobs.items())
    return PAGE.substitute(
        policy=_policy(script, style, "'self'" if served else "'none'"),
        title=html.escape(payload.title),
        style=style,
        sentences="\n".join(f"<p>{html.escape(sentence)}</p>" for sentence in payload.sentences),
        payload=_json(payload.page),
        blobs="\n".join(blocks),
        script=script,
    )


def _asset(name: str) -> str:
    return resources.files("circuitune.report").joinpath("assets", name).read_text(encoding="utf-8")


def _policy(script: str, style: str, asked: str) -> str:
    """Only this script and this style run; nothing is loaded or framed, and none but ``asked`` is asked for data."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        f"img-src data:; connect-src {asked}; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _json(value: object) -> str:
    """JSON that no HTML parser can leave: the only character that could end or open a tag is escaped."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
