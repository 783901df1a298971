import base64
import gzip
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from windtunnel.report.document import Cell, Column, ColumnKind, Document, Paragraph, Section, Table
from windtunnel.report.html import packed_plotly, render_html


class Page(HTMLParser):
    """The elements of a page, each with its attributes, and the scripts with their text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._is_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._is_script = tag == "script"

    def handle_data(self, data: str) -> None:
        if self._is_script:
            self.scripts.append(data)
            self._is_script = False

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def page(document: Document) -> str:
    return render_html(document)


def policy_of(page: str) -> dict[str, str]:
    (meta,) = [a for a in Page(page).all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    directives = (directive.partition(" ") for directive in str(meta["content"]).split("; "))
    return {name: sources for name, _, sources in directives}


def test_the_page_is_as_it_was_but_for_plotly_style_and_script(page: str, golden: Callable[[str, str], None]):
    shown = re.sub(r"(<style>|<script>).*?(</style>|</script>)", r"\1…\2", page, flags=re.DOTALL)
    shown = re.sub(r'(id="plotly">)[^<]*', r"\1…", shown)

    golden("report.html", re.sub(r"sha256-[\w+/=]+", "sha256-…", shown))


def test_nothing_is_loaded_from_elsewhere(page: str):
    parsed = Page(page)

    assert policy_of(page)["default-src"] == "'none'"
    assert not [attributes for _, attributes in parsed.elements if "src" in attributes]
    assert all(str(link["href"]).startswith("#") for link in parsed.all("a"))
    assert not parsed.all("link")


def test_the_policy_allows_our_script_and_plotly_by_hash_and_no_other(page: str):
    ours = next(text for text in Page(page).scripts if "drawAll" in text)
    packed = next(text for text in Page(page).scripts if len(text) > 1_000_000)
    plotly = gzip.decompress(base64.b64decode(packed))

    hashes = [base64.b64encode(hashlib.sha256(text).digest()).decode() for text in (ours.encode(), plotly)]

    assert policy_of(page)["script-src"] == " ".join(f"'sha256-{digest}'" for digest in hashes)


def test_a_document_without_charts_does_not_carry_plotly():
    text = render_html(Document(title="T", sections=(Section(heading="H", blocks=(Paragraph(text="x"),)),)))

    assert len(text) < 30_000
    assert 'id="plotly"' not in text


def test_the_same_document_makes_the_same_file(document: Document, page: str):
    packed_plotly.cache_clear()

    assert render_html(document) == page


def test_a_report_of_a_hundred_cells_stays_under_four_megabytes(page: str):
    assert len(page.encode()) < 4_000_000


def test_a_hostile_record_makes_no_element(document: Document, hostile: Document):
    tags = {tag for tag, _ in Page(render_html(document)).elements}

    page = render_html(hostile)

    assert {tag for tag, _ in Page(page).elements} <= tags
    assert "<script>alert" not in page
    assert "</script><script>" not in page
    assert "\x1b" not in page


def test_each_table_has_a_caption_and_scoped_headers(page: str):
    parsed = Page(page)

    assert len(parsed.all("caption")) == len(parsed.all("table")) > 5
    assert {header.get("scope") for header in parsed.all("th")} == {"col", "colgroup", "row"}


def test_each_table_scrolls_in_a_box_that_the_keyboard_reaches(page: str):
    boxes = [div for div in Page(page).all("div") if str(div.get("class")).startswith("box")]

    assert len(boxes) == len(Page(page).all("table"))
    assert all(box["tabindex"] == "0" and box["aria-labelledby"] for box in boxes)


def test_each_chart_has_its_text_beside_it(page: str):
    assert page.count('<p class="missing">') == page.count('<div class="chart">') > 0


def test_identities_are_unique_and_every_reference_has_one(page: str):
    parsed = Page(page)
    identities = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]

    references = [attributes["aria-labelledby"] for _, attributes in parsed.elements if "aria-labelledby" in attributes]
    references += [str(link["href"])[1:] for link in parsed.all("a")]

    assert len(set(identities)) == len(identities)
    assert set(references) <= set(identities)


def test_the_page_names_its_language_and_has_a_way_past_the_links(page: str):
    parsed = Page(page)

    assert parsed.all("html") == [{"lang": "en"}]
    assert parsed.all("a")[0]["href"] == "#content"


def test_a_header_explains_its_column_and_a_value_may_sort_apart_from_its_text():
    table = Table(
        caption="C",
        columns=(Column(name="a", kind=ColumnKind.NUMBER, description="What a is."), Column(name="b")),
        rows=((Cell(text="1 GiB", sort=2**30), Cell(text="x", is_failure=True)),),
    )

    text = render_html(Document(title="T", sections=(Section(heading="H", blocks=(table,)),)))

    assert 'title="What a is."' in text
    assert '<th scope="row" data-v="1.07374182e+09">1 GiB</th>' in text
    assert '<td class="t f">x</td>' in text
