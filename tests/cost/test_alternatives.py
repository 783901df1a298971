import pytest

from factory import make_task
from windtunnel.cost.alternatives import Alternative, alternatives
from windtunnel.cost.layout import Layout
from windtunnel.cost.prediction import Fit, Target, predict, target_named

GIB = 2**30
H100 = target_named("h100")


def found(target: Target = H100, **fields: object) -> tuple[Alternative, ...]:
    cell = make_task(**{"size": "2.7B", "workload": "train_step", "device": "cuda:0", **fields}).cell
    return alternatives(cell, target, layout=Layout(), optimizer="adamw")


def test_each_alternative_fits_and_says_its_peak():
    cell = make_task(size="2.7B", workload="train_step", device="cuda:0", context_length=2048, precision="bf16").cell

    options = alternatives(cell, H100, layout=Layout(), optimizer="adamw")

    assert {"checkpoint": "every:1"} in [option.changes for option in options]
    for option in options:
        changed = predict(cell.model_copy(update=dict(option.changes)), H100)
        assert changed.fit is Fit.YES
        assert changed.memory is not None
        assert changed.memory.peak_bytes == option.peak_bytes


def test_the_batch_is_the_largest_that_fits():
    options = found(target_named("h100", memory_bytes=24 * GIB), size="large", context_length=512, batch_size=16)

    (batch,) = [option.changes["batch_size"] for option in options if "batch_size" in option.changes]
    cells = [make_task(size="large", workload="train_step", device="cuda:0", context_length=512, batch_size=size).cell
             for size in (batch, batch + 1)]  # fmt: skip
    fits = [predict(cell, target_named("h100", memory_bytes=24 * GIB)).fit for cell in cells]
    assert fits[0] is Fit.YES
    assert fits[1] is not Fit.YES


def test_two_changes_are_tried_where_no_single_one_is_enough():
    options = found(target_named("h100", memory_bytes=70 * GIB), context_length=8192, precision="bf16")

    assert all(len(option.changes) == 2 for option in options if "batch_size" not in option.changes)


@pytest.mark.parametrize("fields", [{"context_length": 65536}, {"size": "10B"}])
def test_where_nothing_helps_there_is_none(fields: dict[str, object]):
    assert found(target_named("h100", memory_bytes=8 * GIB), **fields) == ()
