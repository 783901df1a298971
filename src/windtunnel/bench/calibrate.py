"""Measure what this machine can do at most, with the clocks and the loop that time cells."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import torch
from torch import Tensor

from windtunnel import units
from windtunnel.attention.backend import place_of
from windtunnel.bench.clock import StepTimes, make_clock
from windtunnel.bench.failing import is_out_of_memory
from windtunnel.bench.loop import StepError, run_steps
from windtunnel.bench.workload import Phase, Workload
from windtunnel.errors import UnsupportedError
from windtunnel.records.calibration import MATMUL, Calibration, Ceiling
from windtunnel.records.record import ClockName
from windtunnel.spec.limits import check_precision
from windtunnel.spec.model import NAMED_SIZES, ModelSpec

OnStage = Callable[[str], None]
Product = tuple[int, int, int]
"""Rows of A, columns of A, columns of B."""

_MIB = 2**20
_WARMUP = 3
_MIN_SAMPLES = 8
_OVERDRAW = 3.0  # a slow product may take some of what the quick ones leave
_MAX_SAMPLES = 200
_SHORTEST_SECONDS = 5e-3  # a sample this long is not felt by events, which resolve 0.5 µs, nor by a launch
_CPU_PRODUCT_SECONDS = 0.1

_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How much is computed and moved.

    Attributes:
        cube: All three sizes of the large product; None: chosen for each precision so that one takes about 0.1 s.
        model: The model whose projection, feed-forward and head products are measured too, at `tokens` rows.
        copy_bytes: Read by a copy on the device, and written as often; several times its cache.
        transfer_bytes: Moved between host and device.
        launches: Tiny operations in one sample.
    """

    cube: int | None
    model: ModelSpec
    tokens: int
    copy_bytes: int
    transfer_bytes: int
    launches: int


def sizes_for(device: torch.device) -> Sizes:
    """Return the sizes for a device."""
    if device.type == "cuda":
        cache, free = torch.cuda.get_device_properties(device).L2_cache_size, torch.cuda.mem_get_info(device)[0]
        cube, model = 8192, NAMED_SIZES["2.7B"]
    else:
        cache, free = _last_cache_bytes(), psutil.virtual_memory().available
        cube, model = None, NAMED_SIZES["small"]
    copied = min(max(8 * cache, 256 * _MIB), free // 8)
    return Sizes(
        cube=cube,
        model=model,
        tokens=2048,
        copy_bytes=copied,
        transfer_bytes=min(256 * _MIB, copied),
        launches=1000,
    )


def _last_cache_bytes() -> int:
    """Return the size of a core's last cache as the kernel gives it; 0 where it does not."""
    try:
        sizes = [file.read_text().strip() for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    except OSError:
        return 0
    return max((int(size[:-1]) * 1024 for size in sizes if size.endswith("K")), default=0)


def calibrate(device: torch.device, *, seconds: float, sizes: Sizes, on_stage: OnStage) -> Calibration:
    """Measure all ceilings of `device` in about `seconds`: what is left is shared by those that are to come.

    A ceiling that cannot be measured (a precision that the device emulates, no memory, a product that would
    take far longer than its share) is left out with its reason. Inputs are random: zeros need less power and
    run faster. Products, copies and launches are timed by events on CUDA; transfers by the host's clock, because
    a transfer of pageable memory is partly work of the host.
    """
    begin, started_at = time.perf_counter(), datetime.now(UTC).isoformat(timespec="milliseconds")
    plans = _plans(device, sizes)
    ceilings: list[Ceiling] = []
    left_out: dict[str, str] = {}
    for number, plan in enumerate(plans):
        on_stage(plan.name)
        share = max(0.0, begin + seconds - time.perf_counter()) / (len(plans) - number)
        try:
            plan.check_time(ceilings, share)
            ceilings += plan.measure(share)
        except UnsupportedError as error:
            left_out[plan.name] = str(error)
        except (RuntimeError, MemoryError, StepError) as error:
            if not is_out_of_memory(error.__cause__ or error):
                raise
            left_out[plan.name] = "out of memory"
    return Calibration(
        device=str(device),
        started_at=started_at,
        seconds=time.perf_counter() - begin,
        ceilings=tuple(ceilings),
        left_out=left_out,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """One thing to measure within a number of seconds; it may give several ceilings.

    `work` is what one run does, 0 where its time is short on every device.
    """

    name: str
    measure: Callable[[float], tuple[Ceiling, ...]]
    work: int = 0

    def check_time(self, before: Sequence[Ceiling], share: float) -> None:
        """Refuse what would take far too long at the rate that its kind has reached before.

        Raises:
            UnsupportedError: It would.
        """
        kind = " ".join(self.name.split()[:2])
        rate = max((ceiling.value for ceiling in before if ceiling.name.startswith(f"{kind} ")), default=None)
        if rate and (_WARMUP + _MIN_SAMPLES) * self.work / rate > _OVERDRAW * share:
            once = units.duration(self.work / rate)
            raise UnsupportedError(f"one takes about {once}, and there is {units.duration(share)} for all samples")


def _plans(device: torch.device, sizes: Sizes) -> tuple[_Plan, ...]:
    plans = [
        _Plan(
            name=f"{MATMUL} {precision} {label}",
            measure=_product(device, precision, label, shape),
            work=2 * math.prod(shape) if shape else 0,
        )
        for precision in _DTYPES
        for label, shape in {"cube": sizes.cube and (sizes.cube,) * 3, **_products(sizes)}.items()
    ]
    plans.append(_Plan(name="device copy", measure=_copy(device, sizes.copy_bytes)))
    plans.append(_Plan(name="launches", measure=_launches(device, sizes.launches)))
    if device.type == "cuda":
        plans += [
            _Plan(name=f"{way}, {kind} memory", measure=_transfer(device, sizes.transfer_bytes, way, kind))
            for way in ("host to device", "device to host")
            for kind in ("pinned", "pageable")
        ]
    return tuple(plans)


def _products(sizes: Sizes) -> dict[str, Product]:
    """Return the products of one layer and the head, as rows x inner x columns."""
    d, tokens = sizes.model.d_model, sizes.tokens
    return {
        "projection": (tokens, d, d),
        "feed-forward up": (tokens, d, sizes.model.d_ff),
        "feed-forward down": (tokens, sizes.model.d_ff, d),
        "head": (tokens, d, sizes.model.vocab_size),
    }


def _product(
    device: torch.device, precision: str, label: str, shape: Product | None
) -> Callable[[float], tuple[Ceiling, ...]]:
    def measure(seconds: float) -> tuple[Ceiling, ...]:
        check_precision(precision, place_of(device))
        with _tf32(precision == "tf32"):
            rows, inner, columns = shape or _cube_for(device, precision)
            times, repeats = _sample(device, _multiply(device, precision, (rows, inner, columns)), seconds)
        return (
            Ceiling(
                name=f"{MATMUL} {precision} {label} {rows}x{inner}x{columns}",
                unit="FLOP/s",
                samples_ns=_totals(times, _clock(device)),
                work=2 * rows * inner * columns * repeats,
            ),
        )

    return measure


def _multiply(device: torch.device, precision: str, shape: Product) -> Callable[[], object]:
    rows, inner, columns = shape
    left, right = (_random(device, size, _DTYPES[precision]) for size in ((rows, inner), (inner, columns)))
    product = torch.empty(rows, columns, dtype=left.dtype, device=device)
    return lambda: torch.mm(left, right, out=product)


def _cube_for(device: torch.device, precision: str) -> Product:
    """Return a cube, its edge a multiple of 64, whose product takes about 0.1 s here."""
    edge = 512
    seconds = min(_totals(_steps(device, _multiply(device, precision, (edge, edge, edge)), 3), _clock(device))) * 1e-9
    wanted = edge * (_CPU_PRODUCT_SECONDS / seconds) ** (1 / 3)
    chosen = min(8192, max(128, round(wanted / 64) * 64))
    return chosen, chosen, chosen


def _copy(device: torch.device, byte_count: int) -> Callable[[float], tuple[Ceiling, ...]]:
    def measure(seconds: float) -> tuple[Ceiling, ...]:
        source = _random(device, (byte_count // 4,), torch.float32)
        target = torch.empty_like(source)
        times, repeats = _sample(device, lambda: target.copy_(source), seconds)
        moved = 2 * source.nbytes * repeats  # read and written; a CPU may read what it will overwrite, not counted
        name = f"device copy of {units.memory(source.nbytes)}"
        return (Ceiling(name=name, unit="B/s", samples_ns=_totals(times, _clock(device)), work=moved),)

    return measure


def _launches(device: torch.device, count: int) -> Callable[[float], tuple[Ceiling, ...]]:
    """Launch many operations on one number: on CUDA the host's time to enqueue them, and the device's to do them."""
    clocks = (
        {"tiny kernels, host enqueues": ClockName.ENQUEUE, "tiny kernels, device runs": ClockName.DEVICE}
        if device.type == "cuda"
        else {"tiny operations": ClockName.HOST}
    )

    def measure(seconds: float) -> tuple[Ceiling, ...]:
        number = _random(device, (1,), torch.float32)

        def launch_all() -> None:
            for _ in range(count):
                number.add_(1.0)

        times, repeats = _sample(device, launch_all, seconds)
        return tuple(
            Ceiling(name=name, unit="launch/s", samples_ns=_totals(times, clock), work=count * repeats)
            for name, clock in clocks.items()
        )

    return measure


def _transfer(device: torch.device, byte_count: int, way: str, kind: str) -> Callable[[float], tuple[Ceiling, ...]]:
    def measure(seconds: float) -> tuple[Ceiling, ...]:
        on_device = _random(device, (byte_count // 4,), torch.float32)
        on_host = torch.rand(byte_count // 4, pin_memory=kind == "pinned")
        source, target = (on_host, on_device) if way == "host to device" else (on_device, on_host)
        times, repeats = _sample(device, lambda: target.copy_(source, non_blocking=kind == "pinned"), seconds)
        moved = source.nbytes * repeats
        name = f"{way}, {kind} memory"
        return (Ceiling(name=name, unit="B/s", samples_ns=_totals(times, ClockName.HOST), work=moved),)

    return measure


def _sample(device: torch.device, run: Callable[[], object], seconds: float) -> tuple[Sequence[StepTimes], int]:
    """Sample `run` for about `seconds`, and return how often it runs in each sample: short ones are batched."""
    begin = time.perf_counter()
    once = min(_totals(_steps(device, run, _WARMUP), ClockName.HOST)) * 1e-9
    repeats = max(1, math.ceil(_SHORTEST_SECONDS / once))
    if repeats > 1:  # a single short run is mostly launch and wait: ask the batch how long a run really takes
        batch = min(_totals(_steps(device, _repeat(run, repeats), _WARMUP), ClockName.HOST)) * 1e-9
        once = batch / repeats
        repeats = max(1, math.ceil(_SHORTEST_SECONDS / once))
    left = seconds - (time.perf_counter() - begin)
    count = min(_MAX_SAMPLES, max(_MIN_SAMPLES, int(left / (once * repeats))))
    return _steps(device, _repeat(run, repeats), count), repeats


def _repeat(run: Callable[[], object], repeats: int) -> Callable[[], object]:
    def run_all() -> None:
        for _ in range(repeats):
            run()

    return run_all


def _steps(device: torch.device, run: Callable[[], object], count: int) -> Sequence[StepTimes]:
    """Time `count` calls by the clock and the loop of cells."""

    def phase() -> None:
        run()

    workload = Workload(
        phases=(Phase(name="calibrate", run=phase),), total="calibrate", reset=lambda: None, fault=lambda: None
    )
    clock = make_clock(device, num_phases=1, num_steps=count)
    with torch.no_grad():
        run_steps(workload, clock, count)
    return clock.read()


def _totals(times: Sequence[StepTimes], clock: ClockName) -> tuple[int, ...]:
    return tuple(step.total[clock] for step in times)


def _clock(device: torch.device) -> ClockName:
    return ClockName.DEVICE if device.type == "cuda" else ClockName.HOST


def _random(device: torch.device, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    generator = torch.Generator(device).manual_seed(0)
    return torch.randn(shape, generator=generator, device=device).to(dtype)


@contextmanager
def _tf32(is_on: bool) -> Iterator[None]:
    """Switch TF32 products on or off as cells do, and back."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if is_on else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
