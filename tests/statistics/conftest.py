"""What the tests of this room share: noise with a known centre, the same that the benchmarks use."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

_NOISE = Path(__file__).parents[2] / "benchmarks" / "noise.py"


@pytest.fixture(scope="session")
def noise() -> ModuleType:
    """Load `benchmarks/noise.py` by its path: benchmarks are scripts, not a package."""
    spec = importlib.util.spec_from_file_location("windtunnel_benchmarks_noise", _NOISE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module
