"""How long it takes to read a trace of 200 MB into a profile, and how much memory: at most 30 s and 4 GB.

Run: python benchmarks/read_trace.py [MEGABYTES]
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TextIO

from windtunnel.analysis.profile import ProfileView
from windtunnel.records.imported_profile import profile_of_file

_KERNEL = (
    "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, std::array<char*, 3ul> >"
    "(int, at::native::CUDAFunctor_add<float>, std::array<char*, 3ul>)"
)
_OF_A_STEP = 20_000


def _event(category: str, name: str, thread: int, begin: float, long: float, **arguments: object) -> dict[str, Any]:
    times = {"ts": begin, "dur": long}
    return {"ph": "X", "cat": category, "name": name, "pid": 1, "tid": thread, **times, "args": arguments}


def write_trace(file: TextIO, size: int) -> None:
    """Write steps of operators that each launch a kernel, until there are so many bytes."""
    file.write('{"schemaVersion": 1, "traceEvents": [\n')
    number = step = 0
    while file.tell() < size:
        begin = 10.0 * number
        for _ in range(_OF_A_STEP):
            at = 10.0 * number
            launch = {"cbid": 211, "correlation": number}
            grid = {"grid": [512, 1, 1], "block": [128, 1, 1], "registers per thread": 32, "stream": 7}
            for event in (
                _event("cpu_op", "aten::mul", 1, at, 9.0, **{"External id": number, "Sequence number": number}),
                _event("cuda_runtime", "cudaLaunchKernel", 1, at + 2, 4.0, **launch),
                _event("kernel", _KERNEL, 7, at + 8, 3.0, correlation=number, **grid),
            ):
                file.write(json.dumps(event, indent=2) + ",\n")
            number += 1
        step += 1
        whole = _event("user_annotation", f"ProfilerStep#{step}", 1, begin, 10.0 * number - begin)
        file.write(json.dumps(whole) + ",\n")
    file.write('{"ph": "M", "name": "end", "ts": 0}]}\n')


def main() -> None:
    """Print one row."""
    size = int(sys.argv[1] if len(sys.argv) > 1 else 200) * 10**6
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        with path.open("w", encoding="utf-8") as file:
            write_trace(file, size)
        begin = time.perf_counter()
        view = ProfileView(profile_of_file(path, started_at=""))
        longest = view.gaps.longest(10)
        seconds = time.perf_counter() - begin
        written = path.stat().st_size / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"{written:.0f} MB, {len(view.profile.work):,} kernels, {len(longest)} gaps: {seconds:.1f} s, {peak:.2f} GB")


if __name__ == "__main__":
    main()
