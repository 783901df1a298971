"""What every way to attend asks of its inputs, said before anything is launched, and what is asked of its result."""

from torch import Tensor

from windtunnel.errors import RunError, SpecError
from windtunnel.spec.attention import MAX_D_HEAD


def check_inputs(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool, window: int | None) -> None:
    """Check Q of [..., queries, d_head] against K and V of [..., keys, d_head].

    From four axes on the third last one counts heads, of which keys may have fewer: each serves a group of query
    heads. All other leading axes are equal.

    Raises:
        SpecError: These three tensors cannot be attended with; every fault is named.
    """
    faults = _shape_faults(q, k, v) + _kind_faults(q, k, v)
    if window is not None:
        faults += _window_faults(q, k, is_causal=is_causal, window=window)
    if faults:
        raise SpecError(*faults)


def check_output(name: str, o: object, q: Tensor, *, needs_backward: bool) -> None:
    """Check what the attention of this name returned for queries `q`: a broadcast would hide a wrong shape.

    Raises:
        RunError: It is no O of these queries, or has no gradient although one is needed.
    """
    if not isinstance(o, Tensor):
        raise RunError(f"attention {name!r} returned {type(o).__name__}, not a tensor: return O alone")
    for what, found, wanted in (
        ("shape", tuple(o.shape), tuple(q.shape)),
        ("dtype", o.dtype, q.dtype),
        ("device", o.device, q.device),
    ):
        if found != wanted:
            raise RunError(
                f"attention {name!r} returned an O with {what} {found}; it must be that of Q, {wanted}: "
                "[batch, heads, queries, d_head], in the dtype and on the device of Q"
            )
    if needs_backward and not o.requires_grad:
        raise RunError(
            f"attention {name!r} returned an O without a gradient: it has no backward; measure its forward alone, or "
            "make it a torch.autograd.Function with a backward"
        )


def _shape_faults(q: Tensor, k: Tensor, v: Tensor) -> list[str]:
    shapes = f"q is {tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}"
    if q.dim() < 2 or q.dim() != k.dim():
        return [f"{shapes}; they must have as many axes, [..., sequence, d_head]"]
    if 0 in q.shape or 0 in k.shape:
        return [f"{shapes}; no axis may be empty"]
    faults: list[str] = []
    if k.shape != v.shape:
        faults.append(f"{shapes}; k and v must have the same shape")
    if q.shape[-1] != k.shape[-1]:
        faults.append(f"{shapes}; d_head, the last axis, must be the same in all")
    elif q.shape[-1] > MAX_D_HEAD:
        faults.append(f"{shapes}; d_head, the last axis, may be at most {MAX_D_HEAD}")
    batch_axes = q.dim() - (3 if q.dim() >= 4 else 2)
    if q.shape[:batch_axes] != k.shape[:batch_axes]:
        faults.append(f"{shapes}; the leading axes of queries and keys must be the same")
    elif q.dim() >= 4 and q.shape[-3] % k.shape[-3]:
        faults.append(f"{shapes}; {k.shape[-3]} key heads do not divide {q.shape[-3]} query heads")
    return faults


def _kind_faults(q: Tensor, k: Tensor, v: Tensor) -> list[str]:
    faults: list[str] = []
    if not (q.dtype == k.dtype == v.dtype):
        faults.append(f"q is {q.dtype}, k {k.dtype}, v {v.dtype}; they must have one dtype: cast them first")
    elif not q.dtype.is_floating_point:
        faults.append(f"q, k and v are {q.dtype}; attention takes floating-point numbers")
    if not (q.device == k.device == v.device):
        faults.append(f"q is on {q.device}, k on {k.device}, v on {v.device}; they must be on one device")
    return faults


def _window_faults(q: Tensor, k: Tensor, *, is_causal: bool, window: int) -> list[str]:
    faults: list[str] = []
    if not is_causal:
        faults.append(f"window {window} without a causal mask; a window ends at the query itself: set is_causal")
    if window < 1:
        faults.append(f"window {window} leaves no key; it must be at least 1")
    elif q.dim() >= 2 and k.dim() >= 2 and q.shape[-2] > k.shape[-2] + window - 1:
        faults.append(
            f"{q.shape[-2]} queries, {k.shape[-2]} keys and window {window}: query {k.shape[-2] + window - 1} and "
            f"later see no key; at most {k.shape[-2] + window - 1} queries can attend"
        )
    return faults
