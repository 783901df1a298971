"""What is read from the history of CUDA's allocator, on planted histories."""

from windtunnel.probe.allocation_log import Event
from windtunnel.probe.cuda_history import SEAT_BYTES, blocks_of, entries_before, merged, without_seats
from windtunnel.records.snapshot import Pieces, TraceEntry, pieces_at

SEAT, NEXT_SEAT, FIRST, SECOND, OLD = 100, 612, 4096, 8192, 16384


def entry(action: str, address: int, size: int) -> TraceEntry:
    return TraceEntry(action, address, size, "", "", None)


def freed(address: int, size: int) -> tuple[TraceEntry, TraceEntry]:
    return entry("free_requested", address, size), entry("free_completed", address, size)


HISTORY = (
    entry("alloc", FIRST, 1000),
    *freed(SEAT, SEAT_BYTES),
    entry("alloc", NEXT_SEAT, SEAT_BYTES),
    entry("segment_alloc", SECOND, 4096),
    entry("alloc", SECOND, 3000),
    *freed(FIRST, 1000),
    *freed(NEXT_SEAT, SEAT_BYTES),
    entry("alloc", SEAT, SEAT_BYTES),
    *freed(OLD, 2000),
    entry("alloc", SEAT + 512, SEAT_BYTES - 1),
)
"""Two allocations, of which Python lets one go between two marks, and something of before that is let go."""

GIVEN = (
    Event(FIRST, 1536, 11536, 20000, 0),
    Event(NEXT_SEAT, 512, 11536, 20000, 0),
    Event(SECOND, 4096, 15632, 24096, 0),
    Event(SEAT, 512, 14096, 24096, 0),
    Event(SEAT + 512, 512, 12560, 24096, 0),
)
"""The same as blocks: they may be larger than what was asked for."""


def test_sizes_are_of_blocks_and_marks_are_no_events():
    assert tuple(merged(HISTORY, GIVEN, seat=SEAT, levels=(10000, 20000))) == (
        Event(FIRST, 1536, 11536, 20000, 0),
        Event(SECOND, 4096, 15632, 24096, 1),
        Event(FIRST, -1536, 14096, 24096, 1),
        Event(OLD, -2048, 12048, 24096, 2),
        Event(SEAT + 512, 512, 12560, 24096, 2),
    )


ALLOCATIONS = tuple(one for one in HISTORY if one.action == "alloc")


def test_a_profiler_that_sees_all_gives_each_allocation_its_block():
    assert blocks_of(ALLOCATIONS, GIVEN) == list(GIVEN)


def test_a_profiler_that_sees_operators_only_leaves_marks_and_others_out():
    """The last allocation lies where a seat was; its block is not the seat's."""
    at_a_seat = Event(SEAT, 512, 12560, 24096, 0)
    later = (*ALLOCATIONS, entry("alloc", SEAT, 512))

    assert blocks_of(later, (GIVEN[2], at_a_seat)) == [None, None, GIVEN[2], None, None, at_a_seat]


def test_blocks_that_the_history_does_not_have_are_no_match():
    assert blocks_of(ALLOCATIONS, (*GIVEN[:2], Event(5, 512, 1, 1, 0))) is None
    assert blocks_of(ALLOCATIONS, (GIVEN[2]._replace(size=512),)) is None


def test_without_blocks_sizes_are_rounded_and_totals_counted():
    assert tuple(merged(HISTORY, (), seat=SEAT, levels=(10000, 20000))) == (
        Event(FIRST, 1024, 11024, 20000, 0),
        Event(SECOND, 3072, 14096, 24096, 1),
        Event(FIRST, -1024, 13072, 24096, 1),
        Event(OLD, -2048, 11024, 24096, 2),
        Event(SEAT + 512, 512, 11536, 24096, 2),
    )


def test_a_history_without_its_marks_has_all_else_in_order():
    assert tuple(without_seats(HISTORY, SEAT)) == (
        entry("alloc", FIRST, 1000),
        entry("segment_alloc", SECOND, 4096),
        entry("alloc", SECOND, 3000),
        *freed(FIRST, 1000),
        *freed(OLD, 2000),
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
