"""The section of memory ledgers: sentences, tables, chart."""

from collections.abc import Sequence
from dataclasses import replace

import plotly.graph_objects as go
import pytest

from factory import CPU, GPU, make_record, make_row, make_task
from ledgers import CELL, KEPT, MIB, PARAMETERS, SCORES, SILU, STEP, make_large_ledger, make_ledger
from windtunnel.analysis.imported_snapshot import ledger_of_traces
from windtunnel.analysis.memory_ledger import LedgerView
from windtunnel.analysis.results import Results
from windtunnel.records.looks import StoredLook
from windtunnel.records.memory_ledger import ALIVE, DeviceLevels, MemoryLedger
from windtunnel.records.record import Failure, Status
from windtunnel.records.snapshot import TraceEntry
from windtunnel.report.build import build_document
from windtunnel.report.document import Callout, CalloutKind, Document, Figure, Paragraph, Section, Table
from windtunnel.report.markdown import render_markdown
from windtunnel.report.sections.memory.ledger import MOST_DETAILED, ledgers_section


def document_of(*ledgers: MemoryLedger) -> Document:
    made = tuple(StoredLook(key=ledger.key(), look=ledger, environment=CPU) for ledger in ledgers)
    return build_document(Results(rows=(), runs=(), ledgers=made))


def table_of(section: Section, caption: str) -> list[list[str]]:
    (table,) = [block for block in section.blocks if isinstance(block, Table) and block.caption == caption]
    return [[column.name for column in table.columns], *([cell.text for cell in row] for row in table.rows)]


def texts(section: Section) -> str:
    return "\n".join(block.text for block in section.blocks if isinstance(block, Paragraph | Callout))


def figures_of(section: Section) -> Sequence[Figure]:
    return [block for block in section.blocks if isinstance(block, Figure)]


def test_a_store_of_ledgers_alone_is_a_report():
    document = document_of(make_ledger())

    assert document.title == "Memory on A CPU"
    assert [section.heading for section in document.sections] == ["Answer", "Memory ledger"]


def test_the_answer_says_what_is_held_at_the_peak_and_that_the_ledger_closes():
    said = texts(ledgers_section([make_ledger()]))

    assert (
        "At its peak, in backward, the step has 54.0 MiB of 1.00 GiB: optimizer state 37.0 %, parameters 18.5 %, "
        "gradients 18.5 %, activations 14.8 %, everything else 11.1 %. The ledger closes: it has all 54.0 MiB"
    ) in said


def test_each_category_has_a_row_and_each_moment_a_column():
    rows = table_of(ledgers_section([make_ledger()]), "What is held, and when")

    assert rows[0] == [
        "held for",
        "after building",
        "forward peak",
        "before backward",
        "backward peak",
        "after the step",
        "at the peak",
    ]
    assert rows[4] == ["activations", "–", "8.0", "8.0", "8.0", "–", "14.8"]
    assert rows[-1] == ["all", "10.0", "44.0", "44.0", "54.0", "40.0", "100.0"]


def test_the_row_of_a_ledger_on_a_gpu_has_reserved_cached_fragmented_capacity_and_external():
    device = DeviceLevels(
        source="CUDA caching allocator",
        peak_allocated_bytes=54 * MIB,
        reserved_at_peak_bytes=80 * MIB,
        peak_reserved_bytes=90 * MIB,
        fragmented_at_peak_bytes=6 * MIB,
        capacity_bytes=1000 * MIB,
        external_bytes=500 * MIB,
    )

    header, row = table_of(ledgers_section([make_ledger(device=device)]), "Memory by phase")

    assert dict(zip(header, row, strict=True)) == {
        "cell": "tiny · training step · context 16 · batch 2 · fp32 · eager",
        "forward peak": "44.0",
        "before backward": "44.0",
        "backward peak": "54.0",
        "allocator's peak": "54.0",
        "attributed": "100.0",
        "reserved": "90.0",
        "cached": "20.0",
        "fragmented": "6.0",
        "capacity": "1,000.0",
        "external": "500.0",
    }


def test_a_ledger_that_does_not_close_is_a_warning():
    section = ledgers_section([make_ledger(measured=60 * MIB)])

    (warning,) = [block for block in section.blocks if isinstance(block, Callout)]
    assert warning.kind is CalloutKind.WARNING
    assert warning.text == (
        "The ledger does not close: it has 54.0 MiB of the 60.0 MiB that the allocator counted; 6.00 MiB are not "
        "attributed."
    )


def test_what_other_code_keeps_is_a_warning_with_its_line():
    section = ledgers_section([make_ledger((*STEP, (KEPT, 100 * MIB, 2, ALIVE)), measured=154 * MIB)])

    (warning,) = [block for block in section.blocks if isinstance(block, Callout)]
    assert "100 MiB outlive the step" in warning.text
    assert "made in /home/me/mine.py:12 in attend (26214400 float32)" in warning.text


def test_a_failure_says_what_was_asked_for_and_free_and_what_was_held():
    failure = Failure(
        stage="look", phase="backward", message="", requested_bytes=512 * MIB, free_bytes=3 * MIB, details=""
    )

    section = ledgers_section([make_ledger(failure=failure, status=Status.OUT_OF_MEMORY)])

    (callout,) = [block for block in section.blocks if isinstance(block, Callout)]
    assert callout.kind is CalloutKind.FAILURE
    assert "out of memory in look, backward. 512 MiB asked for, 3.00 MiB free. Then it held 40.0 MiB" in callout.text
    header, row = table_of(section, "Memory by phase")
    assert "backward peak" not in header
    assert row[header.index("forward peak")] == "44.0"


def test_a_cell_without_any_memory_is_a_failure_only():
    failure = Failure(stage="build", message="no such module")
    empty = make_ledger(
        (), phases=(), num_events=0, built=None, device=None, failure=failure, status=Status.UNSUPPORTED
    )

    section = ledgers_section([empty])

    assert "unsupported in build. no such module." in texts(section)
    assert not figures_of(section)


def test_blocks_that_hold_the_same_share_a_row():
    def of(block: str) -> list[tuple[object, int, int, int]]:
        return [(replace(SILU, block=block), MIB, 2, 12), (replace(SCORES, block=block), MIB, 3, 12)]

    step = [(PARAMETERS, 10 * MIB, 0, ALIVE), *(entry for place in (0, 1, 2, 10) for entry in of(f"blocks.{place}"))]
    ledger = make_ledger([*step, (replace(SILU, block="blocks.10"), MIB, 5, 12)], measured=19 * MIB)

    rows = table_of(ledgers_section([ledger]), "Held at the peak, by block")

    assert rows[1:] == [
        ["blocks.0 to blocks.2 (3 blocks)", "1.0", "1.0", "2.0"],
        ["blocks.10", "2.0", "1.0", "3.0"],
    ]


def test_the_five_largest_residuals_stand_with_their_remedies():
    section = ledgers_section([make_ledger()])

    rows = table_of(section, "The largest tensors that blocks.0 keeps for backward")
    assert rows[1][:4] == ["_softmax", "attention", "2x4x16x16 float32", "6.0"]
    assert [row[-1] for row in rows[1:]] == [
        "flash attention, checkpointing",
        "checkpointing",
        "fusing, checkpointing",
        "",
    ]
    assert "flash attention, which computes scores again: 6.00 MiB (43 %)" in texts(section)


def test_the_chart_stacks_to_the_peak_and_marks_phases():
    (figure,) = figures_of(ledgers_section([make_ledger()]))

    drawn = go.Figure(figure.plotly)  # plotly itself refuses what is no figure
    assert max(map(sum, zip(*(trace.y for trace in drawn.data), strict=True))) == pytest.approx(54)
    assert [note.text for note in drawn.layout.annotations] == ["forward", "backward", "peak 54.0 MiB"]
    assert "backward peak 54.0 MiB" in figure.alternative


def test_the_caption_says_what_is_thinned_and_the_peak_is_exact():
    ledger = make_large_ledger(30_000)

    (figure,) = figures_of(ledgers_section([ledger]))

    assert "of 60,000 events: of each stretch the first, highest and lowest level" in figure.caption
    assert sum(trace["y"][0] for trace in figure.plotly["data"]) == 0
    stacked = (sum(levels) for levels in zip(*(trace["y"] for trace in figure.plotly["data"]), strict=True))
    assert max(stacked) * 2**30 == pytest.approx(LedgerView(ledger).peak.total, rel=1e-5)


def test_of_many_ledgers_the_latest_are_shown_in_full():
    ledgers = [make_ledger(cell=CELL.model_copy(update={"seed": seed})) for seed in range(MOST_DETAILED + 3)]

    section = ledgers_section(ledgers)

    assert len(figures_of(section)) == MOST_DETAILED
    assert len(table_of(section, "Memory by phase")) == 1 + len(ledgers)
    assert "3 older ledgers in the table above only." in texts(section)
    leads = [block.lead for block in section.blocks if isinstance(block, Paragraph) and block.lead]
    assert [lead.rpartition(" ")[2] for lead in leads] == [str(seed) for seed in range(3, 11)]


def test_ledgers_stand_beside_measured_steps_of_their_machine():
    record = make_record(make_task(device="cuda:0"))
    made = StoredLook(key="", look=make_ledger(), environment=GPU)

    document = build_document(Results(rows=(make_row(record),), runs=(), ledgers=(made,)))

    headings = [section.heading for section in document.sections]
    assert "Memory ledger" in headings
    assert "Overview" in headings


def test_compiled_code_says_how_its_memory_is_named():
    assert "Compiled code is not watched operation by operation" in texts(
        ledgers_section([make_ledger(is_watched=False)])
    )


def test_an_imported_snapshot_is_shown_by_line():
    trace = [TraceEntry("alloc", 1, 8 * MIB, "/me/a.py:3 in f", "", None), TraceEntry("alloc", 2, MIB, "", "", None)]

    section = ledgers_section([ledger_of_traces([trace], started_at="")])

    assert table_of(section, "Held at the peak, by the line that made it")[1:] == [
        ["/me/a.py:3 in f", "not attributed", "8.0"],
        ["not known", "not attributed", "1.0"],
    ]
    assert not any(isinstance(block, Callout) for block in section.blocks)


def test_markup_in_a_line_of_code_stays_text():
    evil = replace(KEPT, site="</script><script>alert(1)</script>.py:1 in f")

    text = render_markdown(document_of(make_ledger((*STEP, (evil, 2 * MIB, 2, ALIVE)))))

    assert "<script>" not in text
