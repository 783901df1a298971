"""A pinned backend of torch runs its own kernel or none."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from windtunnel.attention import sdpa
from windtunnel.attention.backend import Backend
from windtunnel.errors import UnsupportedError


class Calls(TorchDispatchMode):
    """The names of all operators that torch runs."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def normal(*size: int) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(0))


def with_strided_values() -> tuple[Tensor, Tensor, Tensor]:
    """Return a call that torch's flash kernel cannot take: its values do not lie side by side."""
    q = normal(2, 3, 5, 4)
    return q, q, q.mT.contiguous().mT


@pytest.mark.parametrize(
    ("backend", "is_fused"), [(sdpa.SDPA_FLASH, True), (sdpa.SDPA_MATH, False)], ids=["flash", "math"]
)
def test_a_pinned_backend_runs_its_own_kernel(backend: Backend, is_fused: bool):
    q = normal(2, 3, 5, 4)

    with Calls() as calls:
        backend.attend(q, q, q, is_causal=True)

    assert ("_scaled_dot_product_flash_attention_for_cpu" in calls.names) == is_fused
    assert ("bmm" in calls.names) != is_fused


@pytest.mark.parametrize(
    ("backend", "name"),
    [(sdpa.SDPA_EFFICIENT, "EFFICIENT_ATTENTION"), (sdpa.SDPA_CUDNN, "CUDNN_ATTENTION")],
    ids=["efficient", "cudnn"],
)
def test_a_pinned_backend_that_the_device_lacks_is_refused(backend: Backend, name: str):
    q = normal(2, 3, 5, 4)

    with pytest.raises(UnsupportedError, match=f"torch's {name} attention cannot take this call: "):
        backend.attend(q, q, q, is_causal=True)


@pytest.mark.filterwarnings("ignore:.*kernel:UserWarning")  # torch says there why it refuses
def test_a_call_that_the_pinned_backend_cannot_take_is_refused():
    q, k, v = with_strided_values()

    with pytest.raises(UnsupportedError, match="FLASH_ATTENTION attention cannot take this call"):
        sdpa.SDPA_FLASH.attend(q, k, v, is_causal=True)


def test_the_same_call_works_where_torch_may_choose():
    """So the refusal above is no fault of the call: torch would have fallen back."""
    q, k, v = with_strided_values()

    o = sdpa.SDPA.attend(q, k, v, is_causal=True)

    assert o.isfinite().all()


def test_another_error_of_torch_stays_what_it_is():
    q = normal(2, 3, 5, 4)

    with pytest.raises(RuntimeError, match="same dtype"):
        sdpa.SDPA_MATH.attend(q, q.double(), q, is_causal=True)


def test_pinning_ends_with_the_call():
    q = normal(2, 3, 5, 4)

    sdpa.SDPA_MATH.attend(q, q, q, is_causal=True)

    with Calls() as calls:
        sdpa.SDPA.attend(q, q, q, is_causal=True)
    assert "_scaled_dot_product_flash_attention_for_cpu" in calls.names


def test_pinning_ends_with_a_call_that_failed():
    q = normal(2, 3, 5, 4)

    with pytest.raises(UnsupportedError):
        sdpa.SDPA_EFFICIENT.attend(q, q, q, is_causal=True)

    assert sdpa.SDPA.attend(q, q, q, is_causal=True).isfinite().all()
