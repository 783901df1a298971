"""Activation checkpointing: parts of a model that keep little in forward and run again in backward."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from torch import Tensor
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from windtunnel.spec.checkpoint import Checkpoint

KEPT_OPERATORS = frozenset(
    {
        "aten.mm.default",
        "aten.addmm.default",
        "aten._scaled_dot_product_flash_attention.default",
        "aten._scaled_dot_product_flash_attention_for_cpu.default",
        "aten._scaled_dot_product_efficient_attention.default",
        "aten._scaled_dot_product_cudnn_attention.default",
        "aten._scaled_dot_product_fused_attention_overrideable.default",
        "windtunnel.flash_forward.default",
        "flash_attn._flash_attn_forward.default",
        "flash_attn_3._flash_attn_forward.default",
    }
)
"""Products with weights, and attention that is one operator."""


Part = Callable[..., Tensor]
"""Some layers in a row, as a function of the residual stream and of what goes with it."""


@runtime_checkable  # tests check types as the code runs
class Run(Protocol):
    """A way to run a part of a model; what it returns does not depend on the way."""

    def __call__(self, part: Part, *inputs: Tensor) -> Tensor:
        """Return what `part` makes of its inputs."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Recomputation:
    """How a model runs its blocks, in groups of so many, and inside of each block the feed-forward part."""

    num_blocks: int
    run_blocks: Run
    run_feed_forward: Run


def recomputation_of(chosen: Checkpoint, *, num_layers: int) -> Recomputation:
    """Return how a model of so many blocks does what was chosen."""
    match chosen.kind:
        case "none":
            return Recomputation(num_blocks=num_layers, run_blocks=run_once, run_feed_forward=run_once)
        case "every":
            num_blocks = chosen.num_blocks or num_layers
            return Recomputation(num_blocks=num_blocks, run_blocks=run_again, run_feed_forward=run_once)
        case "selective":
            return Recomputation(num_blocks=1, run_blocks=run_again_in_part, run_feed_forward=run_once)
        case "ffn":
            return Recomputation(num_blocks=num_layers, run_blocks=run_once, run_feed_forward=run_again)


def run_once(part: Part, *inputs: Tensor) -> Tensor:
    """Run `part`, keeping all that backward needs."""
    return part(*inputs)


def run_again(part: Part, *inputs: Tensor) -> Tensor:
    """Run `part`, keeping only `inputs`; in backward it runs once more, to find what its gradients need.

    The random state is not kept: the reference model draws nothing, and keeping it takes time of the host.

    Cost: in backward one more forward of `part`, up to the last tensor that is needed there.
    Source: Chen et al. 2016 (arXiv:1604.06174), section 4.
    """
    return checkpoint(part, *inputs, use_reentrant=False, preserve_rng_state=False)


def run_again_in_part(part: Part, *inputs: Tensor) -> Tensor:
    """Run `part`, keeping `inputs` and what KEPT_OPERATORS return; in backward all other operators run once more.

    Of eager attention that is all between Q, K and V and O: the scores, the softmax and both products, as their results
    are large beside their work and no weight is in them. So is any attention that is several operators (`compiled`,
    `sdpa-math`, `flash-eager`) or that the dispatcher does not see (`flex`, `flash-attn-4`).

    Source: Korthikanti et al. 2022 (arXiv:2205.05198), section 5. There only attention is computed again; here, as
    always in torch's selective checkpointing, norms, rotations and activations are too.
    """
    return checkpoint(part, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=_SELECTIVE)


def _policy(context: object, operator: object, *args: object, **kwargs: object) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if str(operator) in KEPT_OPERATORS else CheckpointPolicy.PREFER_RECOMPUTE


_SELECTIVE = partial(create_selective_checkpoint_contexts, _policy)
