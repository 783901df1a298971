"""What a profile says: sums, gaps, who waits, rates, and the stopwatch beside it; on traces with known content."""

from dataclasses import replace

import pytest

from factory import TINY
from profiles import (
    ADD,
    CELL,
    GEMM,
    MS,
    US,
    call,
    forward_of_operators,
    kernel,
    make_profile,
    one_product,
    op,
    part,
    phase,
    profile_of,
    step,
    tiny_kernels,
    trace_of,
    training_step,
)
from windtunnel.analysis.kernel_kinds import WorkKind
from windtunnel.analysis.profile import ProfileView
from windtunnel.analysis.stopwatch import Verdict, compare_with_stopwatch
from windtunnel.cost.ceilings import Ceilings
from windtunnel.cost.flops import forward_flops
from windtunnel.cost.part_work import product_flops
from windtunnel.records.profile import Part
from windtunnel.spec.cell import Cell

CEILINGS = Ceilings(
    flops_per_second=dict.fromkeys(("fp32", "tf32", "bf16", "fp16"), 1e12),
    memory_bytes_per_second=1e12,
    source="a test",
)


@pytest.mark.parametrize("trace", [training_step(), tiny_kernels(), one_product()])
def test_busy_and_idle_make_the_wall_time(trace):
    for one in ProfileView(profile_of(trace)).gaps.steps:
        assert one.busy + one.idle == one.wall
        assert abs(one.gap_share) <= 0.01


def test_the_times_of_one_step_are_those_of_one_and_the_same():
    long = [step(0, 100 * US), call(1, 0, US), step(200 * US, 220 * US, 1), call(2, 200 * US, 201 * US)]
    device = [kernel(GEMM, 10 * US, 90 * US, 1), kernel(GEMM, 205 * US, 210 * US, 2)]

    view = ProfileView(profile_of(trace_of(long, device)))

    assert (view.wall, view.busy) == (pytest.approx(20e-6), pytest.approx(5e-6))
    assert view.idle_share == pytest.approx(1 - view.busy / view.wall)


def test_what_runs_at_once_is_busy_once():
    host = [step(0, 100 * US), call(1, 0, US), call(2, US, 2 * US)]
    device = [kernel(GEMM, 10 * US, 60 * US, 1), kernel(ADD, 20 * US, 40 * US, 2, stream=8)]

    view = ProfileView(profile_of(trace_of(host, device)))

    assert view.busy == pytest.approx(50e-6)
    assert view.total == pytest.approx(70e-6)
    assert view.idle_share == pytest.approx(0.5)


def test_a_thousand_tiny_kernels_are_launch_bound_and_one_large_product_is_not():
    tiny, large = ProfileView(profile_of(tiny_kernels())), ProfileView(profile_of(one_product()))

    assert tiny.gaps.is_launch_bound
    assert tiny.gaps.launch_wait_share == pytest.approx(0.75, abs=0.01)
    assert tiny.calls == 1000
    assert not large.gaps.is_launch_bound
    assert large.idle_share < 0.01


def test_a_host_that_sleeps_once_shows_as_a_gap_at_its_place_and_not_as_launch_bound():
    host = [
        step(0, 17 * MS),
        phase("forward", 0, 17 * MS),
        part(Part.FEED_FORWARD, 5 * MS, 12 * MS, "blocks.3"),
        call(1, 0, 5 * US),
        call(2, 11 * MS, 11 * MS + 5 * US),
        call(3, 12 * MS, 17 * MS, name="cudaDeviceSynchronize"),
    ]
    device = [kernel(GEMM, 10 * US, 6 * MS, 1), kernel(GEMM, 11 * MS + 10 * US, 17 * MS, 2)]

    view = ProfileView(profile_of(trace_of(host, device)))
    (longest, *_) = view.gaps.longest(3)

    assert longest.gap.span == pytest.approx(5 * MS, rel=0.01)
    assert (longest.phase, longest.part, longest.host) == ("forward", "feed-forward @ blocks.3", "")
    assert longest.gap.is_host_bound
    assert view.gaps.host_bound_share == pytest.approx(5 / 17, rel=0.01)
    assert not view.gaps.is_launch_bound


def test_a_gap_in_which_the_host_waits_for_the_device_says_so():
    (longest, *_) = ProfileView(profile_of(wait_in_the_middle())).gaps.longest(1)

    assert longest.host == "cudaStreamSynchronize"
    assert longest.is_wait


def wait_in_the_middle():
    host = [
        step(0, 300 * US),
        op("aten::item", 20 * US, 220 * US),
        call(1, 0, 5 * US),
        call(2, 21 * US, 219 * US, name="cudaStreamSynchronize"),
        call(3, 230 * US, 235 * US),
    ]
    return trace_of(host, [kernel(ADD, 10 * US, 30 * US, 1), kernel(ADD, 240 * US, 300 * US, 3)])


def test_sums_are_of_one_step():
    first, second = training_step(), training_step()
    shift = 1000 * US
    later = [e._replace(start=e.start + shift, end=e.end + shift) for e in second.host if "step" not in e.name]
    host = [*first.host, *later]
    host = [e._replace(correlation=e.correlation + 100) if e.start >= shift and e.correlation >= 0 else e for e in host]
    host.append(step(shift, 2 * shift, 1))
    device = [
        *first.device,
        *(e._replace(start=e.start + shift, end=e.end + shift, correlation=e.correlation + 100) for e in second.device),
    ]

    view = ProfileView(profile_of(trace_of(host, device)))

    assert view.num_steps == 2
    assert view.calls == 8
    assert view.total == pytest.approx(160e-6)


def test_kinds_have_their_shares_of_a_phase_and_of_the_step():
    view = ProfileView(make_profile())

    assert view.share(WorkKind.MATMUL, "forward") == pytest.approx(3 / 4)
    assert view.share(WorkKind.MATMUL) == pytest.approx(4 / 8)
    assert view.share(WorkKind.OPTIMIZER) == pytest.approx(1 / 8)
    assert view.share(WorkKind.OTHER) == 0.0


def test_softmax_stands_beside_the_products_around_it():
    versus = ProfileView(make_profile()).softmax_against_products

    assert versus is not None
    assert versus.softmax_seconds == pytest.approx(20e-6)
    assert versus.product_seconds == pytest.approx(40e-6)
    entries = CELL.batch_size * TINY.num_heads * CELL.context_length**2 * TINY.num_layers
    assert versus.softmax_flops == 5 * entries
    assert versus.product_flops == 4 * entries * TINY.d_head


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_flops_of_parts_make_those_of_forward(attention: str):
    cell = Cell(model=TINY, workload="forward", batch_size=2, context_length=16, attention=attention, device="cpu")

    found = product_flops(cell)
    fused = "fused attention"
    parts = sum(flops for (_, name), flops in found.items() if name != fused)

    assert parts == forward_flops(TINY, batch_size=2, context_length=16)
    assert found["forward", fused] == found["forward", "scores"] + found["forward", "weighted sum"]


def test_rates_are_known_where_the_work_of_a_part_is():
    view = ProfileView(make_profile(), CEILINGS)

    rate = view.product_rate("forward", Part.FEED_FORWARD)

    assert rate is not None
    assert rate.value == pytest.approx(view.flops["forward", "feed-forward"] / 20e-6)
    assert rate.of_ceiling == pytest.approx(rate.value / 1e12)
    assert view.product_rate("forward", Part.NORM) is None
    kernels = view.kernel_rate("forward", GEMM)
    assert kernels is not None
    flops = sum(view.flops["forward", name] for name in ("scores", "weighted sum", "feed-forward"))
    assert kernels.value == pytest.approx(flops / 60e-6)
    assert ProfileView(make_profile(None)).kernel_rate("forward", GEMM) is None


def test_the_products_of_a_part_share_all_its_flops_and_what_calls_them_has_none():
    view = ProfileView(profile_of(forward_of_operators()), CEILINGS)

    rates = {name: view.kernel_rate("forward", name) for name in view.profile.names}

    flops = {name: round(rate.value * seconds_of(view, name)) for name, rate in rates.items() if rate}
    assert flops == {
        "aten::bmm": view.flops["forward", "scores"],
        "aten::mm": view.flops["forward", "feed-forward"] // 2,
        "aten::addmm": view.flops["forward", "feed-forward"] // 2,
    }
    whole = view.product_rate("forward", Part.FEED_FORWARD)
    assert whole is not None
    assert whole.value == pytest.approx(view.flops["forward", "feed-forward"] / 120e-6)


def seconds_of(view: ProfileView, operator: str) -> float:
    return view.sums(lambda _place, name, _kind: name)[operator].seconds


@pytest.mark.parametrize(
    ("stopwatch", "verdict", "waits"),
    [(0.00099, Verdict.AGREES, True), (0.0008, Verdict.ADDS, True), (0.0013, Verdict.IS_FASTER, True)],
)
def test_the_profiler_is_judged_against_the_stopwatch(stopwatch: float, verdict: Verdict, waits: bool):
    compared = compare_with_stopwatch(ProfileView(make_profile(stopwatch=(stopwatch,))))

    assert compared is not None
    assert compared.verdict is verdict
    assert compared.includes_waiting is waits


def test_a_device_that_is_always_busy_leaves_no_launch_wait_in_the_stopwatch():
    compared = compare_with_stopwatch(ProfileView(profile_of(one_product(), stopwatch=(0.00803,))))

    assert compared is not None
    assert compared.verdict is Verdict.AGREES
    assert not compared.includes_waiting


def test_without_a_stopwatch_there_is_nothing_to_compare():
    assert compare_with_stopwatch(ProfileView(make_profile(stopwatch=()))) is None


def test_an_instrument_costs_the_median_of_its_pairs():
    (cost,) = ProfileView(make_profile()).costs

    assert cost.ratio == pytest.approx(1.15)
    assert (cost.low, cost.high, cost.pairs) == (pytest.approx(1.1), pytest.approx(1.2), 2)


def test_a_profile_of_nothing_has_no_sums():
    profile = make_profile()
    view = ProfileView(replace(profile, steps=(), work=type(profile.work)(), phases=()))

    assert view.total == 0
    assert view.phases == ()
