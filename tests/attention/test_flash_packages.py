"""The adapters to published packages: their layout, their masks, and nothing of theirs before the first call."""

import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor

from attending import formula
from windtunnel.attention.backend import load_backend

MODULES = {"flash-attn": "flash_attn", "flash-attn-3": "flash_attn_interface", "flash-attn-4": "flash_attn.cute"}


@pytest.fixture(params=MODULES)
def name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with a function in the layout of the packages, that keeps how it was called."""
    package = ModuleType(MODULES[request.param])
    package.calls = []

    def flash_attn_func(q: Tensor, k: Tensor, v: Tensor, **options: object) -> tuple[Tensor, None] | Tensor:
        package.calls.append(options)
        window = options.get("window_size")
        o = formula(
            *(x.transpose(1, 2) for x in (q, k, v)),
            is_causal=options["causal"],
            window=None if window is None else window[0] + 1,
        ).transpose(1, 2)
        return (o, None) if request.param == "flash-attn-4" else o

    package.flash_attn_func = flash_attn_func
    monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))
    monkeypatch.setitem(sys.modules, MODULES[request.param], package)
    return request.param


@pytest.mark.parametrize(
    ("is_causal", "window"), [(False, None), (True, None), (True, 3)], ids=["full", "causal", "window"]
)
def test_the_adapter_speaks_the_layout_of_the_package(name: str, is_causal: bool, window: int | None):
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 4, 6, 8, generator=generator), torch.randn(2, 2, 6, 8, generator=generator)

    o = load_backend(name).run(q, k, k, is_causal=is_causal, window=window)

    torch.testing.assert_close(o, formula(q, k, k, is_causal=is_causal, window=window))


def test_a_window_of_n_keys_is_n_minus_1_before_the_query(name: str):
    q = torch.ones(1, 1, 5, 8)

    load_backend(name).run(q, q, q, is_causal=True, window=4)
    load_backend(name).run(q, q, q, is_causal=True)

    assert sys.modules[MODULES[name]].calls == [{"causal": True, "window_size": (3, 0)}, {"causal": True}]
