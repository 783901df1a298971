"""Part of a store, as `FOLDER@machine=…,run=…`: the rows of one side of a comparison, or those of each run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from windtunnel.analysis.results import Row, rows_of
from windtunnel.errors import SpecError, unknown_name
from windtunnel.language import listed
from windtunnel.records.calibration import Calibration
from windtunnel.records.store import Run, StoredRecord, read_store


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """What was chosen of a store: the text that did it, the folder, and the rows, the latest repeat of each cell."""

    text: str
    folder: Path
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRows:
    """The rows that one call of the engine made; `run` is None for records older than every run of their machine."""

    run: Run | None
    started_at: str
    rows: tuple[Row, ...]


def choose(text: str) -> Chosen:
    """Return the rows of `FOLDER` or `FOLDER@NAME=VALUE,…`, of each cell the latest that fits.

    Names: `machine` and `commit` (the beginning of a hash), `label` (a sweep's name), `run` (from 1, or from -1 back).

    Raises:
        SpecError: A name or a value is not known, or nothing fits.
        StoreError: There is no store, or it cannot be read.
    """
    folder, wanted = _parsed(text)
    with read_store(folder) as store:
        runs, records = store.runs(), tuple(store.records(all_repeats=True))
        chosen = _fitting(records, runs, wanted, text)
        latest: dict[tuple[str, str], StoredRecord] = {}
        for stored in chosen:
            latest[stored.key, stored.environment.machine()] = stored  # repeats come in their order
        return Chosen(text=text, folder=folder, rows=rows_of(latest.values(), store.calibration))


def rows_by_run(folder: Path) -> tuple[RunRows, ...]:
    """Return what each run of a store measured, every repeat in the run that made it, oldest first.

    Raises:
        StoreError: There is no store, or it cannot be read.
    """
    with read_store(folder) as store:
        return split_by_run(store.records(all_repeats=True), store.runs(), store.calibration)


def split_by_run(
    records: Iterable[StoredRecord], runs: Sequence[Run], calibration: Callable[[str], Calibration | None]
) -> tuple[RunRows, ...]:
    """Return the rows of some records, each in the run that made it, oldest first."""
    groups: dict[int | None, list[StoredRecord]] = {}
    for stored in records:
        groups.setdefault(_run_of(stored, runs), []).append(stored)
    return tuple(
        RunRows(
            run=None if number is None else runs[number],
            started_at=of_run[0].record.started_at if number is None else runs[number].started_at,
            rows=rows_of(of_run, calibration),
        )
        for number, of_run in groups.items()
    )


def _parsed(text: str) -> tuple[Path, dict[str, str]]:
    folder, _, rest = text.rpartition("@")
    if not folder or "=" not in rest:  # a folder may have an @ in its name
        return Path(text), {}
    wanted: dict[str, str] = {}
    for part in rest.split(","):
        name, _, value = part.partition("=")
        if name.strip() not in _FITS:
            raise SpecError(f"{text}: {unknown_name('part of a store', name.strip(), _FITS)}")
        wanted[name.strip()] = value.strip()
    return Path(folder), wanted


def _fitting(
    records: Sequence[StoredRecord], runs: Sequence[Run], wanted: dict[str, str], text: str
) -> Sequence[StoredRecord]:
    for name, value in wanted.items():
        there = [(stored, _FITS[name](stored, runs)) for stored in records]
        if name == "run":
            value = _run_number(value, len(runs), text)
        records = [stored for stored, has in there if (has == value if name in _EXACT else has.startswith(value))]
        if not records:
            known = ", ".join(sorted({has for _, has in there if has})) or "none"
            raise SpecError(f"{text}: no record has {name} {value!r}; there are: {known}")
    return records


def _run_number(value: str, count: int, text: str) -> str:
    """Return the number of a run from 1, given it or one from -1 back."""
    try:
        number = int(value)
    except ValueError:
        number = 0
    number = count + 1 + number if number < 0 else number
    if not 1 <= number <= count:
        raise SpecError(f"{text}: run is {value!r}; allowed: 1 to {count}, or -1 for the last one")
    return str(number)


def _run_of(stored: StoredRecord, runs: Sequence[Run]) -> int | None:
    """Return the place of the run that made a record: the last one of its machine that began before it."""
    machine = stored.environment.machine()
    before = (
        place
        for place, run in enumerate(runs)
        if run.machine == machine and _moment(run.started_at) <= _moment(stored.record.started_at)
    )
    return max(before, default=None)


def _moment(started_at: str) -> str:
    """Return a time that can be compared as text: whole seconds, as some clocks are written without a fraction."""
    return started_at[:19]


def _label_of(stored: StoredRecord, runs: Sequence[Run]) -> str:
    place = _run_of(stored, runs)
    return "" if place is None else str(runs[place].sweep.get("name", ""))


def _number_of(stored: StoredRecord, runs: Sequence[Run]) -> str:
    place = _run_of(stored, runs)
    return "" if place is None else str(place + 1)


_FITS: dict[str, Callable[[StoredRecord, Sequence[Run]], str]] = {
    "machine": lambda stored, _: stored.environment.machine(),
    "commit": lambda stored, _: stored.environment.git_commit or "",
    "label": _label_of,
    "run": _number_of,
}
_EXACT = frozenset({"label", "run"})


def names_of(rows: Iterable[Row]) -> str:
    """Say in a few words on what rows were measured: the devices, and the commits where they are known."""
    devices = dict.fromkeys(row.environment.device_name for row in rows)
    commits = dict.fromkeys(_short(commit) for row in rows if (commit := row.environment.git_commit))
    torches = dict.fromkeys(f"torch {row.environment.torch}" for row in rows)
    return listed([*devices, *torches, *(f"commit {commit}" for commit in commits)])


def _short(commit: str) -> str:
    """Return the first 12 digits of a commit, with the `+changes` of files that differ from it."""
    digits, plus, changes = commit.partition("+")
    return f"{digits[:12]}{plus}{changes}"
