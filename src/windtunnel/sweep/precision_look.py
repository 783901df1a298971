"""The child's part of a look at formats: one watched step, its numbers beside exact ones, and its loss beside fp32."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

import torch
from torch import Tensor

from windtunnel.bench.failing import explain_error, is_out_of_memory
from windtunnel.bench.model_step import FindLoss, build_model_step
from windtunnel.bench.one_step import (
    StepNumbers,
    build_reference,
    follow_loss,
    named_model,
    run_one_step,
    silence_dropout,
)
from windtunnel.bench.own_loss import load_loss
from windtunnel.bench.precision import dtype_of
from windtunnel.bench.step_parts import build_parts
from windtunnel.bench.workload import Workload
from windtunnel.errors import UnsupportedError
from windtunnel.probe.accumulation import flags_in_force
from windtunnel.probe.numerics import tensor_numbers
from windtunnel.probe.precision import FormatWatch, component
from windtunnel.records.memory_ledger import Category
from windtunnel.records.precision_look import (
    ComponentFormat,
    ComponentKind,
    Formats,
    LossCurves,
    Numbers,
    Numerics,
    PrecisionLook,
)
from windtunnel.records.record import Failure, Status
from windtunnel.spec.cell import Cell
from windtunnel.spec.precision_request import PrecisionRequest
from windtunnel.spec.tables import PRECISIONS

OnStage = Callable[[str], None]

LOSS_SCALE = 2.0**16
"""What `torch.amp.GradScaler` begins with."""

_DROPOUT = "dropout was off where numbers are compared with the reference: each would have dropped other elements"


def look_at_precision(request: PrecisionRequest, *, on_stage: OnStage) -> PrecisionLook:
    """Look at the formats of one step, at its numbers, and at the loss of the first steps.

    What comes after a failure is missing. Nothing here is timed: watching costs more than most operations.

    Args:
        request: What is looked at.
        on_stage: Told the name of each stage as it begins.
    """
    attempt = _Attempt(request, on_stage)
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    status, failure = attempt.run()
    return PrecisionLook(
        request=request,
        status=status,
        failure=failure,
        started_at=started_at,
        formats=attempt.formats,
        numerics=attempt.numerics,
        curves=attempt.curves,
        warnings=tuple(attempt.warnings),
        stages=attempt.stages,
    )


@dataclass
class _Attempt:
    """How far one look has come, and what it has found."""

    request: PrecisionRequest
    on_stage: OnStage
    stages: dict[str, float] = field(default_factory=dict[str, float])
    warnings: list[str] = field(default_factory=list[str])
    formats: Formats | None = None
    numerics: Numerics | None = None
    curves: LossCurves | None = None
    _stage: str = "start"
    _phase: str | None = None

    @property
    def cell(self) -> Cell:
        return self.request.cell

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Name what is being done, and add its wall time."""
        self._stage = name
        self.on_stage(name)
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.perf_counter() - begin

    def run(self) -> tuple[Status, Failure | None]:
        """Look, and turn any error into the status of the look."""
        try:
            self._run()
        except Exception as error:  # noqa: BLE001  # the child's top: what was found up to here is wanted
            return explain_error(error, stage=self._stage, phase=self._phase, device=self.cell.device)
        return Status.OK, None

    def _run(self) -> None:
        with self.stage("build"):
            find_loss = load_loss(self.request.loss)
            if self.cell.is_attention:
                raise UnsupportedError(f"workload {self.cell.workload!r} has no formats to look at; whole models have")
            workload = None if self.request.is_numerics_only else self._watchable(find_loss)
        if workload:
            with self.stage("formats"):
                self.formats = self._watched(workload)
        del workload
        with self.stage("numerics"):
            self.numerics = self._compared(find_loss)
        if self.cell.workload != "forward" and self.request.loss_steps:
            self.curves = self._followed(find_loss)

    def _watchable(self, find_loss: FindLoss) -> Workload:
        workload = build_model_step(self.cell, find_loss=find_loss)
        if workload.is_compiled:
            raise UnsupportedError(
                "compiled code is not run operation by operation, so its formats cannot be watched: leave out "
                "--compile, or name an attention that does not compile itself"
            )
        return workload

    def _watched(self, workload: Workload) -> Formats:
        self._step(workload)  # optimizer states are made in the first one
        workload.reset()
        assert workload.model is not None
        assert workload.held is not None
        watch = FormatWatch(named_model(workload.model), torch.device(self.cell.device))
        flags = flags_in_force(torch.device(self.cell.device))
        seen: dict[str, tuple[ComponentFormat, ...]] = {}
        with watch.watching():
            for phase in workload.phases:
                self._phase = watch.places.phase = phase.name
                phase.run()
                seen[phase.name] = _results_of(phase.name, workload.held())
        self._phase = None
        held = workload.held()
        after = {kind: part for parts in seen.values() for part in parts for kind in [part.kind]}
        return Formats(
            flags=flags,
            components=(
                *component(ComponentKind.PARAMETERS, held[Category.PARAMETERS]),
                *component(ComponentKind.BUFFERS, held[Category.BUFFERS]),
                *watch.outputs,
                *(after[kind] for kind in (ComponentKind.LOGITS, ComponentKind.LOSS) if kind in after),
                *component(ComponentKind.GRADIENTS, held[Category.GRADIENTS]),
                *_optimizer(held),
            ),
            operations=watch.operations,
            overflows=watch.overflows,
            num_overflows=watch.num_overflows,
        )

    def _step(self, workload: Workload) -> None:
        workload.reset()
        for phase in workload.phases:
            self._phase = phase.name
            phase.run()
        self._phase = None

    def _compared(self, find_loss: FindLoss) -> Numerics:
        trains = self.cell.workload != "forward"
        weights = _weights_of(self.cell)
        dtype, reason, reference = self._reference(weights, find_loss, trains=trains)
        parts = build_parts(self.cell)  # again: while the reference ran, the device held that alone
        named_model(parts.model).load_state_dict(weights)
        if silence_dropout(parts.model):
            self.warnings.append(_DROPOUT)
        if parts.is_compiled:
            torch.compiler.reset()  # else Dynamo gives up after 8 cells of one process, and runs them eagerly
        scales = [1.0, *([LOSS_SCALE] if trains and PRECISIONS[self.cell.precision].autocast == "float16" else [])]
        runs: list[Numbers] = []
        for scale in scales:
            found = run_one_step(parts, find_loss, trains=trains, loss_scale=scale)
            runs.append(_numbers(found, reference, self.cell, scale))
        return Numerics(reference=str(dtype).removeprefix("torch."), reference_reason=reason, runs=tuple(runs))

    def _reference(
        self, weights: Mapping[str, Tensor], find_loss: FindLoss, *, trains: bool
    ) -> tuple[torch.dtype, str, StepNumbers]:
        """Return the reference step on the host, its format, and why that is not float64."""
        try:
            return torch.float64, "", _reference_step(self.cell, weights, torch.float64, find_loss, trains=trains)
        except (RuntimeError, TypeError, MemoryError) as error:
            if is_out_of_memory(error):
                reason = "the step in float64 does not fit into memory"
            else:
                said = str(error).splitlines() or [type(error).__name__]
                reason = f"the model does not run in float64: {said[0]}"
        self.warnings.append(f"{reason}; the reference is the step in float32")
        return torch.float32, reason, _reference_step(self.cell, weights, torch.float32, find_loss, trains=trains)

    def _followed(self, find_loss: FindLoss) -> LossCurves:
        losses = self._follow(f"loss in {self.cell.precision}", self.cell, find_loss)
        plain = self.cell.model_copy(update={"precision": "fp32"})
        try:
            fp32 = self._follow("loss in fp32", plain, find_loss)
        except UnsupportedError as error:
            if plain.attention == "eager":
                raise
            self.warnings.append(f"the loss of fp32 is that with attention 'eager': {error}")
            plain = plain.model_copy(update={"attention": "eager"})
            fp32 = self._follow("loss in fp32", plain, find_loss)
        other = plain.model_copy(update={"seed": (self.cell.seed + 1) % 2**63})
        return LossCurves(losses=losses, fp32=fp32, other_seed=self._follow("loss of another seed", other, find_loss))

    def _follow(self, name: str, cell: Cell, find_loss: FindLoss) -> tuple[float | None, ...]:
        with self.stage(name):
            torch.manual_seed(self.cell.seed)  # what a model draws in its forward is the same in each
            return follow_loss(cell, self.request.loss_steps, find_loss, data_seed=self.cell.seed)


def _weights_of(cell: Cell) -> Mapping[str, Tensor]:
    """Return the weights that `cell` begins with, on the host."""
    model = named_model(build_parts(cell).model)
    return {name: tensor.cpu() for name, tensor in model.state_dict().items()}


def _reference_step(
    cell: Cell, weights: Mapping[str, Tensor], dtype: torch.dtype, find_loss: FindLoss, *, trains: bool
) -> StepNumbers:
    parts = build_reference(cell, weights, dtype)
    silence_dropout(parts.model)
    numbers = run_one_step(parts, find_loss, trains=trains)
    return StepNumbers(  # on the host: the device has room for one model at a time
        logits=numbers.logits.cpu(),
        loss=None if numbers.loss is None else numbers.loss.cpu(),
        gradients={name: gradient.cpu() for name, gradient in numbers.gradients.items()},
    )


def _numbers(found: StepNumbers, reference: StepNumbers, cell: Cell, scale: float) -> Numbers:
    product_dtype = dtype_of(PRECISIONS[cell.precision].product_dtype)
    loss = (
        tensor_numbers("loss", found.loss, reference.loss, product_dtype=product_dtype)
        if found.loss is not None and reference.loss is not None
        else None
    )
    return Numbers(
        loss_scale=scale,
        logits=tensor_numbers("logits", found.logits, reference.logits, product_dtype=product_dtype),
        loss=loss,
        gradients=tuple(
            tensor_numbers(name, gradient, reference.gradients[name], product_dtype=product_dtype, scale=scale)
            for name, gradient in found.gradients.items()
            if name in reference.gradients
        ),
    )


def _results_of(phase: str, held: Mapping[Category, object]) -> tuple[ComponentFormat, ...]:
    """Return what stands at the end of a phase: logits after forward, the loss after it."""
    kind = {"forward": ComponentKind.LOGITS, "loss": ComponentKind.LOSS}.get(phase)
    return component(kind, cast("list[Tensor]", held[Category.LOGITS])) if kind else ()


def _optimizer(held: Mapping[Category, object]) -> tuple[ComponentFormat, ...]:
    states = cast("list[Tensor]", held.get(Category.OPTIMIZER, []))
    return (
        *component(ComponentKind.OPTIMIZER, [state for state in states if state.dim()]),
        *component(ComponentKind.COUNTERS, [state for state in states if not state.dim()]),
    )
