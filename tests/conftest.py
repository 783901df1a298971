"""What all tests share: the builders in factory.py, how hypothesis searches, and the check of shapes."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

sys.path.insert(0, str(Path(__file__).parent))

# Threads cost more than they save on products this small, above all beside another pytest worker.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run, so that a failure repeats; no deadline, because machines are busy.
settings.register_profile("windtunnel", deadline=None, derandomize=True, max_examples=100)
settings.load_profile("windtunnel")

SHAPED_ROOMS = ("attention", "models", "bench")  # all that speak of shapes but kernels: the hook breaks Triton


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag that writes the golden files anew."""
    parser.addoption("--rewrite-goldens", action="store_true", help="write the golden files instead of comparing")


def checks_shapes(config: pytest.Config) -> bool:
    """Whether this run checks shapes as the code runs; torch.compile cannot trace through that."""
    return not config.getoption("markexpr").startswith("compile")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what runs torch.compile where it cannot."""
    for item in items:
        if checks_shapes(config) and item.get_closest_marker("compile"):
            item.add_marker(pytest.mark.skip(reason="runs torch.compile: start it with pytest -m compile"))


def pytest_configure(config: pytest.Config) -> None:
    """Check shapes and types of every call in the rooms with tensors, but not where torch.compile traces them."""
    if checks_shapes(config):
        install_import_hook([f"windtunnel.{room}" for room in SHAPED_ROOMS], "beartype.beartype")
