"""Memory ledgers as they are kept."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from factory import CPU, GPU
from ledgers import STEP, make_ledger
from old_stores import downgrade
from windtunnel.errors import StoreError
from windtunnel.records.memory_ledger import Allocations, MemoryLedger, ledger_from_json, ledger_to_json
from windtunnel.records.schema import SCHEMA_VERSION
from windtunnel.records.store import open_store, read_store


def test_a_ledger_is_read_as_it_was_written():
    ledger = make_ledger()

    assert ledger_from_json(ledger_to_json(ledger)) == ledger


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": ()},
        {"num_events": 3},
        {"allocations": {"sizes": [1], "labels": [], "born": [], "died": []}},
    ],
)
def test_a_ledger_that_contradicts_itself_is_not_read(fields: dict[str, object]):
    text = json.dumps({**json.loads(ledger_to_json(make_ledger())), **fields})

    with pytest.raises(ValidationError):
        ledger_from_json(text)


def test_columns_of_different_length_are_no_allocations():
    with pytest.raises(ValueError, match="differ in length"):
        Allocations(sizes=(1,))


def test_the_latest_ledger_of_each_cell_and_machine_is_read(tmp_path: Path):
    first, second = make_ledger(), make_ledger(STEP[:3])

    with open_store(tmp_path) as store:
        store.add_look(first, CPU)
        store.add_look(second, CPU)
        store.add_look(first, GPU)

    with read_store(tmp_path) as store:
        found = [(stored.look, stored.environment) for stored in store.looks(MemoryLedger)]
    assert found == [(second, CPU), (first, GPU)]


def test_a_damaged_ledger_is_named(tmp_path: Path):
    with open_store(tmp_path) as store:
        store.add_look(make_ledger(), CPU)
    with sqlite3.connect(tmp_path / "store.sqlite") as connection:
        connection.execute("UPDATE looks SET look = substr(look, 1, 100)")
    connection.close()

    with read_store(tmp_path) as store, pytest.raises(StoreError, match=r"memory ledger 1 in .* is damaged"):
        store.looks(MemoryLedger)


def test_a_store_of_before_ledgers_is_read_and_upgraded(tmp_path: Path):
    with open_store(tmp_path) as store:
        store.make()
    downgrade(tmp_path, 3)

    with read_store(tmp_path) as store:
        assert store.looks(MemoryLedger) == ()
    with open_store(tmp_path) as store:
        store.add_look(make_ledger(), CPU)
        assert len(store.looks(MemoryLedger)) == 1
    with sqlite3.connect(tmp_path / "store.sqlite") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()


def test_a_ledger_of_nothing_but_its_failure_is_kept_too(tmp_path: Path):
    empty = replace(make_ledger(()), phases=(), num_events=0, built=None, device=None)

    with open_store(tmp_path) as store:
        store.add_look(empty, CPU)
        (stored,) = store.looks(MemoryLedger)

    assert stored.look == empty
