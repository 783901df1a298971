"""Whether torch.compile did what was asked: a fresh start for each cell, the graphs it made, the time they took."""

import torch
from torch._dynamo.utils import calculate_time_spent, counters

from windtunnel.errors import UnsupportedError


class CompileWatch:
    """Forget what was compiled before, then count the graphs from here on.

    Without the reset Dynamo gives up after 8 recompilations of the same code, and every cell after that would
    run eagerly under a compiled label.
    """

    def __init__(self) -> None:
        """Reset Dynamo and its counters."""
        torch.compiler.reset()
        counters.clear()
        self._graphs = 0

    def check_compiled(self) -> None:
        """Say so when nothing was compiled since the last call although a step has run.

        Raises:
            UnsupportedError: Dynamo made no graph, so the step ran eagerly.
        """
        before, self._graphs = self._graphs, _graphs()
        if self._graphs == before:
            raise UnsupportedError("torch.compile made no graph: the step ran eagerly, which is not what was asked")

    def graphs(self) -> int:
        """Return how many graphs were made since the reset."""
        return _graphs()

    def seconds(self) -> float:
        """Return the time that Dynamo counts on whole frames since the reset, backward graphs made later included.

        Recording CUDA graphs is not in it: that happens when the compiled code first runs.
        """
        return calculate_time_spent()["total_wall_time"]

    def warnings(self) -> tuple[str, ...]:
        """Say that graphs were made since `check_compiled`, where that is so."""
        late = _graphs() - self._graphs
        return (f"torch.compile made {late} more graphs after its own stage: times hold them",) if late else ()


def _graphs() -> int:
    return counters["stats"]["unique_graphs"]
