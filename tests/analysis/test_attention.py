"""Judgements over rows of attention alone: lengths, memory, speed-ups, ranks and errors."""

from dataclasses import replace

import pytest

from factory import CPU, make_attention_record, make_attention_task, make_row, make_row_of
from windtunnel.analysis.attention import (
    Race,
    Variant,
    errors_of,
    frontiers,
    in_order,
    memory_use,
    points_of,
    race,
    speed_up,
    variant_of,
    worst_errors,
)
from windtunnel.analysis.results import Row
from windtunnel.records.record import Failure, Status

MIB = 2**20

OUT = Failure(stage="measure", phase="backward", message="out", requested_bytes=16 * 2**30, free_bytes=2**30)


def row(
    *, forward: float = 1.0, backward: float = 2.5, failure: Failure | None = None, status: Status | None = None, **task
) -> Row:
    fields = {"status": status} if status else {}
    record = make_attention_record(
        make_attention_task(**task), forward=forward, backward=backward, failure=failure, **fields
    )
    return make_row(record)


def test_the_frontier_is_the_longest_that_ran_and_the_shortest_that_did_not():
    rows = [row(seq=length, failure=OUT if length > 2048 else None) for length in (8192, 1024, 4096, 2048)]

    (found,) = frontiers(rows)

    assert found.longest is rows[3]
    assert found.out is rows[2]
    assert found.is_monotone
    assert [one.cell.context_length for one in found.rows] == [1024, 2048, 4096, 8192]


@pytest.mark.parametrize("other", [{"backend": "sdpa"}, {"d": 128}, {"mask": "causal"}, {"precision": "bf16"}])
def test_unlike_rows_are_series_of_their_own(other: dict[str, object]):
    assert len(frontiers([row(seq=1024), row(seq=2048, **other)])) == 2


def test_a_cold_and_a_warm_cache_are_two_series():
    assert len(frontiers([row(seq=1024, cache="cold"), row(seq=2048)])) == 2


def test_a_series_in_which_nothing_ran_out_has_no_end():
    (found,) = frontiers([row(seq=1024), row(seq=2048)])

    assert found.out is None
    assert found.is_monotone


def test_a_longer_sequence_that_ran_makes_the_frontier_not_monotone():
    (found,) = frontiers([row(seq=1024, failure=OUT), row(seq=2048)])

    assert not found.is_monotone


def test_other_failures_are_no_end_and_are_counted():
    (found,) = frontiers([row(seq=1024), row(seq=2048, status=Status.UNSUPPORTED)])

    assert found.out is None
    assert found.others == 1


def memory_row(*, seq: int = 8192, d: int = 16, workload: str = "attention_forward_backward", **memory: int) -> Row:
    return make_row(make_attention_record(make_attention_task(seq=seq, d=d, workload=workload), **memory))


def test_a_published_table_held_two_matrices():
    """Seed 004: 4133.2 MiB before backward, 16 MiB of Q, K, V, O, a matrix of 8 x 8192 x 8192 float32 2048 MiB.

    Ours has a dO of 4 MiB besides, which is taken off too.
    """
    use = memory_use(memory_row(allocated=round((4133.2 + 4) * MIB)))

    assert use is not None
    assert use.matrices == pytest.approx((4133.2 - 16) / 2048, abs=1e-4)
    assert round(use.matrices, 1) == 2.0


def test_matrices_follow_from_what_autograd_saved_where_the_device_does_not_count():
    """Q, K and V are 12 MiB; one matrix more is 2048 MiB."""
    use = memory_use(memory_row(saved=(2048 + 12) * MIB))

    assert use is not None
    assert use.matrices == pytest.approx(1.0)


def test_a_workspace_does_not_pass_for_a_matrix_of_a_short_sequence():
    """A matrix of 8 x 1024 x 1024 float32 is 32 MiB, as large as cuBLAS's workspace: what was saved says 2."""
    use = memory_use(memory_row(seq=1024, allocated=(2 * 32 + 32) * MIB, saved=2 * 32 * MIB + 3 * MIB // 2))

    assert use is not None
    assert use.matrices == pytest.approx(2.0)


def test_a_short_sequence_without_what_was_saved_has_no_number_of_matrices():
    use = memory_use(memory_row(seq=1024, allocated=100 * MIB))

    assert use is not None
    assert use.matrices is None


def test_nothing_is_held_for_backward_where_there_is_none():
    use = memory_use(memory_row(workload="attention_forward", allocated=16 * MIB, forward_peak=20 * MIB))

    assert use is not None
    assert (use.before_backward, use.matrices) == (None, None)


def test_the_peak_over_the_least_is_of_the_higher_phase():
    """Q, K, V, O, dO and three gradients of 4 MiB each, and 8 x 8192 float32 of the log-sum-exp, 0.25 MiB."""
    use = memory_use(memory_row(forward_peak=10 * MIB, backward_peak=round(1.02 * 32.25 * MIB)))

    assert use is not None
    assert use.least == 32.25 * MIB
    assert use.over_least == pytest.approx(1.02)


def test_memory_that_nobody_looked_at_is_not_known():
    assert memory_use(row()) is None


def test_what_autograd_saved_without_backward_is_nothing_to_show():
    assert memory_use(memory_row(workload="attention_forward", saved=0)) is None


def test_of_several_processes_the_most_counts():
    records = [
        make_attention_record(
            make_attention_task(processes=2).model_copy(update={"replica": replica}), forward_peak=peak * MIB
        )
        for replica, peak in enumerate((30, 40))
    ]

    use = memory_use(make_row_of(*records))

    assert use is not None
    assert use.forward_peak == 40 * MIB


def test_a_speed_up_is_old_over_new():
    found = speed_up(row(forward=8, backward=20), row(forward=2, backward=5))

    assert found is not None
    assert found.ratio == pytest.approx(4.0)
    assert found.span is not None
    assert found.span[0] < 4.0 < found.span[1]


def test_a_phase_has_a_speed_up_of_its_own():
    found = speed_up(row(forward=8, backward=20), row(forward=2, backward=10), "backward")

    assert found is not None
    assert found.ratio == pytest.approx(2.0)


def test_a_short_call_beside_a_long_one_has_a_speed_up():
    found = speed_up(row(forward=8, backward=20), row(forward=0.05, backward=0.09))

    assert found is not None
    assert found.ratio == pytest.approx(200.0)


def test_two_short_medians_make_no_speed_up():
    found = speed_up(row(forward=0.1, backward=0.19), row(forward=0.05, backward=0.1))

    assert found is not None
    assert (found.ratio, found.span) == (None, None)


def test_a_row_that_failed_has_no_speed_up():
    assert speed_up(row(), row(failure=OUT)) is None
    assert speed_up(row(failure=OUT), row()) is None


def test_a_phase_that_one_row_lacks_has_no_speed_up():
    assert speed_up(row(), row(workload="attention_forward"), "backward") is None


def test_points_group_backends_and_their_compiling():
    rows = [row(), row(compile="default"), row(backend="sdpa"), row(backend="sdpa", d=128)]

    points = points_of(rows)

    assert [[variant.name for variant in point.rows] for point in points] == [
        ["eager", "eager compiled (default)", "sdpa"],
        ["sdpa"],
    ]


def test_the_race_counts_where_each_variant_is_first():
    rows = [
        row(backend=backend, seq=seq, forward=milliseconds, backward=milliseconds)
        for seq, times in ((1024, (1.0, 2.0)), (2048, (9.0, 4.0)), (4096, (20.0, 8.0)))
        for backend, milliseconds in zip(("eager", "sdpa"), times, strict=True)
    ]

    assert race(rows) == Race(wins={Variant("sdpa", "off"): 2, Variant("eager", "off"): 1}, close=0, short=0)


def test_backends_within_a_percent_are_not_told_apart():
    found = race([row(forward=1.0, backward=2.0), row(backend="sdpa", forward=1.0, backward=2.02)])

    assert found is not None
    assert (found.wins, found.close) == ({}, 1)


def test_backends_without_an_interval_are_not_told_apart():
    found = race([row(steps=3), row(steps=3, backend="sdpa", forward=4.0)])

    assert found is not None
    assert (found.wins, found.close) == ({}, 1)


def test_short_calls_are_not_ranked():
    found = race([row(forward=0.05, backward=0.1), row(backend="sdpa", forward=0.1, backward=0.1)])

    assert found is not None
    assert (found.wins, found.short) == ({}, 1)


def test_a_single_backend_has_no_race():
    assert race([row(), row(seq=512), row(backend="sdpa", seq=512, failure=OUT)]) is None


def test_rows_are_ordered_by_shape_and_stay_in_the_order_of_the_store_at_a_point():
    rows = [row(seq=512), row(seq=512, backend="sdpa"), row(seq=64), row(d=16, seq=512), row(batch=1, seq=4096)]

    ordered = in_order(rows)

    assert [rows.index(one) for one in ordered] == [4, 3, 2, 0, 1]


def test_a_variant_is_the_backend_and_its_compiling():
    assert variant_of(row(backend="mine:attend", compile="max-autotune")) == ("mine:attend", "max-autotune")


def with_errors(*errors: float, **task: object) -> Row:
    return make_row(make_attention_record(make_attention_task(**task), errors=errors))


def test_the_worst_error_of_each_tensor_names_its_row():
    rows = [with_errors(1e-3, 5e-3, seq=512), with_errors(2e-3, 4e-3, seq=1024)]

    found = worst_errors(rows)

    assert {tensor: (error.relative_error, at) for tensor, (error, at) in found.items()} == {
        "O": (2e-3, rows[1]),
        "dQ": (5e-3, rows[0]),
    }


def test_nan_is_worse_than_any_number():
    rows = [with_errors(float("nan"), seq=512), with_errors(float("inf"), seq=1024)]

    assert worst_errors(rows)["O"][1] is rows[0]


def test_of_several_processes_the_largest_error_counts():
    tasks = [make_attention_task(processes=2).model_copy(update={"replica": replica}) for replica in (0, 1)]
    both = make_row_of(
        *(make_attention_record(task, errors=(error,)) for task, error in zip(tasks, (1e-3, 2e-3), strict=True))
    )

    assert errors_of(both)["O"].relative_error == 2e-3


def test_series_of_two_machines_are_apart():
    one = make_attention_record(make_attention_task(seq=512))
    rows = [make_row(one), make_row(replace(one, task=make_attention_task(seq=1024)), CPU)]

    assert len(frontiers(rows)) == 2
