"""The search of a checkpointing, with peaks and times that are known."""

from collections.abc import Callable, Sequence

import pytest

from factory import TINY, make_attention_task, make_task
from windtunnel.cost.grouping import Blocks
from windtunnel.errors import SpecError
from windtunnel.spec.cell import Cell
from windtunnel.sweep.checkpoint_search import OTHERS, CheckpointSearch, Measured, search_checkpoints

DEEP = TINY.model_copy(update={"num_layers": 64})
CELL = make_task(size=DEEP, workload="train_step", context_length=4096).cell
BOUNDARY = CELL.batch_size * CELL.context_length * DEEP.d_model * 4
LAW = Blocks(num_layers=64, block_bytes=BOUNDARY, boundary_bytes=BOUNDARY, fixed_bytes=10 * BOUNDARY)
"""A block keeps as much as its input, so the best groups are of √64 blocks."""

SECONDS = {"none": 1.0, "selective": 1.1, "ffn": 1.2}
PEAKS = {"none": 74 * BOUNDARY, "selective": 50 * BOUNDARY, "ffn": 60 * BOUNDARY}


def size_of(name: str) -> int:
    return int(name.removeprefix("every:"))


def peak_of(name: str) -> int:
    return PEAKS[name] if name in PEAKS else round(LAW.peak(size_of(name)))


class Bench:
    """Measures by a rule, and notes what it was asked for."""

    def __init__(self, peak: Callable[[str], int | None] = peak_of) -> None:
        self.peak = peak
        self.asked: list[str] = []

    def __call__(self, names: Sequence[str]) -> dict[str, Measured]:
        self.asked += names
        return {name: self._measured(name) for name in names}

    def _measured(self, name: str) -> Measured:
        peak = self.peak(name)
        if peak is None:
            return Measured(peak_bytes=None, seconds=None, outcome="out of memory")
        return Measured(peak_bytes=peak, seconds=SECONDS.get(name, 1.3), outcome="ok")


def by_rule(cell: Cell) -> int | None:
    return peak_of(cell.checkpoint)


def unknown(cell: Cell) -> int | None:
    return None


def search(
    bench: Bench, predict: Callable[[Cell], int | None] = by_rule, budget: int | None = None
) -> CheckpointSearch:
    return search_checkpoints(CELL, predict=predict, measure=bench, budget_bytes=budget)


def test_the_root_n_groups_are_found_with_their_neighbours():
    bench = Bench()

    found = search(bench)

    assert (found.lowest, found.predicted_best) == ("every:8", 8)
    assert bench.asked == ["none", "selective", "ffn", "every:6", "every:7", "every:8", "every:10", "every:11"]


def test_without_a_closed_form_the_law_finds_them_from_two_groups():
    bench = Bench()

    found = search(bench, unknown)

    assert found.law == pytest.approx(8)
    assert found.lowest == "every:8"
    assert {"every:1", "every:8", "every:7", "every:10"} <= set(found.measured)
    assert found.predicted["every:64"] == peak_of("every:64")


def test_a_wrong_prediction_is_left_for_lower_neighbours():
    def wrong(cell: Cell) -> int | None:
        return -peak_of(cell.checkpoint)

    found = search(Bench(), wrong)

    assert found.predicted_best in {1, 64}
    assert found.lowest == "every:8"
    assert {"every:7", "every:10"} <= set(found.measured)


def test_nothing_is_measured_twice():
    bench = Bench()

    search(bench, unknown)

    assert len(bench.asked) == len(set(bench.asked))


@pytest.mark.parametrize(
    ("budget", "fastest"),
    [(None, "none"), (74, "none"), (73, "selective"), (49, "every:"), (10, None)],
)
def test_the_fastest_is_that_within_the_budget(budget: int | None, fastest: str | None):
    found = search(Bench(), budget=None if budget is None else budget * BOUNDARY)

    assert found.fastest == fastest or (fastest and found.fastest and found.fastest.startswith(fastest))


def test_what_runs_out_of_memory_is_neither_lowest_nor_fastest():
    found = search(Bench(lambda name: None if name in OTHERS else peak_of(name)))

    assert found.measured["none"].outcome == "out of memory"
    assert found.fastest is not None
    assert found.fastest.startswith("every:")


def test_where_no_group_runs_there_is_no_answer():
    found = search(Bench(lambda name: None), unknown)

    assert (found.lowest, found.fastest) == (None, None)


def test_a_model_of_one_block_has_one_group():
    cell = make_task(size=TINY.model_copy(update={"num_layers": 1}), workload="train_step").cell
    bench = Bench(lambda name: 1)

    found = search_checkpoints(cell, predict=unknown, measure=bench)

    assert bench.asked == ["none", "selective", "ffn", "every:1"]
    assert found.lowest == "every:1"


@pytest.mark.parametrize("task", [make_attention_task(), make_task(workload="forward")])
def test_what_has_no_blocks_or_no_backward_is_refused(task):
    with pytest.raises(SpecError, match="search"):
        search_checkpoints(task.cell, predict=unknown, measure=Bench())
