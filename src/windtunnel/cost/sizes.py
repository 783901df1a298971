"""The sizes of one step in the letters of the formulas, from a cell."""

from dataclasses import dataclass

from windtunnel.cost.layout import ONE_DEVICE, Layout
from windtunnel.cost.sharding import Sharding
from windtunnel.cost.tape import Component, Held, Shape
from windtunnel.spec.attention import AttentionSpec, parse_mask
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.tables import DTYPE_BYTES, PRECISIONS

FLOAT = 4
"""Bytes of a float32."""
INDEX = 8
"""Bytes of a token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionSizes:
    """What the formulas of attention are written in.

    Attributes:
        batch_size: Sequences.
        num_heads: Query heads.
        kv_heads: Key and value heads.
        d_head: Width of one.
        seq_len: Queries, and keys.
        mask: full, causal or window:N.
        element_bytes: Of a number of Q, K, V and O.
        is_autocast: Whether the softmax is taken in float32 of scores in half precision.
        is_half_softmax: Whether it reads half precision and writes float32 in one kernel: fp16 under autocast on CUDA.
        is_strided: Whether Q, K and V are [batch, heads, seq, d_head] by stride only, as projections leave them.
    """

    batch_size: int
    num_heads: int
    kv_heads: int
    d_head: int
    seq_len: int
    mask: str
    element_bytes: int
    is_autocast: bool
    is_half_softmax: bool
    is_strided: bool

    @property
    def has_copied_heads(self) -> bool:
        """Whether a batched product must copy its operands first: with one sequence or one head a view will do."""
        return self.is_strided and self.batch_size > 1 and self.num_heads > 1

    @property
    def is_grouped(self) -> bool:
        """Whether several query heads share a key head."""
        return self.kv_heads != self.num_heads

    @property
    def softmax_bytes(self) -> int:
        """Bytes of a number of the softmax."""
        return FLOAT if self.is_autocast else self.element_bytes

    @property
    def queries(self) -> Held:
        """A tensor like Q."""
        return self._heads(self.num_heads, self.element_bytes)

    @property
    def keys(self) -> Held:
        """A tensor like K."""
        return self._heads(self.kv_heads, self.element_bytes)

    @property
    def row_statistic(self) -> Held:
        """One float32 for each query of each head."""
        return Held(part=Component.ACTIVATIONS, num_bytes=self.batch_size * self.num_heads * self.seq_len * FLOAT)

    def scores(self, element_bytes: int) -> Held:
        """Return a matrix of queries x keys for each head."""
        entries = self.batch_size * self.num_heads * self.seq_len**2
        return Held(part=Component.SCORES, num_bytes=entries * element_bytes)

    @property
    def hidden(self) -> Held:
        """A byte for each pair of positions: the mask of one call."""
        return Held(part=Component.SCORES, num_bytes=self.seq_len**2)

    @property
    def product_flops(self) -> int:
        """FLOPs of one product over the whole square of queries and keys: 2·B·H·S²·D."""
        return 2 * self.batch_size * self.num_heads * self.seq_len**2 * self.d_head

    @property
    def square(self) -> Shape:
        """The shape of a product whose result are scores."""
        return self.seq_len, self.seq_len, self.batch_size * self.num_heads

    @property
    def tall(self) -> Shape:
        """The shape of a product whose result is like Q."""
        return self.seq_len, self.d_head, self.batch_size * self.num_heads

    @property
    def visible_flops(self) -> int:
        """FLOPs of one product over the pairs that the mask lets through."""
        pairs = parse_mask(self.mask).pairs(queries=self.seq_len, keys=self.seq_len)
        return 2 * self.batch_size * self.num_heads * pairs * self.d_head

    def _heads(self, heads: int, element_bytes: int) -> Held:
        entries = self.batch_size * heads * self.seq_len * self.d_head
        return Held(part=Component.ACTIVATIONS, num_bytes=entries * element_bytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """What the formulas of a model's step are written in.

    Attributes:
        model: Its shape.
        batch_size: Sequences.
        seq_len: Tokens of each.
        stream_bytes: Of a number of the residual stream, of a weight and of its gradient.
        product_bytes: Of a number that goes into a matrix product, and of Q, K and V.
        is_autocast: Whether products cast what they read, so that stream and product formats differ.
        attention: Of its attention.
        layout: Over which devices the step is spread; all sizes are of one of them.
    """

    model: ModelSpec
    batch_size: int
    seq_len: int
    stream_bytes: int
    product_bytes: int
    is_autocast: bool
    attention: AttentionSizes
    layout: Layout

    @property
    def sharding(self) -> Sharding:
        """What FSDP gathers and sends around the parts of the step."""
        return Sharding(model=self.model, entry_bytes=self.stream_bytes, layout=self.layout)

    @property
    def tokens(self) -> int:
        """Tokens of the whole batch."""
        return self.batch_size * self.seq_len

    @property
    def d(self) -> int:
        """Width of the stream."""
        return self.model.d_model

    @property
    def d_kv(self) -> int:
        """Width of all key heads together."""
        return self.model.kv_heads * self.model.d_head

    def stream(self, width: int) -> Held:
        """Return a tensor of `width` numbers for each token in the format of the stream."""
        return Held(part=Component.ACTIVATIONS, num_bytes=self.tokens * width * self.stream_bytes)

    def product(self, width: int) -> Held:
        """Return a tensor of `width` numbers for each token in the format of products."""
        return Held(part=Component.ACTIVATIONS, num_bytes=self.tokens * width * self.product_bytes)

    @property
    def row_statistic(self) -> Held:
        """One float32 for each token: what a norm keeps."""
        return Held(part=Component.ACTIVATIONS, num_bytes=self.tokens * FLOAT)

    def logits(self, element_bytes: int, part: Component = Component.LOGITS) -> Held:
        """Return one number for each token and entry of the vocabulary."""
        return Held(part=part, num_bytes=self.tokens * self.model.vocab_size * element_bytes)

    def weight_copy(self, entries: int) -> Held:
        """Return a weight, or its gradient, in the format of products."""
        return Held(part=Component.WEIGHT_COPIES, num_bytes=entries * self.product_bytes)

    def gradient(self, entries: int) -> Held:
        """Return the gradient of a weight, in the weight's format."""
        return Held(part=Component.GRADIENTS, num_bytes=entries * self.stream_bytes)


def sizes_of(cell: Cell, layout: Layout = ONE_DEVICE) -> Sizes:
    """Return the sizes of a step of a whole model on one of the devices of a layout."""
    model = cell.model
    assert isinstance(model, ModelSpec)
    precision = PRECISIONS[cell.precision]
    return Sizes(
        model=model,
        batch_size=cell.batch_size,
        seq_len=cell.context_length,
        stream_bytes=DTYPE_BYTES[precision.weights],
        product_bytes=precision.product_bytes,
        is_autocast=precision.autocast is not None,
        attention=AttentionSizes(
            batch_size=cell.batch_size,
            num_heads=model.num_heads,
            kv_heads=model.kv_heads,
            d_head=model.d_head,
            seq_len=cell.context_length,
            mask="causal",
            element_bytes=precision.product_bytes,
            is_autocast=precision.autocast is not None,
            is_half_softmax=precision.autocast == "float16",
            is_strided=True,
        ),
        layout=layout,
    )


def attention_sizes_of(cell: Cell) -> AttentionSizes:
    """Return the sizes of attention alone: on contiguous tensors in the format of products, without autocast."""
    shape = cell.model
    assert isinstance(shape, AttentionSpec)
    return AttentionSizes(
        batch_size=cell.batch_size,
        num_heads=shape.num_heads,
        kv_heads=shape.kv_heads,
        d_head=shape.d_head,
        seq_len=cell.context_length,
        mask=shape.mask,
        element_bytes=PRECISIONS[cell.precision].product_bytes,
        is_autocast=False,
        is_half_softmax=False,
        is_strided=False,
    )
