"""The HTML report as a browser sees it: offline, without a violation of its own policy, on a desk and on a phone."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from browsing import Seen, opened, wait_for_charts
from factory import CPU, GPU
from ledgers import make_large_ledger, make_ledger
from precision_looks import make_look
from profiles import make_profile
from windtunnel.analysis.results import Results
from windtunnel.records.looks import StoredLook
from windtunnel.records.memory_ledger import MemoryLedger
from windtunnel.records.precision_look import PrecisionLook
from windtunnel.records.profile import Profile
from windtunnel.report.build import build_document
from windtunnel.report.document import Document
from windtunnel.report.html import render_html
from windtunnel.report.write import write_report

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_is_drawn_offline_without_a_complaint(browser: Browser, report: Path, scheme: str):
    page = browser.new_page(color_scheme=scheme)

    seen = opened(page, report)
    wait_for_charts(page)

    num_charts = page.locator("figure").count()
    assert num_charts == 4
    assert page.locator(".chart.drawn").count() == num_charts
    assert all(page.locator(".chart").nth(place).locator(".main-svg").count() for place in range(num_charts))
    assert seen == Seen()
    page.close()


def test_tables_are_there_with_their_rows(browser: Browser, report: Path):
    page = browser.new_page()

    opened(page, report)

    table = page.get_by_role("table", name="Complete results, 18 cells")
    assert table.locator("tbody tr").count() == 18
    assert "out of memory" in table.inner_text()
    page.close()


def test_a_phone_scrolls_tables_and_not_the_page(browser: Browser, report: Path):
    page = browser.new_page(viewport={"width": 360, "height": 740})

    opened(page, report)
    wait_for_charts(page)

    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.locator(".box").nth(1).evaluate("box => box.scrollWidth > box.clientWidth")
    page.close()


def test_charts_take_the_colours_of_the_scheme(browser: Browser, report: Path):
    page = browser.new_page(color_scheme="light")
    opened(page, report)
    wait_for_charts(page)
    label = page.locator(".chart .xtick text").first
    light = label.evaluate("label => getComputedStyle(label).fill")

    page.emulate_media(color_scheme="dark")

    page.wait_for_function(
        "light => getComputedStyle(document.querySelector('.chart .xtick text')).fill !== light", arg=light
    )
    page.close()


def test_without_javascript_each_chart_is_told_in_words(browser: Browser, report: Path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()

    page.goto(report.as_uri())

    missing = page.locator(".missing")
    assert missing.count() == 4
    assert all(missing.nth(place).is_visible() for place in range(4))
    assert "from 10.0 ms (tiny · forward · warm-up 5)" in missing.first.inner_text()
    context.close()


def test_a_hostile_record_runs_nothing(browser: Browser, hostile: Document, tmp_path: Path):
    path = tmp_path / "hostile.html"
    path.write_text(render_html(hostile), encoding="utf-8")
    page = browser.new_page()
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))

    seen = opened(page, path)
    wait_for_charts(page)

    assert dialogs == []
    assert seen == Seen()
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("field", "make", "num_charts", "caption"),
    [
        ("precision_looks", make_look, 1, "Format of each component"),
        ("profiles", make_profile, 1, "Kernels by phase, of one step"),
        ("ledgers", make_ledger, 1, "What is held, and when"),
    ],
)
def test_a_page_of_one_look_is_whole_offline_and_barred_to_nobody(
    browser: Browser,
    tmp_path: Path,
    scheme: str,
    field: str,
    make: Callable[[], Profile | MemoryLedger | PrecisionLook],
    num_charts: int,
    caption: str,
):
    look = make()
    stored = StoredLook(key=look.key(), look=look, environment=GPU)
    (path,) = write_report(build_document(Results(rows=(), runs=(), **{field: (stored,)})), tmp_path, ("html",))
    page = browser.new_page(color_scheme=scheme)

    seen = opened(page, path)
    wait_for_charts(page)
    found = Axe().run(page, options={"resultTypes": ["violations"]})

    assert page.locator(".chart.drawn").count() == page.locator("figure").count() == num_charts
    assert page.get_by_role("table", name=caption).locator("tbody tr").count() > 1
    assert not [one["id"] for one in found.response["violations"] if one["impact"] in {"serious", "critical"}]
    assert seen == Seen()
    page.close()


@pytest.mark.timeout(300)
def test_a_million_allocations_open_in_seconds(browser: Browser, tmp_path: Path):
    ledger = make_large_ledger(1_000_000)
    made = StoredLook(key=ledger.key(), look=ledger, environment=CPU)
    (path,) = write_report(build_document(Results(rows=(), runs=(), ledgers=(made,))), tmp_path, ("html",))
    small = make_large_ledger(1_000)
    few = StoredLook(key=small.key(), look=small, environment=CPU)
    (other,) = write_report(build_document(Results(rows=(), runs=(), ledgers=(few,))), tmp_path / "small", ("html",))

    spent: dict[Path, float] = {}
    for each in (other, path):
        page = browser.new_page()
        begin = time.perf_counter()
        seen = opened(page, each)
        wait_for_charts(page)
        spent[each] = time.perf_counter() - begin
        assert seen == Seen()
        assert page.locator("figure").count() == 1
        page.close()

    assert path.stat().st_size < other.stat().st_size + 200_000
    assert spent[path] < 3 * spent[other] + 1
