"""A wind tunnel for Transformer language models: how long a step takes, what it holds, how far it is from the ceiling.

The names below are the library. They are imported when first used, so `import windtunnel` loads neither
torch nor anything else that is slow.
"""

import importlib

__version__ = "0.1.0"

_EXPORTS = {
    "AttentionSweep": "windtunnel.spec.attention_sweep",
    "Cell": "windtunnel.spec.cell",
    "MeasurePlan": "windtunnel.spec.cell",
    "ModelSpec": "windtunnel.spec.model",
    "OwnModel": "windtunnel.spec.own_model",
    "Results": "windtunnel.analysis.results",
    "SpecError": "windtunnel.errors",
    "Sweep": "windtunnel.spec.sweep",
    "Task": "windtunnel.spec.cell",
    "WindtunnelError": "windtunnel.errors",
    "compare": "windtunnel.bench.pairs",
    "compare_sweeps": "windtunnel.sweep.pairs",
    "cost_of": "windtunnel.cost.step",
    "load_results": "windtunnel.analysis.results",
    "load_sweep": "windtunnel.spec.sweep",
    "make_sweep": "windtunnel.spec.sweep",
    "measure": "windtunnel.bench.measure",
    "measure_sweep": "windtunnel.sweep.engine",
    "write_report": "windtunnel.report.write",
}
"""Public name to the module that defines it."""

__all__ = ["__version__", *_EXPORTS]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'windtunnel' has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    """List the public names without importing them."""
    return sorted(__all__)
