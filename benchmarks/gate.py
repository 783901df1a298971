"""How often `windtunnel gate` says "slower" of a grid in which nothing changed, and of a cell that is slower.

    PYTHONPATH=src python benchmarks/gate.py [GRIDS]

Each grid has 60 cells, measured in two sessions. Every kind of noise has, beside what it does inside a run, processes
that differ by 0.5 % and a session that differs from the next by 1 % (standard deviations), both shared by nobody's
samples: no interval of one series can see them.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from noise import MODELS, SPREAD, STATE_GAP, Series

from windtunnel.statistics.paired import Verdict
from windtunnel.statistics.unpaired import Difference, judge_unpaired

NUM_CELLS = 60
PROCESS_SPREAD, SESSION_SPREAD = 0.005, 0.01
WILD_SPREAD = 0.15
DRIFT = 0.02

Offsets = Callable[[np.random.Generator, int, tuple[int, int]], Series]
"""Levels of the cells and processes of a session (0 or 1), [cells, processes], beside the usual ones."""


def nothing(_draw: np.random.Generator, _session: int, shape: tuple[int, int]) -> Series:
    """Return no offsets."""
    return np.zeros(shape)


def sticky_states(draw: np.random.Generator, _session: int, shape: tuple[int, int]) -> Series:
    """Draw one of two clock states for the whole of each process."""
    return STATE_GAP * (draw.random(shape) < 0.5)


def session_drift(_draw: np.random.Generator, session: int, shape: tuple[int, int]) -> Series:
    """Return a machine that becomes slower by 2 % over both sessions, cell by cell."""
    cells = (session + np.linspace(0, 1, shape[0])) / 2
    return np.broadcast_to(DRIFT * cells[:, None], shape)


def loaded(draw: np.random.Generator, _session: int, shape: tuple[int, int]) -> Series:
    """Draw a level for each process of a machine that others use, steady while it runs."""
    return WILD_SPREAD * np.abs(draw.standard_normal(shape))


def other_users(draw: np.random.Generator, _session: int, shape: tuple[int, int]) -> Series:
    """Draw one level for a whole session, up to 15 % slower in all cells alike."""
    return np.full(shape, WILD_SPREAD * draw.random())


@dataclass(frozen=True, kw_only=True, slots=True)
class Null:
    """Noise inside a run, and what happens between runs."""

    title: str
    inside: str = "iid"
    between: Offsets = nothing


NULLS = (
    Null(title="iid 1 %"),
    Null(title="AR(1) φ = .8, 1 %", inside="ar1"),
    Null(title="ramp 4 % in each run", inside="ramp"),
    Null(title="3 % outliers of +50 %", inside="outliers"),
    Null(title="two clock states 3 %", inside="two_states"),
    Null(title="a clock state of 3 % for each process", between=sticky_states),
    Null(title="drift of 2 % over both sessions", between=session_drift),
    Null(title="a session slower by up to 15 %", between=other_users),
    Null(title="processes on a loaded machine, 15 %", between=loaded),
)


def draw_session(
    draw: np.random.Generator, null: Null, session: int, *, processes: int, n: int, cells: int = NUM_CELLS
) -> Series:
    """Return the samples of a session in nanoseconds, [cells, processes, n]."""
    inside = MODELS[null.inside].draw(draw, cells * processes, n).reshape(cells, processes, n)
    levels = SESSION_SPREAD * draw.standard_normal() + PROCESS_SPREAD * draw.standard_normal((cells, processes))
    levels = levels + null.between(draw, session, (cells, processes))
    return 1e7 * inside * (1 + levels[:, :, None])


def judge_grid(
    draw: np.random.Generator, null: Null, *, processes: int, n: int, effect: float = 0.0
) -> tuple[Difference, ...]:
    """Judge one grid; the first cell of its second session takes longer by `effect`."""
    base, new = (draw_session(draw, null, session, processes=processes, n=n) for session in (0, 1))
    new[0] *= 1 + effect
    return judge_unpaired([(list(a), list(b)) for a, b in zip(base, new, strict=True)])


def rates(null: Null, *, grids: int, processes: int, n: int, effect: float, seed: int = 0) -> tuple[float, float]:
    """Return the share of null grids with any "slower", and of slower first cells that were called so."""
    draw = np.random.default_rng(seed)
    alarms = found = 0
    for _ in range(grids):
        verdicts = [one.verdict for one in judge_grid(draw, null, processes=processes, n=n)]
        alarms += Verdict.SLOWER in verdicts
        judged = judge_grid(draw, null, processes=processes, n=n, effect=effect)
        found += judged[0].verdict is Verdict.SLOWER
    return alarms / grids, found / grids


def _lines(grids: int) -> Iterator[str]:
    yield f"{grids} grids of {NUM_CELLS} cells each; iid spread {SPREAD:.0%}; power: one cell slower by 10 % / 30 %"
    for null in NULLS:
        for processes, n in ((1, 10), (1, 50), (3, 10), (5, 10)):
            alarms, tenth = rates(null, grids=grids, processes=processes, n=n, effect=0.1)
            _, third = rates(null, grids=max(1, grids // 4), processes=processes, n=n, effect=0.3, seed=1)
            yield f"{null.title:40} {processes} x {n:3}: any slower {alarms:6.1%}, found {tenth:4.0%} / {third:4.0%}"


def main() -> None:
    """Print the table."""
    for line in _lines(int(sys.argv[1]) if len(sys.argv) > 1 else 1000):
        print(line, flush=True)


if __name__ == "__main__":
    main()
