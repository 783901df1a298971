"""The flash kernels compute the formula, in Triton's interpreter on a CPU: interpreted.py in a process of its own.

Triton reads TRITON_INTERPRET when it is imported, so no other test may share that process.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

HERE = Path(__file__).parent


def run_interpreted(marks: str) -> None:
    """Run the tests of interpreted.py with these marks; fail with all they say."""
    child = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", marks, HERE / "interpreted.py"],
        cwd=HERE.parents[1],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert child.returncode == 0, child.stdout + child.stderr


@pytest.mark.timeout(300)
def test_the_kernels_compute_the_formula_and_planted_bugs_are_found():
    run_interpreted("not compile")


@pytest.mark.compile
@pytest.mark.timeout(300)
def test_the_kernels_compile_into_a_whole_graph():
    run_interpreted("compile")
