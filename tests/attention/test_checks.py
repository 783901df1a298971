"""What does not fit together is refused, with every fault and before anything runs; what is returned is looked at."""

import pytest
import torch
from torch import Tensor

from windtunnel.attention.checks import check_inputs, check_output
from windtunnel.errors import RunError, SpecError


def empty(*shape: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Tensor:
    return torch.empty(shape, dtype=dtype, device=device)


@pytest.mark.parametrize(
    ("q", "k"),
    [
        ((5, 8), (7, 8)),
        ((3, 5, 8), (3, 7, 8)),
        ((2, 4, 5, 8), (2, 2, 7, 8)),
        ((2, 4, 5, 8), (2, 1, 7, 8)),
        ((2, 3, 4, 5, 8), (2, 3, 4, 5, 8)),
    ],
    ids=str,
)
def test_any_number_of_leading_axes_and_any_lengths_are_taken(q: tuple[int, ...], k: tuple[int, ...]):
    check_inputs(empty(*q), empty(*k), empty(*k), is_causal=True, window=None)


@pytest.mark.parametrize(
    ("q", "k", "v", "fault"),
    [
        ((8,), (8,), (8,), "they must have as many axes, [..., sequence, d_head]"),
        ((2, 5, 8), (5, 8), (5, 8), "they must have as many axes, [..., sequence, d_head]"),
        ((2, 5, 8), (2, 5, 8), (2, 6, 8), "k and v must have the same shape"),
        ((2, 5, 8), (2, 5, 9), (2, 5, 9), "d_head, the last axis, must be the same in all"),
        ((5, 257), (5, 257), (5, 257), "d_head, the last axis, may be at most 256"),
        ((2, 5, 8), (3, 5, 8), (3, 5, 8), "the leading axes of queries and keys must be the same"),
        ((4, 5, 8), (2, 5, 8), (2, 5, 8), "the leading axes of queries and keys must be the same"),
        ((1, 4, 5, 8), (2, 4, 5, 8), (2, 4, 5, 8), "the leading axes of queries and keys must be the same"),
        ((1, 4, 5, 8), (1, 3, 5, 8), (1, 3, 5, 8), "3 key heads do not divide 4 query heads"),
        ((1, 2, 5, 8), (1, 4, 5, 8), (1, 4, 5, 8), "4 key heads do not divide 2 query heads"),
        ((2, 0, 8), (2, 5, 8), (2, 5, 8), "no axis may be empty"),
        ((2, 5, 8), (2, 0, 8), (2, 0, 8), "no axis may be empty"),
        ((0, 5, 8), (0, 5, 8), (0, 5, 8), "no axis may be empty"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_with_all_three(
    q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...], fault: str
):
    with pytest.raises(SpecError) as refusal:
        check_inputs(empty(*q), empty(*k), empty(*v), is_causal=False, window=None)

    assert refusal.value.faults == (f"q is {q}, k {k}, v {v}; {fault}",)


def test_mixed_dtypes_are_refused():
    q, k = empty(5, 8), empty(5, 8, dtype=torch.float16)

    with pytest.raises(SpecError, match=r"k torch\.float16, v torch\.float16; they must have one dtype"):
        check_inputs(q, k, k, is_causal=False, window=None)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_numbers_of_another_kind_are_refused(dtype: torch.dtype):
    q = empty(5, 8, dtype=dtype)

    with pytest.raises(SpecError, match=f"q, k and v are {dtype}; attention takes floating-point numbers"):
        check_inputs(q, q, q, is_causal=False, window=None)


def test_several_devices_are_refused():
    q, k = empty(5, 8), empty(5, 8, device="meta")

    with pytest.raises(SpecError, match="q is on cpu, k on meta, v on cpu; they must be on one device"):
        check_inputs(q, k, q, is_causal=False, window=None)


def test_a_window_needs_a_causal_mask():
    q = empty(5, 8)

    with pytest.raises(SpecError, match="window 3 without a causal mask"):
        check_inputs(q, q, q, is_causal=False, window=3)


@pytest.mark.parametrize("window", [0, -1])
def test_a_window_holds_at_least_one_key(window: int):
    q = empty(5, 8)

    with pytest.raises(SpecError, match=f"window {window} leaves no key; it must be at least 1"):
        check_inputs(q, q, q, is_causal=True, window=window)


def test_the_last_query_that_sees_a_key_is_the_last_that_is_taken():
    k = empty(5, 8)

    check_inputs(empty(7, 8), k, k, is_causal=True, window=3)

    with pytest.raises(SpecError, match="query 7 and later see no key; at most 7 queries can attend"):
        check_inputs(empty(8, 8), k, k, is_causal=True, window=3)


def test_every_fault_is_named():
    q, k = empty(5, 8, dtype=torch.int64), empty(5, 9, dtype=torch.int64)

    with pytest.raises(SpecError) as refusal:
        check_inputs(q, k, k, is_causal=False, window=0)

    assert len(refusal.value.faults) == 4


@pytest.mark.parametrize(
    ("o", "message"),
    [
        (None, "returned NoneType, not a tensor: return O alone"),
        ((empty(1, 2, 5, 8), 0), "returned tuple, not a tensor: return O alone"),
        (
            empty(1, 1, 5, 8),
            "returned an O with shape (1, 1, 5, 8); it must be that of Q, (1, 2, 5, 8): [batch, heads, ",
        ),
        (empty(1, 2, 5, 8, dtype=torch.float64), "returned an O with dtype torch.float64; it must be that of Q, "),
        (empty(1, 2, 5, 8, device="meta"), "returned an O with device meta; it must be that of Q, cpu: "),
        (empty(1, 2, 5, 8), "returned an O without a gradient: it has no backward; "),
    ],
    ids=["none", "tuple", "shape", "dtype", "device", "gradient"],
)
def test_an_output_that_is_none_of_the_queries_is_an_error(o: object, message: str):
    with pytest.raises(RunError) as error:
        check_output("own:attend", o, empty(1, 2, 5, 8), needs_backward=True)

    assert str(error.value).startswith(f"attention 'own:attend' {message}")


def test_an_output_like_the_queries_is_taken():
    q = empty(1, 2, 5, 8)

    check_output("own:attend", empty(1, 2, 5, 8), q, needs_backward=False)
    check_output("own:attend", empty(1, 2, 5, 8).requires_grad_(), q, needs_backward=True)
