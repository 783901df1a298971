"""Traces and profiles with known content: a device with its host, in nanoseconds."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from factory import TINY
from windtunnel.records.profile import Instrument, Part, Profile, Unit
from windtunnel.records.record import Status
from windtunnel.records.trace import DeviceEvent, HostEvent, HostKind, Trace, part_range, phase_range, step_range
from windtunnel.records.trace_profile import columns_of, with_columns
from windtunnel.spec.cell import Cell

US, MS = 1_000, 1_000_000
MAIN, ENGINE = 1, 2
GEMM = "nvjet_tst_256x128_64x4_1x2_h_bz_coopA_TNT"
ADD = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, std::array<char*, 3ul> >"
SOFTMAX = "void (anonymous namespace)::softmax_warp_forward<float, float, float, 9, false, false>(float*, float const*)"

CELL = Cell(model=TINY, workload="train_step", batch_size=2, context_length=16, device="cuda:0")


def op(name: str, start: int, end: int, *, seq: int = -1, thread: int = MAIN, is_backward: bool = False) -> HostEvent:
    return HostEvent(name, start, end, thread, HostKind.OPERATOR, seq, is_backward)


def node(name: str, start: int, end: int, *, seq: int, thread: int = ENGINE) -> HostEvent:
    return op(f"autograd::engine::evaluate_function: {name}", start, end, seq=seq, thread=thread, is_backward=True)


def part(which: Part, start: int, end: int, block: str = "blocks.0") -> HostEvent:
    return HostEvent(part_range(which, block), start, end, MAIN, HostKind.RANGE)


def phase(name: str, start: int, end: int) -> HostEvent:
    return HostEvent(phase_range(name), start, end, MAIN, HostKind.RANGE)


def step(start: int, end: int, number: int = 0) -> HostEvent:
    return HostEvent(step_range(number), start, end, MAIN, HostKind.RANGE)


def call(correlation: int, start: int, end: int, *, name: str = "cudaLaunchKernel", thread: int = MAIN) -> HostEvent:
    return HostEvent(name, start, end, thread, HostKind.RUNTIME, correlation=correlation)


def kernel(name: str, start: int, end: int, correlation: int, stream: int = 7) -> DeviceEvent:
    return DeviceEvent(name, start, end, stream, correlation)


def trace_of(host: Iterable[HostEvent], device: Iterable[DeviceEvent] = ()) -> Trace:
    return Trace(source="torch.profiler", host=list(host), device=list(device))


def profile_of(trace: Trace, cell: Cell | None = CELL, **fields: Any) -> Profile:
    columns = columns_of(trace)
    made = {
        "source": trace.source,
        "status": Status.OK,
        "failure": None,
        "started_at": "2026-11-24T10:00:00.000+00:00",
        "unit": columns.unit,
        **fields,
    }
    return with_columns(Profile(cell=cell, **made), columns)


def tiny_kernels(count: int = 1000, *, every: int = 8 * US, long: int = 2 * US) -> Trace:
    """A step of many kernels, each launched when the one before has long ended."""
    end = count * every + 10 * US
    host = [step(0, end), phase("forward", 0, end)]
    host += [call(n, n * every, n * every + 4 * US) for n in range(count)]
    device = [kernel(ADD, n * every + 5 * US, n * every + 5 * US + long, n) for n in range(count)]
    return trace_of(host, device)


def one_product(long: int = 8 * MS) -> Trace:
    """A step of one large product, for which the host waits."""
    host = [
        step(0, long + 20 * US),
        phase("forward", 0, 8 * US),
        op("aten::mm", 1 * US, 7 * US),
        call(1, 2 * US, 6 * US),
        call(2, 8 * US, long + 19 * US, name="cudaDeviceSynchronize"),
    ]
    return trace_of(host, [kernel(GEMM, 10 * US, 10 * US + long, 1)])


def training_step() -> Trace:
    """A step with attention and a feed-forward part, their backward on a thread of its own, and the optimizer."""
    host = [
        step(0, 1000 * US),
        phase("forward", 0, 300 * US),
        part(Part.ATTENTION_OTHER, 10 * US, 200 * US),
        part(Part.ATTENTION, 20 * US, 180 * US),
        op("aten::matmul", 30 * US, 60 * US, seq=1),
        op("aten::bmm", 32 * US, 58 * US, seq=1),
        call(1, 40 * US, 45 * US),
        op("aten::softmax", 70 * US, 90 * US, seq=2),
        call(2, 75 * US, 80 * US),
        op("aten::matmul", 100 * US, 130 * US, seq=3),
        call(3, 110 * US, 115 * US),
        part(Part.FEED_FORWARD, 210 * US, 290 * US),
        op("aten::linear", 220 * US, 280 * US, seq=4),
        op("aten::mm", 225 * US, 270 * US, seq=4),
        call(4, 230 * US, 235 * US),
        phase("backward", 310 * US, 700 * US),
        node("MmBackward0", 320 * US, 400 * US, seq=4),
        call(5, 330 * US, 335 * US, thread=ENGINE),
        node("SoftmaxBackward0", 410 * US, 500 * US, seq=2),
        call(6, 420 * US, 425 * US, thread=ENGINE),
        node("torch::autograd::AccumulateGrad", 510 * US, 550 * US, seq=-1),
        call(7, 520 * US, 525 * US, thread=ENGINE),
        phase("optimizer", 710 * US, 800 * US),
        op("aten::_fused_adamw_", 720 * US, 790 * US),
        call(8, 730 * US, 735 * US),
    ]
    names = [GEMM, SOFTMAX, GEMM, GEMM, GEMM, SOFTMAX.replace("forward", "backward"), ADD, "multi_tensor_apply_kernel"]
    starts = [50, 85, 120, 240, 340, 430, 530, 740]
    device = [
        kernel(name, start * US, (start + 20) * US, number)
        for number, (name, start) in enumerate(zip(names, starts, strict=True), start=1)
    ]
    return trace_of(host, device)


def forward_of_operators() -> Trace:
    """A forward step on a CPU: a product reaches its operator through others, as in torch."""
    host = [
        step(0, 400 * US),
        phase("forward", 0, 400 * US),
        part(Part.SCORES, 10 * US, 100 * US),
        op("aten::matmul", 20 * US, 90 * US),
        op("aten::bmm", 30 * US, 80 * US),
        part(Part.FEED_FORWARD, 110 * US, 300 * US),
        op("aten::linear", 120 * US, 200 * US),
        op("aten::matmul", 125 * US, 195 * US),
        op("aten::mm", 130 * US, 190 * US),
        op("aten::linear", 210 * US, 290 * US),
        op("aten::addmm", 220 * US, 280 * US),
    ]
    return trace_of(host)


def make_profile(cell: Cell | None = CELL, **fields: Any) -> Profile:
    return profile_of(
        training_step(),
        cell,
        **{
            "stopwatch": (0.00098, 0.00099, 0.00100),
            "instruments": (Instrument(name="ranges + profiler", plain=(0.001, 0.001), watched=(0.0011, 0.0012)),),
            **fields,
        },
    )


def failed_profile_of(cell: Cell, status: Status, failure: Any) -> Profile:
    return Profile(
        cell=cell, source="", unit=Unit.KERNELS, status=status, failure=failure, started_at="2026-11-24T10:00:00+00:00"
    )


def chrome_events(trace: Trace) -> list[dict[str, Any]]:
    """Write a trace as torch's profiler does."""
    categories = {HostKind.OPERATOR: "cpu_op", HostKind.RANGE: "user_annotation", HostKind.RUNTIME: "cuda_runtime"}
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "ts": 0.0, "pid": 1, "tid": 0, "args": {"name": "python"}}
    ]
    for one in trace.host:
        arguments: dict[str, Any] = {"External id": 1}
        if one.sequence >= 0:
            arguments |= {"Sequence number": one.sequence, "Fwd thread id": int(one.is_backward)}
        if one.correlation >= 0:
            arguments["correlation"] = one.correlation
        events.append(_event(categories[one.kind], one, one.thread, arguments))
    for kernel_ in trace.device:
        arguments = {"stream": kernel_.stream, "correlation": kernel_.correlation}
        events.append(_event("kernel", kernel_, kernel_.stream, arguments))
    return events


def _event(category: str, one: HostEvent | DeviceEvent, tid: int, arguments: dict[str, Any]) -> dict[str, Any]:
    times = {"ts": one.start / 1e3, "dur": (one.end - one.start) / 1e3}
    return {"ph": "X", "cat": category, "name": one.name, "pid": 1, "tid": tid, **times, "args": arguments}


def write_chrome_trace(trace: Trace, path: Path) -> Path:
    content = {"schemaVersion": 1, "displayTimeUnit": "ms", "traceEvents": chrome_events(trace)}
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return path
