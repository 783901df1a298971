"""The flash backend says what it needs where it cannot run; what it computes is tested in tests/kernels."""

import subprocess
import sys

import pytest
import torch

from windtunnel.attention import flash_triton
from windtunnel.errors import UnsupportedError


def test_it_declares_cuda_alone():
    assert flash_triton.BACKEND.abilities.dtypes == {"cuda": ("float32", "float16", "bfloat16")}


def test_any_other_device_is_refused():
    pytest.importorskip("triton")
    q = torch.randn(1, 1, 5, 16)

    for device in ("cpu", "meta"):
        with pytest.raises(
            UnsupportedError, match=f"attention 'flash-triton' does not run on {device}; it runs on cuda"
        ):
            flash_triton.attend(*[q.to(device)] * 3, is_causal=True)


def test_without_triton_it_says_what_to_install():
    """In a fresh interpreter with triton blocked: the module imports, and a call is refused."""
    program = (
        "import sys; sys.modules['triton'] = None\n"
        "import torch, windtunnel.kernels\n"
        "from windtunnel.attention.flash_triton import attend\n"
        "from windtunnel.errors import UnsupportedError\n"
        "q = torch.ones(1, 1, 5, 16)\n"
        "try:\n"
        "    attend(q, q, q, is_causal=True)\n"
        "except UnsupportedError as error:\n"
        "    print(error)\n"
    )

    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert child.stdout == (
        "attention 'flash-triton' needs triton, which is not installed; it comes with torch for CUDA, or with: "
        "pip install 'triton>=3.6'\n"
    )
