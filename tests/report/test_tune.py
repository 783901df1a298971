"""The section of a search for the fastest configuration: all of it comes from what is stored."""

from pathlib import Path
from typing import Any

import pytest

from factory import CPU, make_record, make_task
from tunings import Lab, asked
from windtunnel.analysis.results import Results, load_results
from windtunnel.errors import StoreError
from windtunnel.records.record import Status
from windtunnel.records.store import Run, open_store
from windtunnel.report.build import build_document
from windtunnel.report.document import Callout, Document, Paragraph, Section, Table
from windtunnel.report.html import render_html
from windtunnel.report.markdown import render_markdown
from windtunnel.spec.cell import Cell
from windtunnel.spec.flag_text import sides_of
from windtunnel.spec.sweep import make_sweep
from windtunnel.sweep.trials import tune

CLEAR = {"eager": 25.0, "sdpa": 10.0, "flash-eager": 11.0}
HEADING = "Fastest configuration"


def results_of(folder: Path, lab: Lab, make: Any = None) -> Results:
    tune(make or asked(), store=folder, launch=lab.launch, launch_at=lab.launch)
    return load_results(folder)


def section_of(results: Results) -> Section:
    document: Document = build_document(results)
    return next(section for section in document.sections if section.heading == HEADING)


def said(section: Section) -> dict[str, str]:
    return {block.lead: block.text for block in section.blocks if isinstance(block, Paragraph)}


def path_of(section: Section) -> list[list[str]]:
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    return [[cell.text for cell in row] for row in table.rows]


def test_the_answer_names_the_fastest_and_its_effect_in_pairs(tmp_path: Path):
    texts = said(section_of(results_of(tmp_path, Lab(CLEAR))))

    assert texts["Answer"].startswith("sdpa is the fastest (")
    assert "sdpa takes 59.99 % less time" in texts["Against the present configuration"]
    assert "than the present one (eager) in the whole step [-60." in texts["Against the present configuration"]
    assert "which of 3 configurations has the shortest step, in 1 h 0 min" in texts["Asked"]


def test_the_command_that_repeats_it_compares_the_present_one_with_the_fastest(tmp_path: Path):
    sides = sides_of(said(section_of(results_of(tmp_path, Lab(CLEAR))))["To repeat"])

    assert sides is not None
    cells = [task.cell for side in sides for task in make_sweep(side).expand("cpu")]
    assert [cell.attention for cell in cells] == ["eager", "sdpa"]
    assert cells[0].model_copy(update={"attention": "sdpa"}) == cells[1]


def test_the_path_has_a_look_at_each_and_every_duel(tmp_path: Path):
    rows = path_of(section_of(results_of(tmp_path, Lab(CLEAR))))

    assert [(row[0], row[1], row[2], row[-1]) for row in rows] == [
        ("look", "eager", "–", "far behind in its look"),
        ("look", "sdpa", "–", "the fastest"),
        ("look", "flash-eager", "–", "slower"),
        ("1", "flash-eager", "sdpa", "slower"),
    ]
    assert rows[3][5].startswith("+10.0 % [")


def test_equals_are_named_and_none_is_called_the_fastest(tmp_path: Path):
    lab = Lab({"eager": 10.0, "sdpa": 10.0, "flash-eager": 10.0})

    section = section_of(results_of(tmp_path, lab))

    assert said(section)["Answer"].startswith("3 configurations cannot be told apart")
    assert "the fastest" not in {row[-1] for row in path_of(section)}


def test_where_nothing_has_to_change_that_is_said(tmp_path: Path):
    texts = said(section_of(results_of(tmp_path, Lab({"eager": 10.0, "sdpa": 25.0, "flash-eager": 25.0}))))

    assert texts[""] == "That is the present configuration: there is nothing to change."
    assert "To repeat" not in texts


def test_where_the_present_one_does_not_run_that_is_said(tmp_path: Path):
    section = section_of(results_of(tmp_path, Lab(CLEAR, fails={"eager": Status.OUT_OF_MEMORY})))

    assert "not compared with the present configuration: that ended with out of memory." in said(section)[""]


def test_what_failed_is_a_row_and_a_callout_with_its_reason(tmp_path: Path):
    section = section_of(results_of(tmp_path, Lab(CLEAR, fails={"sdpa": Status.UNSUPPORTED})))

    assert ("sdpa", "failed") in {(row[1], row[-1]) for row in path_of(section)}
    assert [block.text for block in section.blocks if isinstance(block, Callout)] == [
        "sdpa: unsupported in build: as scripted"
    ]


def test_an_excluded_precision_says_its_error(tmp_path: Path):
    def by_precision(cell: Cell) -> str:
        return cell.precision

    make = asked({"attention": ["eager"], "precision": ["fp32", "bf16"]}, error_limit="1e-3")
    lab = Lab({"fp32": 11.0, "bf16": 9.0}, name=by_precision, errors={"bf16": 8e-3})

    section = section_of(results_of(tmp_path, lab, make))

    assert ["8.0e-03", "over the error limit"] in [row[-2:] for row in path_of(section)]
    assert "with an error of at most 1.0e-03" in said(section)["Asked"]


@pytest.mark.parametrize(("error", "warnings"), [(8e-3, 0), (1.1, 1)])
def test_a_winner_that_computes_something_else_is_a_warning(tmp_path: Path, error: float, warnings: int):
    def by_precision(cell: Cell) -> str:
        return cell.precision

    make = asked({"attention": ["eager"], "precision": ["fp32", "bf16"]})
    lab = Lab({"fp32": 11.0, "bf16": 9.0}, name=by_precision, errors={"bf16": error})

    section = section_of(results_of(tmp_path, lab, make))

    found = [block.text for block in section.blocks if isinstance(block, Callout)]
    assert ["--error-limit" in text for text in found] == [True] * warnings


def test_where_batches_differ_tokens_count(tmp_path: Path):
    def by_batch(cell: Cell) -> str:
        return str(cell.batch_size)

    make = asked({"attention": ["eager"], "batch": [4, 8]})

    texts = said(section_of(results_of(tmp_path, Lab({"4": 10.0, "8": 18.0}, name=by_batch), make)))

    assert "has the most tokens a second" in texts["Asked"]
    assert "batch 8 is the fastest" in texts["Answer"]
    assert "tokens a second" in texts["Answer"]
    assert "for each token" in texts["Against the present configuration"]


def test_comparisons_of_two_batches_say_that_changes_are_of_a_token(tmp_path: Path):
    def by_batch(cell: Cell) -> str:
        return str(cell.batch_size)

    make = asked({"attention": ["eager"], "batch": [4, 8]})
    document = build_document(results_of(tmp_path, Lab({"4": 10.0, "8": 18.0}, name=by_batch), make))

    section = next(one for one in document.sections if one.heading == "Comparisons")

    assert any("changes are in the time of a token" in text for text in said(section).values())


def test_a_search_that_was_killed_says_what_is_open(tmp_path: Path):
    class Interrupted(Lab):
        def takes(self, cell: Cell) -> float:
            if len(self.looked) == 3:
                raise KeyboardInterrupt
            return super().takes(cell)

    with pytest.raises(KeyboardInterrupt):
        results_of(tmp_path, Interrupted(CLEAR))

    texts = said(section_of(load_results(tmp_path)))

    assert texts["Answer"].startswith("Not settled: ")
    assert "1 candidate had no look" in texts["Answer"]


def test_a_search_asked_again_with_more_time_is_shown_once(tmp_path: Path):
    results_of(tmp_path, Lab(CLEAR))
    results = results_of(tmp_path, Lab(CLEAR), asked(budget="2h"))

    section = section_of(results)

    assert len([block for block in section.blocks if isinstance(block, Table)]) == 1
    assert "in 2 h 0 min" in said(section)["Asked"]


def test_a_run_that_cannot_be_read_says_what_to_do(tmp_path: Path):
    with open_store(tmp_path) as store:
        store.add(make_record(make_task()), CPU)
        store.begin_run(Run(started_at="2026", sweep={"kind": "tune"}, machine=CPU.machine(), summary=None))

    with pytest.raises(StoreError, match=r"the search of 2026 cannot be read.*choose another --store"):
        build_document(load_results(tmp_path))


def test_it_is_in_every_format(tmp_path: Path):
    document = build_document(results_of(tmp_path, Lab(CLEAR)))

    assert HEADING in render_markdown(document)
    assert HEADING in render_html(document)
