"""The library's door: its names resolve, and opening it costs nothing."""

import subprocess
import sys

import pytest

import windtunnel

SLOW = ("torch", "pydantic", "numpy", "scipy", "plotly", "typer", "rich", "triton")


def run_fresh(program: str) -> str:
    """Run a program in an interpreter of its own and return what it prints."""
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return child.stdout.strip()


@pytest.mark.parametrize("name", windtunnel.__all__)
def test_every_public_name_resolves(name: str):
    assert getattr(windtunnel, name) is not None


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'windtunnel' has no attribute 'mesure_sweep'"):
        _ = windtunnel.mesure_sweep


def test_the_public_names_are_listed():
    assert dir(windtunnel) == sorted(windtunnel.__all__)


def test_importing_loads_nothing_that_is_slow():
    loaded = run_fresh(f"import sys, windtunnel; print([name for name in {SLOW} if name in sys.modules])")

    assert loaded == "[]"


def test_importing_the_room_of_attention_loads_neither_torch_nor_triton():
    program = "import sys, windtunnel.attention; print([name for name in ('torch', 'triton') if name in sys.modules])"

    assert run_fresh(program) == "[]"


@pytest.mark.parametrize("name", ["FlashAttention2Eager", "FlashAttention2Triton"])
def test_the_room_of_attention_hands_out_its_own_flash_attention_without_loading_triton(name: str):
    program = f"import sys, windtunnel.attention as room; print(room.{name}.__name__, 'triton' in sys.modules)"

    assert run_fresh(program) == f"{name} False"


def test_another_name_in_the_room_of_attention_is_an_attribute_error():
    import windtunnel.attention

    with pytest.raises(AttributeError, match=r"module 'windtunnel\.attention' has no attribute 'FlashAttention3'"):
        _ = windtunnel.attention.FlashAttention3


def test_every_public_name_but_those_that_measure_here_resolves_without_torch():
    """The parent of a sweep holds no torch; only what times a callable of this very process needs it."""
    program = (
        "import sys, windtunnel;"
        "[getattr(windtunnel, name) for name, module in windtunnel._EXPORTS.items() if '.bench.' not in module];"
        "print([name for name in ('torch', 'triton') if name in sys.modules])"
    )

    assert run_fresh(program) == "[]"
