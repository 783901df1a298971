"""What a flash kernel must compute: cases of every kind, their float64 solution, and how far off it may be."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

PARTS = ("O", "L", "dQ", "dK", "dV")

Attend = Callable[..., tuple[Tensor, Tensor]]
"""Takes q, k, v, is_causal and window, returns O, with a graph, and L."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One call; `layout` says how the four inputs lie in memory."""

    queries: int
    keys: int
    batch_size: int = 1
    heads: int = 1
    kv_heads: int = 1
    d_head: int = 16
    is_causal: bool = False
    window: int | None = None
    layout: str = "contiguous"

    def __str__(self) -> str:
        mask = "full" if not self.is_causal else "causal" if self.window is None else f"window{self.window}"
        heads = f"b{self.batch_size}-h{self.heads}/{self.kv_heads}"
        return f"{self.queries}x{self.keys}-{heads}-d{self.d_head}-{mask}-{self.layout}"


def make_cases(q_tile: int, k_tile: int, d_heads: tuple[int, ...]) -> tuple[Case, ...]:
    """Return cases around the edges of the tiles: odd lengths with every mask, then head sizes, groups, layouts."""
    lengths = (
        (1, 1),
        (q_tile - 1, q_tile - 1),
        (q_tile + 1, q_tile + 1),
        (2 * q_tile + 3, 2 * q_tile + 3),
        (2 * max(q_tile, k_tile), 2 * max(q_tile, k_tile)),
        (q_tile + 1, 2 * k_tile + 3),
        (2 * q_tile + 3, k_tile - 1),
        (1, 2 * k_tile + 3),
    )
    masks = ((False, None), (True, None), (True, 1), (True, 5), (True, k_tile + 3), (True, 2 * q_tile + 2))
    found = [
        Case(queries=queries, keys=keys, is_causal=is_causal, window=window)
        for (queries, keys), (is_causal, window) in itertools.product(lengths, masks)
        if window is None or queries <= keys + window - 1
    ]
    length = q_tile + 3
    found += [
        Case(queries=length, keys=length - 2, d_head=d_head, is_causal=is_causal)
        for d_head, is_causal in itertools.product(d_heads, (False, True))
    ]
    found += [
        Case(queries=length, keys=length, batch_size=2, heads=heads, kv_heads=kv_heads, is_causal=True, window=window)
        for heads, kv_heads, window in ((3, 3, None), (4, 2, None), (3, 1, None), (4, 2, 9))
    ]
    found += [
        Case(
            queries=length, keys=length, batch_size=2, heads=2, kv_heads=2, layout=layout, d_head=d_head, is_causal=True
        )
        for layout, d_head in zip(LAYOUTS, (24, 24, 32, 16, 24), strict=True)
    ]
    return tuple(dict.fromkeys(found))


def _interleaved(tensor: Tensor) -> Tensor:
    """Return heads side by side in each row, as a projection writes them."""
    return tensor.transpose(1, 2).contiguous().transpose(1, 2)


def _strided(tensor: Tensor) -> Tensor:
    """Return every second number of a larger tensor."""
    return tensor.repeat_interleave(2, -1)[..., ::2]


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda tensor: tensor,
    "interleaved": _interleaved,
    "transposed": lambda tensor: tensor.mT.contiguous().mT,
    "strided": _strided,
    "expanded": lambda tensor: tensor[:, :, :, :1].expand_as(tensor),
}


def draw(case: Case, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw Q, K, V and dO, rounded to `dtype`, in the layout of the case; expanded is only dO."""
    generator = torch.Generator().manual_seed(case.queries + case.keys + case.d_head)

    def normal(heads: int, length: int) -> Tensor:
        return (
            torch.randn(case.batch_size, heads, length, case.d_head, generator=generator, dtype=torch.float64)
            .to(dtype)
            .to(device)
        )

    q, dO = normal(case.heads, case.queries), normal(case.heads, case.queries)
    k, v = normal(case.kv_heads, case.keys), normal(case.kv_heads, case.keys)
    lay = LAYOUTS[case.layout]
    if case.layout == "expanded":
        return q, k, v, lay(dO)
    return lay(q), lay(k), lay(v), lay(dO)


def formula(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool, window: int | None) -> tuple[Tensor, Tensor]:
    """Return softmax(Q·Kᵀ / sqrt(d_head)) · V and the log-sum-exp, written out in the dtype of the inputs."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.mT / q.shape[-1] ** 0.5
    distance = torch.arange(q.shape[2], device=q.device)[:, None] - torch.arange(k.shape[2], device=q.device)
    if is_causal:
        scores = scores.masked_fill(distance < 0, float("-inf"))
    if window is not None:
        scores = scores.masked_fill(distance >= window, float("-inf"))
    return torch.softmax(scores, -1) @ v, torch.logsumexp(scores, -1)


def run(attend: Attend, case: Case, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Return O, L and the gradients of sum(O * dO)."""
    q, k, v = (tensor.detach().requires_grad_() for tensor in inputs[:3])
    O, L = attend(q, k, v, is_causal=case.is_causal, window=case.window)
    gradients = torch.autograd.grad(O, (q, k, v), inputs[3])
    return dict(zip(PARTS, (O.detach(), L.detach(), *gradients), strict=True))


def run_plainly(case: Case, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Return the same by the equations of the paper in the dtype of the inputs, with whole matrices.

    Not by autograd: its softmax cancels exactly where there is one key, and dP - rowsum(O * dO) only up to rounding.
    """
    q, k, v, dO = inputs
    groups = case.heads // case.kv_heads
    keys, values = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    O, L = formula(q, k, v, is_causal=case.is_causal, window=case.window)
    identity = torch.eye(case.keys, dtype=v.dtype, device=v.device).expand(*k.shape[:2], -1, -1)
    P, _ = formula(q, k, identity, is_causal=case.is_causal, window=case.window)
    dS = P * (dO @ values.mT - (O * dO).sum(-1, keepdim=True)) * case.d_head**-0.5
    dK, dV = ((of.mT @ to).unflatten(1, (-1, groups)).sum(2) for of, to in ((dS, q), (P, dO)))
    return dict(zip(PARTS, (O, L, dS @ keys, dK, dV), strict=True))


@cache
def solve(case: Case, dtype: torch.dtype, device: str) -> dict[str, Tensor]:
    """Return the solution in float64, for inputs rounded to `dtype`."""
    return run(formula, case, tuple(tensor.double() for tensor in draw(case, dtype, device)))


def errors_of(found: dict[str, Tensor], exact: dict[str, Tensor]) -> Iterator[tuple[str, float]]:
    """Yield the largest error of each part, in units of its largest value or of one: inputs are of that size."""
    for part, value in exact.items():
        error = ((found[part].double() - value).abs().max() / value.abs().max().clamp(min=1)).item()
        yield part, error if error == error else float("inf")  # NaN: never written


@cache
def error_budget(cases: tuple[Case, ...], dtype: torch.dtype, device: str) -> dict[str, float]:
    """Return for each part twice the plain formula's own largest error in `dtype`, and one rounding of the result.

    The largest over all cases: over the few numbers of one it would be a matter of luck.
    """
    worst = dict.fromkeys(PARTS, 0.0)
    for case in cases:
        for part, error in errors_of(run_plainly(case, draw(case, dtype, device)), solve(case, dtype, device)):
            worst[part] = max(worst[part], error)
    return {part: 2 * error + torch.finfo(dtype).eps for part, error in worst.items()}


def faults_of(
    attend: Attend, case: Case, dtype: torch.dtype, device: str, budget: dict[str, float]
) -> dict[str, float]:
    """Return by part the errors that pass the budget."""
    found = run(attend, case, draw(case, dtype, device))
    return {part: error for part, error in errors_of(found, solve(case, dtype, device)) if not error <= budget[part]}
