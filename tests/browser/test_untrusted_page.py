"""A page whose every text was written by somebody hostile: it shows, and nothing of it runs."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.watched import Watched
from circuitune.core import records
from circuitune.core.atomic import write_json
from circuitune.core.csvio import read_rows, write_rows
from circuitune.report import build
from report.synthetic import build_run

pytestmark = pytest.mark.browser

HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>\u2028 {{x}} ${x}"


def hostile_run(folder: Path) -> Path:
    """Sentences, labels, an example, settings and an error: all of them hostile."""
    run = build_run(folder, sentence=HOSTILE)
    for name in ("accuracy", "circuits", "transitions"):
        path = run / "tables" / f"{name}.csv"
        model = {
            "accuracy": records.AccuracyRow,
            "circuits": records.CircuitRow,
            "transitions": records.TransitionRow,
        }
        rows = [
            row.model_copy(update={"label": row.label.replace("tune seed 0", HOSTILE)})
            for row in read_rows(path, model[name])
        ]
        write_rows(path, rows, model[name])
    circuits = read_rows(run / "tables" / "circuits.csv", records.CircuitRow)
    (run / circuits[-1].scores).write_bytes(b"not a file of scores")  # a problem that the page names
    example = records.ExampleRecord(clean=HOSTILE, corrupted=HOSTILE, answer=HOSTILE, wrong=HOSTILE)
    left_out = [records.LeftOutRecord(row=1, rule=HOSTILE, reason=HOSTILE)]
    found = sorted(run.glob("jobs/*/pairs.json"))
    assert len(found) <= 1
    pairs = records.PairsRecord(
        name=HOSTILE,
        settings={HOSTILE: HOSTILE},
        digest=HOSTILE,
        parts={"train": 1},
        left_out=left_out,
        wrong="given",
        metric="kl",
        size=records.SizeRecord(parameters=1, layers=1, tokens=1.0),
        example=example,
    )
    write_json(found[0] if found else run / "jobs" / "pairs-0" / "pairs.json", pairs)
    (run / "recipe.yaml").write_text(f"name: x\nmodel: {HOSTILE!r}\n{HOSTILE.split()[0]!r}: {HOSTILE!r}\n")
    return run


def test_hostile_text_shows_as_text_everywhere_and_nothing_runs(watched: Watched, tmp_path: Path) -> None:
    page = watched.open(build(hostile_run(tmp_path / "run")))
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    expect(page.locator(".summary")).to_contain_text("</script><script>window.broken = 1</script>")
    assert page.evaluate("document.body.innerText.split('window.broken = 1').length") > 6
    assert page.evaluate("window.broken") is None
    assert page.locator("img").count() == 0
    assert watched.complaints == []
    assert {url.split("#")[0].split("/")[-1] for url in watched.requests} <= {"report.html", "data:,", ","}


@pytest.mark.parametrize(
    "attempt",
    [
        "const s = document.createElement('script'); s.textContent = 'window.broken = 1'; document.body.append(s);",
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.broken = 1\">');",
        "document.body.insertAdjacentHTML('beforeend', '<a id=j href=\"javascript:window.broken = 1\">x</a>');"
        "document.getElementById('j').click();",
        "fetch('https://example.org/').then(() => { window.broken = 1; }, () => {});",
        "const f = document.createElement('iframe'); f.srcdoc = '<script>parent.broken = 1</script>';"
        "document.body.append(f);",
        "const o = document.createElement('object'); o.data = 'data:text/html,x'; document.body.append(o);",
    ],
)
def test_the_policy_stops_what_somebody_puts_into_the_page(watched: Watched, report: Path, attempt: str) -> None:
    page = watched.open(report)
    page.evaluate(f"() => {{ {attempt} }}")
    page.wait_for_timeout(300)
    assert page.evaluate("window.broken") is None
    assert any("Content Security Policy" in complaint for complaint in watched.complaints)
    assert not any(url.startswith("http") for url in watched.requests)


def test_the_policy_has_no_eval(report: Path) -> None:
    policy = report.read_text().split('http-equiv="Content-Security-Policy" content="')[1].split('"')[0]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src 'none'" in policy
    assert "unsafe" not in policy
