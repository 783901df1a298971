"""What all conformance tests of attention share: cases, the plain formula, and the errors that it makes itself."""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from windtunnel.attention.backend import Attend, Backend, place_of
from windtunnel.attention.reference import Gradients, reference
from windtunnel.errors import UnsupportedError
from windtunnel.spec.abilities import Call

PARTS = ("o", "dq", "dk", "dv")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One call: its sizes and its mask."""

    queries: int
    keys: int
    heads: int = 2
    kv_heads: int = 2
    d_head: int = 8
    is_causal: bool = False
    window: int | None = None
    batch: int = 1

    def __str__(self) -> str:
        mask = f"window {self.window}" if self.window else "causal" if self.is_causal else "full"
        return f"{self.queries}x{self.keys}-{self.heads}/{self.kv_heads}x{self.d_head}-{mask}"

    def check(self, backend: Backend, name: str, device: torch.device, dtype: torch.dtype) -> None:
        """Let `backend` say that it cannot do this, gradients apart."""
        call = Call(
            dtype=str(dtype).removeprefix("torch."),
            d_head=self.d_head,
            is_causal=self.is_causal,
            window=self.window,
            is_square=self.queries == self.keys,
            is_grouped=self.heads != self.kv_heads,
        )
        backend.abilities.check(name, call, place_of(device))

    def is_taken_by(self, backend: Backend, device: torch.device, dtype: torch.dtype) -> bool:
        """Whether `backend` says that it can do this."""
        try:
            self.check(backend, "asked", device, dtype)
        except UnsupportedError:
            return False
        return True


def with_masks(*cases: Case, windows: tuple[int, ...]) -> tuple[Case, ...]:
    """Return each case with the full, the causal and those windows in which each query sees a key."""
    found = []
    for case in cases:
        sizes = {name: getattr(case, name) for name in ("queries", "keys", "heads", "kv_heads", "d_head", "batch")}
        found += [case, Case(**sizes, is_causal=True)]
        found += [Case(**sizes, is_causal=True, window=n) for n in windows if case.queries < case.keys + n]
    return tuple(found)


@cache
def draw(case: Case, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw Q, K, V and dO on the CPU, already rounded to `dtype`."""
    generator = torch.Generator().manual_seed(case.queries + 1000 * case.keys)

    def normal(heads: int, seq: int) -> Tensor:
        return torch.randn(case.batch, heads, seq, case.d_head, generator=generator, dtype=torch.float64).to(dtype)

    k, v = normal(case.kv_heads, case.keys), normal(case.kv_heads, case.keys)
    return normal(case.heads, case.queries), k, v, normal(case.heads, case.queries)


@cache
def exact(case: Case, dtype: torch.dtype) -> Gradients:
    """Return the reference, for inputs rounded to `dtype`."""
    return reference(*draw(case, dtype), is_causal=case.is_causal, window=case.window)


def formula(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool, window: int | None = None) -> Tensor:
    """Softmax(Q·Kᵀ / sqrt(d_head)) · V, written out head by head in the dtype of the inputs."""
    groups = q.shape[1] // k.shape[1]
    queries, keys = torch.arange(q.shape[2], device=q.device), torch.arange(k.shape[2], device=q.device)
    distance = queries[:, None] - keys[None, :]
    hidden = (distance < 0) | (distance >= (window or math.inf)) if is_causal else distance.isnan()
    heads = []
    for head in range(q.shape[1]):
        scores = q[:, head] @ k[:, head // groups].mT / math.sqrt(q.shape[-1])
        heads.append(torch.softmax(scores.masked_fill(hidden, -math.inf), dim=-1) @ v[:, head // groups])
    return torch.stack(heads, dim=1)


def attend_with_gradients(
    attend: Attend, case: Case, inputs: tuple[Tensor, ...], *, has_backward: bool = True
) -> dict[str, Tensor]:
    """Return O and, where there are any, the gradients of sum(O * dO)."""
    q, k, v = (tensor.detach().clone().requires_grad_(has_backward) for tensor in inputs[:3])
    window = {} if case.window is None else {"window": case.window}
    o = attend(q, k, v, is_causal=case.is_causal, **window)
    if not has_backward:
        return {"o": o}
    return dict(zip(PARTS, (o.detach(), *torch.autograd.grad(o, (q, k, v), inputs[3])), strict=True))


def errors(found: dict[str, Tensor], case: Case, dtype: torch.dtype) -> dict[str, float]:
    """Return the norm of the error of each part over that of the part, or over that of dO where the part is 0."""
    expected = exact(case, dtype)
    shares = {}
    for part, tensor in found.items():
        true = getattr(expected, part)
        unit, upstream = true.norm(), draw(case, dtype)[3].double().norm()
        shares[part] = ((tensor.cpu().double() - true).norm() / (unit if unit > 1e-9 * upstream else upstream)).item()
    return shares


def budgets(cases: tuple[Case, ...], dtype: torch.dtype, device: str = "cpu") -> dict[str, float]:
    """Return for each part twice the largest error that the plain formula makes in `dtype`, and one rounding.

    The largest over all cases: over the few numbers of one case it would be a matter of luck.
    """
    most = dict.fromkeys(PARTS, 0.0)
    for case in cases:
        inputs = tuple(tensor.to(device) for tensor in draw(case, dtype))
        for part, error in errors(attend_with_gradients(formula, case, inputs), case, dtype).items():
            most[part] = max(most[part], error)
    return {part: 2 * error + torch.finfo(dtype).eps for part, error in most.items()}


def faults(found: dict[str, Tensor], case: Case, dtype: torch.dtype, budget: dict[str, float]) -> dict[str, float]:
    """Return the parts whose error is beyond the budget; NaN is beyond any."""
    return {part: error for part, error in errors(found, case, dtype).items() if not error <= budget[part]}
