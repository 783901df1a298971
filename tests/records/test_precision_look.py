"""Looks at number formats as they are kept."""

import sqlite3
from pathlib import Path

import pytest

from factory import CPU, GPU
from old_stores import downgrade
from precision_looks import make_look
from windtunnel.errors import StoreError
from windtunnel.records.precision_look import PrecisionLook, look_from_json, look_to_json
from windtunnel.records.record import Failure, Status
from windtunnel.records.store import open_store, read_store


def test_a_look_is_read_as_it_was_written():
    look = make_look()

    assert look_from_json(look_to_json(look)) == look


def test_the_latest_look_of_each_request_and_machine_is_read(tmp_path: Path):
    first = make_look(curves=None)
    second = make_look()

    with open_store(tmp_path) as store:
        store.add_look(first, CPU)
        store.add_look(second, CPU)
        store.add_look(first, GPU)

    with read_store(tmp_path) as store:
        assert [(one.look, one.environment) for one in store.looks(PrecisionLook)] == [(second, CPU), (first, GPU)]


def test_a_look_of_nothing_but_its_failure_is_kept_too(tmp_path: Path):
    failure = Failure(stage="build", message="no")
    look = make_look(status=Status.FAILED, failure=failure, formats=None, numerics=None, curves=None)

    with open_store(tmp_path) as store:
        store.add_look(look, CPU)

        assert store.looks(PrecisionLook)[0].look == look


def test_a_damaged_look_is_named(tmp_path: Path):
    with open_store(tmp_path) as store:
        store.add_look(make_look(), CPU)
    with sqlite3.connect(tmp_path / "store.sqlite") as connection:
        connection.execute("UPDATE looks SET look = substr(look, 1, 100)")
    connection.close()

    with read_store(tmp_path) as store, pytest.raises(StoreError, match=r"number formats 1 in .* is damaged"):
        store.looks(PrecisionLook)


def test_a_store_of_before_looks_is_read_and_upgraded(tmp_path: Path):
    with open_store(tmp_path) as store:
        store.make()
    downgrade(tmp_path, 3)

    with read_store(tmp_path) as store:
        assert store.looks(PrecisionLook) == ()
    with open_store(tmp_path) as store:
        store.add_look(make_look(), CPU)
        assert len(store.looks(PrecisionLook)) == 1
