"""A report in another language keeps the names and messages of its records, and of English nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import compared, make_pair, make_task
from searching import asked, searched
from tunings import Lab
from tunings import asked as asked_for_the_fastest
from windtunnel.analysis.results import Results, load_results
from windtunnel.language import ENGLISH, languages
from windtunnel.report.build import build_document
from windtunnel.report.document import Block, Figure, Table
from windtunnel.sweep.trials import tune

OTHERS = sorted(languages() - {ENGLISH})
"""All are written without Latin letters, so that words in a row are English ones."""

_ENGLISH = re.compile(r"[A-Za-z][a-z']+(?: [a-z][a-z']+){2,}")
_OF_RECORDS = re.compile(r"CUDA out of memory|what is inside \w+|A small grid")
"""Messages and descriptions that the records of these tests have."""


def texts_of(block: Block) -> Iterator[str]:
    if isinstance(block, Table):
        yield from (block.caption, block.note)
        for column in block.columns:
            yield from (column.name, column.group, column.description)
        yield from (cell.text for row in block.rows for cell in row)
    elif isinstance(block, Figure):
        yield from (block.caption, block.alternative, str(block.plotly))
    else:
        yield block.text
        yield getattr(block, "lead", "")


def english_of(results: Results, language: str) -> list[str]:
    document = build_document(results, language=language)
    texts = [document.title]
    for section in document.sections:
        texts += [section.heading, *(text for block in section.blocks for text in texts_of(block))]
    said = (_OF_RECORDS.sub("", text) for text in texts if not text.startswith("windtunnel "))
    return sorted({text for text in said if _ENGLISH.search(text)})


@pytest.mark.parametrize("language", OTHERS)
def test_of_a_grid_nothing_is_left_in_english(grid: Results, language: str):
    assert english_of(grid, language) == []


@pytest.mark.parametrize("language", OTHERS)
def test_of_attention_alone_nothing_is_left_in_english(attention_results: Results, language: str):
    assert english_of(attention_results, language) == []


@pytest.mark.parametrize("language", OTHERS)
def test_of_what_fits_nothing_is_left_in_english(tmp_path: Path, language: str):
    assert english_of(searched(tmp_path, asked(), broken=frozenset({14})), language) == []


@pytest.mark.parametrize("language", OTHERS)
def test_of_comparisons_nothing_is_left_in_english(language: str):
    pairs = compared(make_pair(make_task(workload="train_step"), make_task(workload="train_step", attention="sdpa")))

    assert english_of(Results(rows=(), runs=(), comparisons=pairs), language) == []


@pytest.mark.parametrize("language", OTHERS)
def test_of_a_search_for_the_fastest_nothing_is_left_in_english(tmp_path: Path, language: str):
    lab = Lab({"eager": 25.0, "sdpa": 10.0, "flash-eager": 11.0})
    tune(asked_for_the_fastest(), store=tmp_path, launch=lab.launch, launch_at=lab.launch)

    assert english_of(load_results(tmp_path), language) == []
