"""What one step of each workload does to the model, and in which formats."""

import dataclasses
import weakref
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from factory import TINY, make_task
from windtunnel.attention import eager
from windtunnel.attention.backend import Backend
from windtunnel.bench.build import build_workload
from windtunnel.bench.workload import Workload
from windtunnel.errors import SpecError, UnsupportedError
from windtunnel.spec.abilities import Abilities, HeadSizes
from windtunnel.spec.tables import ATTENTION_BACKENDS, PRECISIONS, STEP_WORKLOADS

GROUPED = TINY.model_copy(update={"num_kv_heads": 2})


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note every loss from here on."""
    seen: list[float] = []

    def watched(logits: Tensor, expected: Tensor) -> Tensor:
        loss = cross_entropy(logits, expected)
        seen.append(loss.item())
        return loss

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", watched)
    return seen


def build(**fields: object) -> Workload:
    return build_workload(make_task(**{"context_length": 5, "batch_size": 3} | fields).cell)


def run_step(workload: Workload) -> None:
    workload.reset()
    for phase in workload.phases:
        phase.run()


def copies(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


@pytest.mark.parametrize("name", STEP_WORKLOADS)
def test_phases_and_whole_are_those_that_the_table_describes(name: str):
    workload = build(workload=name)

    names = [phase.name for phase in workload.phases]
    assert list(dict.fromkeys([*names, workload.total])) == list(STEP_WORKLOADS[name].timed)


def test_forward_keeps_no_graph_for_gradients(built):
    run_step(build(workload="forward"))

    (logits,) = built.logits
    assert logits.grad_fn is None
    assert not logits.requires_grad


def test_forward_gives_logits_for_every_position(built):
    run_step(build(workload="forward"))

    assert built.logits[0].shape == (3, 5, TINY.vocab_size)


def test_forward_releases_the_logits_of_the_step_before():
    """A step never holds two sets of logits."""
    workload = build(workload="forward")
    run_step(workload)

    workload.reset()

    with pytest.raises(AssertionError):
        workload.fault()


def test_forward_and_backward_leave_a_gradient_for_every_parameter(built):
    run_step(build(workload="forward_backward"))

    without = [name for name, parameter in built.parameters().items() if parameter.grad is None]
    assert without == []
    assert all(parameter.grad.abs().sum() > 0 for parameter in built.parameters().values())


def test_forward_and_backward_leave_the_parameters_as_they_were(built):
    workload = build(workload="forward_backward")
    before = copies(built.parameters())

    run_step(workload)

    assert all(torch.equal(before[name], parameter) for name, parameter in built.parameters().items())


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_training_step_changes_every_parameter(built, precision: str):
    workload = build(workload="train_step", precision=precision)
    before = copies(built.parameters())

    run_step(workload)

    same = [name for name, parameter in built.parameters().items() if torch.equal(before[name], parameter)]
    assert same == []


def test_training_steps_lower_the_loss_of_their_batch(losses: list[float]):
    workload = build(workload="train_step")

    for _ in range(10):
        run_step(workload)

    assert all(later < earlier for earlier, later in pairwise(losses))


def test_gradients_are_cleared_between_steps(built):
    """Two steps on one batch leave the gradients of one, not their sum."""
    workload = build(workload="forward_backward")
    run_step(workload)
    first = {name: parameter.grad.clone() for name, parameter in built.parameters().items()}

    run_step(workload)

    for name, parameter in built.parameters().items():
        torch.testing.assert_close(parameter.grad, first[name], rtol=1e-5, atol=1e-7)


def test_the_reset_takes_the_gradients_away(built):
    """So backward writes gradients and adds to none, as its description says."""
    workload = build(workload="forward_backward")
    run_step(workload)

    workload.reset()

    assert all(parameter.grad is None for parameter in built.parameters().values())


def test_the_loss_is_that_of_the_next_token(monkeypatch: pytest.MonkeyPatch, built):
    inputs: list[Tensor] = []
    targets: list[Tensor] = []

    def watched(logits: Tensor, expected: Tensor) -> Tensor:
        targets.append(expected)
        return cross_entropy(logits, expected)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", watched)
    workload = build(workload="forward_backward")
    built.models[-1].register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))

    run_step(workload)

    assert torch.equal(targets[0].unflatten(0, (3, 5))[:, :-1], inputs[0][:, 1:])


def test_logits_are_given_up_with_the_loss(built):
    """Held through backward they would be in the peak of memory."""
    workload = build(workload="train_step")
    workload.reset()
    forward, loss = (next(phase for phase in workload.phases if phase.name == name) for name in ("forward", "loss"))
    forward.run()
    logits = weakref.ref(built.logits.pop())

    loss.run()

    assert logits() is None


def test_the_same_seed_gives_the_same_logits(built):
    run_step(build(seed=3))
    run_step(build(seed=3))

    assert torch.equal(built.logits[0], built.logits[1])


def test_another_seed_gives_other_tokens(built):
    inputs: list[Tensor] = []
    for seed in (3, 4):
        workload = build(seed=seed)
        built.models[-1].register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
        run_step(workload)

    assert not torch.equal(inputs[0], inputs[1])


@dataclasses.dataclass(frozen=True)
class Formats:
    """The dtypes of one training step."""

    weights: torch.dtype
    gradients: torch.dtype
    moments: torch.dtype
    logits: torch.dtype


FLOAT, BFLOAT, HALF = torch.float32, torch.bfloat16, torch.float16
FORMATS = {
    "fp32": Formats(FLOAT, FLOAT, FLOAT, FLOAT),
    "bf16": Formats(FLOAT, FLOAT, FLOAT, BFLOAT),
    "fp16": Formats(FLOAT, FLOAT, FLOAT, HALF),
    "bf16-pure": Formats(BFLOAT, BFLOAT, BFLOAT, BFLOAT),
}


@pytest.mark.parametrize("precision", sorted(set(PRECISIONS) - {"tf32"}))
def test_a_precision_sets_the_format_of_every_component(built, precision: str):
    run_step(build(workload="train_step", precision=precision))

    (optimizer,) = built.optimizers
    moments = {state[name].dtype for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")}
    expected = FORMATS[precision]
    assert {parameter.dtype for parameter in built.parameters().values()} == {expected.weights}
    assert {parameter.grad.dtype for parameter in built.parameters().values()} == {expected.gradients}
    assert moments == {expected.moments}
    assert built.logits[0].dtype == expected.logits


@pytest.mark.parametrize("precision", sorted(set(PRECISIONS) - {"tf32"}))
def test_attention_gets_its_inputs_in_the_format_of_the_products(own_attention, precision: str):
    dtypes: set[torch.dtype] = set()

    def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
        dtypes.update((q.dtype, k.dtype, v.dtype))
        return q

    run_step(build(precision=precision, attention=own_attention(attend)))

    assert dtypes == {FORMATS[precision].logits}


def test_attention_is_asked_for_the_causal_mask(own_attention):
    masks: list[bool] = []

    def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
        masks.append(is_causal)
        return q

    run_step(build(attention=own_attention(attend)))

    assert masks == [True] * TINY.num_layers


def test_tf32_is_refused_where_there_are_no_tensor_cores():
    with pytest.raises(UnsupportedError, match=r"^precision 'tf32' is a mode of NVIDIA tensor cores; cpu has none"):
        build(precision="tf32")


def test_each_step_has_its_own_precision_where_two_take_turns(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windtunnel.bench.step_parts.check_precision", lambda name, place: None)
    sides = [build(precision="tf32"), build(precision="fp32")]
    seen: list[str] = []

    for side in (0, 1, 1, 0):
        sides[side].reset()
        seen.append(torch.get_float32_matmul_precision())

    torch.set_float32_matmul_precision("highest")
    assert seen == ["high", "highest", "highest", "high"]


@pytest.mark.parametrize("name", ["sdpa-efficient", "sdpa-cudnn"])
def test_a_backend_that_the_device_lacks_is_refused_before_anything_is_built(built, name: str):
    assert name in ATTENTION_BACKENDS

    with pytest.raises(UnsupportedError, match="does not run on cpu; it runs on cuda"):
        build(attention=name)

    assert built.models == []


@pytest.mark.parametrize(
    ("capabilities", "asked", "what"),
    [
        ({"has_grouped": False}, {"size": GROUPED}, "takes no grouped heads"),
        ({"d_heads": {"cpu": HeadSizes(least=16)}}, {}, "does not take d_head 8 in float32; it takes at least 16"),
        ({"forward_only": ("cpu",)}, {"workload": "forward_backward"}, "has no backward"),
        ({"masks": ("full",)}, {}, "has no causal mask"),
    ],
    ids=["grouped", "d_head", "backward", "mask"],
)
def test_what_the_model_needs_and_the_backend_does_not_declare_is_refused_before_anything_is_built(
    built, own_attention, capabilities: dict[str, Any], asked: dict[str, Any], what: str
):
    backend = Backend(attend=eager.attend, abilities=Abilities(dtypes={"cpu": ("float32",)}, **capabilities))

    with pytest.raises(UnsupportedError, match=what):
        build(attention=own_attention(backend), **asked)

    assert built.models == []


def test_a_backend_without_backward_will_do_for_inference(own_attention):
    backend = Backend(attend=eager.attend, abilities=Abilities(dtypes={"cpu": ("float32",)}, forward_only=("cpu",)))

    run_step(build(attention=own_attention(backend), workload="forward"))


def test_attention_that_cannot_be_loaded_is_refused():
    with pytest.raises(SpecError, match="cannot be loaded"):
        build(attention="no_such_module:attend")


@pytest.mark.parametrize("workload", STEP_WORKLOADS)
def test_a_sound_step_has_no_fault(workload: str):
    built = build(workload=workload)
    run_step(built)

    assert built.fault() is None


@pytest.mark.parametrize("workload", STEP_WORKLOADS)
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_numbers_that_are_not_finite_are_a_fault(own_attention, workload: str, value: str):
    name = own_attention(lambda q, k, v, *, is_causal: v * float(value))
    built = build(workload=workload, attention=name)
    run_step(built)

    fault = built.fault()

    assert fault in {"the logits are not all finite", "the loss is nan", "the loss is inf"}
