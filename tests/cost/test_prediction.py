import pytest

from factory import make_task
from windtunnel.cost.ceilings import Ceilings
from windtunnel.cost.prediction import CONTEXT_BYTES, Fit, predict, target_named
from windtunnel.spec.cell import Cell

CELL = make_task(size="small", workload="train_step", device="cuda:0", context_length=128).cell


def with_capacity(share: float, cell: Cell = CELL) -> Fit | None:
    """Return whether the cell fits where it takes this share of the capacity."""
    memory = predict(cell, target_named("NVIDIA H200")).memory
    assert memory is not None
    capacity = round((memory.peak_bytes + CONTEXT_BYTES) / share)
    return predict(cell, target_named("NVIDIA H200", memory_bytes=capacity)).fit


@pytest.mark.parametrize(
    ("share", "fit"), [(0.5, Fit.YES), (0.94, Fit.YES), (0.96, Fit.CLOSE), (1.04, Fit.CLOSE), (1.06, Fit.NO)]
)
def test_what_is_nearer_to_the_capacity_than_a_prediction_is_good_for_is_called_close(share: float, fit: Fit):
    assert with_capacity(share) is fit


def test_an_unknown_device_has_no_capacity_no_rates_and_no_verdict():
    found = predict(CELL, target_named("Voodoo 3"))

    assert found.fit is None
    assert found.memory is not None
    assert found.time is not None
    assert found.time.seconds is None


def test_the_driver_takes_no_memory_of_a_cpu():
    cell = CELL.model_copy(update={"device": "cpu"})
    memory = predict(cell, target_named("A CPU")).memory
    assert memory is not None

    assert predict(cell, target_named("A CPU", memory_bytes=round(memory.peak_bytes / 0.94))).fit is Fit.YES


def test_a_datasheet_gives_way_to_what_was_measured():
    ceilings = Ceilings(flops_per_second={"fp32": 1e12}, memory_bytes_per_second=1e12, source="here")

    target = target_named("NVIDIA H200", ceilings=ceilings, memory_bytes=3)

    assert (target.ceilings, target.memory_bytes) == (ceilings, 3)


def test_a_hopper_gpu_has_a_larger_workspace():
    hopper, ampere = (predict(CELL, target_named(name)).memory for name in ("NVIDIA H200", "NVIDIA A100-SXM4-80GB"))
    assert hopper is not None
    assert ampere is not None

    assert hopper.components["forward"]["workspace"] > 3 * ampere.components["forward"]["workspace"]


@pytest.mark.parametrize("fields", [{"attention": "mine:attend"}, {"attention": "sdpa-math"}])
def test_a_cell_without_a_closed_form_keeps_its_cost_and_says_why_there_is_no_more(fields: dict[str, str]):
    found = predict(CELL.model_copy(update=fields), target_named("NVIDIA H200"))

    assert (found.memory, found.time, found.fit) == (None, None, None)
    assert "no closed form" in found.unknown
    assert found.cost.parameters == 128_625_408


@pytest.mark.parametrize(
    ("fields", "device_name", "reason"),
    [
        ({"precision": "bf16"}, "Tesla T4", "needs compute capability 8.0; Tesla T4 has 7.5"),
        ({"attention": "flash-triton"}, "Tesla V100-SXM2-16GB", "needs compute capability 8.0"),
        ({"attention": "sdpa-flash"}, "NVIDIA H200", "does not take float32"),
        ({"attention": "sdpa-cudnn", "device": "cpu"}, "AMD EPYC", "does not run on cpu"),
    ],
)
def test_what_the_device_refuses_has_a_reason_and_neither_memory_nor_fit(
    fields: dict[str, str], device_name: str, reason: str
):
    found = predict(CELL.model_copy(update=fields), target_named(device_name))

    assert found.is_refused
    assert reason in found.unknown
    assert (found.memory, found.time, found.fit) == (None, None, None)
    assert found.cost is not None


def test_what_has_no_closed_form_is_not_refused():
    assert not predict(CELL.model_copy(update={"attention": "sdpa-math"}), target_named("NVIDIA H200")).is_refused


@pytest.mark.parametrize(
    ("rate", "bandwidth", "reason"),
    [(None, 1e12, "has no rate of fp32"), (1e12, None, "has no bandwidth")],
)
def test_a_time_without_a_rate_says_which_one_is_missing(rate: float | None, bandwidth: float | None, reason: str):
    ceilings = Ceilings(flops_per_second={"fp32": rate}, memory_bytes_per_second=bandwidth, source="calibration")

    found = predict(CELL, target_named("NVIDIA H200", ceilings=ceilings))

    assert found.time is not None
    assert found.time.seconds is None
    assert found.unknown == f"no time is predicted: the calibration {reason}"
