"""How a name becomes a backend, and what a backend refuses."""

import sys
from types import ModuleType

import pytest
import torch

from windtunnel.attention.backend import HALF, Backend, load_backend
from windtunnel.errors import SpecError, UnsupportedError
from windtunnel.spec.tables import ATTENTION_BACKENDS

ALL_DEVICES = {"cpu": torch.float32, "cuda": torch.float16}
"""Device types, each with a dtype that any backend there takes."""


@pytest.fixture
def own_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's own, `own_kernels`, ready to be imported by name."""
    module = ModuleType("own_kernels")
    monkeypatch.setitem(sys.modules, "own_kernels", module)
    return module


@pytest.mark.parametrize("name", ATTENTION_BACKENDS)
def test_every_name_of_the_table_has_a_backend_with_a_device(name: str):
    backend = load_backend(name)

    assert isinstance(backend, Backend)
    assert backend.dtypes


@pytest.mark.parametrize("name", ATTENTION_BACKENDS)
@pytest.mark.parametrize("device_type", ALL_DEVICES)
def test_a_backend_takes_exactly_the_devices_that_it_declares(name: str, device_type: str):
    backend = load_backend(name)

    try:
        backend.check(name, device_type=device_type, dtype=ALL_DEVICES[device_type])
        is_taken = True
    except UnsupportedError:
        is_taken = False

    assert is_taken == (device_type in backend.dtypes)


def test_a_device_that_is_not_declared_is_refused_with_those_that_are():
    backend = load_backend("sdpa-cudnn")

    with pytest.raises(UnsupportedError) as refusal:
        backend.check("sdpa-cudnn", device_type="cpu", dtype=torch.float16)

    assert str(refusal.value) == "attention 'sdpa-cudnn' does not run on cpu; it runs on cuda"


def test_a_dtype_that_is_not_declared_is_refused_with_those_that_are():
    backend = load_backend("sdpa-flash")

    with pytest.raises(UnsupportedError) as refusal:
        backend.check("sdpa-flash", device_type="cuda", dtype=torch.float32)

    assert str(refusal.value) == ("attention 'sdpa-flash' on cuda does not take float32; it takes float16, bfloat16")


def test_a_function_of_the_users_own_is_the_backend(own_module: ModuleType):
    calls = []
    own_module.attend = lambda q, k, v, *, is_causal: calls.append(is_causal) or v
    q = torch.ones(1, 1, 1, 2)

    backend = load_backend("own_kernels:attend")
    backend.attend(q, q, q, is_causal=True)

    assert calls == [True]


@pytest.mark.parametrize("device_type", ALL_DEVICES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, *HALF])
def test_a_function_of_the_users_own_may_be_tried_everywhere(
    own_module: ModuleType, device_type: str, dtype: torch.dtype
):
    own_module.attend = lambda q, k, v, *, is_causal: v
    backend = load_backend("own_kernels:attend")

    backend.check("own_kernels:attend", device_type=device_type, dtype=dtype)


def test_a_backend_of_the_users_own_keeps_what_it_declares(own_module: ModuleType):
    own_module.BACKEND = Backend(attend=lambda q, k, v, *, is_causal: v, dtypes={"cuda": HALF})

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
