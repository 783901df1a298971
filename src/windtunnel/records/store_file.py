"""The file of a store: how it is opened, known as ours, locked and shared, and what its errors mean to a user."""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from windtunnel.errors import StoreError
from windtunnel.records.schema import APPLICATION_ID, SCHEMA_VERSION, upgrade

FILE_NAME = "store.sqlite"

_BUSY_SECONDS = 60.0  # how long a writer waits for another one; a transaction takes milliseconds


def connect_to_write(folder: Path) -> sqlite3.Connection:
    """Open the file in `folder` for reading and writing, made or brought to our schema where needed.

    Raises:
        StoreError: The folder cannot be made or written, or what is there is not a store of this version.
    """
    with _making(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with explained(folder):
        connection = _connect(f"file:{_quoted(folder / FILE_NAME)}")
        try:
            with write_lock(folder):  # two first writers must not both make the tables
                is_new = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
                if is_new:
                    connection.execute("PRAGMA journal_mode = WAL")
                else:
                    _check_identity(connection, folder)
                upgrade(connection)
                connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
    return connection


def check_can_make(folder: Path) -> None:
    """Refuse a place where no folder can be made, as far as that is known without making it.

    Raises:
        StoreError: What is there is no folder, or must not be written.
    """
    with _making(folder):
        check_folder(folder)


def check_folder(folder: Path) -> None:
    """Check that a folder can be written, or made, as far as that is known without making it.

    Raises:
        OSError: What is there is no folder, or must not be written.
    """
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(there, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def connect_to_read(folder: Path) -> sqlite3.Connection:
    """Open the file in `folder` for reading only; also where it lies on a medium that cannot be written.

    Raises:
        StoreError: There is no store, or what is there is not a store of this version.
    """
    path = folder / FILE_NAME
    if not path.exists():
        raise StoreError(
            f"no store in {folder} (no {FILE_NAME} there); measure first with `windtunnel run`, or name one"
        )
    log = folder / f"{FILE_NAME}-wal"
    with explained(folder):
        try:
            return _connect_to_ours(f"file:{_quoted(path)}?mode=ro", folder)
        except sqlite3.OperationalError as error:
            # On a read-only medium WAL cannot make its index file; nobody can be writing there either.
            if log.exists() and log.stat().st_size:  # an immutable file is read without its log
                raise StoreError(
                    f"the store {folder} cannot be used: {error}; its last records are in {log.name} only: "
                    "copy the folder to where it can be written, and read it there"
                ) from error
            return _connect_to_ours(f"file:{_quoted(path)}?mode=ro&immutable=1", folder)


@contextmanager
def write_lock(folder: Path) -> Generator[None]:
    """Keep other writers out: SQLite's own locks are not enough on some network file systems."""
    with (folder / "store.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def damage_named(what: str, folder: Path) -> Generator[None]:
    """Turn a row that is not what we wrote into a StoreError that names it."""
    try:
        yield
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{what} in {folder} is damaged: {error}; copy the store, then delete that row with sqlite3, "
            "or choose another --store"
        ) from error


@contextmanager
def explained(folder: Path) -> Generator[None]:
    """Turn what SQLite and the file system say into a StoreError with the fix."""
    try:
        yield
    except sqlite3.Error as error:
        message = str(error)
        advice = next((fix for sign, fix in _ADVICE.items() if sign in message), "")
        raise StoreError(f"the store {folder} cannot be used: {message}{advice}") from error
    except OSError as error:
        raise StoreError(f"the store {folder} cannot be used: {error.strerror}; choose another with --store") from error


@contextmanager
def _making(folder: Path) -> Generator[None]:
    """Turn what the file system says of a new folder into a StoreError with the fix."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot make the store folder {folder}: {error.strerror}; choose another with --store"
        ) from error


def _quoted(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)


def _connect_to_ours(uri: str, folder: Path) -> sqlite3.Connection:
    connection = _connect(uri)
    try:
        _check_identity(connection, folder)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_identity(connection: sqlite3.Connection, folder: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise StoreError(f"{folder / FILE_NAME} is a SQLite file, but not a windtunnel store; choose another --store")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"the store {folder} has schema version {version}, newer than the {SCHEMA_VERSION} that this windtunnel "
            "reads; update windtunnel, or choose another --store"
        )


_ADVICE = {
    "not a database": f"; {FILE_NAME} there is not a windtunnel store: choose another --store",
    "malformed": f"; {FILE_NAME} is damaged: `sqlite3 {FILE_NAME} .recover` saves what can still be read",
    "readonly": "; it is read-only: change its permissions, or choose another --store",
    "unable to open": "; check the folder's permissions, or choose another --store",
    "full": "; the disk is full: free some space and run the same command again, nothing stored is lost",
    "disk I/O": "; the disk may be full: free some space and run the same command again, nothing stored is lost",
    "locked": f"; another process has held it for {_BUSY_SECONDS:.0f} s: stop that one, or choose another --store",
}
