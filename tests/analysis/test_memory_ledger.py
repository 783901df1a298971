"""What is read off a memory ledger whose allocations are known."""

import pytest

from ledgers import (
    CELL,
    GRADIENTS,
    HANDED_ON,
    KEPT,
    MIB,
    PARAMETERS,
    SCORES,
    SILU,
    STEP,
    make_large_ledger,
    make_ledger,
)
from windtunnel.analysis.memory_ledger import LedgerView
from windtunnel.analysis.memory_timeline import timeline
from windtunnel.analysis.residuals import residuals
from windtunnel.records.memory_ledger import ALIVE, Category
from windtunnel.records.record import Failure, Status

OUT_OF_MEMORY = Failure(stage="look", phase="backward", message="", requested_bytes=5, free_bytes=3)


def test_each_moment_holds_what_was_there():
    moments = {moment.name: moment.total for moment in LedgerView(make_ledger()).moments}

    assert moments == {
        "after building": 10 * MIB,
        "forward peak": 44 * MIB,
        "before backward": 44 * MIB,
        "backward peak": 54 * MIB,
        "after the step": 40 * MIB + 1,
    }


def test_a_level_is_not_called_a_peak():
    peaks = {moment.name for moment in LedgerView(make_ledger()).moments if moment.is_peak}

    assert peaks == {"forward peak", "backward peak"}


def test_the_peak_is_known_by_category_phase_and_block():
    view = LedgerView(make_ledger())

    assert view.peak_phase == "backward"
    assert view.peak.by_category[Category.SCORES] == 6 * MIB
    assert view.held_by(view.peak.event, lambda label: label.block) == {"": 40 * MIB, "blocks.0": 14 * MIB}


def test_a_phase_that_failed_has_no_peak():
    view = LedgerView(make_ledger(failure=OUT_OF_MEMORY, status=Status.OUT_OF_MEMORY))

    names = [moment.name for moment in view.moments]

    assert names[-2:] == ["most in backward so far", "at the failure"]
    assert "forward peak" in names


def test_a_ledger_that_has_all_closes():
    closing = LedgerView(make_ledger()).closing

    assert (closing.gap, closing.gap_share) == (0, 0.0)


def test_what_is_not_attributed_is_a_gap():
    step = (*STEP[:-1], (KEPT, 100, 2, ALIVE))
    view = LedgerView(make_ledger(step, measured=60 * MIB))

    assert view.closing.gap == 6 * MIB - 100


def test_a_cell_that_was_not_built_has_a_view_without_a_step():
    view = LedgerView(make_ledger((), phases=(), num_events=0, built=None, device=None))

    assert (view.moments, view.peak, view.closing, view.kept, timeline(view), residuals(view)) == (
        (),
        None,
        None,
        (),
        None,
        None,
    )


def test_what_other_code_keeps_is_named_by_its_line_from_a_mebibyte_on():
    step = (*STEP, (KEPT, 100 * MIB, 2, ALIVE), (KEPT, 2 * MIB, 3, ALIVE))
    small = (*STEP, (KEPT, 1000, 2, ALIVE))

    (kept,) = LedgerView(make_ledger(step)).kept

    assert (kept.site, kept.size, kept.count) == ("/home/me/mine.py:12 in attend", 102 * MIB, 2)
    assert LedgerView(make_ledger(small)).kept == ()


def test_residuals_say_what_each_remedy_removes():
    found = residuals(LedgerView(make_ledger()))

    assert (found.block, found.total, found.num_blocks) == ("blocks.0", 14 * MIB, 1)
    assert [tensor.size for tensor in found.largest] == [6 * MIB, 4 * MIB, 3 * MIB, 1 * MIB]
    assert found.removed_by("flash attention") == 6 * MIB
    assert found.removed_by("fusing") == 3 * MIB
    assert found.removed_by("checkpointing") == 13 * MIB


def test_residuals_are_not_known_of_what_was_not_watched():
    assert residuals(LedgerView(make_ledger(is_watched=False))) is None


def test_a_short_step_is_drawn_whole():
    line = timeline(LedgerView(make_ledger()))

    assert line.events == tuple(range(11))
    assert not line.is_thinned
    assert line.bands[Category.SCORES][:8] == (0, 0, 6 * MIB, 6 * MIB, 6 * MIB, 6 * MIB, 6 * MIB, 0)


@pytest.mark.parametrize("most_points", [10, 100, 1000])
def test_a_long_step_is_thinned_with_every_peak_and_bound_kept(most_points: int):
    view = LedgerView(make_large_ledger(30_000))

    line = timeline(view, most_points=most_points)

    drawn = dict(zip(line.events, zip(*line.bands.values(), strict=True), strict=True))
    assert line.is_thinned
    assert len(line.events) <= most_points + 20
    assert sum(drawn[view.peak.event]) == view.peak.total
    for moment in view.moments:
        assert sum(drawn[moment.event]) == moment.total
    assert all(sum(levels) == view.total[event] for event, levels in drawn.items())


def test_an_allocation_of_the_first_event_counts_from_the_second_level_on():
    step = ((PARAMETERS, 5, 0, 1), (GRADIENTS, 7, 2, ALIVE), (SILU, 1, 3, ALIVE))
    view = LedgerView(make_ledger(step, phases=(("forward", 0, 4),), num_events=4))

    assert view.total.tolist() == [0, 5, 0, 7, 8]


def test_the_key_of_a_ledger_is_that_of_its_cell():
    other = CELL.model_copy(update={"seed": 1})

    assert make_ledger().key() == make_ledger(()).key() != make_ledger(cell=other).key()


def test_scores_and_block_outputs_have_remedies_of_their_own():
    found = residuals(LedgerView(make_ledger()))

    remedies = {tensor.label: tensor.remedies for tensor in found.tensors}

    assert remedies[SCORES] == ("flash attention", "checkpointing")
    assert remedies[HANDED_ON] == ()
