"""The common style: the page's colours, files without dates, and what is said where matplotlib is missing."""

import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from circuitune.figures import style
from circuitune.figures.lines import Line, Panel, Point, line_panels

PAGE = Path(__file__).parents[2] / "web" / "src" / "style.css"


def example() -> style.Drawing:
    lines = [
        Line("one", [Point(0, 0.2, 0.1, 0.3), Point(1, None), Point(2, 0.5, 0.4, 0.6)]),
        Line("two", [Point(1, 1)]),
    ]
    return line_panels([Panel("seed 0", lines)], x="step", y="share", shares=True)


def test_the_colours_are_those_of_the_light_page():
    light = PAGE.read_text(encoding="utf-8").split("}", 1)[0]
    page = {name.replace("-", "_").upper(): colour for name, colour in re.findall(r"--([a-z-]+): (#\w+);", light)}
    used = {name: value for name, value in vars(style).items() if re.fullmatch(r"#\w{6}", str(value))}
    assert len(used) == 11
    assert used == {name: page[name] for name in used}


@pytest.mark.parametrize("form", style.FORMATS)
def test_equal_drawings_give_equal_bytes_without_a_date(form: str):
    data = example().encode(form)
    assert data.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[form])
    other = example()
    other.encode("png")  # what was written before must not matter
    assert data == other.encode(form)
    assert b"Date" not in data
    assert b"dc:date" not in data


def test_a_drawing_is_a_picture_in_a_notebook_and_leaves_the_users_style_alone():
    before = dict(matplotlib.rcParams)
    assert example()._repr_png_().startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib_one_sentence_names_the_extra():
    script = (
        "import sys\nsys.modules['matplotlib'] = None\n"
        "from circuitune.cli import call\nsys.exit(call(['report', 'figures', '.']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'circuitune[plot]'" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_colour_between_two():
    assert style.mixed("#000000", "#ffffff", 0.0) == "#000000"
    assert style.mixed("#000000", "#ffffff", 1.0) == "#ffffff"


@pytest.mark.parametrize(
    ("share", "words"), [(0.931, "93.1 %"), (1.0, "100 %"), (-0.2, "\N{MINUS SIGN}20 %"), (0.005, "0.5 %")]
)
def test_shares_are_written_as_percent(share: float, words: str):
    assert style.percent(share) == words
