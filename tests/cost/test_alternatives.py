from dataclasses import replace

import pytest

from factory import make_task
from windtunnel.cost.alternatives import Alternative, Alternatives, alternatives
from windtunnel.cost.layout import Layout
from windtunnel.cost.prediction import CONTEXT_BYTES, Fit, Target, predict, target_named
from windtunnel.spec.model import NAMED_SIZES, ModelSpec
from windtunnel.spec.own_model import OwnModel

GIB = 2**30
H100 = target_named("h100")


def tried(target: Target = H100, layout: Layout | None = None, **fields: object) -> Alternatives:
    cell = make_task(**{"size": "2.7B", "workload": "train_step", "device": "cuda:0", **fields}).cell
    return alternatives(cell, target, layout=layout or Layout(), optimizer="adamw")


def found(target: Target = H100, **fields: object) -> tuple[Alternative, ...]:
    return tried(target, **fields).fitting


def attention_of(options: tuple[Alternative, ...]) -> set[object]:
    return {option.changes["attention"] for option in options if "attention" in option.changes}


def test_each_alternative_fits_and_says_its_peak():
    cell = make_task(size="2.7B", workload="train_step", device="cuda:0", context_length=2048, precision="bf16").cell

    options = alternatives(cell, H100, layout=Layout(), optimizer="adamw").fitting

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


def test_attention_is_offered_only_where_it_takes_the_head():
    wide = ModelSpec(name="wide", d_model=512, d_ff=2048, num_layers=2, num_heads=1, vocab_size=200)

    options = found(target_named("h200", memory_bytes=6 * GIB), size=wide, context_length=8192)

    assert attention_of(options) == {"sdpa-efficient"}


def test_attention_is_offered_only_where_the_device_has_it():
    options = found(target_named("v100", memory_bytes=12 * GIB), size="small", context_length=4096, batch_size=4)

    assert attention_of(options) == {"sdpa-efficient"}


def test_attention_with_grouped_heads_is_offered_only_where_that_takes_them():
    grouped = NAMED_SIZES["small"].model_copy(update={"num_kv_heads": 4})

    assert attention_of(tried(target_named("v100"), size=grouped, context_length=4096).fitting) == set()


def test_another_checkpointing_is_tried_where_there_is_one():
    options = found(
        target_named("h200", memory_bytes=3 * GIB),
        size="small", context_length=4096, batch_size=1, checkpoint="every:12", attention="sdpa",
    )  # fmt: skip

    assert [option.changes for option in options] == [{"checkpoint": "every:1"}]


def test_groups_of_blocks_are_tried_where_single_ones_hold_more():
    tall = ModelSpec(name="tall", d_model=64, d_ff=64, num_layers=400, num_heads=1, vocab_size=8)
    fields = {
        "size": tall,
        "context_length": 4096,
        "batch_size": 1,
        "attention": "flash-triton",
        "precision": "bf16-pure",
    }
    cell = make_task(workload="train_step", device="cuda:0", checkpoint="every:1", **fields).cell
    single = predict(cell, H100).memory
    assert single is not None
    target = replace(H100, memory_bytes=round(0.95 * single.needed_bytes + CONTEXT_BYTES))

    (option,) = found(target, **fields)

    assert option.changes["checkpoint"] not in {"every:1", "selective"}


def test_what_cannot_be_predicted_is_not_said_to_be_of_no_use():
    trial = tried(
        target_named("h200", memory_bytes=3 * GIB), size="small", context_length=4096, batch_size=1, compile="default"
    )

    assert trial.fitting == ()
    assert trial.tried == ("attention",)
    assert "under compile 'default' has no closed form" in trial.unknown["checkpoint"]


def test_only_what_can_be_changed_counts_as_tried():
    trial = tried(
        target_named("h200", memory_bytes=GIB), size="small", workload="forward", batch_size=1, attention="sdpa"
    )

    assert (trial.fitting, trial.tried) == ((), ())


def test_all_is_tried_together_where_nothing_less_is_enough():
    options = found(target_named("h200", memory_bytes=10 * GIB), size="small", context_length=32768, batch_size=2)

    assert [set(option.changes) for option in options] == [{"attention", "checkpoint", "batch_size"}]


def test_spreading_is_named_where_weights_are_too_much_and_not_where_activations_are():
    weights = tried(target_named("h100", memory_bytes=20 * GIB), size="10B", context_length=128, batch_size=1)
    activations = tried(target_named("h100", memory_bytes=2 * GIB), size="small", context_length=65536, batch_size=1)

    assert weights.with_spreading == {}
    assert activations.with_spreading is None


def test_nothing_is_tried_of_a_model_of_ones_own():
    own = OwnModel(factory="mine:make", vocab_size=7)

    assert tried(size=own) == Alternatives()
