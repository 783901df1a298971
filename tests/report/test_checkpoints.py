"""What is said of a search of checkpointings."""

from factory import TINY, make_task
from windtunnel.report.document import Paragraph, Section, Table
from windtunnel.report.sections.checkpoints import checkpoints_section
from windtunnel.sweep.checkpoint_search import CheckpointSearch, Measured

MIB = 2**20
CELL = make_task(size=TINY, workload="train_step").cell


def ran(mib: int, milliseconds: float) -> Measured:
    return Measured(peak_bytes=mib * MIB, seconds=milliseconds * 1e-3, outcome="ok")


OUT = Measured(peak_bytes=None, seconds=None, outcome="out of memory")


def section(budget_mib: int | None = None, law: float | None = None, **measured: Measured) -> Section:
    return checkpoints_section(
        CheckpointSearch(
            cell=CELL,
            predicted={"every:1": 11 * MIB, "every:2": 8 * MIB},
            measured={name.replace("_", ":"): one for name, one in measured.items()},
            predicted_best=2,
            law=law,
            budget_bytes=None if budget_mib is None else budget_mib * MIB,
        )
    )


def said(found: Section) -> dict[str, str]:
    return {block.lead: block.text for block in found.blocks if isinstance(block, Paragraph)}


def test_the_lowest_groups_are_named_with_their_neighbours():
    text = said(section(none=ran(40, 10), every_1=ran(10, 14), every_2=ran(9, 14), every_3=ran(12, 14)))["Lowest peak"]

    assert text == "every:2 with 9.00 MiB; beside it every:1 10.0 MiB, every:3 12.0 MiB (as predicted)."


def test_a_prediction_that_was_wrong_is_said():
    assert "(predicted was every:2)" in said(section(every_1=ran(8, 14), every_2=ran(9, 14)))["Lowest peak"]


def test_the_fastest_within_the_budget_is_named_with_its_time():
    text = said(section(20, none=ran(40, 10), ffn=ran(20, 12), every_1=ran(10, 14)))["Fastest"]

    assert text == "ffn within 20.0 MiB: 12.0 ms with a peak of 20.0 MiB."


def test_where_nothing_fits_that_is_said():
    found = section(5, none=OUT, every_1=OUT)

    assert said(found)["Fastest"] == "Nothing of what was measured runs within 5.00 MiB."
    assert said(found)["Lowest peak"] == "No groups ran to their end."


def test_the_law_is_said_where_there_is_no_closed_form():
    assert "blocks in groups of 2.45" in said(section(law=2.449, every_1=ran(8, 1)))["Law of groups"]
    assert "Law of groups" not in said(section(every_1=ran(8, 1)))


def test_the_table_has_errors_slowdowns_and_failures():
    (table,) = (block for block in section(15, none=OUT, every_1=ran(10, 14)).blocks if isinstance(block, Table))

    rows = [[cell.text for cell in row] for row in table.rows]
    assert rows == [
        ["none", "–", "–", "–", "–", "–", "out of memory"],
        ["every:1", "11.0 MiB", "10.0 MiB", "+10.0 %", "14.0 ms", "–", "yes"],
    ]
