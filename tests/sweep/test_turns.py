"""Both sides of a comparison whose processes take turns."""

import pytest

from factory import make_record, make_task
from windtunnel.records.record import ClockName, Record, Samples
from windtunnel.statistics.paired import Side
from windtunnel.statistics.pairing import Turn
from windtunnel.sweep.turns import Sides, empty_side


@pytest.mark.parametrize("clocks", [(ClockName.DEVICE, ClockName.ENQUEUE), (ClockName.HOST, ClockName.DEVICE)])
def test_turns_are_judged_by_the_first_clock_that_has_the_whole_step(clocks: tuple[ClockName, ClockName]):
    """The host's; without it, as for attention alone, the device's. The other clock says something else."""
    sides = Sides({side: empty_side(make_task()) for side in Side})

    for number, (side, milliseconds) in enumerate([(Side.A, 10), (Side.B, 20), (Side.B, 20), (Side.A, 10)]):
        sides.add(Turn(side=side, pair=number // 2), timed(clocks, milliseconds))

    pairs, _ = sides.differences()
    assert pairs == pytest.approx([0.6931, 0.6931], rel=1e-3)


def timed(clocks: tuple[ClockName, ClockName], milliseconds: int) -> Record:
    judged, other = (
        Samples(phase="forward", clock=clock, nanoseconds=(nanoseconds,) * 3)
        for clock, nanoseconds in zip(clocks, (milliseconds * 1_000_000, 5), strict=True)
    )
    return make_record(make_task(), samples=(other, judged))
