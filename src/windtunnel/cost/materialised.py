"""Attention that materialises its scores, as operations on a tape."""

from dataclasses import dataclass

from windtunnel.cost.sizes import FLOAT, AttentionSizes
from windtunnel.cost.tape import Tape

_ENTRY_BYTES = 12
"""What a pass needs that takes one entry at a time, as one with a mask for all heads or with two formats does: as long
as a copy of so many bytes an entry, whatever the format."""

_WARP_ROW = 1024
"""Longest row whose softmax one warp takes in its registers."""

_SOFTMAX_BYTES = {True: 9.3, False: 16.0}
"""The same of the softmax of a row, by whether one warp takes it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Materialised:
    """Scores, mask, softmax and weighted sum, each a kernel; `windtunnel.attention.eager`.

    Forward holds at most: scores and softmax, 2 matrices of queries x keys in the format of products; under autocast
    scores in it, and scores and softmax in float32 (10 bytes an entry). Backward needs the softmax (under autocast also
    its cast: 6 bytes an entry), the mask of the call (one byte a pair of positions) and copies of Q, K and V by head.
    At its peak, backward holds softmax, its gradient, their product and the gradient of the scores: 4 matrices.

    Source: `windtunnel.attention.eager.attend` line by line; softmax_backward_cuda_out of aten/src/ATen/native/cuda/
    SoftMax.cu, for its product of dP and P; peaks on an H200; Korthikanti et al. 2022 (arXiv:2205.05198), section 4.1,
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
        tape.run("scores", reads=(q, k), makes={"scores": scores}, flops=sizes.product_flops, shape=sizes.square)
        self._forget(tape, q, k, keeps=keeps)
        if q != "scaled q":
            tape.drop("scaled q")
        if sizes.mask != "full":
            tape.run("mask", makes={"mask": sizes.hidden}, launches=2, more_bytes=2 * sizes.hidden.num_bytes)
            tape.run(
                "apply mask",
                reads=("mask", "scores"),
                more_bytes=scores.num_bytes,
                share=_share(2 * sizes.element_bytes),
            )
            self._forget(tape, "mask", keeps=keeps)
        weights = self._softmax(tape, sizes, keeps=keeps)
        if v == "v rows":
            tape.run("order v by head", reads=("v",), makes={v: sizes.queries})
        tape.run(
            "weighted sum", reads=(weights, v), makes={"o": sizes.queries}, flops=sizes.product_flops, shape=sizes.tall
        )
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
            tape.run(
                "cast scores",
                reads=("scores",),
                makes={source: sizes.scores(FLOAT)},
                share=_share(sizes.element_bytes + FLOAT),
            )
        read_bytes = sizes.element_bytes if source == "scores" else FLOAT
        tape.run(
            "softmax",
            reads=(source,),
            makes={"P": softmax},
            share=_share(read_bytes + sizes.softmax_bytes, _SOFTMAX_BYTES[sizes.seq_len <= _WARP_ROW]),
        )
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
        tape.run(
            "dV", reads=("do", weights), makes={"dv heads": sizes.queries}, flops=sizes.product_flops, shape=sizes.tall
        )
        tape.run("dP", reads=("do", v), makes={"dP": scores}, flops=sizes.product_flops, shape=sizes.square)
        tape.drop("do", v)
        if sizes.is_autocast:
            tape.drop(weights)
            tape.run(
                "cast dP",
                reads=("dP",),
                makes={"dP in float32": sizes.scores(FLOAT)},
                share=_share(sizes.element_bytes + FLOAT),
            )
            tape.drop("dP")
            tape.rename("dP in float32", "dP")
        dS = scores if sizes.is_half_softmax else sizes.scores(sizes.softmax_bytes)
        # CUDA multiplies dP and P into a tensor of its own first, and sums up its rows in a second kernel.
        tape.run("dP times P", reads=("dP", "P"), makes={"dP times P": sizes.scores(sizes.softmax_bytes)})
        tape.run("softmax backward", reads=("dP times P", "P"), makes={"dS": dS})
        tape.drop("dP times P", "dP", "P")
        if sizes.is_autocast and not sizes.is_half_softmax:
            tape.run("cast dS", reads=("dS",), makes={"dS in products": scores})
            tape.drop("dS")
            tape.rename("dS in products", "dS")
        if sizes.mask != "full":
            tape.run(
                "mask backward",
                reads=("dS", "mask"),
                makes={"masked dS": scores},
                share=_share(2 * sizes.element_bytes),
            )
            tape.drop("dS", "mask")
            tape.rename("masked dS", "dS")
        tape.run("dK", reads=("dS", q), makes={"dk heads": sizes.queries}, flops=sizes.product_flops, shape=sizes.tall)
        tape.run("dQ", reads=("dS", k), makes={"dq scaled": sizes.queries}, flops=sizes.product_flops, shape=sizes.tall)
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


def _share(entry_bytes: int, needed: float = _ENTRY_BYTES) -> float:
    """Return the share of a copy's rate that a pass reaches which moves so many bytes an entry.

    Source: kernels of `aten::masked_fill`, `aten::copy_` and `aten::_softmax` on an H200, 2.7 to 3 ps an entry in
    either format, beside copies at 4.2 TB/s (docs/results/h200/profiles); for rows of 2048,
    whole steps there.
    """
    return entry_bytes / needed
