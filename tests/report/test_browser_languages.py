"""A Chinese page in a browser: its language, its own words, sorting and filtering, charts, and no English between."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browsing import Seen, opened, wait_for_charts
from windtunnel.analysis.results import Results
from windtunnel.report.build import build_document
from windtunnel.report.html import render_html

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Browser, grid: Results, tmp_path: Path) -> Iterator[Page]:
    path = tmp_path / "page.html"
    path.write_text(render_html(build_document(grid, language="zh")), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    seen = opened(page, path)
    wait_for_charts(page)
    yield page
    assert seen == Seen()
    page.close()


def test_the_page_says_its_language_and_its_buttons_in_it(page: Page):
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    expect(page.get_by_role("button", name="深色")).to_be_visible()
    expect(page.get_by_role("navigation", name="各节")).to_be_visible()
    assert page.locator(".modebar-btn").first.get_attribute("data-title") == "下载为 PNG 图片"


def test_its_tables_sort_and_filter(page: Page):
    table = page.get_by_role("table", name="完整结果，18 个单元")
    medians = table.locator("tbody tr:visible td").nth(3)
    before = medians.inner_text()

    table.get_by_role("button", name="中位数 (ms)").click()
    first = float(table.locator("tbody tr:visible").first.locator("td").nth(3).inner_text())
    second = float(table.locator("tbody tr:visible").nth(1).locator("td").nth(3).inner_text())
    box = page.locator(".table", has=table).get_by_role("searchbox", name="筛选行")
    box.fill("内存不足")

    assert first <= second
    assert before
    assert table.locator("tbody tr:visible").count() == 2
    assert page.locator(".table", has=table).get_by_role("status").inner_text() == "18 行中的 2 行"


def test_the_data_of_a_chart_is_a_table_in_it(page: Page):
    page.get_by_text("此图的数据").first.click()

    heads = page.locator(".data table").first.locator("th[scope=col]").all_inner_texts()

    assert heads[0] == "系列"
    assert not [head for head in heads if re.search("[a-z]{3}", head)]


def test_nothing_that_is_seen_is_an_english_sentence(page: Page):
    seen = page.evaluate("document.body.innerText") + page.evaluate(
        "[...document.querySelectorAll('[title], [aria-label], [data-title]')]"
        ".map((e) => `${e.title}\\n${e.ariaLabel}\\n${e.dataset.title ?? ''}`).join('\\n')"
    )

    text = re.sub(r"windtunnel [a-z]+( --[a-z-]+ ([\w.,-]+|\"[^\"]*\"))*", "", seen)
    for known in ("A small grid", "CUDA out of memory", "A CPU", "NVIDIA H200", "git commit"):
        text = text.replace(known, "")
    found = set(re.findall(r"[A-Za-z']+(?: [A-Za-z']+){2,}", text))

    assert {one for one in found if not one.startswith("what is inside")} == set()
