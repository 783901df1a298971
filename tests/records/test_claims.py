"""The store keeps the claim ledgers of its reports, each once."""

from pathlib import Path

from factory import GPU, make_record, make_task
from old_stores import downgrade
from windtunnel.records.store import open_store, read_store

KEPT = {"written_at": "2026-01-02T03:04:05+00:00", "windtunnel": "0.1.0", "language": "en"}


def test_a_ledger_is_kept_as_it_was_written_and_once(tmp_path: Path):
    with open_store(tmp_path) as store:
        added = [store.add_claims(ledger, **KEPT) for ledger in ('{"a":1}', '{"b":2}', '{"a":1}')]

    assert added == [True, True, False]
    with read_store(tmp_path) as store:
        assert store.claims() == ('{"a":1}', '{"b":2}')


def test_a_store_of_version_4_has_none_and_takes_some(tmp_path: Path):
    with open_store(tmp_path) as store:
        store.add(make_record(make_task()), GPU)
    downgrade(tmp_path, 4)

    with read_store(tmp_path) as store:
        assert store.claims() == ()
    with open_store(tmp_path) as store:
        assert store.add_claims("{}", **KEPT)
        assert len(list(store.records())) == 1


def test_a_record_read_from_a_store_has_the_hash_of_its_text(tmp_path: Path):
    with open_store(tmp_path) as store:
        for milliseconds in (10.0, 11.0):
            store.add(make_record(make_task(), milliseconds=[milliseconds] * 3), GPU)

    with read_store(tmp_path) as store:
        digests = {stored.digest for stored in store.records(all_repeats=True)}

    assert len(digests) == 2
    assert all(len(digest) == 16 for digest in digests)
