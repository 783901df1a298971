"""Materialised scores under torch.compile: mask and softmax in one kernel, and one matrix kept."""

from dataclasses import dataclass

from windtunnel.cost.sizes import AttentionSizes
from windtunnel.cost.tape import Tape


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledScores:
    """Two products with one kernel between them, which masks and normalises; `windtunnel.attention.compiled`.

    Keeps Q, K and V, the mask and the softmax: one matrix of queries x keys, in float32 under autocast. At its peak
    backward holds the softmax and its gradient, which becomes that of the scores in place.

    Source: what torch's min-cut partitioner saves of `eager.attend` (torch 2.13), and peaks on an H200.
    """

    is_operator: bool = False

    def forward(self, tape: Tape, sizes: AttentionSizes, *, keeps: bool) -> None:
        """Make `o`."""
        tape.run(
            "order by head", reads=("q", "k"), more_bytes=sizes.queries.num_bytes + sizes.keys.num_bytes, launches=2
        )
        tape.run(
            "scores",
            reads=("q", "k"),
            makes={"scores": sizes.scores(sizes.element_bytes)},
            flops=sizes.product_flops,
            shape=sizes.square,
        )
        made = {"P": sizes.scores(sizes.softmax_bytes)} | ({"mask": sizes.hidden} if sizes.mask != "full" else {})
        tape.run("masked softmax", reads=("scores",), makes=made)
        tape.drop("scores")
        weights = "P"
        if sizes.is_autocast:
            weights = "P in products"
            tape.run("cast P", reads=("P",), makes={weights: sizes.scores(sizes.element_bytes)}, launches=0)
        tape.run(
            "weighted sum",
            reads=(weights, "v"),
            makes={"o": sizes.queries},
            flops=sizes.product_flops,
            shape=sizes.tall,
        )
        if sizes.is_autocast:
            tape.drop(weights)
        if not keeps:
            tape.drop(*(name for name in ("P", "v", "mask") if name in tape.held))

    def backward(self, tape: Tape, sizes: AttentionSizes) -> None:
        """Make the gradients."""
        matrix = sizes.scores(sizes.element_bytes)
        flops = sizes.product_flops
        tape.run("dV", reads=("do", "P"), makes={"dv": sizes.keys}, shape=sizes.tall, flops=flops)
        tape.run("dP", reads=("do", "v"), makes={"dP": matrix}, shape=sizes.square, flops=flops)
        tape.drop("do", "v")
        tape.run("softmax backward", reads=("dP", "P"), more_bytes=matrix.num_bytes)
        tape.rename("dP", "dS")
        tape.drop(*(name for name in ("P", "mask") if name in tape.held))
        tape.run("dK", reads=("dS", "q"), makes={"dk": sizes.keys}, shape=sizes.tall, flops=flops)
        tape.run("dQ", reads=("dS", "k"), makes={"dq": sizes.queries}, shape=sizes.tall, flops=flops)
        tape.drop("dS", "q", "k")

    def saved(self, sizes: AttentionSizes) -> frozenset[str]:
        """Q, K and V."""
        return frozenset("qkv")

    def gathers(self, sizes: AttentionSizes) -> bool:
        """The product orders O by head."""
        return sizes.is_strided and sizes.num_heads > 1
