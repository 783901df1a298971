"""No change of a record survives: a sentence or a cell changes, or verify finds the record by its hash."""

import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from calling import CallCli, make_caller
from factory import GPU
from measured_grids import clean_records, write_grid
from windtunnel.analysis.results import Results, rows_of
from windtunnel.records.record import Failure, Record, Status, record_to_json
from windtunnel.records.store import FILE_NAME, StoredRecord
from windtunnel.report.build import build_document
from windtunnel.report.displayed import read_report
from windtunnel.report.markdown import render_markdown
from windtunnel.report.verify import Verification, verify

CONTEXTS = (128, 256, 512, 1024)
MUTATIONS = 500
SHARES = 5
"""So many tests share the mutations, so that as many workers can."""


def scaled(record: Record, random: Random) -> Record:
    """All samples of one phase take another time."""
    factor, chosen = random.choice((0.5, 0.9, 0.97, 1.03, 1.1, 2.0)), random.randrange(len(record.samples))
    return with_series(record, chosen, [round(value * factor) for value in record.samples[chosen].nanoseconds])


def one_sample(record: Record, random: Random) -> Record:
    """One sample takes another time."""
    chosen = random.randrange(len(record.samples))
    values = list(record.samples[chosen].nanoseconds)
    place = random.randrange(len(values))
    values[place] = round(values[place] * random.choice((0.3, 0.99, 1.01, 4.0)))
    return with_series(record, chosen, values)


def sample_lost(record: Record, random: Random) -> Record:
    """One sample of one phase is not there."""
    chosen = random.randrange(len(record.samples))
    return with_series(record, chosen, record.samples[chosen].nanoseconds[:-1])


def with_series(record: Record, chosen: int, values: object) -> Record:
    series = list(record.samples)
    series[chosen] = replace(series[chosen], nanoseconds=tuple(values))
    return replace(record, samples=tuple(series))


def peak(record: Record, random: Random) -> Record:
    """The peak of memory is another."""
    memory = record.memory
    assert memory is not None
    return replace(
        record, memory=replace(memory, peak_bytes=round(memory.peak_bytes * random.choice((0.4, 0.98, 1.3))))
    )


def reserved(record: Record, random: Random) -> Record:
    """A number that no table shows is another."""
    memory = record.memory
    assert memory is not None
    return replace(record, memory=replace(memory, peak_reserved_bytes=random.randrange(2**34)))


def failed(record: Record, random: Random) -> Record:
    """The cell ran out of memory instead."""
    failure = Failure(stage="measure", message="CUDA out of memory.", requested_bytes=random.randrange(2**34))
    return replace(record, status=Status.OUT_OF_MEMORY, failure=failure, samples=())


def cost(record: Record, random: Random) -> Record:
    """The FLOPs of a phase are others."""
    phase = random.choice(list(record.flops))
    return replace(record, flops={**record.flops, phase: round(record.flops[phase] * random.choice((0.5, 1.1, 3)))})


def parameters(record: Record, random: Random) -> Record:
    """The model has other parameters."""
    return replace(record, parameters=(record.parameters or 0) + random.randrange(1, 10**8))


def warned(record: Record, random: Random) -> Record:
    """The worker said something."""
    return replace(record, warnings=(f"noise {random.random()}",))


SHOWN: tuple[Callable[[Record, Random], Record], ...] = (scaled, one_sample, sample_lost, peak, failed, cost, warned)
KINDS = (*SHOWN, reserved, parameters)


def stored(record: Record, key: str) -> StoredRecord:
    digest = sha256(record_to_json(record).encode()).hexdigest()[:16]
    return StoredRecord(key=key, repeat=0, record=record, environment=GPU, digest=digest)


@cache
def grid() -> tuple[StoredRecord, ...]:
    return tuple(stored(record, record.task.key()) for record in clean_records(7, contexts=CONTEXTS))


def report_of(records: list[StoredRecord]) -> str:
    return render_markdown(build_document(Results(rows=rows_of(records, lambda _: None), runs=())))


@cache
def original() -> str:
    return report_of(list(grid()))


def verified(text: str) -> Verification:
    return verify(read_report(original(), Path("said")), read_report(text, Path("given")))


def test_the_grid_has_500_measured_quantities():
    records = [one.record for one in grid()]

    quantities = [series for record in records for series in record.samples]
    quantities += [
        value for record in records for value in (record.memory.peak_bytes, record.memory.peak_reserved_bytes)
    ]
    quantities += [count for record in records for count in record.flops.values()]

    assert len(quantities) >= 500
    assert verified(original()).is_true


@pytest.mark.parametrize("share", range(SHARES))
def test_no_mutation_survives(share: int):
    survived: list[str] = []
    seen, shown = Counter[str](), Counter[str]()
    for seed in range(share, MUTATIONS, SHARES):
        random = Random(seed)
        records = list(grid())
        place = random.randrange(len(records))
        change = random.choice((*KINDS, None))
        if change is None:
            del records[place]
        else:
            records[place] = stored(change(records[place].record, random), records[place].key)
        name = change.__name__ if change else "dropped"

        found = verified(report_of(records))

        seen[name] += 1
        shown[name] += found.difference is not None
        survived += [f"{name}, seed {seed}"] * found.is_true
    assert survived == []
    assert all(shown[change.__name__] > 0.6 * seen[change.__name__] for change in SHOWN if seen[change.__name__] > 3), (
        shown
    )
    assert shown["dropped"] == seen["dropped"]


def test_the_command_finds_a_mutation_of_the_file_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cli: CallCli = make_caller(monkeypatch, capsys)
    records = clean_records(7, contexts=(256,))
    folder = write_grid(tmp_path / "s", records)
    cli("report", str(folder), "--format", "html,md")
    reports = [folder / "report" / f"report.{suffix}" for suffix in ("html", "md")]
    codes: list[int] = []

    for number, change in enumerate(KINDS):
        record = records[number]
        for text in (change(record, Random(number)), record):
            connection = sqlite3.connect(folder / FILE_NAME)
            with connection:
                connection.execute(
                    "UPDATE records SET record = ? WHERE key = ?", (record_to_json(text), record.task.key())
                )
            connection.close()
            codes.append(cli("verify", str(reports[number % 2]), "--store", str(folder)).code)

    assert codes == [1, 0] * len(KINDS)
