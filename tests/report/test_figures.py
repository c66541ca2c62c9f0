"""Figures of a run: every one in every format, what is missing said, the numbers those of the tables."""

import re
from pathlib import Path

import pytest
from matplotlib.image import imread

from circuitune.core import chance_records, records
from circuitune.core.csvio import read_rows, write_rows
from circuitune.core.errors import InputError
from circuitune.core.study_records import ClaimRow, TaskEffectRow
from circuitune.report import figures, plates
from circuitune.report.payload import TABLES, collect
from circuitune.report.plates import Plate

STUDIES, IMAGES = (Path(__file__).parents[2] / "docs" / name for name in ("studies", "images"))
NAMES = ["circuit", "faithfulness", "robustness", "transitions", "chance", "layers", "methods"]


def keep_only(run: Path, *tables: str) -> None:
    for table in (run / "tables").iterdir():
        if table.stem not in tables:
            table.unlink()


@pytest.fixture(scope="module")
def found(made: Path) -> dict[str, Plate | str]:
    return figures.collect(made)


@pytest.fixture(scope="module")
def drawn(found: dict[str, Plate | str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, figures.Drawn]:
    folder = tmp_path_factory.mktemp("figures")
    return folder, figures.write(found, folder, ["svg"])


def test_every_figure_is_written_with_its_caption(drawn: tuple[Path, figures.Drawn]) -> None:
    folder, found = drawn
    assert {path.name for path in folder.iterdir()} == {*(f"{name}.svg" for name in NAMES), "figures.md"}
    assert set(found.files) == set(folder.iterdir())
    text = (folder / "figures.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\((\S+)\.svg\)", text) == NAMES
    assert "2 fine-tunings (2 seeds)" in text
    assert "95 % bootstrap intervals over pairs (200 resamples)" in text


def test_one_call_writes_three_formats(run: Path) -> None:
    keep_only(run, "transitions", "methods")
    found = figures.draw(run)
    files = {f"{name}.{form}" for name in ("transitions", "methods") for form in ("png", "svg", "pdf")}
    assert {path.name for path in (run / "figures").iterdir()} == {*files, "figures.md"}
    assert set(found.files) == set((run / "figures").iterdir())


def test_what_has_no_table_is_left_out_with_its_reason(drawn: tuple[Path, figures.Drawn]) -> None:
    folder, found = drawn
    assert set(found.left_out) == {"overlap", "composition-overlap"}
    text = (folder / "figures.md").read_text(encoding="utf-8")
    assert "- overlap: the run has no tables/similarity.csv." in text
    assert "(a recipe asks for it with `composition`)" in text


def test_equal_runs_give_equal_bytes(run: Path, drawn: tuple[Path, figures.Drawn]) -> None:
    folder, found = drawn
    again = figures.draw(run, run / "again", ["svg"])
    assert [path.name for path in again.files] == [path.name for path in found.files]
    for path in again.files:
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_the_figures_read_the_tables_of_the_page() -> None:
    assert TABLES.items() <= figures.ALL.items()


def test_a_damaged_table_is_one_error_for_page_and_figures(run: Path) -> None:
    (run / "tables" / "methods.csv").write_text("arm\n", encoding="utf-8")
    for read in (collect, figures.collect):
        with pytest.raises(InputError, match=r"methods\.csv"):
            read(run)


def test_a_circuit_that_cannot_be_read_is_left_out(run: Path) -> None:
    row = read_rows(run / "tables" / "circuits.csv", records.CircuitRow)[0]
    (run / row.scores).write_bytes(b"spoilt")
    keep_only(run, "circuits")
    reason = figures.collect(run)["circuit"]
    assert isinstance(reason, str)
    assert "step-00000.safetensors" in reason


def test_a_run_without_tables_has_nothing_to_draw(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: new\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"nothing to draw yet: .*circuits.*tables/faithfulness\.csv"):
        figures.draw(tmp_path)
    assert not (tmp_path / "figures").exists()


@pytest.mark.parametrize("formats", [["gif"], []])
def test_other_formats_are_refused(made: Path, tmp_path: Path, formats: list[str]) -> None:
    with pytest.raises(InputError, match="png, svg, pdf"):
        figures.write({}, tmp_path, formats)


def test_the_circuit_counts_what_the_table_counts(made: Path, found: dict[str, Plate | str]) -> None:
    rows = read_rows(made / "tables" / "circuits.csv", records.CircuitRow)
    first, last = rows[0], [row for row in rows if row.label == rows[0].label][-1]
    plate = found["circuit"]
    assert isinstance(plate, Plate)
    assert f"before ({first.edges} edges, {first.nodes} nodes)" in plate.caption
    assert f"after fine-tuning ({last.edges} edges, {last.nodes} nodes) of 6,573" in plate.caption


def test_faithfulness_that_is_undefined_everywhere_shows_kl(made: Path) -> None:
    rows = read_rows(made / "tables" / "faithfulness.csv", records.FaithfulnessRow)
    none = {"normalized": None, "normalized_low": None, "normalized_high": None, "reason": "nothing was learnt"}
    plate = plates.faithfulness([row.model_copy(update=none) for row in rows], 0.05)
    assert isinstance(plate, Plate)
    assert "KL divergence" in plate.caption
    assert "undefined everywhere, for instance because nothing was learnt" in plate.caption
    axes = plate.drawing.axes[0]
    assert "KL" in axes.get_ylabel()
    shares = sorted({row.share for row in rows})
    assert list(axes.lines[0].get_ydata()) == [
        row.kl for row in rows if (row.label, row.share) == (rows[0].label, shares[0])
    ]


def test_two_fine_tunings_are_lines_and_more_a_mean_with_an_interval(made: Path) -> None:
    rows = read_rows(made / "tables" / "transitions.csv", records.TransitionRow)
    two = plates.transitions(rows)
    assert isinstance(two, Plate)
    assert len(two.drawing.axes[0].lines) == 4
    assert "too few for an interval" in two.caption
    more = [
        row.model_copy(update={"label": f"tune seed {seed}", "seed": seed, "rate": (row.rate or 0) + seed / 100})
        for seed in range(4)
        for row in rows
        if row.seed == 0
    ]
    four = plates.transitions(more)
    assert isinstance(four, Plate)
    assert len(four.drawing.axes[0].lines) == 2
    assert "Student's 95 % intervals over 4 fine-tunings (4 seeds)" in four.caption
    edges = [row.rate for row in rows if row.seed == 0 and row.kind == "edge" and row.rate is not None]
    assert list(four.drawing.axes[0].lines[0].get_ydata()) == pytest.approx([rate + 0.015 for rate in edges])


def test_of_several_fine_tunings_circuits_are_a_mean_in_one_panel(made: Path) -> None:
    faithful = read_rows(made / "tables" / "faithfulness.csv", records.FaithfulnessRow)
    alike = read_rows(made / "tables" / "robustness.csv", chance_records.RobustnessRow)
    for rows, draw in (
        (faithful, lambda own: plates.faithfulness(own, 0.05)),
        (alike, plates.robustness),
    ):
        several = [
            row.model_copy(update={"label": f"tune seed {seed}", "seed": seed})
            for seed in range(3)
            for row in rows
            if row.label == "tune seed 0"
        ]
        one = draw([row for row in several if row.seed == 0])
        plate = draw(several)
        assert isinstance(one, Plate)
        assert isinstance(plate, Plate)
        assert len([axes for axes in plate.drawing.axes if axes.get_visible()]) == 1
        assert "Student's 95 % intervals" in plate.caption
        assert "Student" not in one.caption
        for line, mean in zip(one.drawing.axes[0].lines, plate.drawing.axes[0].lines, strict=True):
            values = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
            for x, y in zip(mean.get_xdata(), mean.get_ydata(), strict=True):
                assert y == pytest.approx(values[x])


def test_methods_of_several_seeds_are_means_paired_with_uniform(made: Path) -> None:
    rows = read_rows(made / "tables" / "methods.csv", records.MethodRow)
    one = plates.methods(rows)
    assert isinstance(one, Plate)
    assert one.numbers is not None
    assert [line[0] for line in one.numbers.rows][2:] == [f"Random layers, draw {draw}" for draw in range(3)]
    assert one.numbers.rows[0][5:] == ["93.1 %", f"{100 * rows[0].low:.1f}–{100 * rows[0].high:.1f}"]
    shift = {"circuitlora": [0.0, 0.02], "uniform": [0.0, 0.01], "random": [0.0, 0.0]}
    both = [
        row.model_copy(update={"seed": seed, "accuracy": row.accuracy + shift[row.arm][seed]})
        for seed in range(2)
        for row in rows
    ]
    several = plates.methods(both)
    assert isinstance(several, Plate)
    assert several.numbers is not None
    assert [line[0] for line in several.numbers.rows] == ["CircuitLoRA", "Uniform LoRA", "Random layers"]
    ours = several.numbers.rows[0]
    assert ours[1:4] == ["2", "18,432", "94.1 %"]
    assert ours[5] == f"{100 * (0.931 - 0.9105 + 0.005):+.1f}"
    assert "paired by seed" in several.caption


def test_overlaps_are_tables_of_means_with_the_least_and_the_most(run: Path) -> None:
    similar = [
        chance_records.SimilarityRow.model_validate(
            {"comparison": name, "role": role, "form": "split", "measure": "top_overlap", "k": 32, "value": value}
        )
        for name, role, value in (("one", "change", 0.2), ("two", "change", 0.3), ("seeds", "null", 0.8))
    ]
    overlaps = [
        chance_records.TunedTopOverlapRow(
            first="inner", second="outer", size=size, shared=1, share=size / 100, label="tune", seed=0
        )
        for size in (10, 20)
    ]
    keep_only(run)
    write_rows(run / "tables" / "similarity.csv", similar, chance_records.SimilarityRow)
    write_rows(run / "tables" / "composition_overlap.csv", overlaps, chance_records.TunedTopOverlapRow)
    found = figures.collect(run)
    top, composed = found["overlap"], found["composition-overlap"]
    assert isinstance(top, Plate)
    assert top.numbers is not None
    assert top.numbers.rows == [["32", "25 % (20–30)", "80 %"]]
    assert isinstance(composed, Plate)
    assert composed.numbers is not None
    assert composed.numbers.rows == [["inner / outer", "10 %", "20 %"]]


def test_tables_without_rows_are_no_figures(run: Path) -> None:
    names = ["robustness", "layers", "chance", "methods", "faithfulness", "transitions"]
    for table in names:
        write_rows(run / "tables" / f"{table}.csv", [], TABLES[table])
    found = figures.collect(run)
    assert all(isinstance(found[name], str) for name in names)


def test_a_run_without_circuits_draws_the_rest(run: Path) -> None:
    keep_only(run, "faithfulness")
    found = figures.collect(run)
    assert found["circuit"] == "the run has no circuits of two checkpoints of one fine-tuning"
    assert isinstance(found["faithfulness"], Plate)


@pytest.mark.parametrize("study", sorted(path.parent.name for path in STUDIES.glob("*/tasks.csv")))
def test_the_picture_of_a_study_in_the_documents_is_that_of_its_tables(study: str, tmp_path: Path) -> None:
    figures.draw(STUDIES / study, tmp_path, ["png"])
    assert "intervals at the registered level" in (tmp_path / "figures.md").read_text()  # which is in no table
    shown, drawn = (imread(path) for path in (IMAGES / f"study-{study}.png", tmp_path / "verdicts.png"))
    stale = f"call circuitune report figures docs/studies/{study} and copy verdicts.png"
    assert shown.shape == drawn.shape, stale
    assert abs(shown - drawn).max() < 0.25, stale  # another processor may round the shade of a pixel otherwise


def test_a_study_without_a_finished_run_has_nothing_to_draw(tmp_path: Path) -> None:
    write_rows(tmp_path / "tasks.csv", [], TaskEffectRow)
    write_rows(tmp_path / "verdicts.csv", [], ClaimRow)
    with pytest.raises(InputError, match="no run of the study is finished"):
        figures.draw(tmp_path)
