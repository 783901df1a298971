"""A comma in a number separates thousands or is a decimal point: by what the table shows, which is said."""

from pathlib import Path

import pytest

from published import NOTHING, markdown, read
from windtunnel.analysis.published.read import read_published
from windtunnel.errors import SpecError


def means(text: str) -> list[float]:
    """Return the times of a text in milliseconds."""
    return [round(one.mean * 1e3, 6) for one in read(text).observed.valid()]


def said(text: str) -> list[str]:
    """Return what was taken for granted of the first table."""
    return [name for name, _ in read(text).tables[0].assumptions if name.endswith("commas")]


def table(*entries: str) -> str:
    return markdown(["size", "forward (ms)"], [[f"s{number}", entry] for number, entry in enumerate(entries)])


def test_between_semicolons_a_comma_is_decimal() -> None:
    text = "size;forward (ms);backward (ms)\nsmall;12,345;24,690\nmedium;25,1;50,2\n"

    assert means(text) == [12.345, 24.69, 25.1, 50.2]
    assert said(text) == ["decimal_commas"]


def test_commas_between_semicolons_that_can_only_separate_thousands_do() -> None:
    text = "size;forward (us);backward (us)\nsmall;12,345.5;24,690.5\nmedium;1,025,100;2,050,200\n"

    assert means(text) == [12.3455, 24.6905, 1025.1, 2050.2]


@pytest.mark.parametrize(
    ("entries", "read_as"),
    [
        (("12,5", "25,1"), [12.5, 25.1]),
        (("12,5", "1,234"), [12.5, 1.234]),
        (("0,125", "1,234"), [0.125, 1.234]),
        (("12,5 ± 0,3", "1.234,5 ± 10,25"), [12.5, 1234.5]),
        (("12,5", "25.1"), [12.5, 25.1]),
        (("12,5", "1.234.567"), [12.5, 1234567]),
        (("12,345(21)", "1,2e1"), [12.345, 12]),
        (("**12,5 ms**", "OOM"), [12.5]),
    ],
)
def test_one_number_that_can_only_have_a_decimal_comma_decides_for_its_table(
    entries: tuple[str, ...], read_as: list[float]
) -> None:
    assert means(table(*entries)) == read_as
    assert said(table(*entries)) == ["decimal_commas"]


def test_deviations_have_decimal_commas_too() -> None:
    (first, _) = read(table("12,5 ± 0,3", "20,5 (1,5)")).observed.times

    assert first.std_seconds == pytest.approx(0.0003)


def test_commas_that_separate_thousands_everywhere_do_and_that_is_said() -> None:
    text = table("1,234", "12,345")

    assert means(text) == [1234, 12345]
    assert said(text) == ["thousands_commas"]


def test_a_point_beside_a_comma_leaves_nothing_to_say() -> None:
    text = table("1,234.5", "12,345")

    assert means(text) == [1234.5, 12345]
    assert said(text) == []


def test_a_number_that_contradicts_the_commas_of_its_table_is_refused() -> None:
    published = read(table("1,234.5", "12,5"))

    assert [one.reason for one in published.unread] == ["forward (ms) is '12,5', which is no number"]


def test_a_point_that_may_separate_thousands_is_refused_where_commas_are_decimal() -> None:
    published = read(table("12,5", "1.234"))

    assert means(table("12,5", "1.234")) == [12.5]
    (problem,) = published.unread
    assert problem.line == 4
    assert problem.reason.startswith("'1.234' in a table of decimal commas may be 1234 or 1,234; write it")


def test_a_comma_in_a_column_of_an_axis_or_of_words_decides_nothing() -> None:
    rows: list[list[object]] = [["1,024", "2,5 GPUs", "1,234"], ["2,048", "2,5 GPUs", "2,345"]]
    text = markdown(["context", "note", "forward (ms)"], rows)

    assert means(text) == [1234, 2345]
    assert [one.config.context_length for one in read(text).observed.times] == [1024, 2048]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (table("fast", "quick"), "line 3: forward (ms) is 'fast', which is no number"),
        (markdown(["size", "tokens/s"], [["small", 400]]), r"no time and no memory was read .*'tokens/s': a rate, not"),
        (markdown(["size", "min (ms)"], [["small", 4]]), r"no time and no memory .*'min \(ms\)': time, minimum, not"),
    ],
)
def test_a_file_of_which_no_number_was_read_is_refused_with_what_was_found(
    text: str, part: str, tmp_path: Path
) -> None:
    file = tmp_path / "table.md"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(SpecError, match=part.replace("forward (ms)", r"forward \(ms\)")):
        read_published(file, NOTHING)
