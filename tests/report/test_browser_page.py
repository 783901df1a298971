"""The page in a browser: links, themes, paper, charts on demand, and what axe says of it."""

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from browsing import DRAW_MILLISECONDS, Seen, opened, wait_for_charts
from factory import TINY, make_record, make_task
from windtunnel.report.document import Document
from windtunnel.report.html import render_html

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    page = browser.new_page(color_scheme="light", viewport={"width": 1280, "height": 900})
    seen = opened(page, report)
    wait_for_charts(page)
    yield page
    assert seen == Seen()
    page.close()


def ground(page: Page) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def ink_of_charts(page: Page) -> str:
    return page.locator(".chart .xtick text").first.evaluate("label => getComputedStyle(label).fill")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_serious(browser: Browser, report: Path, scheme: str, width: int):
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    opened(page, report)
    wait_for_charts(page)
    page.locator(".data summary").first.click()

    results = Axe().run(page, options={"resultTypes": ["violations"]})

    found = {(one["id"], one["impact"]) for one in results.response["violations"]}
    assert {name for name, impact in found if impact in {"serious", "critical"}} == set(), results.generate_report()
    page.close()


def test_every_link_of_the_page_leads_to_a_heading_in_view(page: Page):
    links = page.get_by_role("navigation", name="Sections").get_by_role("link")

    for place in range(links.count()):
        links.nth(place).click()
        heading = page.get_by_role("heading", level=2, name=links.nth(place).inner_text(), exact=True)
        expect(heading).to_be_in_viewport()

    assert links.count() == page.get_by_role("heading", level=2).count() > 5


def test_the_first_key_shows_the_way_to_the_results(page: Page):
    page.keyboard.press("Tab")
    link = page.get_by_role("link", name="Skip to the results")
    left = link.bounding_box()["x"]
    page.keyboard.press("Enter")

    assert left >= 0
    assert page.evaluate("document.activeElement.id") == "content"


def test_the_page_has_its_landmarks_and_its_headings_in_order(page: Page):
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map((h) => Number(h.tagName[1]))")

    assert all(page.get_by_role(role).count() == 1 for role in ("banner", "main", "contentinfo", "navigation"))
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_button_changes_page_and_charts_and_outlasts_the_system(page: Page):
    light, ink = ground(page), ink_of_charts(page)

    page.get_by_role("button", name="Dark colours").click()
    dark, dark_ink = ground(page), ink_of_charts(page)
    page.emulate_media(color_scheme="dark")
    page.emulate_media(color_scheme="light")

    assert dark != light
    assert dark_ink != ink
    assert (ground(page), ink_of_charts(page)) == (dark, dark_ink)
    page.get_by_role("button", name="Light colours").click()
    assert (ground(page), ink_of_charts(page)) == (light, ink)


def test_intervals_can_be_hidden_and_samples_shown(page: Page):
    figure = page.locator("figure").first
    points = figure.locator(".scatterlayer .point")
    bars = figure.locator(".errorbars path, .errorbar path")
    num_points, num_bars = points.count(), bars.count()

    figure.get_by_role("button", name="Raw samples").click()
    with_samples = points.count()
    figure.get_by_role("button", name="Intervals").click()

    assert num_bars > 0
    assert bars.count() == 0
    assert with_samples == num_points + 40 * num_points
    assert figure.get_by_role("button", name="Raw samples").get_attribute("aria-pressed") == "true"
    figure.get_by_role("button", name="Raw samples").click()
    assert points.count() == num_points


def test_the_keyboard_opens_the_data_of_a_chart(page: Page):
    figure = page.locator("figure").first

    figure.get_by_text("Data of this chart").focus()
    page.keyboard.press("Enter")

    box = figure.get_by_role("region")
    box.wait_for()
    assert box.get_attribute("tabindex") == "0"
    assert box.locator("tbody tr").count() == figure.locator(".scatterlayer .point").count() == 8
    assert box.locator("tbody tr").first.inner_text().startswith("forward\ttiny\t10.00 ms, 95 % interval")


def test_every_chart_has_a_button_for_its_data(page: Page):
    summaries = page.locator("details.data summary")
    for place in range(summaries.count()):
        summaries.nth(place).click()

    assert summaries.count() == page.locator("figure").count()
    assert all(page.locator("details.data").nth(n).locator("tbody tr").count() for n in range(summaries.count()))


def test_paper_has_light_colours_no_buttons_and_whole_rows(page: Page, tmp_path: Path):
    page.get_by_role("button", name="Dark colours").click()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")

    assert ground(page) == "rgb(255, 255, 255)"
    assert not any(page.locator(name).first.is_visible() for name in ("#theme", ".tools", "nav", ".data summary"))
    assert page.locator("tbody tr").first.evaluate("row => getComputedStyle(row).breakInside") == "avoid"
    assert page.locator(".box").first.evaluate("box => getComputedStyle(box).overflowX") == "visible"
    page.emulate_media(media="screen")
    for paper in ("A4", "Letter"):
        assert page.pdf(format=paper, path=tmp_path / "page.pdf").startswith(b"%PDF")


def test_what_is_folded_is_open_on_paper_and_folded_again_after(page: Page):
    page.evaluate(
        "document.querySelector('main').insertAdjacentHTML('beforeend', '<details id=more><summary>s</summary>x')"
    )

    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    on_paper = page.locator("#more").evaluate("more => more.open")
    page.evaluate("dispatchEvent(new Event('afterprint'))")

    assert (on_paper, page.locator("#more").evaluate("more => more.open")) == (True, False)


def test_a_link_into_something_folded_opens_it(page: Page):
    page.evaluate(
        "document.querySelector('main').insertAdjacentHTML('beforeend', "
        "'<details id=more><summary>s</summary><p id=inner>x</p>')"
    )

    page.evaluate("location.hash = '#inner'")

    page.locator("#inner").wait_for(state="visible")


def test_a_hundred_cells_of_a_hundred_samples_are_small_and_open_nearly_as_soon_as_four(
    browser: Browser, report_of: Callable[..., Document], tmp_path: Path
):
    """Opening is loading plus the first chart; most of it is plotly's own start, which any page with a chart has."""
    sizes = [TINY.model_copy(update={"name": f"size-{n:02}", "num_layers": n}) for n in range(1, 26)]
    records = [
        make_record(
            make_task(size=size, workload=workload, batch_size=batch, steps=100),
            milliseconds=[size.num_layers * (1 + 0.001237 * (place * 7 % 13)) for place in range(100)],
        )
        for size in sizes
        for workload in ("forward", "train_step")
        for batch in (1, 4)
    ]
    pages = {count: tmp_path / f"{count}.html" for count in (4, 100)}
    for count, path in pages.items():
        path.write_text(render_html(report_of(*records[:count])), encoding="utf-8")

    spent: dict[int, list[float]] = {count: [] for count in pages}
    for count in [*pages] * 3:  # in turn, as others may use this machine
        page = browser.new_page()
        begin = time.perf_counter()
        opened(page, pages[count])
        page.wait_for_selector(".chart.drawn .main-svg", timeout=DRAW_MILLISECONDS)
        spent[count].append(time.perf_counter() - begin)
        page.close()

    assert len(records) == 100
    assert pages[100].stat().st_size < 4_000_000
    assert min(spent[100]) < 1.5 * min(spent[4]), spent


def test_a_legend_begins_below_names_that_stand_upright(
    browser: Browser, report_of: Callable[..., Document], tmp_path: Path
):
    sizes = [TINY.model_copy(update={"name": f"a-long-name-{n:02}", "num_layers": n}) for n in range(1, 21)]
    records = [make_record(make_task(size=size, batch_size=batch)) for size in sizes for batch in (1, 4)]
    path = tmp_path / "names.html"
    path.write_text(render_html(report_of(*records)), encoding="utf-8")
    page = browser.new_page(viewport={"width": 360, "height": 740})

    opened(page, path)
    wait_for_charts(page)

    chart = page.locator(".chart").first
    title, legend = chart.locator(".xtitle").bounding_box(), chart.locator(".legend").bounding_box()
    assert legend["y"] >= title["y"] + title["height"]
    page.close()
