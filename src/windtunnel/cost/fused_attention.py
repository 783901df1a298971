"""Attention in one kernel, which never holds the scores, as operations on a tape."""

from dataclasses import dataclass

from windtunnel.cost.sizes import FLOAT, AttentionSizes
from windtunnel.cost.tape import Component, Held, Kind, Shape, Tape

_FORWARD_TILES = 3.0
_BACKWARD_TILES = 5.0
"""Float32 tiles of scores, with as many rows of Q's width beside each, that the tiled backend holds at its peak."""

_FLOAT_RATES = (0.85, 0.7)
"""Shares of the rate of products in float32."""

_FULL_D_HEAD = 64
"""Narrower heads leave the tensor cores in part idle."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fused:
    """One kernel, which keeps Q, K, V, O and the log-sum-exp of each row for backward, and computes scores again.

    Source: Dao 2023 (arXiv:2307.08691), section 3.1; for what a call holds besides, the attributes.

    Attributes:
        is_operator: Whether torch sees it as one operator.
        accumulates_dq: Whether backward sums dQ in float32 in memory, as FlashAttention-2 of one pass does.
        row_statistics: float32 numbers of each row that backward makes: D, the sums of dO·O.
        orders_by_head: Whether O is a new tensor [batch, heads, seq, d_head], whatever the strides of Q are.
        rates: Shares of the rate of large products, forward and backward, with heads of 64.
        tile: Edge of the tiles of scores that are in memory because each step on them is a kernel of its own; 0 where
            a tile never leaves the chip.
        more_host_work: What Python costs the host in forward and backward beside their launches, in launches of eager
            mode: checks, an autograd function and Triton's launcher, which torch's own operators have in C++.
    """

    is_operator: bool = True
    accumulates_dq: bool = False
    row_statistics: int = 1
    orders_by_head: bool = False
    rates: tuple[float, float] = (0.4, 0.37)
    tile: int = 0
    more_host_work: tuple[int, int] = (0, 0)

    def forward(self, tape: Tape, sizes: AttentionSizes, *, keeps: bool) -> None:
        """Make `o` in one launch."""
        made = {"o": sizes.queries, "log-sum-exp": sizes.row_statistic}
        tape.run(
            "attention",
            reads=("q", "k", "v"),
            makes=made,
            flops=2 * sizes.visible_flops,
            kind=Kind.ATTENTION,
            shape=self._blocks(sizes),
            share=self.share(sizes)[0],
            more_host_work=self.more_host_work[0],
        )
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
            shape=self._blocks(sizes),
            share=self.share(sizes)[1],
            more_host_work=self.more_host_work[1],
        )
        tape.drop("do", "q", "k", "v", "log-sum-exp", *(name for name in ("rows", "dq sums", "tiles") if name in made))

    def share(self, sizes: AttentionSizes) -> tuple[float, float]:
        """Return the shares of the rate of large products that forward and backward reach at this width of a head."""
        forward, backward = _FLOAT_RATES if sizes.element_bytes == FLOAT else self.rates
        fullness = min(1.0, sizes.d_head / _FULL_D_HEAD)
        return forward * fullness, backward * fullness

    @staticmethod
    def _blocks(sizes: AttentionSizes) -> Shape:
        """Return what can run side by side: rows of queries of all heads, each as wide as one tile of a product."""
        return sizes.seq_len, 128, sizes.batch_size * sizes.num_heads

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
