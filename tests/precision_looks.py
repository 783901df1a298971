"""Looks at number formats with known content."""

from factory import TINY
from windtunnel.records.memory_ledger import OperationKind
from windtunnel.records.precision_look import (
    NOT_OBSERVABLE,
    ComponentFormat,
    ComponentKind,
    Formats,
    LossCurves,
    Numbers,
    Numerics,
    OperationFormat,
    Overflow,
    PrecisionLook,
    TensorNumbers,
)
from windtunnel.records.record import Status
from windtunnel.spec.cell import Cell
from windtunnel.spec.precision_request import PrecisionRequest

CELL = Cell(model=TINY, workload="train_step", batch_size=2, context_length=16, precision="fp16", device="cuda:0")


def output(name: str, module_kind: str, dtype: str, count: int = 1) -> ComponentFormat:
    return ComponentFormat(kind=ComponentKind.OUTPUT, name=name, module_kind=module_kind, dtypes={dtype: count})


def of_step(kind: ComponentKind, dtype: str, count: int = 1) -> ComponentFormat:
    return ComponentFormat(kind=kind, name=kind.value, dtypes={dtype: count})


def operation(name: str, module_kind: str, dtype: str, **fields: object) -> OperationFormat:
    plain = {
        "operation": name,
        "kind": OperationKind.PRODUCT,
        "module": "fc",
        "module_kind": module_kind,
        "phase": "forward",
        "inputs": (dtype, dtype),
        "outputs": (dtype,),
        "accumulation": "float32",
        "mode": "",
        "count": 2,
    }
    return OperationFormat(**plain | fields)


def gradient(name: str, error: float | None, *, zeros: int = 0, subnormal: int = 0, lost: int = 0) -> TensorNumbers:
    return TensorNumbers(
        name=name,
        relative_error=error,
        dtype="float16",
        size=1000,
        zeros=zeros,
        subnormal=subnormal,
        not_finite=lost,
    )


FORMATS = Formats(
    flags={"float32_matmul_precision": "highest", "cuda.matmul.allow_tf32": "False"},
    components=(
        of_step(ComponentKind.PARAMETERS, "float32", 4),
        output("fc1", "Linear", "float16"),
        output("ln", "LayerNorm", "float32"),
        of_step(ComponentKind.LOGITS, "float16"),
        of_step(ComponentKind.LOSS, "float32"),
        of_step(ComponentKind.GRADIENTS, "float32", 4),
        of_step(ComponentKind.OPTIMIZER, "float32", 8),
    ),
    operations=(
        operation("mm", "Linear", "float16"),
        operation("mm", "Linear", "float16", module="fc2", count=3),
        operation("_softmax", "", "float32", accumulation=NOT_OBSERVABLE, kind=OperationKind.OTHER, phase="loss"),
        operation("mm", "Linear", "float32", mode="TF32 off"),
    ),
    overflows=(
        Overflow(
            operation="mul",
            module="blocks.0",
            phase="forward",
            site="mine.py:3 in forward",
            dtype="float16",
            elements=7,
            size=64,
            largest=1e5,
        ),
    ),
    num_overflows=3,
)

NUMERICS = Numerics(
    reference="float64",
    reference_reason="",
    runs=(
        Numbers(
            loss_scale=1.0,
            logits=gradient("logits", 5e-4),
            loss=gradient("loss", 1e-5),
            gradients=(gradient("fc1.weight", 3e-3, zeros=250, subnormal=100), gradient("fc2.weight", 1e-3)),
        ),
        Numbers(
            loss_scale=65536.0,
            logits=gradient("logits", 5e-4),
            loss=gradient("loss", 1e-5),
            gradients=(gradient("fc1.weight", 2e-3), gradient("fc2.weight", None, lost=1000)),
        ),
    ),
)

CURVES = LossCurves(losses=(4.0, 3.9, 3.7), fp32=(4.0, 3.8, 3.75), other_seed=(4.2, 4.0, 3.9))


def make_look(**fields: object) -> PrecisionLook:
    plain = {
        "request": PrecisionRequest(cell=CELL),
        "status": Status.OK,
        "failure": None,
        "started_at": "2026-01-02T03:04:05.000+00:00",
        "formats": FORMATS,
        "numerics": NUMERICS,
        "curves": CURVES,
    }
    return PrecisionLook(**plain | fields)
