"""The claim ledger: the findings of a report as data, with the hash of every record that it was made from."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, cast

from pydantic import TypeAdapter

from windtunnel import __version__
from windtunnel.analysis.finding import Finding
from windtunnel.analysis.measured import KEY_LENGTH, Measured, comparison_evidence
from windtunnel.records.calibration import Calibration, calibration_to_json
from windtunnel.records.environment import Environment
from windtunnel.records.store import Run

FORMAT = 1
_DIGEST_LENGTH = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class ScopeClaims:
    """What is claimed of one machine and one kind of cells.

    Attributes:
        name: What headings call it.
        machine: The machine's hash.
        records: What names each record, look and calibration in evidence, to the hash of its text in the store.
    """

    name: str
    machine: str
    findings: tuple[Finding, ...]
    records: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerScope:
    """A scope as it stands in a ledger: findings as JSON, and the hash of each record."""

    name: str
    machine: str
    findings: list[dict[str, Any]]
    records: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """A ledger as it stands in a report and in the store; `runs` are starts of runs to hashes."""

    format: int
    windtunnel: str
    language: str
    selection: str
    runs: dict[str, str]
    scopes: list[LedgerScope]


_LEDGER = TypeAdapter(Ledger)


def digests_of(measured: Measured) -> dict[str, str]:
    """Return the hashes of all that a scope was made from; empty texts of what came from no store."""
    stored = [one for row in measured.rows for one in row.processes]
    looks = (("memory", measured.ledgers), ("formats", measured.precision_looks), ("profile", measured.profiles))
    found = {one.key[:KEY_LENGTH]: one.digest for one in stored}
    found |= {comparison_evidence(one.record): one.digest for one in measured.comparisons}
    found |= {f"{kind} {one.key[:KEY_LENGTH]}": one.digest for kind, each in looks for one in each}
    calibration = next(_calibrations(measured), None)
    if calibration:
        found["calibration"] = _digest(calibration_to_json(calibration))
    for environment in _environments(measured):
        found[f"environment {environment.key()[:KEY_LENGTH]}"] = _digest(json.dumps(asdict(environment)))
    return found


def _calibrations(measured: Measured) -> Iterator[Calibration]:
    for row in measured.rows:
        if row.calibration:
            yield row.calibration
    for look in (*measured.ledgers, *measured.precision_looks, *measured.profiles):
        if look.calibration:
            yield look.calibration


def _environments(measured: Measured) -> Iterable[Environment]:
    """Return each environment once; a store reads each once too, so that they are told apart by identity."""
    found = {id(one.environment): one.environment for row in measured.rows for one in row.processes}
    for comparison in measured.comparisons:
        for environment in (comparison.environment_a, comparison.environment_b):
            found[id(environment)] = environment
    for look in (*measured.ledgers, *measured.precision_looks, *measured.profiles):
        found[id(look.environment)] = look.environment
    return found.values()


def ledger_text(scopes: Sequence[ScopeClaims], runs: Sequence[Run], language: str) -> str:
    """Return the ledger as one JSON object in one line; the same claims make the same text."""
    ledger = Ledger(
        format=FORMAT,
        windtunnel=__version__,
        language=language,
        selection="the whole store, of each task the latest repeat",
        runs={run.started_at: _digest(json.dumps([run.sweep, run.summary], sort_keys=True)) for run in runs},
        scopes=[
            LedgerScope(
                name=scope.name,
                machine=scope.machine,
                findings=[cast("dict[str, Any]", _plain(asdict(finding))) for finding in scope.findings],
                records=dict(scope.records),
            )
            for scope in scopes
        ],
    )
    # In ASCII: a name in a record may hold marks that turn text around.
    return json.dumps(asdict(ledger), allow_nan=False, separators=(",", ":"))


def ledger_from_text(text: str) -> Ledger:
    """Return the ledger that `ledger_text` wrote.

    Raises:
        pydantic.ValidationError: The text is no ledger.
    """
    return _LEDGER.validate_json(text, strict=True)


def _plain(value: object) -> object:
    """Return a value as JSON gives it back; numbers that are not finite become text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in cast("Sequence[object]", value)]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """Something that a ledger rests on, and that a store has no longer, has otherwise, or has besides."""

    scope: str
    key: str
    how: str


def changed_between(said: Ledger, given: Ledger) -> Iterator[Changed]:
    """Yield each record that two ledgers do not share with one hash, in the order of the first."""
    yield from _changed("", said.runs, given.runs, "run ")
    for scope in said.scopes:
        others = [one.records for one in given.scopes if (one.machine, one.name) == (scope.machine, scope.name)]
        yield from _changed(scope.name, scope.records, others[0] if others else {})


def _changed(scope: str, said: Mapping[str, str], given: Mapping[str, str], prefix: str = "") -> Iterator[Changed]:
    for key in dict.fromkeys((*said, *given)):
        if said.get(key) != given.get(key):
            how = "is gone from the store" if key not in given else "has changed" if key in said else "is new"
            yield Changed(scope=scope, key=f"{prefix}{key}", how=how)
