"""How a name becomes a backend, and what that hands on."""

import sys
from types import ModuleType

import pytest
import torch

from windtunnel.attention.backend import Backend, load_backend
from windtunnel.errors import SpecError, UnsupportedError
from windtunnel.spec.abilities import ABILITIES, ANY_FLOAT, HALF, Abilities, Call, Place
from windtunnel.spec.tables import ATTENTION_BACKENDS


@pytest.fixture
def own_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's own, `own_kernels`, ready to be imported by name."""
    module = ModuleType("own_kernels")
    monkeypatch.setitem(sys.modules, "own_kernels", module)
    return module


@pytest.mark.parametrize("name", ATTENTION_BACKENDS)
def test_every_name_of_the_table_has_a_backend_with_the_abilities_that_are_declared_of_it(name: str):
    backend = load_backend(name)

    assert isinstance(backend, Backend)
    assert backend.abilities is ABILITIES[name]


def test_a_tensor_that_requires_a_gradient_is_refused_before_anything_runs():
    calls = []
    backend = Backend(
        attend=lambda q, k, v, *, is_causal: calls.append(q) or v,
        abilities=Abilities(dtypes={"cpu": ANY_FLOAT}, forward_only=("cpu",)),
    )
    q = torch.ones(1, 1, 1, 2)

    with pytest.raises(UnsupportedError, match=r"has no backward on cpu, and an input requires a gradient: detach it"):
        backend.run(q, q, q.clone().requires_grad_(), is_causal=True)

    assert calls == []
    assert backend.run(q, q, q, is_causal=True) is q


def test_the_window_is_handed_on_only_where_there_is_one(own_module: ModuleType):
    calls = []
    own_module.attend = lambda q, k, v, **mask: calls.append(mask) or v
    q = torch.ones(1, 1, 1, 2)
    backend = load_backend("own_kernels:attend")

    backend.run(q, q, q, is_causal=True)
    backend.run(q, q, q, is_causal=True, window=3)

    assert calls == [{"is_causal": True}, {"is_causal": True, "window": 3}]


def test_a_function_of_the_users_own_need_not_know_windows(own_module: ModuleType):
    own_module.without = lambda q, k, v, *, is_causal: v
    own_module.knowing = lambda q, k, v, *, is_causal, window=None: v

    masks = [load_backend(f"own_kernels:{name}").abilities.masks for name in ("without", "knowing")]

    assert masks == [("full", "causal"), ("full", "causal", "window")]


def test_a_function_of_the_users_own_is_the_backend(own_module: ModuleType):
    calls = []
    own_module.attend = lambda q, k, v, *, is_causal: calls.append(is_causal) or v
    q = torch.ones(1, 1, 1, 2)

    backend = load_backend("own_kernels:attend")
    backend.attend(q, q, q, is_causal=True)

    assert calls == [True]


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("dtype", ANY_FLOAT)
def test_a_function_of_the_users_own_may_be_tried_everywhere(own_module: ModuleType, kind: str, dtype: str):
    own_module.attend = lambda q, k, v, *, is_causal: v
    backend = load_backend("own_kernels:attend")

    call = Call(dtype=dtype, d_head=3, is_causal=False, is_square=False, is_grouped=True, needs_backward=True)
    backend.abilities.check("own_kernels:attend", call, Place(name=kind, kind=kind))


def test_a_backend_of_the_users_own_keeps_what_it_declares(own_module: ModuleType):
    own_module.BACKEND = Backend(attend=lambda q, k, v, *, is_causal: v, abilities=Abilities(dtypes={"cuda": HALF}))

    backend = load_backend("own_kernels:BACKEND")

    assert backend is own_module.BACKEND


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("no_such_module:attend", "No module named 'no_such_module'"),
        ("own_kernels:no_such_function", "has no attribute 'no_such_function'"),
        (".own_kernels:attend", "its module is relative"),
        ("flsh", "No module named 'flsh'"),
    ],
)
@pytest.mark.usefixtures("own_module")
def test_what_cannot_be_loaded_is_refused_with_the_way_to_write_it(name: str, what: str):
    with pytest.raises(SpecError) as refusal:
        load_backend(name)

    assert str(refusal.value).startswith(f"attention {name!r} cannot be loaded: ")
    assert what in str(refusal.value)
    assert str(refusal.value).endswith("; write it as module:function")


def test_what_cannot_be_called_is_refused_with_its_type(own_module: ModuleType):
    own_module.attend = 5

    with pytest.raises(SpecError) as refusal:
        load_backend("own_kernels:attend")

    assert str(refusal.value) == ("attention 'own_kernels:attend' is int, not a function attend(q, k, v, *, is_causal)")


def test_an_error_inside_a_module_of_the_users_own_is_not_hidden(tmp_path, monkeypatch: pytest.MonkeyPatch):
    """A module that is there but fails has a traceback worth reading."""
    (tmp_path / "failing_kernels.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ZeroDivisionError):
        load_backend("failing_kernels:attend")
