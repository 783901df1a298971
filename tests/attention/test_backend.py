"""How a name becomes a backend, and what a backend refuses."""

import sys
from types import ModuleType

import pytest
import torch

from windtunnel.attention.backend import ANY_FLOAT, HALF, WITHOUT_WINDOW, Backend, HeadSizes, load_backend
from windtunnel.errors import SpecError, UnsupportedError
from windtunnel.spec.tables import ATTENTION_BACKENDS

ALL_DEVICES = {"cpu": torch.float32, "cuda": torch.float16}
"""Device types, each with a dtype that any backend there takes."""

PLAIN_CALL = {"d_head": 64, "is_causal": True}
"""What any backend takes on a device that it runs on."""

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def own_module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's own, `own_kernels`, ready to be imported by name."""
    module = ModuleType("own_kernels")
    monkeypatch.setitem(sys.modules, "own_kernels", module)
    return module


@pytest.fixture
def everything_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an H200, where all optional packages are installed."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr("windtunnel.attention.backend.find_spec", lambda package: package)


def declaring(**capabilities: object) -> Backend:
    return Backend(attend=lambda q, k, v, *, is_causal: v, dtypes={"cpu": ANY_FLOAT, "cuda": HALF}, **capabilities)


def refusal_of(backend: Backend, **asked: object) -> str:
    call = {"device": CPU, "dtype": torch.float32, "d_head": 64, "is_causal": True} | asked
    with pytest.raises(UnsupportedError) as refusal:
        backend.check("mine", **call)
    return str(refusal.value)


@pytest.mark.parametrize("name", ATTENTION_BACKENDS)
def test_every_name_of_the_table_has_a_backend_with_a_device(name: str):
    backend = load_backend(name)

    assert isinstance(backend, Backend)
    assert backend.dtypes


@pytest.mark.parametrize("name", ATTENTION_BACKENDS)
@pytest.mark.parametrize("device_type", ALL_DEVICES)
@pytest.mark.usefixtures("everything_is_there")
def test_a_backend_takes_exactly_the_devices_that_it_declares(name: str, device_type: str):
    backend = load_backend(name)

    try:
        backend.check(name, device=torch.device(device_type), dtype=ALL_DEVICES[device_type], **PLAIN_CALL)
        is_taken = True
    except UnsupportedError:
        is_taken = False

    assert is_taken == (device_type in backend.dtypes)


def test_a_device_that_is_not_declared_is_refused_with_those_that_are():
    backend = load_backend("sdpa-cudnn")

    with pytest.raises(UnsupportedError) as refusal:
        backend.check("sdpa-cudnn", device=CPU, dtype=torch.float16, **PLAIN_CALL)

    assert str(refusal.value) == "attention 'sdpa-cudnn' does not run on cpu; it runs on cuda"


def test_a_dtype_that_is_not_declared_is_refused_with_those_that_are():
    backend = load_backend("sdpa-flash")

    with pytest.raises(UnsupportedError) as refusal:
        backend.check("sdpa-flash", device=CUDA, dtype=torch.float32, **PLAIN_CALL)

    assert str(refusal.value) == ("attention 'sdpa-flash' on cuda does not take float32; it takes float16, bfloat16")


def test_head_sizes_that_are_not_declared_are_refused_with_those_that_are():
    sizes = HeadSizes(least=16, most=128, multiple_bytes=16)

    refused = [
        refusal_of(declaring(d_heads={"cpu": sizes}), d_head=d_head, dtype=dtype)
        for d_head, dtype in [(8, torch.float32), (136, torch.float32), (18, torch.float32), (20, torch.bfloat16)]
    ]

    allowed = "it takes at least 16, at most 128, a multiple of"
    assert refused == [
        f"attention 'mine' on cpu does not take d_head 8 in float32; {allowed} 4",
        f"attention 'mine' on cpu does not take d_head 136 in float32; {allowed} 4",
        f"attention 'mine' on cpu does not take d_head 18 in float32; {allowed} 4",
        f"attention 'mine' on cpu does not take d_head 20 in bfloat16; {allowed} 8",
    ]


@pytest.mark.parametrize(("d_head", "dtype"), [(16, torch.bfloat16), (128, torch.bfloat16), (20, torch.float32)])
def test_head_sizes_that_are_declared_are_taken(d_head: int, dtype: torch.dtype):
    backend = declaring(d_heads={"cpu": HeadSizes(least=16, most=128, multiple_bytes=16)})

    backend.check("mine", device=CPU, dtype=dtype, d_head=d_head, is_causal=True)


def test_head_sizes_hold_for_the_device_that_they_are_declared_for():
    backend = declaring(d_heads={"cuda": HeadSizes(least=16)})

    backend.check("mine", device=CPU, dtype=torch.float32, d_head=1, is_causal=True)


def test_a_window_that_is_not_declared_is_refused_with_the_masks_that_are():
    backend = declaring(masks=WITHOUT_WINDOW)

    assert refusal_of(backend, window=4) == "attention 'mine' on cpu has no window mask; it has full, causal"


@pytest.mark.parametrize(("is_causal", "window"), [(False, 4), (True, 0), (True, -1)])
def test_a_window_that_is_none_is_a_fault_of_the_request(is_causal: bool, window: int):
    with pytest.raises(SpecError, match=rf"^window is {window} with is_causal={is_causal}; allowed: at least 1"):
        declaring().check("mine", device=CPU, dtype=torch.float32, d_head=8, is_causal=is_causal, window=window)


def test_masks_that_are_aligned_otherwise_are_refused_where_lengths_differ():
    backend = declaring(needs_square_masks=True)

    text = refusal_of(backend, is_square=False)

    assert text.startswith("attention 'mine' on cpu aligns its causal mask at the last key: use as many")
    backend.check("mine", device=CPU, dtype=torch.float32, d_head=8, is_causal=False, is_square=False)


def test_grouped_heads_are_refused_where_they_are_not_declared():
    text = refusal_of(declaring(has_grouped=False), is_grouped=True)

    assert text == "attention 'mine' on cpu takes no grouped heads: use as many key heads as query heads"


def test_a_backward_is_refused_where_there_is_none():
    text = refusal_of(declaring(forward_only=("cpu",)), needs_backward=True)

    assert text == "attention 'mine' on cpu has no backward: use a forward workload, or another backend"


def test_a_tensor_that_requires_a_gradient_is_refused_before_anything_runs():
    calls = []
    backend = Backend(
        attend=lambda q, k, v, *, is_causal: calls.append(q) or v, dtypes={"cpu": ANY_FLOAT}, forward_only=("cpu",)
    )
    q = torch.ones(1, 1, 1, 2)

    with pytest.raises(UnsupportedError, match=r"has no backward on cpu, and an input requires a gradient: detach it"):
        backend.run(q, q, q.clone().requires_grad_(), is_causal=True)

    assert calls == []
    assert backend.run(q, q, q, is_causal=True) is q


def test_a_package_that_is_not_installed_is_named():
    text = refusal_of(declaring(package="no_such_package.inside"))

    assert text == (
        "attention 'mine' needs the package no_such_package.inside, which is not installed: "
        "install it, or use another backend"
    )


def test_a_device_that_is_too_old_is_refused_with_what_is_needed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))

    text = refusal_of(declaring(least_capability=(8, 0)), device=CUDA, dtype=torch.float16)

    assert text == "attention 'mine' needs compute capability 8.0; cuda:0 has 7.5: use another backend"


@pytest.mark.parametrize("name", ["flash-attn", "flash-attn-3", "flash-attn-4"])
def test_the_published_packages_are_refused_where_they_are_missing(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setattr("windtunnel.attention.backend.find_spec", lambda package: None)

    with pytest.raises(UnsupportedError, match=f"attention '{name}' needs the package flash_attn"):
        load_backend(name).check(name, device=CUDA, dtype=torch.bfloat16, **PLAIN_CALL)


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

    masks = [load_backend(f"own_kernels:{name}").masks for name in ("without", "knowing")]

    assert masks == [("full", "causal"), ("full", "causal", "window")]


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

    backend.check(
        "own_kernels:attend",
        device=torch.device(device_type),
        dtype=dtype,
        d_head=3,
        is_causal=False,
        is_square=False,
        is_grouped=True,
        needs_backward=True,
    )


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
