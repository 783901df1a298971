"""What is read from the history of CUDA's allocator, on planted histories."""

from windtunnel.probe.allocation_log import Event
from windtunnel.probe.cuda_history import SEAT_BYTES, blocks_of, entries_before, merged, without_seats
from windtunnel.records.snapshot import Pieces, TraceEntry, pieces_at

MIB = 2**20
SEAT, NEXT_SEAT, FIRST, SECOND, OLD = 100, 612, 4096 * MIB, 8192 * MIB, 16384 * MIB


def entry(action: str, address: int, size: int) -> TraceEntry:
    return TraceEntry(action, address, size, "", "", None)


def freed(address: int, size: int) -> tuple[TraceEntry, TraceEntry]:
    return entry("free_requested", address, size), entry("free_completed", address, size)


HISTORY = (
    entry("alloc", FIRST, 3 * MIB - 100),
    *freed(SEAT, SEAT_BYTES),
    entry("alloc", NEXT_SEAT, SEAT_BYTES),
    entry("segment_alloc", SECOND, 20 * MIB),
    entry("alloc", SECOND, 5000),
    *freed(FIRST, 3 * MIB - 100),
    *freed(NEXT_SEAT, SEAT_BYTES),
    entry("alloc", SEAT, SEAT_BYTES),
    *freed(OLD, 2000),
    entry("alloc", FIRST, 2 * MIB),
    entry("alloc", SEAT + 512, SEAT_BYTES - 1),
)
"""Allocations, of which Python lets one go between two marks, and something of before that is let go."""

GIVEN = (
    Event(FIRST, 4 * MIB, 5 * MIB, 20 * MIB, 0),
    Event(SECOND, 5120, 5 * MIB + 5120, 40 * MIB, 0),
    Event(FIRST, 3 * MIB, 6 * MIB, 40 * MIB, 0),
)
"""What the profiler saw of them: blocks, of which large ones may be larger than what was asked for."""

ALLOCATIONS = tuple(one for one in HISTORY if one.action == "alloc")
BLOCKS = [GIVEN[0], None, None, None, GIVEN[2], None]


def test_large_allocations_have_the_blocks_that_the_profiler_saw():
    assert blocks_of(ALLOCATIONS, GIVEN) == BLOCKS


def test_an_allocation_that_the_profiler_did_not_see_has_no_block():
    assert blocks_of((entry("alloc", SECOND, 2 * MIB), *ALLOCATIONS), GIVEN) == [None, *BLOCKS]


def test_blocks_that_the_history_does_not_have_are_no_match():
    assert blocks_of(ALLOCATIONS, (*GIVEN, Event(5, 2 * MIB, 1, 1, 0))) is None
    assert blocks_of(ALLOCATIONS, (*GIVEN, GIVEN[0])) is None


def test_sizes_are_of_blocks_and_marks_are_no_events():
    assert tuple(merged(HISTORY, BLOCKS, seat=SEAT, levels=(MIB, 20 * MIB))) == (
        Event(FIRST, 4 * MIB, 5 * MIB, 20 * MIB, 0),
        Event(SECOND, 5120, 5 * MIB + 5120, 40 * MIB, 1),
        Event(FIRST, -4 * MIB, MIB + 5120, 40 * MIB, 1),
        Event(OLD, -2048, MIB + 3072, 40 * MIB, 2),
        Event(FIRST, 3 * MIB, 6 * MIB, 40 * MIB, 2),
        Event(SEAT + 512, 512, 6 * MIB + 512, 40 * MIB, 2),
    )


def test_without_blocks_sizes_are_rounded_and_totals_counted():
    sizes = [event.size for event in merged(HISTORY, (), seat=SEAT, levels=(MIB, 20 * MIB))]
    totals = [event.allocated for event in merged(HISTORY, (), seat=SEAT, levels=(MIB, 20 * MIB))]

    assert sizes == [3 * MIB, 5120, -3 * MIB, -2048, 2 * MIB, 512]
    assert totals == [4 * MIB, 4 * MIB + 5120, MIB + 5120, MIB + 3072, 3 * MIB + 3072, 3 * MIB + 3584]


def test_a_history_without_its_marks_has_all_else_in_order():
    assert tuple(without_seats(HISTORY, SEAT)) == (
        entry("alloc", FIRST, 3 * MIB - 100),
        entry("segment_alloc", SECOND, 20 * MIB),
        entry("alloc", SECOND, 5000),
        *freed(FIRST, 3 * MIB - 100),
        *freed(OLD, 2000),
        entry("alloc", FIRST, 2 * MIB),
        entry("alloc", SEAT + 512, SEAT_BYTES - 1),
    )


def test_what_was_there_before_is_known():
    """Without it, nothing could be said of pieces of memory in a process that has done something before."""
    block = {"address": OLD, "size": 2048, "state": "active_allocated"}
    free = {"address": OLD + 2048, "size": 8192, "state": "inactive"}
    segment = {"device": 1, "address": OLD, "total_size": 10240, "blocks": [block, free]}
    snapshot = {"segments": [segment, {**segment, "device": 0}]}

    before = tuple(entries_before(snapshot, 1))

    assert before == (entry("segment_alloc", OLD, 10240), entry("held", OLD, 2048))
    later = (*before, entry("alloc", OLD + 2048, 512))
    assert pieces_at(later, 1) == Pieces(cached_bytes=0, fragmented_bytes=10240 - 2048 - 512)
    assert pieces_at(later[2:], 1) is None
