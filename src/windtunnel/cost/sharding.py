"""What FSDP holds beside the shares: weights that were gathered, and gradients that are being sent."""

from dataclasses import dataclass

from windtunnel.cost.layout import Layout
from windtunnel.cost.parameters import block_parameter_count, root_parameter_count
from windtunnel.cost.tape import Component, Stretch, in_order
from windtunnel.spec.model import ModelSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharding:
    """Stretches that FSDP puts around the parts of a step; without FSDP they change nothing.

    Assumed is `fully_shard` of each block and then of the model, with its defaults and no policy of mixed precision. So
    a block is a unit of β bytes, and the root is one of ρ: embedding, head and final norm. To gather a unit takes a
    buffer as large as it, from which its weights are copied out.

    - Forward gathers the root first, 2·ρ. The buffer of a unit lives until the weights of the next one are there: each
      block runs with the root, its buffer and its weights, ρ + 2·β, and begins with a buffer more. The weights of the
      root stay, in wait for backward.
    - In backward the next block is fetched while one runs, and what the block before sends is held: its whole gradients
      in one buffer, freed when this one's are to be sent. That is ρ + 3·β, beside the whole gradients of the block and
      of the root, which is sent last, when all else is done. The first block has nothing sent before it, and the last
      one fetches nothing.
    - Blocks that are computed again in one group are gathered once, one by one, for that and for their backward.

    A step begins with the root not gathered; that of forward alone leaves it gathered, and the next one would find it.

    Source: torch/distributed/fsdp/_fully_shard of torch 2.13: `fully_shard` for which unit is resharded after forward;
    `FSDPParamGroup.wait_for_unshard`, `post_forward`, `post_backward` and `_backward_prefetch`; `foreach_all_gather`
    and `foreach_reduce` for the buffers; `FSDPState._root_post_backward_final_callback`. Tests run that very code.

    Attributes:
        model: What is sharded.
        entry_bytes: Of a weight, and of its gradient.
        layout: Over which devices.
    """

    model: ModelSpec
    entry_bytes: int
    layout: Layout

    @property
    def block_bytes(self) -> int:
        """Bytes of the weights of a block that are gathered: 0 without FSDP."""
        return self.layout.is_fsdp * block_parameter_count(self.model) * self.entry_bytes

    @property
    def root_bytes(self) -> int:
        """Bytes of the weights outside the blocks that are gathered: 0 without FSDP."""
        return self.layout.is_fsdp * root_parameter_count(self.model) * self.entry_bytes

    def begin(self) -> Stretch:
        """Gather the root."""
        return _change(2 * self.root_bytes)

    def enter_blocks(self) -> Stretch:
        """Gather the first block; its buffer takes the place of the root's."""
        return _change(self.block_bytes - self.root_bytes, most=2 * self.block_bytes)

    def forward(self, block: Stretch) -> Stretch:
        """Run a block with its weights; its buffer has taken the place of the one before it."""
        most = min(2, self.model.num_layers) * self.block_bytes
        return in_order(_change(self.block_bytes, most=most), block, _change(-self.block_bytes))

    def end_forward(self) -> Stretch:
        """Free the last buffer."""
        return _change(-self.block_bytes)

    def fetch(self) -> Stretch:
        """Gather a block into a buffer."""
        return _change(self.block_bytes)

    def gather(self) -> Stretch:
        """Copy the weights of a block out of the buffer into which it was fetched, and free that."""
        return _change(0, most=self.block_bytes)

    def again(self, block: Stretch, count: int) -> Stretch:
        """Gather blocks one by one to compute them again, and leave their weights there; one had been fetched."""
        whole = _change(self.block_bytes).then(block).times(count)
        return whole.then(_change(-self.block_bytes)) if count else whole

    def backward(self, block: Stretch) -> Stretch:
        """Go back through a block that has been gathered, free its weights and keep a share of its gradients."""
        gradient_bytes = block.end.get(Component.GRADIENTS, 0)
        return in_order(block, _change(-self.block_bytes), self._shared_out(gradient_bytes))

    def sent(self) -> Stretch:
        """Hold what the first block sends, until what the next one sends takes its place."""
        return _change(self.block_bytes)

    def end(self) -> Stretch:
        """Free the root and what the last block sent, and keep a share of the root's gradients."""
        return _change(-self.root_bytes - self.block_bytes).then(self._shared_out(self.root_bytes))

    def _shared_out(self, gradient_bytes: int) -> Stretch:
        return Stretch(end={Component.GRADIENTS: self.layout.of_weights(gradient_bytes) - gradient_bytes})


def _change(num_bytes: int, *, most: int = 0) -> Stretch:
    """Return a change of what was gathered or is sent, with at most so much on the way."""
    part = Component.COMMUNICATION
    return Stretch(end={part: num_bytes}, peak={part: max(num_bytes, most, 0)})
