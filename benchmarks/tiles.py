"""The tile search of the flash kernels: on a GPU which tile is fastest, without one what each compiles to.

    python benchmarks/tiles.py [--d 64,128] [--dtype bf16,fp32] [--mask full,causal] [--kernel forward,dq,dkdv]
                               [--shape 1,16,16384] [--budget SECONDS] [--shipped] [--out FILE]
    python benchmarks/tiles.py --aot [--arch sm_80,sm_90,sm_100] [--d ...] [--dtype ...] [--shipped] [--out FILE]

On a GPU: compiles all candidates in threads, compares each with float64 on an even and on an odd shape (its outputs
start as NaN; it may err twice as much as the plain formula in its dtype), and times those that are right: CUDA events,
flushed L2, median. Prints the candidates of a kernel, fastest first, and at the end rows for the table in
src/windtunnel/kernels/tiles.py. With --aot: registers, spills, shared memory and tensor-core instructions of each, for
GPUs that are not there; `serial` says that ptxas put the products of Hopper in series. --shipped takes the tiles of the
table alone. FILE gets everything as JSON. Needs torch, triton and windtunnel.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.errors import TritonError
from triton.runtime import driver

from windtunnel.kernels.blocks import Launch
from windtunnel.kernels.flash_backward import dkdv_launch, dq_launch
from windtunnel.kernels.flash_forward import forward_launch
from windtunnel.kernels.tiles import Tile, architecture_row, tiles_for

KERNELS = ("forward", "dq", "dkdv")
OUTPUTS = {"forward": ("O", "L"), "dq": ("dQ",), "dkdv": ("dK", "dV")}
PRODUCTS = {"forward": 2, "dq": 3, "dkdv": 4}
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32, "tf32": torch.float32}
CAPABILITIES = {"sm_80": (8, 0), "sm_90": (9, 0), "sm_100": (10, 0)}
SHARED_LIMITS = {"sm_80": 99 * 1024, "sm_90": 227 * 1024, "sm_100": 227 * 1024}
"""Bytes a program may take; for sm_80 what 8.6, 8.9 and 12.x have, because they use its tiles (8.0 itself: 163 KiB)."""

VERIFIED_SEQ_LENS = (512, 259)
TIMED_SECONDS = 0.06
FLUSHED_BYTES = 256 * 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """What a tile is searched for; one row of the table."""

    d: int
    dtype: str
    mask: str

    @property
    def is_causal(self) -> bool:
        """Whether future keys are masked."""
        return self.mask == "causal"

    def __str__(self) -> str:
        return f"d {self.d} {self.dtype} {self.mask}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A tile to try for one kernel."""

    kernel: str
    tile: Tile

    def __str__(self) -> str:
        q_tile, k_tile, num_warps, num_stages, precision, is_described = self.tile
        how = "descr." if is_described else "pointers"
        return f"{self.kernel:8}{q_tile:4}x{k_tile:<4} {num_warps:2} warps {num_stages} stages {precision:7}{how:8}"


# Queries, keys, warps, stages. What spills or puts the products in series on sm_90 is left out (--aot).
HALF = {
    ("forward", 64): "64,64,4,2 64,64,4,3 64,64,4,4 128,64,4,2 128,64,4,3 64,128,4,2 128,64,8,3 128,128,8,2 64,32,4,4",
    ("forward", 128): "128,128,8,2 128,64,8,3 64,64,4,2 64,64,4,3 64,128,4,2 64,32,4,3",
    ("forward", 256): "128,64,8,2 128,32,8,2 128,32,8,3 64,32,4,2 64,32,4,3",
    ("dq", 64): "64,64,4,2 64,64,4,3 64,64,4,4 128,64,8,2 128,64,8,3 64,128,4,2 64,32,4,3 128,128,8,2",
    ("dq", 128): "64,64,4,2 64,64,4,3 128,64,8,2 128,64,8,3 64,32,4,2 64,32,4,3 128,32,8,3 64,128,8,2",
    ("dq", 256): "128,32,8,2 128,32,8,1 64,32,8,2 64,32,4,2 64,16,4,2",
    ("dkdv", 64): "64,64,4,2 64,64,4,3 32,64,4,2 32,64,4,3 64,128,8,2 64,128,8,3 32,128,4,2 32,128,8,3",
    ("dkdv", 128): "64,128,8,2 64,128,8,1 32,64,4,2 32,64,4,3 64,64,4,2 32,128,8,2 32,128,8,3",
    ("dkdv", 256): "32,64,8,1 32,64,8,2 16,64,8,2 64,64,8,1",
}
FLOAT32 = {
    (
        "forward",
        64,
    ): "128,64,8,2,x 64,64,4,2,x 128,32,8,2,x 64,32,4,2,x 128,64,8,2,b 128,32,8,2,b 64,32,4,2,b",
    ("forward", 128): "128,32,8,2,x 64,32,4,2,x 32,32,8,1,x 128,32,8,2,b 64,32,4,2,b 64,32,8,2,i",
    ("forward", 256): "16,32,8,1,x 32,16,8,1,i 16,16,4,1,i 32,16,8,1,x",
    ("dq", 64): "128,32,8,2,x 64,32,4,2,x 64,64,4,2,x 128,32,8,2,b 64,32,4,2,b 64,64,4,2,b 64,32,8,2,i",
    ("dq", 128): "32,32,8,2,x 64,32,8,1,x 32,32,8,1,x 64,16,4,2,b 64,32,8,1,b 128,32,8,1,b 32,32,8,2,i",
    ("dq", 256): "16,16,8,1,x 16,16,4,1,x 16,16,8,1,i",
    ("dkdv", 64): "32,128,8,2,x 32,64,4,2,x 32,128,8,2,b 32,64,4,2,b 64,64,4,2,b 64,64,8,2,i",
    ("dkdv", 128): "32,32,8,1,x 32,64,8,1,x 32,128,8,1,b 16,128,8,1,b 16,128,8,2,b 16,64,4,2,b 32,64,4,2,b 32,64,4,1,b",
    ("dkdv", 256): "16,32,8,1,i 16,64,8,1,i 16,16,8,1,x 16,16,8,1,i",
}
PRECISIONS = {"x": "tf32x3", "i": "ieee", "b": "bf16x6"}


def candidates(problem: Problem, kernel: str, capability: tuple[int, int]) -> Iterator[Candidate]:
    """Yield the tiles to try for a kernel; heads under 64 share those of 64. Hopper reads them in two ways."""
    is_float32 = problem.dtype in ("fp32", "tf32")
    texts = (FLOAT32 if is_float32 else HALF)[kernel, max(64, 1 << (problem.d - 1).bit_length())].split()
    for text in texts:
        *sizes, precision = text.split(",") if is_float32 else (*text.split(","), "")
        is_exact = problem.dtype == "fp32"
        tile = Tile(*map(int, sizes), PRECISIONS[precision] if is_exact else "tf32")
        yield Candidate(kernel=kernel, tile=tile)
        if architecture_row(capability) == "sm_90":
            yield Candidate(kernel=kernel, tile=tile._replace(is_described=True))


def shipped(problem: Problem, kernel: str, capability: tuple[int, int], *, can_describe: bool = True) -> Candidate:
    """Return the tile of the table, for tensors that can be described or not."""
    tiles = tiles_for(
        capability,
        DTYPES[problem.dtype],
        problem.d,
        is_causal=problem.is_causal,
        allows_tf32=problem.dtype == "tf32",
        can_describe=can_describe,
    )
    return Candidate(kernel=kernel, tile=getattr(tiles, kernel))


def make_tensors(
    problem: Problem, shape: tuple[int, int, int], device: str, *, is_empty: bool = False
) -> dict[str, Tensor]:
    """Return inputs, normally distributed, and outputs, NaN, of all kernels."""
    batch_size, num_heads, seq_len = shape
    size, dtype = (batch_size, num_heads, seq_len, problem.d), DTYPES[problem.dtype]
    if is_empty:
        drawn = {name: torch.empty(size, dtype=dtype, device=device) for name in ("q", "k", "v", "dO")}
    else:
        generator = torch.Generator(device).manual_seed(0)
        drawn = {
            name: torch.randn(size, device=device, generator=generator).to(dtype) for name in ("q", "k", "v", "dO")
        }
    outputs = {name: torch.empty(size, dtype=dtype, device=device) for name in ("O", "dQ", "dK", "dV")}
    outputs["L"] = torch.empty(size[:-1], device=device)
    outputs["rows"] = torch.empty((2, *size[:-1]), device=device)
    if not is_empty:
        for output in outputs.values():
            output.fill_(float("nan"))
    return drawn | outputs


def launch_of(problem: Problem, candidate: Candidate, t: dict[str, Tensor]) -> Launch:
    """Return the launch of a candidate on these tensors."""
    how = {"is_causal": problem.is_causal, "window": None, "tile": candidate.tile}
    if candidate.kernel == "forward":
        return forward_launch(t["q"], t["k"], t["v"], t["O"], t["L"], **how)
    if candidate.kernel == "dq":
        return dq_launch(t["q"], t["k"], t["v"], t["O"], t["L"], t["dO"], t["dQ"], t["rows"], **how)
    return dkdv_launch(t["q"], t["k"], t["v"], t["dO"], t["dK"], t["dV"], t["rows"], **how)


# Without a GPU


class NoGpu:
    """As much of Triton's driver as compiling for another machine takes."""

    def __init__(self, architecture: str) -> None:
        self.capability = int(architecture.removeprefix("sm_"))

    def get_current_target(self) -> GPUTarget:
        """Return what to compile for."""
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        """Return a number of its own for each target: kernels are cached by it."""
        return self.capability

    def get_current_stream(self, device: int | None = None) -> int:
        """Return the default stream."""
        return 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiled:
    """What ptxas made of a kernel: counts are of instructions in the code, `waits` of waits for Hopper's products."""

    registers: int
    stack_bytes: int
    spills: int
    shared_bytes: int
    wgmma: int
    mma: int
    ffma: int
    waits: int

    @property
    def is_serial(self) -> bool:
        """Whether each product of Hopper is waited for (ptxas: C7515 and its like), not each chain of them."""
        return 0 < self.wgmma <= self.waits


def inspect(kernel: object) -> Compiled:
    """Disassemble a compiled kernel with the tools of Triton's wheel."""
    cuobjdump = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        usage, code = (
            subprocess.run([cuobjdump, flag, file.name], capture_output=True, text=True, check=True).stdout
            for flag in ("-res-usage", "-sass")
        )
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    if found is None:
        raise SystemExit(f"cuobjdump says nothing of registers:\n{usage}")

    def count(pattern: str) -> int:
        return len(re.findall(rf"\b(?:{pattern})", code))

    return Compiled(
        registers=int(found[1]),
        stack_bytes=int(found[2]),
        spills=count("STL|LDL"),
        shared_bytes=kernel.metadata.shared,
        wgmma=count("HGMMA"),
        mma=count("HMMA|UTCHMMA"),
        ffma=count("FFMA"),
        waits=count(r"WARPGROUP\.DEPBAR"),
    )


def compile_and_inspect(problem: Problem, candidate: Candidate, t: dict[str, Tensor]) -> Compiled | str:
    """Return what a candidate compiles to, or why it does not."""
    try:
        return inspect(launch_of(problem, candidate, t).compile())
    except (TritonError, RuntimeError, ValueError, IndexError) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[-120:]}"


def inspect_all(args: argparse.Namespace) -> list[dict[str, object]]:
    """Compile what was asked for, for each architecture, and print a line for each."""
    log = []
    for architecture in args.arch:
        driver.set_active(NoGpu(architecture))
        for problem in args.problems:
            t = make_tensors(problem, (2, 2, 4096), "cpu", is_empty=True)
            chosen = chosen_candidates(args, problem, CAPABILITIES[architecture])
            with ThreadPoolExecutor(args.threads) as pool:
                found = pool.map(partial(compile_and_inspect, problem, t=t), chosen)
                for candidate, result in zip(chosen, found, strict=True):
                    print(f"{architecture:7}{problem} {candidate}", verdict(architecture, result), flush=True)
                    entry = {"architecture": architecture, **asdict(problem), "kernel": candidate.kernel}
                    entry |= {"tile": candidate.tile, "shared_limit": SHARED_LIMITS[architecture]}
                    is_fine = isinstance(result, Compiled)
                    entry |= asdict(result) | {"is_serial": result.is_serial} if is_fine else {"fault": result}
                    log.append(entry)
    return log


def verdict(architecture: str, result: Compiled | str) -> str:
    """Describe a compiled candidate in one line."""
    if isinstance(result, str):
        return result
    line = (
        f"{result.registers:3} registers {result.spills:4} spills {result.shared_bytes / 1024:5.0f} KiB "
        f"wgmma {result.wgmma:3} mma {result.mma:3} ffma {result.ffma:4} waits {result.waits:3}"
    )
    if result.shared_bytes > SHARED_LIMITS[architecture]:
        line += "  TOO MUCH SHARED MEMORY"
    return line + ("  SERIAL" if result.is_serial else "")


def chosen_candidates(args: argparse.Namespace, problem: Problem, capability: tuple[int, int]) -> list[Candidate]:
    """Return all candidates of all kernels asked for, those of the table first."""
    chosen = []
    for kernel in args.kernel:
        chosen += (shipped(problem, kernel, capability, can_describe=can_describe) for can_describe in (True, False))
        if not args.shipped:
            chosen += candidates(problem, kernel, capability)
    return list(dict.fromkeys(chosen))


# On a GPU


def formula(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> tuple[Tensor, Tensor]:
    """Return O and L, written out in the dtype of the inputs."""
    scores = q @ k.mT * q.shape[-1] ** -0.5
    if is_causal:
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), float("-inf"))
    return torch.softmax(scores, -1) @ v, torch.logsumexp(scores.float() if q.dtype != torch.float64 else scores, -1)


def solve(problem: Problem, t: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Return all outputs by the formula in `dtype`."""
    inputs = [t[name].to(dtype).requires_grad_() for name in ("q", "k", "v")]
    O, L = formula(*inputs, is_causal=problem.is_causal)
    gradients = torch.autograd.grad(O, inputs, t["dO"].to(dtype))
    return dict(zip(("O", "L", "dQ", "dK", "dV"), (O.detach(), L.detach(), *gradients), strict=True))


def worst_error(found: Tensor, exact: Tensor) -> float:
    """Return the largest error in units of the largest value, infinite where there is NaN."""
    error = ((found.double() - exact).abs().max() / exact.abs().max()).item()
    return float("inf") if error != error else error


class Verifier:
    """Small problems with their float64 solution, and twice the error that the plain formula makes."""

    def __init__(self, problem: Problem, shape: tuple[int, int, int]) -> None:
        """Solve on an even and an odd sequence; batch and heads as timed, or Triton would compile anew."""
        torch.set_float32_matmul_precision("high" if problem.dtype == "tf32" else "highest")
        self.problem = problem
        self.tensors, self.exact, self.budgets = [], [], []
        for seq_len in VERIFIED_SEQ_LENS:
            t = make_tensors(problem, (*shape[:2], seq_len), "cuda")
            exact = solve(problem, t, torch.float64)
            plain = solve(problem, t, DTYPES[problem.dtype])
            eps = torch.finfo(DTYPES[problem.dtype]).eps
            self.budgets.append({name: 2 * worst_error(plain[name], exact[name]) + eps for name in exact})
            self.tensors.append(t | {"O": exact["O"].to(t["q"].dtype), "L": exact["L"].float()})
            self.exact.append(exact)
            rows = self.tensors[-1]["rows"]
            rows[0], rows[1] = exact["L"] * 1.4426950408889634, (exact["O"] * t["dO"].double()).sum(-1)

    def launches(self, candidate: Candidate) -> list[Launch]:
        """Return launches like those of `ratio`, to be compiled ahead."""
        return [launch_of(self.problem, candidate, t) for t in self.tensors]

    def ratio(self, candidate: Candidate) -> float:
        """Return the largest error in units of what is allowed: right up to 1."""
        worst = 0.0
        for t, exact, budget in zip(self.tensors, self.exact, self.budgets, strict=True):
            fresh = t | {name: torch.full_like(t[name], float("nan")) for name in OUTPUTS[candidate.kernel]}
            if candidate.kernel == "dq":
                fresh["rows"] = torch.full_like(t["rows"], float("nan"))
            launch_of(self.problem, candidate, fresh).run()
            for name in OUTPUTS[candidate.kernel]:
                worst = max(worst, worst_error(fresh[name], exact[name]) / budget[name])
            if candidate.kernel == "dq":
                worst = max(worst, worst_error(fresh["rows"], t["rows"].double()) / budget["dQ"])
        return worst


def time_launch(launch: Launch, flushed: Tensor) -> tuple[float, int]:
    """Return the median of some runs in seconds, each with a cold L2, and their number."""
    launch.run()
    torch.cuda.synchronize()
    started = time.perf_counter()
    launch.run()
    torch.cuda.synchronize()
    num_runs = min(50, max(5, int(TIMED_SECONDS / (time.perf_counter() - started))))
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(num_runs)]
    for begin, end in events:
        flushed.zero_()  # takes longer than the host takes for the launch, so no gap of the host is timed
        begin.record()
        launch.run()
        end.record()
    torch.cuda.synchronize()
    return median(begin.elapsed_time(end) for begin, end in events) / 1000, num_runs


def precompile(launches: list[Launch], num_threads: int) -> None:
    """Compile in threads, without a launch; a candidate that cannot be compiled says so when it is run."""

    def attempt(launch: Launch) -> None:
        try:
            launch.compile()
        except (TritonError, RuntimeError):
            return

    with ThreadPoolExecutor(num_threads) as pool:
        list(pool.map(attempt, launches))


def search(args: argparse.Namespace, problem: Problem, has_time: Callable[[], bool]) -> list[dict[str, object]]:
    """Time all candidates of a problem that are right, and print them by kernel, fastest first."""
    capability = torch.cuda.get_device_capability()
    shape = args.shape or ((8, 1, 16384) if DTYPES[problem.dtype] == torch.float32 else (1, 16, 16384))
    started = time.perf_counter()
    verifier = Verifier(problem, shape)
    chosen = chosen_candidates(args, problem, capability)
    t = make_tensors(problem, shape, "cuda")
    first = [shipped(problem, kernel, capability) for kernel in ("forward", "dq")]
    precompile([launch_of(problem, candidate, t) for candidate in (*chosen, *first)], args.threads)
    precompile([launch for candidate in chosen for launch in verifier.launches(candidate)], args.threads)
    for candidate in first:  # O, L and rows as backward finds them
        launch_of(problem, candidate, t).run()
    torch.cuda.synchronize()
    print(
        f"\n{problem}, batch, heads, tokens {shape}: {len(chosen)} candidates compiled in "
        f"{time.perf_counter() - started:.1f} s",
        flush=True,
    )
    flushed = torch.empty(FLUSHED_BYTES, dtype=torch.int8, device="cuda")
    log = []
    for candidate in chosen:
        if not has_time():
            print("out of budget")
            break
        entry = {**asdict(problem), "shape": shape, "kernel": candidate.kernel, "tile": candidate.tile}
        entry["is_shipped"] = candidate in (
            shipped(problem, candidate.kernel, capability, can_describe=can_describe) for can_describe in (True, False)
        )
        try:
            entry["error_ratio"] = verifier.ratio(candidate)
            launch = launch_of(problem, candidate, t)
            entry["seconds"], entry["num_runs"] = time_launch(launch, flushed)
            compiled = launch.compile()
            entry["registers"], entry["spills"] = compiled.n_regs, compiled.n_spills
        except (TritonError, RuntimeError) as error:
            entry["fault"] = f"{type(error).__name__}: {' '.join(str(error).split())[-160:]}"
        log.append(entry)
    report(problem, shape, log)
    print(f"took {time.perf_counter() - started:.1f} s")
    return log


def report(problem: Problem, shape: tuple[int, int, int], log: list[dict[str, object]]) -> None:
    """Print all candidates, those that are right first and fastest first, and the row for the table."""
    batch_size, num_heads, seq_len = shape
    product_flops = 2 * batch_size * num_heads * seq_len**2 * problem.d / (2 if problem.is_causal else 1)
    best: dict[str, dict[str, object]] = {}
    for entry in sorted(log, key=lambda entry: (KERNELS.index(entry["kernel"]), entry.get("seconds", 1e9))):
        candidate = Candidate(kernel=entry["kernel"], tile=entry["tile"])
        mark = "*" if entry["is_shipped"] else " "
        if "seconds" not in entry:
            print(f"{mark} {candidate} {entry['fault']}")
            continue
        is_right = entry["error_ratio"] <= 1
        if is_right:
            best.setdefault(entry["kernel"], entry)
        rate = PRODUCTS[entry["kernel"]] * product_flops / entry["seconds"] / 1e12
        made = f"{entry['registers']:3} registers {entry['spills']:4} spills"
        print(
            f"{mark} {candidate} {entry['seconds'] * 1e3:8.3f} ms {rate:5.0f} TFLOP/s  {made}  "
            f"error {entry['error_ratio']:.2f} of budget{'' if is_right else '  WRONG'}"
        )
    if len(best) == len(KERNELS):
        forward, dq, dkdv = (best[kernel]["seconds"] * 1e3 for kernel in KERNELS)
        print(f"best: forward {forward:.3f} ms, backward {dq + dkdv:.3f} ms")
    if best:
        is_half = problem.dtype in ("bf16", "fp16")  # for which the last of a tile, its precision, says nothing
        tiles = ", ".join(
            ("_described" if tile.is_described else "Tile") + str(tuple(tile)[: 4 if is_half else 5])
            for tile in (best[kernel]["tile"] for kernel in KERNELS if kernel in best)
        )
        print(f"row {problem}: Tiles({tiles}),")


def names(text: str) -> list[str]:
    """Split a list of an argument."""
    return text.split(",")


def main() -> None:
    """Search, or inspect without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--d", type=names, default=["64", "128"])
    parser.add_argument("--dtype", type=names, default=["bf16"], help=f"of {', '.join(DTYPES)}")
    parser.add_argument("--mask", type=names, default=["full", "causal"])
    parser.add_argument("--kernel", type=names, default=list(KERNELS))
    parser.add_argument("--shape", type=lambda text: tuple(map(int, text.split(","))), help="batch,heads,tokens")
    parser.add_argument("--budget", type=float, default=240.0, help="seconds after which no candidate is begun")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--shipped", action="store_true", help="only the tiles of the table")
    parser.add_argument("--aot", action="store_true", help="compile only, without a GPU")
    parser.add_argument("--arch", type=names, default=list(CAPABILITIES))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    args.problems = [
        Problem(d=int(d), dtype=dtype, mask=mask) for dtype, d, mask in product(args.dtype, args.d, args.mask)
    ]
    started = time.perf_counter()
    if args.aot:
        log = inspect_all(args)
    else:
        print(
            f"{torch.cuda.get_device_name()}, tiles of {architecture_row(torch.cuda.get_device_capability())}, "
            f"torch {torch.__version__}, triton {triton.__version__}; * is the tile of the table"
        )
        log = []
        for problem in args.problems:
            if time.perf_counter() - started < args.budget:
                log += search(args, problem, lambda: time.perf_counter() - started < args.budget)
                if args.out is not None:
                    args.out.write_text(json.dumps(log))
    if args.out is not None:
        args.out.write_text(json.dumps(log))


if __name__ == "__main__":
    main()
