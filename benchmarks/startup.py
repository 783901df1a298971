"""How fast the parent is: `--help`, and the report of a store of 10,000 records with 100 samples each.

Run with `python benchmarks/startup.py`; prints a table. The limits are those of the README's promises.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from windtunnel.cost.step import cost_of
from windtunnel.records.environment import Environment
from windtunnel.records.record import ClockName, Memory, Record, Samples, Status
from windtunnel.records.store import open_store
from windtunnel.spec.cell import Cell, MeasurePlan, Task
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.tables import WORKLOADS

NUM_RECORDS = 10_000
NUM_SAMPLES = 100
REPEATS = 5

ENVIRONMENT = Environment(
    device="cuda:0",
    device_name="NVIDIA H200",
    device_memory_bytes=150_000_000_000,
    driver="1",
    cuda="13.0",
    cudnn="9",
    torch="2.11.0",
    triton="3.6.0",
    python="3.12",
    platform="Linux x86_64",
    host_cpu="synthetic",
    host_cores=2,
    host_memory_bytes=2**34,
    windtunnel="0.1.0",
    git_commit=None,
    settings={},
)


def main() -> None:
    """Print the table."""
    rows = [("windtunnel --help", 0.4, _best(lambda: _call("--help")))]
    rows.append(("windtunnel schema", 1.0, _best(lambda: _call("schema"))))
    rows.append(("windtunnel predict", 0.3, _best(lambda: _call("predict", "--size", "2.7B"))))
    grid = ("--size", "small,medium,large,xl,2.7B", "--context", "128,256,512,1024,2048", "--precision", "fp32,bf16")
    rows.append(("windtunnel predict, 50 cells", 0.5, _best(lambda: _call("predict", *grid))))
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        _fill(store)
        for formats in ("md", "html", "terminal,md,html"):
            arguments = ("report", str(store), "--out", str(store / "report"), "--format", formats)
            rows.append((f"windtunnel report --format {formats}", 10.0, _best(lambda a=arguments: _call(*a))))
    print(f"best of {REPEATS}; store of {NUM_RECORDS:,} records with {NUM_SAMPLES} samples each")
    for name, limit, seconds in rows:
        print(f"{name:45} {seconds:6.2f} s   limit {limit} s   {'ok' if seconds <= limit else 'TOO SLOW'}")
    loaded = subprocess.run(
        [sys.executable, "-c", _LOADED_BY_HELP], capture_output=True, text=True, check=True
    ).stdout.strip()
    print(f"torch loaded by --help: {loaded}")


_LOADED_BY_HELP = """
import contextlib, io, sys
sys.argv = ["windtunnel", "--help"]
from windtunnel.cli import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()
print("torch" in sys.modules)
"""


def _call(*arguments: str) -> None:
    command = [sys.executable, "-m", "windtunnel", *arguments]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def _best(call: Callable[[], None]) -> float:
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def _fill(folder: Path) -> None:
    """Write the store: a grid of sizes, contexts and workloads with random times."""
    draw = random.Random(0)
    with open_store(folder) as store:
        store._connection.execute("PRAGMA synchronous = OFF")  # a benchmark of reading need not write safely
        for number in range(NUM_RECORDS):
            store.add(_record(number, draw), ENVIRONMENT)


def _record(number: int, draw: random.Random) -> Record:
    workload = tuple(WORKLOADS)[number % 3]
    model = ModelSpec(name=f"m{number // 900}", d_model=64, d_ff=256, num_layers=1 + number // 900, num_heads=4)
    cell = Cell(
        model=model,
        workload=workload,
        batch_size=4,
        context_length=1 + number // 3 % 300,
        precision="fp32",
        device="cuda:0",
    )
    cost, kind = cost_of(cell), WORKLOADS[workload]

    def series(phase: str, clock: ClockName) -> Samples:
        times = tuple(round(1e6 * draw.lognormvariate(2, 0.02)) for _ in range(NUM_SAMPLES))
        return Samples(phase=phase, clock=clock, nanoseconds=times)

    inner = [series(phase, ClockName.DEVICE) for phase in kind.timed if phase != kind.total]
    return Record(
        task=Task(cell=cell, plan=MeasurePlan(warmup=5, steps=NUM_SAMPLES)),
        status=Status.OK,
        total=kind.total,
        timed=kind.timed,
        flops=cost.flops,
        parameters=cost.parameters,
        samples=(*inner, series(kind.total, ClockName.HOST)),
        memory=Memory(
            built_bytes=2**20,
            peak_bytes=2**21,
            peak_reserved_bytes=2**22,
            capacity_bytes=2**30,
            source="CUDA caching allocator",
        ),
        failure=None,
        stages={"build": 0.1, "warmup": 0.1, "measure": 0.1, "clean": 0.01},
        warnings=(),
        process=1,
        is_first_in_process=False,
        started_at="2026-01-01T00:00:00+00:00",
    )


if __name__ == "__main__":
    main()
