"""Measure a model of your own: a function that makes a torch.nn.Module, tokens to logits.

    cd examples
    python own_model.py --store ../windtunnel-own

The same from the command line, in any folder from which the module can be imported:

    windtunnel step --model own_model:make_model --vocab 500 --context 64 --mode train_step --warmup 2 --steps 5

Only the worker, a process of its own, imports the module when it measures; the process that asks for it never does.
"""

# ruff: noqa: T201  # an example prints
import argparse
from pathlib import Path

from torch import Tensor, nn

import windtunnel


class RecurrentModel(nn.Module):
    """A language model without attention: what windtunnel has no formula for."""

    def __init__(self, vocab_size: int, width: int) -> None:
        """Make the three layers."""
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.recurrence = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, vocab_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [batch, seq] to logits [batch, seq, vocab]."""
        states, _ = self.recurrence(self.embedding(tokens))
        return self.head(states)


def make_model(vocab_size: int, width: int = 64) -> nn.Module:
    """Return the model; windtunnel gives `vocab_size`, and `context_length` too where that is a parameter."""
    return RecurrentModel(vocab_size, width)


def main() -> None:
    """Measure, and print what is known of each cell."""
    parser = argparse.ArgumentParser(description="Measure a model of your own.")
    parser.add_argument("--store", type=Path, default=Path("windtunnel-own"), help="folder of the store")
    store: Path = parser.parse_args().store

    sweep = windtunnel.make_sweep(
        {
            "model": "own_model:make_model",
            "vocab": 500,
            "context": 32,
            "mode": ["forward", "train_step"],
            "warmup": 2,
            "steps": 5,
            "device": "cpu",
        }
    )
    windtunnel.measure_sweep(sweep, store=store)
    for row in windtunnel.load_results(store):
        estimate = row.estimate()
        time = f"{1e3 * estimate.value:.3f} ms" if estimate else row.record.status
        print(f"{row.cell.model.name} {row.cell.workload}: {row.record.parameters:,} parameters, {time}")


if __name__ == "__main__":
    main()
