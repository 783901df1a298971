"""What the shipped tiles compile to, for GPUs that are not here: no spills, and Hopper's products not in series.

Some of the tiles; `python benchmarks/tiles.py --aot --shipped` shows all of the table.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "tiles.py"


def compile_shipped(out: Path, *arguments: str) -> list[dict]:
    """Compile in a process of its own, because Triton is given a driver that is none; print what came out."""
    command = [sys.executable, SCRIPT, "--aot", "--shipped", "--threads", "2", "--out", out, *arguments]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    print(child.stdout)  # noqa: T201  # registers and spills, for whom a failure has to be explained

    assert child.returncode == 0, child.stderr
    return json.loads(out.read_text())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_shipped_tiles_fit_into_registers_and_shared_memory(architecture: str, tmp_path: Path):
    compiled = compile_shipped(
        tmp_path / "half.json", "--arch", architecture, "--dtype", "bf16", "--d", "64,128", "--mask", "causal"
    )
    compiled += compile_shipped(
        tmp_path / "float32.json", "--arch", architecture, "--dtype", "fp32", "--d", "64", "--mask", "full"
    )

    kernels = {"forward", "dq", "dkdv"}
    assert {(kernel["d"], kernel["dtype"], kernel["kernel"]) for kernel in compiled} == {
        *((d, "bf16", kernel) for d in (64, 128) for kernel in kernels),
        *((64, "fp32", kernel) for kernel in kernels),
    }
    for kernel in compiled:
        assert "fault" not in kernel, kernel
        assert kernel["spills"] == 0, kernel
        assert kernel["shared_bytes"] <= kernel["shared_limit"], kernel
        if architecture == "sm_90":
            assert kernel["wgmma"] > 0, kernel
            assert not kernel["is_serial"], kernel
