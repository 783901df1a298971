"""The look at number formats: what is seen is what torch did, planted faults are found."""

import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from windtunnel.analysis.number_formats import answers_of, follow
from windtunnel.bench.step_parts import StepParts
from windtunnel.errors import UnsupportedError
from windtunnel.probe.numerics import tensor_numbers
from windtunnel.probe.precision import folded
from windtunnel.records.precision_look import ComponentKind, PrecisionLook
from windtunnel.records.record import Status
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.precision_request import PrecisionRequest
from windtunnel.sweep import precision_look
from windtunnel.sweep.precision_look import look_at_precision

TINY = ModelSpec(name="tiny", d_model=32, d_ff=64, num_layers=2, num_heads=2, vocab_size=101)
TOY = OwnModel(factory="windtunnel.models.toy:make_toy", vocab_size=50)

SIX_FACTS = {
    "parameters": "float32",
    "output of the first linear layer": "float16",
    "output of the first norm": "float32",
    "logits": "float16",
    "loss": "float32",
    "gradients": "float32",
}
"""What a course's result says of the toy model under float16 autocast on CUDA."""


def looked_at(model: ModelSpec | OwnModel = TOY, *, loss: str | None = None, steps: int = 0, **fields: object):
    shape = {"workload": "train_step", "batch_size": 2, "context_length": 16, "device": "cpu", "precision": "fp16"}
    request = PrecisionRequest(cell=Cell(model=model, **shape | fields), loss=loss, loss_steps=steps)
    return look_at_precision(request, on_stage=lambda _name: None)


def facts(look: PrecisionLook) -> dict[str, str]:
    return {answer.question: answer.dtypes for answer in answers_of(look) if answer.question in SIX_FACTS}


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what makes code importable as attributes of a module `planted`."""

    def plant(**attributes: object) -> None:
        module = ModuleType("planted")
        for name, value in attributes.items():
            setattr(module, name, value)
        monkeypatch.setitem(sys.modules, "planted", module)

    return plant


@pytest.fixture
def norms_in_float32() -> Iterator[None]:
    """Let the CPU's autocast send layer norms to float32, as CUDA's does."""

    def layer_norm(x: Tensor, shape: list[int], weight: Tensor, bias: Tensor, epsilon: float = 1e-5) -> Tensor:
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)):
            return torch.ops.aten.layer_norm(x.float(), shape, weight.float(), bias.float(), epsilon)

    library = torch.library.Library("aten", "IMPL")
    library.impl("layer_norm", layer_norm, "AutocastCPU")
    yield
    library._destroy()


@pytest.mark.usefixtures("norms_in_float32")
def test_the_toy_model_has_the_six_formats_of_the_course_where_autocast_has_cudas_list():
    assert facts(looked_at()) == SIX_FACTS


@pytest.mark.gpu
def test_the_toy_model_has_the_six_formats_of_the_course():
    assert facts(looked_at(device="cuda:0")) == SIX_FACTS


def test_the_cpus_autocast_leaves_a_layer_norm_in_float16_and_that_is_what_is_said():
    assert facts(looked_at()) == {**SIX_FACTS, "output of the first norm": "float16"}


def hand_written(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy as a student writes it: nothing in it is on autocast's list."""
    shifted = logits - logits.amax(dim=-1, keepdim=True)
    return (shifted.exp().sum(dim=-1).log() - shifted.gather(-1, targets[:, None])[:, 0]).mean().to(logits.dtype)


def test_a_hand_written_loss_in_float16_is_seen(own: Callable[..., None]):
    own(loss=hand_written)

    assert facts(looked_at(loss="planted:loss"))["loss"] == "float16"


@pytest.mark.parametrize(
    ("precision", "product", "parameters"),
    [
        ("fp32", "float32", "float32"),
        ("bf16", "bfloat16", "float32"),
        ("fp16", "float16", "float32"),
        ("bf16-pure", "bfloat16", "bfloat16"),
    ],
)
def test_products_of_the_reference_model_run_in_the_precision_asked_for(precision: str, product: str, parameters: str):
    look = looked_at(TINY, precision=precision)

    products = [one for one in look.formats.operations if one.operation in {"mm", "bmm"}]
    assert {dtype for one in products for dtype in (*one.inputs, *one.outputs)} == {product}
    assert {one.phase for one in products} == {"forward", "backward"}
    kinds = {part.kind: set(part.dtypes) for part in look.formats.components}
    assert kinds[ComponentKind.PARAMETERS] == kinds[ComponentKind.GRADIENTS] == {parameters}
    assert kinds[ComponentKind.OPTIMIZER] == {parameters}


def test_backward_of_a_product_belongs_to_the_module_of_its_forward():
    look = looked_at()

    backward = [one for one in look.formats.operations if one.phase == "backward" and one.operation == "mm"]
    assert {(one.module, one.count) for one in backward} == {("fc1", 1), ("fc2", 2)}


def test_blocks_of_one_list_share_a_row():
    names = [part.name for part in looked_at(TINY).formats.components]

    assert names.count("blocks.*.attention.q_proj") == 1
    assert folded("blocks.10.norm1") == "blocks.*.norm1"


class Loud(nn.Module):
    """A model whose activations leave the range of float16 in one place."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, 8)
        self.up = nn.Linear(8, 8)
        self.louder = Times()
        self.head = nn.Linear(8, vocab_size)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.louder(self.up(self.embedding(tokens))))


class Times(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 1e6


def test_a_planted_overflow_is_named_by_operation_module_and_line(own: Callable[..., None]):
    own(make=Loud)

    look = looked_at(OwnModel(factory="planted:make", vocab_size=7))

    first = look.formats.overflows[0]
    assert (first.operation, first.module, first.phase, first.dtype) == ("mul", "louder", "forward", "float16")
    assert "test_precision.py" in first.site
    assert first.largest == 1e6
    assert look.numerics.runs[0].logits.not_finite > 0


@pytest.mark.parametrize("model", [TOY, TINY])
def test_a_mask_of_minus_infinity_and_a_healthy_step_are_no_overflow(model: ModelSpec | OwnModel):
    assert looked_at(model).formats.num_overflows == 0


def test_errors_are_as_large_as_the_format_is_coarse():
    errors = {
        precision: looked_at(TINY, precision=precision).numerics.runs[0].logits.relative_error
        for precision in ("fp32", "fp16", "bf16")
    }

    assert errors["fp32"] < 1e-6 < errors["fp16"] < errors["bf16"] < 0.02


def test_the_reference_starts_from_the_rounded_weights_of_pure_bf16():
    look = looked_at(TINY, precision="bf16-pure")

    assert look.numerics.reference == "float64"
    assert look.numerics.runs[0].logits.relative_error < 0.02


def test_loss_scaling_saves_gradients_that_underflow_without_it():
    plain, scaled = looked_at(TINY).numerics.runs

    assert (plain.loss_scale, scaled.loss_scale) == (1.0, 65536.0)
    lost = [sum(one.zeros + one.subnormal for one in run.gradients) for run in (plain, scaled)]
    assert lost[0] > 0
    assert lost[1] == 0
    assert {one.dtype for one in plain.gradients if "proj" in one.name} == {"float16"}


def test_only_fp16_is_looked_at_with_loss_scaling():
    assert [run.loss_scale for run in looked_at(precision="bf16").numerics.runs] == [1.0]


def test_what_is_lost_is_counted_against_the_reference():
    found = torch.tensor([0.0, 0.0, 1e-7, float("inf"), 2.0]).half()
    expected = torch.tensor([0.0, 1e-9, 1e-7, 70000.0, 2.0], dtype=torch.float64)

    numbers = tensor_numbers("x", found, expected, product_dtype=torch.float16)

    assert (numbers.zeros, numbers.subnormal, numbers.not_finite) == (1, 1, 1)
    assert numbers.relative_error is None


def test_the_scale_is_taken_out_of_the_error_and_left_in_what_is_subnormal():
    expected = torch.tensor([1e-7, 2e-7], dtype=torch.float64)

    numbers = tensor_numbers("x", (expected * 1024).half().float(), expected, product_dtype=torch.float16, scale=1024)

    assert numbers.relative_error < 1e-3
    assert (numbers.dtype, numbers.subnormal) == ("float16", 0)


def test_the_loss_of_fp32_is_that_of_fp32_and_another_seed_differs():
    curves = looked_at(precision="fp32", steps=3).curves

    assert curves.losses == curves.fp32
    assert len(curves.fp32) == 3
    assert curves.other_seed[0] != curves.fp32[0]
    assert follow(curves).is_within_noise


def test_inference_has_neither_loss_nor_gradients():
    look = looked_at(workload="forward", steps=3)

    assert set(facts(look)) == set(SIX_FACTS) - {"loss", "gradients"}
    assert look.curves is None
    assert look.numerics.runs[0].gradients == ()


class Dropping(Loud):
    """A model that draws random numbers."""

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(nn.functional.relu(self.drop(self.embedding(tokens))))

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        self.drop = nn.Dropout(0.5)


def test_dropout_is_off_where_numbers_are_compared_and_a_warning_says_so(own: Callable[..., None]):
    own(make=Dropping)

    look = looked_at(OwnModel(factory="planted:make", vocab_size=7), precision="fp32")

    assert look.numerics.runs[0].logits.relative_error < 1e-6
    assert "dropout was off" in look.warnings[0]


class OnlyFloat32(Loud):
    """A model that cannot run in float64."""

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens).to(torch.float32))


def test_a_model_that_cannot_run_in_float64_has_a_reference_in_float32_and_the_look_says_so(own: Callable[..., None]):
    own(make=OnlyFloat32)

    look = looked_at(OwnModel(factory="planted:make", vocab_size=7), precision="bf16")

    assert look.numerics.reference == "float32"
    assert "does not run in float64" in look.numerics.reference_reason
    assert look.status is Status.OK


def test_a_reference_that_does_not_fit_in_float64_is_in_float32_and_the_look_says_so(monkeypatch: pytest.MonkeyPatch):
    build = precision_look.build_reference

    def build_small(cell: Cell, weights: dict[str, Tensor], dtype: torch.dtype) -> StepParts:
        if dtype == torch.float64:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9999999 bytes.")
        return build(cell, weights, dtype)

    monkeypatch.setattr(precision_look, "build_reference", build_small)

    look = looked_at(precision="bf16")

    assert look.numerics.reference == "float32"
    assert look.warnings == ("the step in float64 does not fit into memory; the reference is the step in float32",)


def test_an_attention_without_fp32_has_the_loss_of_eager_beside_it_and_the_look_says_so(
    monkeypatch: pytest.MonkeyPatch,
):
    follow_loss = precision_look.follow_loss

    def follow_half(cell: Cell, *arguments: object, **fields: object) -> tuple[float | None, ...]:
        if cell.precision == "fp32" and cell.attention != "eager":
            raise UnsupportedError("attention 'sdpa' has no float32")
        return follow_loss(cell, *arguments, **fields)

    monkeypatch.setattr(precision_look, "follow_loss", follow_half)

    look = looked_at(TINY, precision="bf16", attention="sdpa", steps=2)

    assert look.warnings == ("the loss of fp32 is that with attention 'eager': attention 'sdpa' has no float32",)
    assert len(look.curves.fp32) == 2


class TwoArguments(Loud):
    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.embedding(tokens) * mask)


class Refusing(Loud):
    def forward(self, tokens: Tensor) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9999999999999 bytes.")


@pytest.mark.parametrize(
    ("attributes", "loss", "status", "message"),
    [
        ({"make": TwoArguments}, None, Status.UNSUPPORTED, "cannot take tokens alone"),
        ({"make": Refusing}, None, Status.OUT_OF_MEMORY, "asked for"),
        ({"make": Loud, "loss": 3}, "planted:loss", Status.UNSUPPORTED, "not a function of logits and targets"),
        ({"make": Loud}, "planted:loss", Status.UNSUPPORTED, "cannot be loaded"),
        ({"make": Loud, "loss": lambda a, b: a}, "planted:loss", Status.FAILED, "one floating-point number"),
        ({"make": Loud, "loss": lambda a, b: 3.0}, "planted:loss", Status.FAILED, "returned float"),
    ],
)
def test_what_cannot_be_looked_at_ends_with_a_reason(
    own: Callable[..., None], attributes: dict[str, object], loss: str | None, status: Status, message: str
):
    own(**attributes)

    look = looked_at(OwnModel(factory="planted:make", vocab_size=7), loss=loss)

    assert look.status is status
    assert message in look.failure.message
    assert look.formats is None


def test_compiled_code_is_refused():
    look = looked_at(TINY, compile="default")

    assert look.status is Status.UNSUPPORTED
    assert "leave out --compile" in look.failure.message


def test_of_numerics_only_there_are_errors_and_no_formats():
    cell = Cell(model=TINY, workload="train_step", batch_size=2, context_length=16, device="cpu", precision="bf16")
    request = PrecisionRequest(cell=cell, loss_steps=0, is_numerics_only=True)

    look = look_at_precision(request, on_stage=lambda _name: None)

    assert look.status is Status.OK
    assert look.formats is None
    assert look.numerics is not None
    assert look.numerics.runs == looked_at(TINY, precision="bf16").numerics.runs
    error = look.largest_error
    assert error is not None
    assert 1e-4 < error < 1e-1


@pytest.mark.compile
def test_the_numbers_of_a_compiled_step_are_near_to_the_reference_and_not_those_of_the_eager_one():
    cell = Cell(model=TINY, workload="train_step", batch_size=2, context_length=16, device="cpu", precision="bf16")
    eager, compiled = (
        look_at_precision(PrecisionRequest(cell=one, loss_steps=0, is_numerics_only=True), on_stage=lambda _name: None)
        for one in (cell, cell.model_copy(update={"compile": "default"}))
    )

    assert compiled.status is Status.OK, compiled.failure
    assert compiled.largest_error != eager.largest_error
    assert compiled.largest_error == pytest.approx(eager.largest_error, rel=5)
