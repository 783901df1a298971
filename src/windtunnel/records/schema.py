"""The tables of a store, by schema version, and how one version becomes the next."""

import sqlite3

SCHEMA_VERSION = 5
APPLICATION_ID = 0x57544E4C
"""WTNL: what `file` and we ourselves know a store by."""

_FIRST = f"""
PRAGMA application_id = {APPLICATION_ID};
CREATE TABLE environments (
    id TEXT PRIMARY KEY,
    machine TEXT NOT NULL,
    environment TEXT NOT NULL
) STRICT;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    started_at TEXT NOT NULL,
    sweep TEXT NOT NULL,
    machine TEXT NOT NULL,
    summary TEXT
) STRICT;
CREATE TABLE records (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    machine TEXT NOT NULL,
    repeat INTEGER NOT NULL,
    environment_id TEXT NOT NULL REFERENCES environments(id),
    started_at TEXT NOT NULL,
    status TEXT NOT NULL,
    size TEXT NOT NULL,
    workload TEXT NOT NULL,
    batch_size INTEGER NOT NULL,
    context_length INTEGER NOT NULL,
    precision TEXT NOT NULL,
    attention TEXT NOT NULL,
    compile TEXT NOT NULL,
    device TEXT NOT NULL,
    warmup INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    record TEXT NOT NULL,
    UNIQUE (key, machine, repeat)
) STRICT;
"""
_CALIBRATIONS = """
CREATE TABLE calibrations (
    id INTEGER PRIMARY KEY,
    machine TEXT NOT NULL,
    environment_id TEXT NOT NULL REFERENCES environments(id),
    started_at TEXT NOT NULL,
    calibration TEXT NOT NULL
) STRICT;
"""
_COMPARISONS = """
CREATE TABLE comparisons (
    id INTEGER PRIMARY KEY,
    machine TEXT NOT NULL,
    environment_a TEXT NOT NULL REFERENCES environments(id),
    environment_b TEXT NOT NULL REFERENCES environments(id),
    run_started_at TEXT NOT NULL,
    started_at TEXT NOT NULL,
    status TEXT NOT NULL,
    comparison TEXT NOT NULL
) STRICT;
"""
_LOOKS = """
CREATE TABLE looks (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    machine TEXT NOT NULL,
    environment_id TEXT NOT NULL REFERENCES environments(id),
    started_at TEXT NOT NULL,
    status TEXT NOT NULL,
    look TEXT NOT NULL
) STRICT;
CREATE TABLE look_kernels (
    look_id INTEGER NOT NULL REFERENCES looks(id),
    phase TEXT NOT NULL,
    part TEXT NOT NULL,
    block TEXT NOT NULL,
    name TEXT NOT NULL,
    calls INTEGER NOT NULL,
    nanoseconds INTEGER NOT NULL
) STRICT;
"""
_CLAIMS = """
CREATE TABLE claims (
    id INTEGER PRIMARY KEY,
    written_at TEXT NOT NULL,
    windtunnel TEXT NOT NULL,
    language TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    ledger TEXT NOT NULL
) STRICT;
"""
_STEPS = (_FIRST, _CALIBRATIONS, _COMPARISONS, _LOOKS, _CLAIMS)
"""What each schema version lacks of the next one; new tables only, so that an open writer of the old one goes on."""


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring an empty file, or a store of an older schema, to ours, each version in one transaction.

    The caller holds the lock against other writers.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for older in range(version, SCHEMA_VERSION):
        connection.executescript(f"BEGIN IMMEDIATE; {_STEPS[older]} PRAGMA user_version = {older + 1}; COMMIT;")
