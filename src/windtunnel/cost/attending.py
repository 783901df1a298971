"""How a backend attends, as operations on a tape: materialised scores, or a fused kernel that never holds them."""

from dataclasses import dataclass
from typing import Protocol

from windtunnel.cost.sizes import FLOAT, AttentionSizes
from windtunnel.cost.tape import Component, Held, Kind, Tape
from windtunnel.errors import UnsupportedError
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Materialised:
    """Scores, mask, softmax and weighted sum, each a kernel; `windtunnel.attention.eager`.

    Forward holds at most: scores and softmax, 2 matrices of queries x keys in the format of products; under autocast
    scores in it, and scores and softmax in float32 (10 bytes an entry). Backward needs the softmax (under autocast also
    its cast: 6 bytes an entry), the mask of the call (one byte a pair of positions) and copies of Q, K and V by head.
    At its peak, backward holds softmax, its gradient and that of the scores: 3 matrices.

    Source: `windtunnel.attention.eager.attend` line by line; Korthikanti et al. 2022 (arXiv:2205.05198), section 4.1,
    count 5·a·s²·b for a softmax, its dropout and a mask of bytes in half precision: here there is no dropout, and one
    mask for all heads.
    """

    is_operator: bool = False

    def forward(self, tape: Tape, sizes: AttentionSizes, *, keeps: bool) -> None:
        """Make `o` with one product, one softmax, one product."""
        scores = sizes.scores(sizes.element_bytes)
        q, k, v = self._operands(sizes)
        if sizes.is_grouped:
            for name in "kv":
                tape.run(f"repeat {name}", reads=(name,), makes={f"{name} heads": sizes.queries})
            tape.drop("v")
        tape.run("scale q", reads=("q",), makes={"scaled q": sizes.queries})
        if sizes.has_copied_heads:
            tape.run("order q by head", reads=("scaled q",), makes={q: sizes.queries})
            if not sizes.is_grouped:
                tape.run("order k by head", reads=("k",), makes={k: sizes.queries})
        tape.run("scores", reads=(q, k), makes={"scores": scores}, flops=sizes.product_flops)
        self._forget(tape, q, k, keeps=keeps)
        if q != "scaled q":
            tape.drop("scaled q")
        if sizes.mask != "full":
            tape.run("mask", makes={"mask": sizes.hidden}, launches=2, more_bytes=2 * sizes.hidden.num_bytes)
            tape.run("apply mask", reads=("mask", "scores"), more_bytes=scores.num_bytes)
            self._forget(tape, "mask", keeps=keeps)
        weights = self._softmax(tape, sizes, keeps=keeps)
        if v == "v rows":
            tape.run("order v by head", reads=("v",), makes={v: sizes.queries})
        tape.run("weighted sum", reads=(weights, v), makes={"o": sizes.queries}, flops=sizes.product_flops)
        self._forget(tape, weights, v, keeps=keeps)
        tape.drop("scores")
        if v == "v rows":
            tape.drop("v")
        if sizes.is_grouped and not keeps:
            tape.drop("k heads")

    @staticmethod
    def _operands(sizes: AttentionSizes) -> tuple[str, str, str]:
        """Return what Q, K and V are called when they are multiplied."""
        if sizes.is_grouped:
            return "q rows" if sizes.has_copied_heads else "scaled q", "k heads", "v heads"
        return ("q rows", "k rows", "v rows") if sizes.has_copied_heads else ("scaled q", "k", "v")

    @staticmethod
    def _forget(tape: Tape, *names: str, keeps: bool) -> None:
        """Free what only backward would need; K is the caller's, and repeated heads live until the call returns."""
        if not keeps:
            tape.drop(*(name for name in names if name not in {"k", "k heads"}))

    def _softmax(self, tape: Tape, sizes: AttentionSizes, *, keeps: bool) -> str:
        """Make the softmax, and return what it is called in the format of products."""
        source, softmax = "scores", sizes.scores(sizes.softmax_bytes)
        if sizes.is_autocast and not sizes.is_half_softmax:
            source = "scores in float32"
            tape.run("cast scores", reads=("scores",), makes={source: sizes.scores(FLOAT)})
        tape.run("softmax", reads=(source,), makes={"P": softmax})
        if source != "scores":
            tape.drop(source)
        if not sizes.is_autocast:
            return "P"
        tape.run("cast P", reads=("P",), makes={"P in products": sizes.scores(sizes.element_bytes)})
        self._forget(tape, "P", keeps=keeps)
        return "P in products"

    def backward(self, tape: Tape, sizes: AttentionSizes) -> None:
        """Go back through both products and the softmax."""
        q, k, v = self._operands(sizes)
        scores = sizes.scores(sizes.element_bytes)
        weights = "P in products" if sizes.is_autocast else "P"
        if sizes.has_copied_heads:
            tape.run("order do by head", reads=("do",), makes={"do rows": sizes.queries})
            tape.drop("do")
            tape.rename("do rows", "do")
        tape.run("dV", reads=("do", weights), makes={"dv heads": sizes.queries}, flops=sizes.product_flops)
        tape.run("dP", reads=("do", v), makes={"dP": scores}, flops=sizes.product_flops)
        tape.drop("do", v)
        if sizes.is_autocast:
            tape.drop(weights)
            tape.run("cast dP", reads=("dP",), makes={"dP in float32": sizes.scores(FLOAT)})
            tape.drop("dP")
            tape.rename("dP in float32", "dP")
        dS = scores if sizes.is_half_softmax else sizes.scores(sizes.softmax_bytes)
        tape.run("softmax backward", reads=("dP", "P"), makes={"dS": dS})
        tape.drop("dP", "P")
        if sizes.is_autocast and not sizes.is_half_softmax:
            tape.run("cast dS", reads=("dS",), makes={"dS in products": scores})
            tape.drop("dS")
            tape.rename("dS in products", "dS")
        if sizes.mask != "full":
            tape.run("mask backward", reads=("dS", "mask"), makes={"masked dS": scores})
            tape.drop("dS", "mask")
            tape.rename("masked dS", "dS")
        tape.run("dK", reads=("dS", q), makes={"dk heads": sizes.queries}, flops=sizes.product_flops)
        tape.run("dQ", reads=("dS", k), makes={"dq scaled": sizes.queries}, flops=sizes.product_flops)
        tape.drop("dS", q, k)
        tape.run("scale dq", reads=("dq scaled",), makes={"dq": sizes.queries})
        tape.drop("dq scaled")
        for name in ("dv", "dk"):
            if sizes.is_grouped:
                tape.run(f"sum {name} of a group", reads=(f"{name} heads",), makes={name: sizes.keys})
                tape.drop(f"{name} heads")
            else:
                tape.rename(f"{name} heads", name)

    def saved(self, sizes: AttentionSizes) -> frozenset[str]:
        """K and V themselves only where no copy was made of them."""
        return frozenset(self._operands(sizes)) & {"k", "v"}

    def gathers(self, sizes: AttentionSizes) -> bool:
        """The product orders O by head."""
        return sizes.is_strided and sizes.num_heads > 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Fused:
    """One kernel, which keeps Q, K, V, O and the log-sum-exp of each row for backward, and computes scores again.

    Source: Dao 2023 (arXiv:2307.08691), section 3.1; for what a call holds besides, the attributes.

    Attributes:
        is_operator: Whether torch sees it as one operator.
        accumulates_dq: Whether backward sums dQ in float32 in memory, as FlashAttention-2 of one pass does.
        row_statistics: float32 numbers of each row that backward makes: D, the sums of dO·O.
        orders_by_head: Whether O is a new tensor [batch, heads, seq, d_head], whatever the strides of Q are.
        tile: Edge of the tiles of scores that are in memory because each step on them is a kernel of its own; 0 where
            a tile never leaves the chip.
    """

    is_operator: bool = True
    accumulates_dq: bool = False
    row_statistics: int = 1
    orders_by_head: bool = False
    tile: int = 0

    def forward(self, tape: Tape, sizes: AttentionSizes, *, keeps: bool) -> None:
        """Make `o` in one launch."""
        made = {"o": sizes.queries, "log-sum-exp": sizes.row_statistic}
        tape.run("attention", reads=("q", "k", "v"), makes=made, flops=2 * sizes.visible_flops, kind=Kind.ATTENTION)
        if self.tile:
            tape.run("tiles", makes={"tiles": self._tiles(sizes, _FORWARD_TILES)}, launches=0)
            tape.drop("tiles")
        if not keeps:
            tape.drop("log-sum-exp", "v")

    def backward(self, tape: Tape, sizes: AttentionSizes) -> None:
        """Make the gradients, computing scores again: five products."""
        rows = Held(part=Component.WORKSPACE, num_bytes=self.row_statistics * sizes.row_statistic.num_bytes)
        made = {"rows": rows, "dq": sizes.queries, "dk": sizes.keys, "dv": sizes.keys}
        if self.accumulates_dq:
            sums = sizes.queries.num_bytes // sizes.element_bytes * FLOAT
            made["dq sums"] = Held(part=Component.WORKSPACE, num_bytes=sums)
        if self.tile:
            made["tiles"] = self._tiles(sizes, _BACKWARD_TILES)
        tape.run(
            "attention backward",
            reads=("q", "k", "v", "o", "log-sum-exp", "do"),
            makes=made,
            flops=5 * sizes.visible_flops,
            kind=Kind.ATTENTION,
            launches=3,
        )
        tape.drop("do", "q", "k", "v", "log-sum-exp", *(name for name in ("rows", "dq sums", "tiles") if name in made))

    def _tiles(self, sizes: AttentionSizes, count: float) -> Held:
        edge = min(self.tile, sizes.seq_len)
        entries = sizes.batch_size * sizes.num_heads * edge * (edge + sizes.d_head)
        return Held(part=Component.WORKSPACE, num_bytes=int(count * entries * FLOAT))

    def saved(self, sizes: AttentionSizes) -> frozenset[str]:
        """All of them."""
        return frozenset("qkvo")

    def gathers(self, sizes: AttentionSizes) -> bool:
        """O has the strides of Q, unless the backend orders it."""
        return self.orders_by_head and sizes.is_strided and sizes.num_heads > 1


_FORWARD_TILES = 3.0
_BACKWARD_TILES = 5.0
"""Float32 tiles of scores, with as many rows of Q's width beside each, that the tiled backend holds at its peak."""

_FLASH = Fused(accumulates_dq=True)
_BACKENDS: dict[str, Attending] = {
    "eager": Materialised(),
    "sdpa": _FLASH,
    "sdpa-flash": _FLASH,
    "sdpa-efficient": Fused(),
    "sdpa-cudnn": _FLASH,
    "flex": Fused(is_operator=False),
    "flash-eager": Fused(is_operator=False, orders_by_head=True, tile=256),
    "flash-triton": Fused(row_statistics=2),
    "flash-attn": _FLASH,
    "flash-attn-3": _FLASH,
    "flash-attn-4": Fused(is_operator=False, accumulates_dq=True),
}
"""How each backend attends. `sdpa` is the flash kernel in half precision and the memory-efficient one in float32."""


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
    why = "it is your own code" if name not in ATTENTION_BACKENDS else "torch decides what it keeps"
    raise UnsupportedError(
        f"attention {name!r} has no closed form, as {why}; these have one: {', '.join(sorted(_BACKENDS))}"
    )
