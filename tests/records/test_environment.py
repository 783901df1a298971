from dataclasses import fields, replace

import pytest

from factory import GPU
from windtunnel.records.environment import Environment

NOT_THE_MACHINE = {"windtunnel", "git_commit", "host_memory_bytes"}
FIELDS = [field.name for field in fields(Environment)]


def changed(field: str) -> Environment:
    value = getattr(GPU, field)
    if field == "settings":
        return replace(GPU, settings={**GPU.settings, "OMP_NUM_THREADS": "1"})
    return replace(GPU, **{field: value + 1 if isinstance(value, int) else f"{value} (another)"})


def test_an_environment_has_the_key_and_machine_that_stores_hold():
    assert (GPU.key(), GPU.machine()) == ("223962ac3119", "9e8879b45cfa")


@pytest.mark.parametrize("field", FIELDS)
def test_the_key_changes_with_each_field(field: str):
    assert changed(field).key() != GPU.key()


@pytest.mark.parametrize("field", [field for field in FIELDS if field not in NOT_THE_MACHINE])
def test_whatever_changes_speed_makes_another_machine(field: str):
    assert changed(field).machine() != GPU.machine()


@pytest.mark.parametrize("field", sorted(NOT_THE_MACHINE))
def test_our_own_version_and_the_memory_in_use_make_no_other_machine(field: str):
    assert changed(field).machine() == GPU.machine()


def test_the_order_of_the_settings_makes_no_other_machine():
    settings = {"OMP_NUM_THREADS": "1", "float32_matmul_precision": "highest"}
    one = replace(GPU, settings=settings)
    other = replace(GPU, settings=dict(reversed(settings.items())))

    assert one.key() == other.key()
    assert one.machine() == other.machine()
