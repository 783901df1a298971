"""Ways to attend: one signature, one file a backend, and never another kernel than the one asked for."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from windtunnel.attention.flash_eager import FlashAttention2Eager
    from windtunnel.attention.flash_triton import FlashAttention2Triton

__all__ = ["FlashAttention2Eager", "FlashAttention2Triton"]

_HOMES = {"FlashAttention2Eager": "flash_eager", "FlashAttention2Triton": "flash_triton"}


def __getattr__(name: str) -> object:
    """Import a function of autograd when it is first asked for: torch takes seconds, and triton may not be there."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
