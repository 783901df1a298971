"""How a backend attends, as operations on a tape: materialised scores, or a fused kernel that never holds them."""

from typing import Protocol

from windtunnel.cost.compiled_scores import CompiledScores
from windtunnel.cost.fused_attention import Fused
from windtunnel.cost.materialised import Materialised
from windtunnel.cost.sizes import AttentionSizes
from windtunnel.cost.tape import Tape
from windtunnel.errors import UnsupportedError
from windtunnel.language import listed, say
from windtunnel.spec.tables import ATTENTION_BACKENDS


class Attending(Protocol):
    """What attention does with `q`, `k` and `v` on a tape."""

    @property
    def is_operator(self) -> bool:
        """Whether torch sees it as one operator, whose result selective checkpointing keeps."""
        ...

    def forward(self, tape: Tape, sizes: AttentionSizes, *, keeps: bool) -> None:
        """Make `o`; keep what backward needs, if it follows. The caller still holds `q` and `k`, `v` is given up."""
        ...

    def backward(self, tape: Tape, sizes: AttentionSizes) -> None:
        """Make `dq`, `dk` and `dv` from `do`, which is freed with all that was kept, but `o` if that is kept."""
        ...

    def saved(self, sizes: AttentionSizes) -> frozenset[str]:
        """Return which of `q`, `k`, `v` and `o` backward needs themselves."""
        ...

    def gathers(self, sizes: AttentionSizes) -> bool:
        """Whether O is ordered by head, so that its transpose must be copied for the output projection."""
        ...


_FLASH = Fused(accumulates_dq=True, rates=(0.38, 0.37))
_BACKENDS: dict[str, Attending] = {
    "eager": Materialised(),
    "compiled": CompiledScores(),
    "sdpa": _FLASH,
    "sdpa-flash": _FLASH,
    "sdpa-efficient": Fused(rates=(0.38, 0.3)),
    "sdpa-cudnn": Fused(accumulates_dq=True, rates=(0.61, 0.62)),
    "flex": Fused(is_operator=False, rates=(0.48, 0.4)),
    "flash-eager": Fused(is_operator=False, orders_by_head=True, rates=(0.05, 0.05), tile=256),
    "flash-triton": Fused(row_statistics=2, rates=(0.55, 0.48), more_host_work=(18, 12)),
    "flash-attn": _FLASH,
    "flash-attn-3": Fused(accumulates_dq=True, rates=(0.65, 0.55)),
    "flash-attn-4": Fused(is_operator=False, accumulates_dq=True, rates=(0.76, 0.79)),
}
"""How each backend attends. `sdpa` is the flash kernel in half precision and the memory-efficient one in float32.

Rates in half precision were measured on an H200 in bf16 with a causal mask, 16 heads of 64 and 16,384 tokens: FLOPs of
the visible half over the 740 TFLOP/s of a product of 8192³. Those of `sdpa-efficient`, `flash-eager` and
`flash-attn-3` are estimates. In float32 the rate of products is that of plain cores, and a fused kernel comes nearer to
it: measured for `sdpa-efficient` with 8 heads of 128, and taken for all.

The host's work of `flash-triton` is fitted to 87 steps that wait for the host, on two hosts of an H200
(`benchmarks/host_work.py`).
"""


def is_operator(name: str) -> bool:
    """Whether torch sees the attention of a name as one operator; a user's own is taken to be several."""
    return name in _BACKENDS and _BACKENDS[name].is_operator


def attending(name: str) -> Attending:
    """Return how the backend of a name attends.

    Raises:
        UnsupportedError: It has no closed form: it is a user's own, or torch decides what it keeps.
    """
    if name in _BACKENDS:
        return _BACKENDS[name]
    known = listed(sorted(_BACKENDS))
    if name in ATTENTION_BACKENDS:
        raise UnsupportedError(
            say(
                "attention {name!r} has no closed form, as torch decides what it keeps; these have one: {known}",
                name=name,
                known=known,
            )
        )
    raise UnsupportedError(
        say(
            "attention {name!r} has no closed form, as it is your own code; these have one: {known}",
            name=name,
            known=known,
        )
    )
