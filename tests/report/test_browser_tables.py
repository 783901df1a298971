"""Tables in a browser: they sort by value with failures last, and a text box filters them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page

from browsing import Seen, opened
from windtunnel.report.document import Cell, Column, ColumnKind, Document, Paragraph, Section, Table
from windtunnel.report.html import render_html

pytestmark = pytest.mark.browser

NUMBER, TEXT = ColumnKind.NUMBER, ColumnKind.TEXT


def number_cells(*texts: str) -> list[Cell]:
    return [Cell(text) for text in texts]


VALUES = [
    *number_cells("1,200 ± 3", "≥ 9.5", "", "−4 %", "10"),
    Cell("3 GiB asked", is_failure=True),
    Cell("2 MiB", sort=0.5),
    *number_cells("1e3", "–", "7", "8", "9"),
]
NAMES = ["L10", "L9", "b", "a", "c", "d", "e", "f", "g", "h", "i", "train step"]
TABLE = Table(
    caption="Values",
    columns=(
        Column(name="name"),
        Column(name="value", unit="ms", kind=NUMBER, group="step", description="What it is."),
        Column(name="again", kind=NUMBER, group="step"),
    ),
    rows=tuple(
        (Cell(name), value, Cell(str(place))) for place, (name, value) in enumerate(zip(NAMES, VALUES, strict=True))
    ),
)
SHORT = Table(caption="Short", columns=(Column(name="a"),), rows=((Cell("x"),), (Cell("y"),)))
DOCUMENT = Document(title="T", sections=(Section(heading="H", blocks=(Paragraph(text="Text."), TABLE, SHORT)),))


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    path = tmp_path / "page.html"
    path.write_text(render_html(DOCUMENT), encoding="utf-8")
    page = browser.new_page()
    seen = opened(page, path)
    yield page
    assert seen == Seen()
    page.close()


def table_of(page: Page) -> Locator:
    return page.get_by_role("table", name="Values")


def column(page: Page, place: int) -> list[str]:
    return table_of(page).locator(f"tbody tr:visible > :nth-child({place + 1})").all_text_contents()


LAST = ["", "–", "3 GiB asked"]


def test_a_header_sorts_by_value_and_what_has_none_stays_last(page: Page):
    header = table_of(page).get_by_role("columnheader", name="value")
    ordered = ["−4 %", "2 MiB", "7", "8", "9", "≥ 9.5", "10", "1e3", "1,200 ± 3"]

    header.get_by_role("button").click()
    ascending, up = column(page, 1), header.get_attribute("aria-sort")
    header.get_by_role("button").click()
    descending, down = column(page, 1), header.get_attribute("aria-sort")

    assert (ascending, up) == ([*ordered, *LAST], "ascending")
    assert (descending, down) == ([*reversed(ordered), *LAST], "descending")


def test_a_third_click_gives_the_first_order_back(page: Page):
    button = table_of(page).get_by_role("button", name="value")
    before = column(page, 0)

    button.click(click_count=3, delay=10)

    assert column(page, 0) == before
    assert table_of(page).locator("[aria-sort]").count() == 0


def test_the_keyboard_sorts(page: Page):
    button = table_of(page).get_by_role("button", name="name")

    button.focus()
    page.keyboard.press("Enter")
    ascending = column(page, 0)
    page.keyboard.press("Space")

    assert ascending == ["a", "b", "c", "d", "e", "f", "g", "h", "i", "L9", "L10", "train step"]
    assert column(page, 0) == ascending[::-1]


def test_another_header_takes_the_mark_over(page: Page):
    table_of(page).get_by_role("button", name="value").click()
    table_of(page).get_by_role("button", name="again").click()

    marked = table_of(page).locator("[aria-sort]")
    assert marked.count() == 1
    assert "again" in marked.inner_text()
    assert column(page, 2) == [str(place) for place in range(len(VALUES))]


def test_words_filter_rows_and_the_heads_stay(page: Page):
    box = page.get_by_role("searchbox", name="Filter rows")
    heads = table_of(page).locator("thead").inner_text()

    box.fill("STEP  11")
    found = column(page, 0), page.get_by_role("status").inner_text()
    box.fill("nowhere")
    nothing = column(page, 0), page.get_by_role("status").inner_text()
    box.fill("")

    assert found == (["train step"], "1 of 12 rows")
    assert nothing == ([], "0 of 12 rows")
    assert column(page, 0) == NAMES
    assert table_of(page).locator("thead").inner_text() == heads
    assert "step" in heads


def test_filtered_rows_sort_and_stay_filtered(page: Page):
    page.get_by_role("searchbox").fill("L")
    table_of(page).get_by_role("button", name="name").click()

    assert column(page, 0) == ["L9", "L10"]


def test_a_short_table_has_no_text_box(page: Page):
    assert page.get_by_role("searchbox").count() == 1


def test_a_link_to_a_row_that_is_filtered_out_shows_it(page: Page):
    table_of(page).locator("tbody tr").last.evaluate("row => { row.id = 'evidence'; }")
    page.get_by_role("searchbox").fill("L9")

    page.evaluate("location.hash = '#evidence'")

    row = page.locator("#evidence")
    row.wait_for(state="visible")
    assert page.get_by_role("status").inner_text() == "12 of 12 rows"
