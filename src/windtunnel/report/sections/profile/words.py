"""What the sections of profiles call things."""

import re

from windtunnel.analysis.profile import ProfileView
from windtunnel.records.profile import Profile, Unit
from windtunnel.report.scope import workload_name
from windtunnel.spec.cell import Cell

_SHOWN = 64
"""So much of a kernel's name tells which one it was; templates go on for thousands of characters."""

_NAMED = {"model", "workload", "context_length", "batch_size", "precision", "attention", "device"}
_TEMPLATE = re.compile(r"^(void |std::enable_if<.*?>::type )")
_NAMESPACES = re.compile(r"at::native::|\(anonymous namespace\)::|c10::")


def profile_label(profile: Profile) -> str:
    """Return the name of the cell, with what differs from its defaults."""
    return _cell_label(profile.cell) if profile.cell else "imported trace"


def _cell_label(cell: Cell) -> str:
    others = cell.model_dump(mode="json", exclude_defaults=True, exclude=_NAMED)
    parts = [
        cell.model.name,
        workload_name(cell.workload),
        f"context {cell.context_length}",
        f"batch {cell.batch_size}",
        cell.precision,
        cell.attention,
        *(f"{name} {value}" for name, value in others.items()),
    ]
    return " · ".join(parts)


def short_name(name: str) -> str:
    """Return what of a kernel's name tells which one it was."""
    plain = _NAMESPACES.sub("", _TEMPLATE.sub("", name))
    return plain if len(plain) <= _SHOWN else f"{plain[:_SHOWN]}…"


def calls(number: float) -> str:
    """Write a mean number of calls: whole where every step has as many."""
    return f"{number:,.0f}" if abs(number - round(number)) < 0.005 else f"{number:,.1f}"


def noun(view: ProfileView) -> str:
    """Return what its rows are called, one of them."""
    return "kernel" if view.profile.unit is Unit.KERNELS else "operator"


def runner(view: ProfileView) -> str:
    """Return who is busy or idle, at the beginning of a sentence."""
    return "The device" if view.profile.unit is Unit.KERNELS else "PyTorch"
