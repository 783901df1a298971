"""The machine's ceilings at sizes that take no time: counts and ratios, never seconds."""

from collections.abc import Callable

import pytest
import torch

from windtunnel.bench import calibrate as calibrate_module
from windtunnel.bench.calibrate import Sizes, calibrate, sizes_for
from windtunnel.bench.clock import StepTimes
from windtunnel.errors import UnsupportedError
from windtunnel.records.calibration import Calibration, Ceiling
from windtunnel.records.record import ClockName
from windtunnel.spec.model import ModelSpec

CPU = torch.device("cpu")
TINY = Sizes(
    cube=16,
    model=ModelSpec(name="tiny", d_model=8, d_ff=24, num_layers=1, num_heads=2, vocab_size=40),
    tokens=4,
    copy_bytes=4096,
    transfer_bytes=4096,
    launches=10,
)


@pytest.fixture(scope="module")
def stages() -> list[str]:
    return []


@pytest.fixture(scope="module")
def calibration(stages: list[str]) -> Calibration:
    """Calibrate once; at these sizes the most samples take no time, so a busy machine leaves nothing out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrate_module, "_SHORTEST_SECONDS", 1e-5)
        return calibrate(CPU, seconds=600.0, sizes=TINY, on_stage=stages.append)


def ceiling(calibration: Calibration, name: str) -> Ceiling:
    return next(found for found in calibration.ceilings if found.name.startswith(name))


def test_every_precision_is_measured_at_every_shape(calibration: Calibration):
    names = [found.name for found in calibration.ceilings if found.name.startswith("matmul")]

    assert names == [
        f"matmul {precision} {shape}"
        for precision in ("fp32", "bf16", "fp16")
        for shape in (
            "cube 16x16x16",
            "projection 4x8x8",
            "feed-forward up 4x8x24",
            "feed-forward down 4x24x8",
            "head 4x8x40",
        )
    ]


def test_a_cpu_has_no_tf32_and_says_so(calibration: Calibration):
    assert len(calibration.left_out) == 5
    assert set(calibration.left_out.values()) == {
        "precision 'tf32' is a mode of NVIDIA tensor cores; cpu has none: use fp32"
    }


def test_the_work_of_a_sample_is_that_of_whole_products(calibration: Calibration):
    assert ceiling(calibration, "matmul fp32 head").work % (2 * 4 * 8 * 40) == 0


def test_a_copy_counts_what_it_reads_and_what_it_writes(calibration: Calibration):
    copied = ceiling(calibration, "device copy of 4.00 KiB")

    assert copied.unit == "B/s"
    assert copied.work % (2 * 4096) == 0


def test_launches_are_counted_one_by_one(calibration: Calibration):
    assert ceiling(calibration, "tiny operations").work % TINY.launches == 0


def test_every_ceiling_has_the_fewest_samples_at_least(calibration: Calibration):
    assert min(len(found.samples_ns) for found in calibration.ceilings) >= calibrate_module._MIN_SAMPLES


def test_without_time_there_are_the_fewest_samples_and_with_it_more(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calibrate_module, "_SHORTEST_SECONDS", 1e-5)
    run = calibrate_module._multiply(CPU, "fp32", (16, 16, 16))

    few, many = (len(calibrate_module._sample(CPU, run, seconds)[0]) for seconds in (0.0, 5.0))

    assert few == calibrate_module._MIN_SAMPLES < many


@pytest.mark.parametrize(("milliseconds", "repeats"), [(1, 5), (2, 3), (5, 1), (100, 1)])
def test_short_runs_are_batched_and_long_ones_are_not(monkeypatch: pytest.MonkeyPatch, milliseconds: int, repeats: int):
    """Each call takes the given time, so a sample of 5 ms holds as many as are needed."""
    calls: list[None] = []

    def steps(device: torch.device, run: Callable[[], object], count: int) -> list[StepTimes]:
        calls.clear()
        run()
        total = {ClockName.HOST: len(calls) * milliseconds * 10**6}
        return [StepTimes(began=0, phases={}, total=total)] * count

    monkeypatch.setattr(calibrate_module, "_steps", steps)

    times, batched = calibrate_module._sample(CPU, lambda: calls.append(None), 10.0)

    assert batched == repeats
    assert {step.total[ClockName.HOST] for step in times} == {repeats * milliseconds * 10**6}


def test_each_measurement_is_announced_before_it_begins(calibration: Calibration, stages: list[str]):
    assert len(stages) == len(set(stages)) == len(calibration.ceilings) + len(calibration.left_out)


def test_inputs_are_random_and_not_zeros():
    values = calibrate_module._random(CPU, (1000,), torch.bfloat16)

    assert values.unique().numel() > 100


def test_a_product_that_would_take_far_too_long_is_left_out():
    slow = Ceiling(name="matmul fp16 cube 8x8x8", unit="FLOP/s", samples_ns=(10**9,), work=100)
    other = Ceiling(name="matmul bf16 cube 8x8x8", unit="FLOP/s", samples_ns=(1,), work=100)
    plan = calibrate_module._Plan(name="matmul fp16 head", measure=lambda _: (), work=1000)

    plan.check_time([other], 1.0)
    with pytest.raises(UnsupportedError, match=r"one takes about 10.0 s, and there is 1.00 s for all samples"):
        plan.check_time([other, slow], 1.0)


def test_what_does_not_fit_is_left_out_and_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch):
    def too_much(seconds: float) -> tuple[Ceiling, ...]:
        torch.empty(2**60, dtype=torch.uint8)
        raise AssertionError(seconds)

    plans = tuple(calibrate_module._Plan(name=name, measure=too_much) for name in ("first", "second"))
    monkeypatch.setattr(calibrate_module, "_plans", lambda device, sizes: plans)

    found = calibrate(CPU, seconds=0.0, sizes=TINY, on_stage=lambda _: None)

    assert found.left_out == {"first": "out of memory", "second": "out of memory"}


def test_any_other_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch):
    def broken(seconds: float) -> tuple[Ceiling, ...]:
        raise RuntimeError(f"broken after {seconds}")

    monkeypatch.setattr(
        calibrate_module, "_plans", lambda device, sizes: (calibrate_module._Plan(name="x", measure=broken),)
    )

    with pytest.raises(RuntimeError, match="broken"):
        calibrate(CPU, seconds=0.0, sizes=TINY, on_stage=lambda _: None)


def test_the_precision_of_products_is_left_as_it_was(calibration: Calibration):
    assert calibration.ceilings
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_copy_is_several_times_the_cache():
    sizes = sizes_for(CPU)

    assert sizes.cube is None
    assert sizes.copy_bytes >= 4 * calibrate_module._last_cache_bytes()


@pytest.mark.gpu
def test_a_gpu_has_every_ceiling():
    device = torch.device("cuda", 0)

    found = calibrate(device, seconds=20.0, sizes=TINY, on_stage=lambda _: None)

    assert found.left_out == {}
    assert len([one for one in found.ceilings if "memory" in one.name]) == 4
