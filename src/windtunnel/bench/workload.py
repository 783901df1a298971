"""What is measured: a step as phases to run in order, and what can be asked of it between steps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from windtunnel.records.memory_ledger import Category


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A part of a step that is timed on its own."""

    name: str
    run: Callable[[], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """A step ready to run.

    `reset` runs before each step, outside of any timed region, and sets what is global to the process as this step
    needs it, so that the steps of two workloads may take turns. `fault` says what is wrong with the numbers of
    the last step (a loss that is not finite), or None. `total` names the whole step. `is_compiled` says that the
    first step runs torch.compile, for the model or inside of its attention.

    Attention alone has two more. `repeat` sets how often later steps run each phase in a row; None where a phase can
    run only once a step. `tensors` returns the inputs and, after a step, its results by name; None for whole models.

    Whole models have two others: the `model`, and `held`, which returns the tensors that the step owns at this moment,
    by what they are for.
    """

    phases: tuple[Phase, ...]
    total: str
    reset: Callable[[], None]
    fault: Callable[[], str | None]
    is_compiled: bool = False
    repeat: Callable[[int], None] | None = None
    tensors: Callable[[], Mapping[str, Tensor]] | None = None
    model: nn.Module | None = None
    held: Callable[[], Mapping[Category, Sequence[Tensor]]] | None = None
