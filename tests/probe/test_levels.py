"""The device's own numbers, on planted events and on a planted snapshot in the structure that PyTorch documents."""

import pytest
import torch

from snapshots import MIB, planted_snapshot
from windtunnel.probe.allocation_log import Event
from windtunnel.probe.attribution import Owned, Seen, attribute
from windtunnel.probe.levels import OwnNumbers, device_levels, own_levels
from windtunnel.probe.operation_log import Operation, OperationLog, Result
from windtunnel.probe.places import Place
from windtunnel.probe.sites import short_path
from windtunnel.records.memory_ledger import Category, OperationKind, Span
from windtunnel.records.snapshot import sites_of, trace_of

FIRST, SECOND = 0x7F0000000000, 0x7F0010000000
BEFORE = 7 * MIB

EVENTS = (
    Event(FIRST, 12 * MIB, BEFORE + 12 * MIB, 20 * MIB, 0),
    Event(SECOND, 2 * MIB, BEFORE + 14 * MIB, 22 * MIB, 2),
    Event(SECOND, -2 * MIB, BEFORE + 12 * MIB, 22 * MIB, 2),
    Event(FIRST + 12 * MIB, 512, BEFORE + 12 * MIB + 512, 22 * MIB, 4),
)
"""What the profiler reports of the planted snapshot: sizes of blocks, with 7 MiB that were there before."""

OWN = OwnNumbers(capacity=1000 * MIB, used=100 * MIB, peak=BEFORE + 14 * MIB, peak_reserved=22 * MIB, reserved=22 * MIB)


def planted_trace() -> tuple[object, ...]:
    return trace_of(planted_snapshot(), 1)


def test_the_numbers_of_a_gpu_are_of_the_step_and_of_its_peak():
    levels = device_levels(EVENTS, (Span(name="forward", begin=0, end=4),), planted_trace(), OWN, before=BEFORE)

    assert levels.source == "CUDA caching allocator"
    assert levels.peak_allocated_bytes == 14 * MIB
    assert levels.reserved_at_peak_bytes == levels.peak_reserved_bytes == 22 * MIB
    assert levels.fragmented_at_peak_bytes == 8 * MIB
    assert (levels.capacity_bytes, levels.external_bytes, levels.before_bytes) == (1000 * MIB, 78 * MIB, BEFORE)


def test_without_a_history_fragments_are_not_known():
    levels = device_levels(EVENTS, (Span(name="forward", begin=0, end=4),), (), OWN, before=BEFORE)

    assert levels.fragmented_at_peak_bytes is None
    assert levels.reserved_at_peak_bytes == 22 * MIB


def test_a_cpu_reserves_nothing_and_its_peak_is_that_of_the_events():
    own = OwnNumbers(capacity=1000, used=600)
    events = (Event(1, 100, 100, 0, 0), Event(2, 50, 150, 0, 0), Event(2, -50, 100, 0, 0))

    levels = device_levels(events, (), (), own, before=0)

    assert (levels.peak_allocated_bytes, levels.peak_reserved_bytes, levels.external_bytes) == (150, None, 500)


def test_a_step_without_events_has_no_peak():
    levels = device_levels((), (), (), OwnNumbers(capacity=10, used=5), before=0)

    assert (levels.peak_allocated_bytes, levels.external_bytes) == (0, 5)


def test_levels_leave_out_what_was_there_before():
    events = [Event(1, 10, 110, 0, 0), Event(99, -100, 10, 0, 0), Event(2, 5, 15, 0, 0), Event(1, -10, 5, 0, 0)]

    assert own_levels(events) == [10, 10, 15, 5]


def test_what_was_there_before_and_goes_before_the_peak_is_not_taken_from_the_peak():
    events = (
        Event(99, -5 * MIB, BEFORE - 5 * MIB, 20 * MIB, 0),
        Event(FIRST, 12 * MIB, BEFORE + 7 * MIB, 20 * MIB, 0),
        Event(SECOND, 2 * MIB, BEFORE + 9 * MIB, 22 * MIB, 2),
    )
    own = OwnNumbers(capacity=1000, used=0, peak=BEFORE + 9 * MIB, peak_reserved=22 * MIB, reserved=22 * MIB)

    levels = device_levels(events, (Span(name="forward", begin=1, end=3),), (), own, before=BEFORE)

    assert (levels.peak_allocated_bytes, levels.before_bytes) == (14 * MIB, BEFORE)


def test_what_no_operation_made_has_the_line_that_the_allocator_remembers():
    """A kernel of one's own, and compiled code, are no operations; their stacks are in the allocator's history."""
    seen = Seen(
        events=EVENTS,
        operations=OperationLog(),
        is_watched=False,
        owned=(),
        context_length=8,
        blocks=frozenset(),
        built=None,
        spans=(("forward", -1, 3), ("backward", 3, 9)),
        is_finished=False,
        sites=sites_of(planted_trace()),
    )

    made = attribute(seen)

    labels = [made.labels[place] for place in made.allocations.labels]
    assert [label.site for label in labels][::2] == ["/home/me/mine.py:12 in attend"] * 2
    assert [label.category for label in labels] == [Category.ACTIVATIONS, Category.TEMPORARIES, Category.TEMPORARIES]


def test_an_operation_has_its_result_and_its_workspace_and_an_address_may_come_again():
    place = Place("blocks.0.attention.q_proj", "forward", "model.py:5 in forward")
    log = OperationLog(
        operations=[
            Operation(
                begin=1,
                end=2,
                name="mm",
                kind=OperationKind.PRODUCT,
                phase="forward",
                place=place,
                inputs=(),
                results=(Result(30, (4, 4), torch.float32),),
            )
        ]
    )
    events = (
        Event(30, 64, 64, 0, 1),
        Event(30, -64, 0, 0, 1),
        Event(10, 8, 8, 0, 2),
        Event(30, 64, 72, 0, 2),
        Event(40, 1, 73, 0, 3),
        Event(50, 2, 75, 0, 4),
    )

    made = attribute(
        Seen(
            events=events,
            operations=log,
            is_watched=True,
            owned=(Owned(5, 50, Category.OPTIMIZER),),
            context_length=8,
            blocks=frozenset({"blocks.0"}),
            built=None,
            spans=(("forward", 0, 9),),
            is_finished=False,
        )
    )

    labels = [made.labels[place] for place in made.allocations.labels]
    assert [label.category for label in labels] == [
        Category.NOT_ATTRIBUTED,
        Category.WORKSPACE,
        Category.TEMPORARIES,
        Category.NOT_ATTRIBUTED,
        Category.OPTIMIZER,
    ]
    assert (labels[2].tensor, labels[2].block, labels[2].site) == ("4x4 float32", "blocks.0", place.site)


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("/nowhere/in/particular/mine.py", "particular/mine.py"),
        (torch.__file__, "torch/__init__.py"),
        ("<string>", "<string>"),
    ],
)
def test_a_path_names_no_user(path: str, short: str):
    assert short_path(path) == short
