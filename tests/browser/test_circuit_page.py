"""The circuit, explored in Chromium: sliders, search, comparisons, heat map, table, keyboard, address."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from browser.watched import Watched, eventually

pytestmark = pytest.mark.browser

PICTURES = Path(__file__).parents[2] / "build" / "pictures"
PAINTED = """canvas => {
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let painted = 0;
  for (let i = 3; i < data.length; i += 4) painted += data[i] > 0;
  return painted;
}"""


def slider(page: Page, name: str) -> Locator:
    return page.get_by_role("slider", name=re.compile(name))


def against(page: Page) -> Locator:
    """The list of what a fine-tuning is compared with."""
    return page.get_by_role("combobox", name=re.compile("^against"))


def drawn(page: Page, edges: int | None = None) -> int:
    """Edges drawn, as many as told as soon as they are."""
    drawing = page.locator("#circuit .drawing").first
    if edges is not None:
        expect(drawing).to_have_attribute("data-edges", str(edges))
    return int(drawing.get_attribute("data-edges") or 0)


def table(page: Page, column: int) -> list[str]:
    return page.locator(f"#compared tbody td:nth-child({column})").all_inner_texts()


def listed(page: Page, changes: set[str]) -> None:
    """Wait until the table lists changes of exactly these kinds."""
    eventually(page, lambda: set(table(page, 3)) == changes)


def address(page: Page, *parts: str) -> None:
    for part in parts:
        expect(page).to_have_url(re.compile(rf"[#&]{re.escape(part)}(&|$)"))


def test_the_threshold_leaves_only_the_strongest(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    slider(page, "Threshold").fill("100")
    drawn(page, 1)
    expect(page.locator(".slider").nth(3)).to_contain_text(re.compile(r"Threshold: [\d.]+\s% of all scores"))
    slider(page, "Threshold").fill("0")
    drawn(page, 150)
    expect(page).not_to_have_url(re.compile("least"))


def test_all_edges_are_drawn_when_asked(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    few = page.locator("#circuit canvas.base").evaluate(PAINTED)
    last = slider(page, "Edges drawn").get_attribute("max") or ""
    slider(page, "Edges drawn").fill(last)
    text = page.locator(".slider").nth(2).inner_text()
    total = int(re.findall(r"of (\d+)", text)[0])
    assert drawn(page, total) > 300
    eventually(page, lambda: page.locator("#circuit canvas.base").evaluate(PAINTED) > few)


def test_edges_into_one_kind_of_input_are_shown_alone(watched: Watched, report: Path) -> None:
    page = watched.open(report)

    def counted() -> int:
        return int(re.findall(r"of (\d+)", page.locator(".slider").nth(2).inner_text())[0])

    whole = before = counted()
    total = 0
    for name in ("queries", "keys", "values", "MLPs", "the logits"):
        page.get_by_label("Edges into").select_option(name)
        eventually(page, lambda before=before: counted() != before)
        before = counted()
        total += before
    page.get_by_label("Edges into").select_option("any input")
    eventually(page, lambda: counted() == whole)
    assert total == whole


def test_a_node_is_found_marked_and_held(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    search = page.get_by_label("Find a node")
    search.fill("mlp layer 3")
    expect(page.locator(".find [role=status]")).to_have_text("1 node found")
    expect(page.locator("#circuit .node.found")).to_have_attribute("data-node", "m3")
    search.press("Enter")
    expect(page.locator(".notes").get_by_role("heading")).to_have_text("m3")
    address(page, "node=m3")
    search.fill("a2")
    expect(page.locator(".found button")).to_have_count(8)
    page.get_by_role("button", name="a2.h5", exact=True).click()
    expect(page.locator(".notes").get_by_role("heading")).to_have_text("a2.h5")
    search.fill("zebra")
    expect(page.locator(".find [role=status]")).to_have_text("No node is called that; a2.h5 is still held.")
    assert watched.complaints == []


def test_a_held_node_tells_its_path_its_tests_and_what_it_does(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    head = page.locator("#roles tbody td").first.text_content() or ""
    over = page.locator("#circuit canvas.over")
    page.locator(f'#circuit [data-node="{head}"]').click()
    notes = page.locator(".notes")
    expect(notes).to_contain_text(re.compile(rf"What it does {head} attends"))
    expect(notes).to_contain_text(re.compile(rf"Strongest path input → .*{head}.* → logits \(weakest edge"))
    expect(notes).to_contain_text(re.compile(r"of \d+ tested edges, \d+ differ \(q below 0.05\)"))
    expect(notes.locator("li").first).to_contain_text(re.compile(r"\d\s% → .*\d\s%.*q "))
    expect(notes).to_contain_text(re.compile("Its change (Not b|B)eyond chance: a synthetic share."))
    expect(notes.locator(".move rect")).to_have_count(2)  # what halves of the pairs and two seeds give
    expect(notes.locator(".move")).to_contain_text("two seeds")
    page.mouse.move(5, 5)
    eventually(page, lambda: over.evaluate(PAINTED) > 500)
    slider(page, "Checkpoint").fill("4")  # the tests are of the first checkpoint against the last
    expect(notes).not_to_contain_text("Its change")
    expect(notes).to_contain_text(head)


def test_a_held_node_says_so_and_is_let_go(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    mark = page.locator(".notes .held-mark")
    node = page.locator('#circuit [data-node="m3"]')
    node.hover()
    expect(mark).to_have_count(0)
    eventually(page, lambda: page.locator(".notes h3").count() == 1)
    pointed_at = page.locator("#circuit canvas.over").evaluate(PAINTED)
    node.click()
    expect(mark).to_contain_text("Held")
    eventually(page, lambda: page.locator("#circuit canvas.over").evaluate(PAINTED) > pointed_at)  # the ring
    page.locator('#circuit [data-node="m5"]').hover()
    expect(mark).to_contain_text("m3 is held")
    node.click()
    expect(mark).to_have_count(0)
    for release in (lambda: page.keyboard.press("Escape"), lambda: mark.get_by_role("button").click()):
        node.click()
        slider(page, "Edges drawn").focus()  # wherever the keyboard is
        release()
        expect(mark).to_have_count(0)
        expect(page).not_to_have_url(re.compile("node="))


def test_the_legend_and_a_held_node_follow_what_is_drawn(watched: Watched, report: Path) -> None:
    page = watched.open(report, "#node=a3.h5")
    notes = page.locator(".notes")

    def counted() -> list[int]:
        texts = page.locator(".legend span").all_inner_texts()
        return [int(re.findall(r"\d+", text)[0]) for text in texts]

    assert sum(counted()) == drawn(page, 150)
    slider(page, "Edges drawn").fill("20")
    eventually(page, lambda: sum(counted()) == 20)
    expect(page.locator(".legend")).to_contain_text(re.compile(r"kept \d+ of \d+"))
    expect(notes).to_contain_text(re.compile("into (query|key)"))
    over = page.locator("#circuit canvas.over")
    whole = over.evaluate(PAINTED)
    page.get_by_label("Edges into").select_option("values")
    expect(notes).to_contain_text("Only edges into values are listed")
    expect(notes).not_to_contain_text(re.compile("into (query|key)"))
    eventually(page, lambda: over.evaluate(PAINTED) != whole)


def test_a_long_list_of_edges_says_how_many_it_leaves_out(watched: Watched, report: Path) -> None:
    page = watched.open(report, "#node=logits")
    into = page.locator(".notes .sum").first.inner_text()
    more = int(re.findall(r"In (\d+)", into)[0]) - 6
    assert more > 0
    expect(page.locator(".notes")).to_contain_text(f"and {more} more")


def test_two_checkpoints_are_compared_in_either_order(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    legend = page.locator(".legend")
    slider(page, "Compared with").fill("10")
    expect(legend).to_contain_text(re.compile(r"added 0\s*removed 0"))
    slider(page, "Checkpoint").fill("0")
    expect(legend).to_contain_text(re.compile(r"added [1-9]\d*"))
    address(page, "step=0", "from=1000")


def test_two_seeds_stand_side_by_side(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    against(page).select_option("tune seed 1")
    page.get_by_role("radio", name="side by side").check()
    titles = page.locator(".drawing-place h3")
    expect(titles).to_have_text(
        [re.compile(r"A: tune seed 0 at step 1,000"), re.compile(r"B: tune seed 1 at step 1,000")]
    )
    of = r"( of \d+)?\s*"
    legend = re.compile(rf"in both \d+{of}only in B [1-9]\d*{of}only in A [1-9]")
    expect(page.locator(".legend")).to_contain_text(legend)

    def apart() -> bool:
        first, second = page.locator("#circuit canvas.base").evaluate_all(f"canvases => canvases.map({PAINTED})")
        return min(first, second) > 3000 and first != second

    eventually(page, apart)
    slider(page, "B, tune seed 1").fill("0")
    expect(titles.last).to_contain_text("step 0")
    assert watched.complaints == []


def test_the_heat_map_has_every_edge_and_reads_the_cell(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    page.get_by_role("radio", name="heat map of all edges").check()
    heat = page.locator(".heat")
    share = f"canvas => ({PAINTED})(canvas) / (canvas.width * canvas.height)"
    canvas = heat.locator("canvas").first
    eventually(page, lambda: 0.4 < canvas.evaluate(share) < 0.55)  # of 73 x 201 cells 6,573 are edges
    heat.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowUp"):  # nothing feeds the first layer but the input
        page.keyboard.press(key)
    reading = page.locator(".reading-out")
    expect(reading).to_contain_text(re.compile(r"input → a0\.h1<q> .+; .*\d\s% → .*\d\s% of all scores"))
    page.keyboard.press("Enter")
    address(page, "node=input")
    box = heat.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 3, box["y"] + 3)
    expect(reading).to_contain_text("m7 → logits")
    page.mouse.move(box["x"] + 60, box["y"] + 10)
    expect(reading).to_contain_text("Point at a cell")
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    page.get_by_label("Colour").select_option("change of score")
    expect(page.locator(".legend")).to_contain_text("score rose")
    eventually(page, lambda: canvas.evaluate("canvas => canvas.toDataURL()") != before)
    assert watched.complaints == []


def test_a_tap_on_the_heat_map_reads_the_cell(chromium: Browser, report: Path) -> None:
    page = chromium.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    Watched(page).open(report, "#view=map&heat=change")
    scale = page.locator(".colour-scale span").all_inner_texts()
    assert len(scale) == 5
    assert scale[0].lstrip("\u2212") == scale[-1]
    heat = page.locator(".heat")
    for row in (6, 3):  # of 73, over the same column
        heat.tap(
            position={"x": 330, "y": heat.locator("canvas").first.evaluate(f"c => c.clientHeight * (1 - {row} / 73)")}
        )
        reading = page.locator(".reading-out b")
        expect(reading).to_contain_text("\u2192")
        expect(page.locator(".notes").get_by_role("heading")).to_have_text(reading.inner_text().split(" ")[0])
    page.close()


def test_the_table_follows_the_comparison_and_sorts(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    page.locator("#compared > summary").click()
    listed(page, {"added", "removed"})
    assert len(table(page, 1)) == 50
    header = page.locator("#compared th").filter(has_text="Difference")
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    values = [float(re.sub(r"[\s%]", "", text).replace("\u2212", "-")) for text in table(page, 6)]
    assert values == sorted(values)
    page.locator("#compared").get_by_label("changed only").uncheck()
    page.locator("#compared").get_by_role("button", name=re.compile("Show .* more")).click()
    listed(page, {"added", "removed", "kept"})
    against(page).select_option("tune seed 1")
    expect(page.locator("#compared [role=status]")).to_contain_text("tune seed 0 at step 1,000 (A)")
    eventually(page, lambda: {"only in A", "only in B"} <= set(table(page, 3)))


def test_the_table_is_downloaded_with_the_names_of_its_circuits(
    watched: Watched, report: Path, tmp_path: Path
) -> None:
    page = watched.open(report, "#step=300&from=100")
    page.locator("#compared > summary").click()
    with page.expect_download() as started:
        page.locator("#compared").get_by_role("button", name="Download as CSV").click()
    started.value.save_as(tmp_path / "edges.csv")
    header, *lines = (tmp_path / "edges.csv").read_text(encoding="utf-8").splitlines()
    assert started.value.suggested_filename == "run-circuit.csv"
    assert header == "before,after,source,destination,change,share_before,share_after,difference,q"
    assert all(line.startswith("tune seed 0 at step 100,tune seed 0 at step 300,") for line in lines)
    status = page.locator("#compared [role=status]").inner_text()
    assert len(lines) == int(re.findall(r"of (\d+) edge", status)[0])


def test_the_whole_view_comes_back_from_its_address(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    against(page).select_option("tune seed 1")
    page.get_by_role("radio", name="side by side").check()
    slider(page, "Edges drawn").fill("60")
    page.get_by_label("Edges into").select_option("MLPs")
    page.get_by_label("Find a node").fill("layer 2")
    page.locator('[data-node="m5"]').first.click()
    expect(page.locator(".notes").get_by_role("heading")).to_have_text("m5")
    address(page, "node=m5", "edges=60")
    page.mouse.move(5, 5)
    page.wait_for_timeout(100)  # the pointer's own strokes go
    kept = page.locator("#circuit canvas.base").evaluate_all("canvases => canvases.map(c => c.toDataURL())")
    where = page.url[page.url.index("#") :]
    page.goto("about:blank")
    watched.open(report, where)
    expect(against(page)).to_have_value("tune seed 1")
    expect(page.get_by_label("Edges into")).to_have_value("MLPs")
    expect(page.get_by_label("Find a node")).to_have_value("layer 2")
    expect(page.locator(".notes").get_by_role("heading")).to_have_text("m5")
    drawings = page.locator("#circuit canvas.base")
    eventually(page, lambda: drawings.evaluate_all("canvases => canvases.map(c => c.toDataURL())") == kept)
    top = page.locator("#circuit").bounding_box()
    assert top is not None
    assert abs(top["y"]) < 100  # a link to a view of the circuit leads to the circuit


@pytest.mark.parametrize(("width", "scheme", "view"), [(1280, "light", "change"), (390, "dark", "map")])
def test_pictures_are_kept(chromium: Browser, report: Path, width: int, scheme: str, view: str) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)  # pyright: ignore[reportArgumentType]
    Watched(page).open(report, f"#view={view}&node=m3")
    path = PICTURES / f"circuit-{view}-{width}-{scheme}.png"
    page.locator("#circuit").screenshot(path=path)
    assert path.stat().st_size > 20_000
    page.close()


def test_every_control_is_reached_by_tab(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    page.get_by_label("Fine-tuning").focus()
    names = list[str]()
    for _ in range(14):
        page.keyboard.press("Tab")
        names.append(page.evaluate("(document.activeElement.closest('label')?.textContent ?? '') + '|' + "
                                   "(document.activeElement.dataset?.node ?? '')"))  # fmt: skip
        if names[-1].endswith("|input"):
            break
    text = "\n".join(names)
    for name in ("against", "change", "Checkpoint", "Compared with", "Edges drawn", "Threshold", "Find", "|input"):
        assert name in text
