"""The rows of one machine and one kind, and the words for what tells its cells apart."""

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar, cast

from windtunnel.analysis.comparisons import StepRatio, step_ratios, varying
from windtunnel.analysis.finding import Finding
from windtunnel.analysis.history import History, histories_in
from windtunnel.analysis.labels import Mark, marks_of
from windtunnel.analysis.measured import KEY_LENGTH
from windtunnel.analysis.predictions import Predictions, predictions_of
from windtunnel.analysis.results import Results, Row
from windtunnel.language import listed, say
from windtunnel.records.environment import Environment
from windtunnel.records.looks import StoredLook
from windtunnel.records.memory_ledger import MemoryLedger
from windtunnel.records.precision_look import PrecisionLook
from windtunnel.records.profile import Profile
from windtunnel.records.store import Run, StoredComparison
from windtunnel.report.axes import SEED, SIZE, WORKLOAD, Axis, axes_of, entry_text
from windtunnel.report.document import Cell, Column
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.own_model import OwnModel

_Thing = TypeVar("_Thing")


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedModel:
    """A model, its plain fields as a value that can be compared quickly, and what tables call it."""

    name: str
    shape: Hashable
    model: ModelSpec | OwnModel
    parameters: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """What one section speaks of: all steps of models of one machine, or all its attention alone.

    Attributes:
        machine: The machine's hash.
        device: What titles call the machine; no other machine of the report has this name.
        name: What headings call the scope; no other one of the report has this name.
        is_attention: Whether its rows are attention alone; steps of models and these share no table.
        is_fit: Whether its rows are probes of what fits, which have no times.
        measured: The rows that were measured to their end.
        failed: The other rows.
        runs: The runs on this machine, oldest first.
        axes: The axes in which the rows differ; the workload where there are none, so that a row has a name.
        fixed: The axes in which they do not.
        marks: What a reader must know of each row before using its number.
        entries: What each row shows under `axes`: made once, because every table asks for it.
        step_ratios: Each forward beside its forward + backward, for the sections that speak of them.
        predictions: What was predicted of the rows; of probes nothing here, as their section does that.
        models: Each model with its name, which no other one of this machine has, smallest first.
        comparisons: The comparisons whose side A ran on this machine; a scope may have them only.
        ledgers: The memory ledgers of steps of models on this machine; a scope may have them only.
        precision_looks: The same of looks at formats.
        profiles: The profiles of steps of models on this machine; a scope may have them only.
        histories: The cells of which three runs or more have a record, whose last one is of this scope.
        findings: What rules found in all of these, the weightiest first; nothing of probes.
    """

    machine: str
    device: str
    name: str
    is_attention: bool
    is_fit: bool
    rows: tuple[Row, ...]
    measured: tuple[Row, ...]
    failed: tuple[Row, ...]
    runs: tuple[Run, ...]
    axes: tuple[Axis, ...]
    fixed: tuple[Axis, ...]
    marks: Mapping[Row, tuple[Mark, ...]]
    entries: Mapping[Row, tuple[Cell, ...]]
    step_ratios: tuple[StepRatio, ...]
    predictions: Predictions
    models: tuple[NamedModel, ...]
    comparisons: tuple[StoredComparison, ...] = ()
    ledgers: tuple[StoredLook[MemoryLedger], ...] = ()
    precision_looks: tuple[StoredLook[PrecisionLook], ...] = ()
    profiles: tuple[StoredLook[Profile], ...] = ()
    histories: tuple[History, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def environment(self) -> Environment:
        """The latest environment; others of this machine differ in windtunnel's own version at most."""
        return self.rows[-1].environment

    @property
    def all_axes(self) -> tuple[Axis, ...]:
        """Every axis of this kind of rows, in the order of columns."""
        return axes_of(is_attention=self.is_attention, is_fit=self.is_fit)

    def value(self, axis: Axis, row: Row) -> str:
        """Return the text of a row's value on an axis."""
        if axis in self.axes:
            return self.entries[row][self.axes.index(axis)].text
        return entry_text(axis, row)

    def phrase(self, axis: Axis, row: Row) -> str:
        """Return a row's value on an axis as running text: 'context 256'."""
        return axis.say_value(self.value(axis, row))

    def label(self, row: Row, *, without: Collection[Axis] = ()) -> str:
        """Return the shortest name of a row that tells it apart here, or of what `without` some axes leaves of it."""
        return " · ".join(self.phrase(axis, row) for axis in self.axes if axis not in without)

    def columns(self, *, without: Collection[Axis] = ()) -> tuple[Column, ...]:
        """Return a column for each axis in which rows differ."""
        return tuple(
            Column(name=axis.name, kind=axis.kind, description=axis.description)
            for axis in self.axes
            if axis not in without
        )

    def cells(self, row: Row, *, without: Collection[Axis] = ()) -> tuple[Cell, ...]:
        """Return the entries of a row under `columns`."""
        entries = self.entries[row]
        if not without:
            return entries
        return tuple([entry for axis, entry in zip(self.axes, entries, strict=True) if axis not in without])

    def row_key(self, evidence: str) -> str:
        """Return the key that sentences and rows of this scope share for a place of evidence: without the phase."""
        return f"{self.machine[:6]}-{evidence.split(',')[0]}"

    def look_key(self, kind: str, stored: StoredLook[Any]) -> str:
        """Return the key that sentences and rows of this scope share for a look inside a step."""
        return self.row_key(f"{kind} {stored.key[:KEY_LENGTH]}")

    def row_keys(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """Return the keys of rows of a table."""
        return tuple(self.row_key(row.key[:KEY_LENGTH]) for row in rows)

    def constants(self) -> str:
        """Say in one sentence what all rows have in common; empty when nothing is."""
        said = [axis for axis in self.fixed if axis is not SEED]
        phrases = listed(self.phrase(axis, self.rows[0]) for axis in said)
        return say("The same in all cells: {phrases}.", phrases=phrases) if phrases else ""


def scopes_of(results: Results) -> tuple[Scope, ...]:
    """Split results by machine and by kind, machines in order of first appearance, steps of models first."""
    machines = results.by_machine()
    environments = {machine: rows[-1].environment for machine, rows in machines.items()}
    rows_of: dict[tuple[str, Kind], list[Row]] = {}
    for machine, rows in machines.items():
        for row in rows:
            rows_of.setdefault((machine, _kind_of(row)), []).append(row)
    compared: dict[tuple[str, Kind], list[StoredComparison]] = {}
    for stored in results.comparisons:
        machine = stored.environment_a.machine()
        kind = Kind.ATTENTION if stored.record.a.task.cell.is_attention else Kind.STEPS
        compared.setdefault((machine, kind), []).append(stored)
        if machine not in machines:
            environments[machine] = stored.environment_a
    ledgers: dict[tuple[str, Kind], list[StoredLook[MemoryLedger]]] = {}
    for made in results.ledgers:
        machine = made.environment.machine()
        ledgers.setdefault((machine, Kind.STEPS), []).append(made)
        environments.setdefault(machine, made.environment)
    looks: dict[tuple[str, Kind], list[StoredLook[PrecisionLook]]] = {}
    for look in results.precision_looks:
        machine = look.environment.machine()
        looks.setdefault((machine, Kind.STEPS), []).append(look)
        environments.setdefault(machine, look.environment)
    profiles: dict[tuple[str, Kind], list[StoredLook[Profile]]] = {}
    for seen in results.profiles:
        machine = seen.environment.machine()
        profiles.setdefault((machine, Kind.STEPS), []).append(seen)
        environments.setdefault(machine, seen.environment)
    histories: dict[tuple[str, Kind], list[History]] = {}
    for history in histories_in(results):
        latest = history.moments[-1].row
        histories.setdefault((latest.machine, _kind_of(latest)), []).append(history)
    devices = _machine_names(environments)
    keys = [
        (machine, kind)
        for machine in devices
        for kind in Kind
        if {(machine, kind)} & {*rows_of, *compared, *ledgers, *looks, *profiles}
    ]
    has_several_kinds = len({kind for _, kind in keys}) > 1
    return tuple(
        replace(
            _scope(tuple(rows_of.get((machine, kind), ())), kind),
            machine=machine,
            device=devices[machine],
            name=_scope_name(kind, devices[machine]) if has_several_kinds else devices[machine],
            runs=tuple(
                run
                for run in results.runs
                if run.machine == machine and _is_of(run, kind, {there for at, there in rows_of if at == machine})
            ),
            comparisons=tuple(compared.get((machine, kind), ())),
            ledgers=tuple(ledgers.get((machine, kind), ())),
            precision_looks=tuple(looks.get((machine, kind), ())),
            profiles=tuple(profiles.get((machine, kind), ())),
            histories=tuple(histories.get((machine, kind), ())),
        )
        for machine, kind in keys
    )


class Kind(StrEnum):
    """What rows are of; no two share a table."""

    STEPS = "steps of models"
    ATTENTION = "attention alone"
    FIT_STEPS = "what fits of models"
    FIT_ATTENTION = "what fits of attention alone"


def _scope_name(kind: Kind, device: str) -> str:
    """Return what headings call a scope where a report has several kinds."""
    match kind:
        case Kind.STEPS:
            return say("steps of models, {device}", device=device)
        case Kind.ATTENTION:
            return say("attention alone, {device}", device=device)
        case Kind.FIT_STEPS:
            return say("what fits of models, {device}", device=device)
        case Kind.FIT_ATTENTION:
            return say("what fits of attention alone, {device}", device=device)


_FIT_KINDS = frozenset({Kind.FIT_STEPS, Kind.FIT_ATTENTION})


def _kind_of(row: Row) -> Kind:
    if row.plan.purpose == "fit":
        return Kind.FIT_ATTENTION if row.cell.is_attention else Kind.FIT_STEPS
    return Kind.ATTENTION if row.cell.is_attention else Kind.STEPS


def _is_of(run: Run, kind: Kind, there: Collection[Kind]) -> bool:
    """Say whether a run belongs to a kind of rows: it asked for them, or for times of which there are no others."""
    asked = _asks_for(run)
    return asked is kind or (asked not in there and not {asked, kind} & _FIT_KINDS)


def _asks_for(run: Run) -> Kind:
    kind, inner = run.sweep.get("kind"), run.sweep.get("sweep")
    if kind == "fit":
        is_attention = isinstance(inner, Mapping) and cast("Mapping[str, object]", inner).get("kind") == "attention"
        return Kind.FIT_ATTENTION if is_attention else Kind.FIT_STEPS
    return Kind.ATTENTION if kind == "attention" else Kind.STEPS


def _scope(rows: tuple[Row, ...], kind: Kind) -> Scope:
    """Return the scope of some rows, without what does not follow from them."""
    is_attention, is_fit = kind in {Kind.ATTENTION, Kind.FIT_ATTENTION}, kind in _FIT_KINDS
    every = axes_of(is_attention=is_attention, is_fit=is_fit)
    varying_names = set(varying(rows, {axis.key: axis.get for axis in every}))
    axes = tuple(axis for axis in every if axis.key in varying_names) or (WORKLOAD,)
    models = _named_models(rows)
    names = {model.shape: model.name for model in models}
    columns = [_entries(axis, rows, names) for axis in axes]
    return Scope(
        machine="",
        device="",
        name="",
        is_attention=is_attention,
        is_fit=is_fit,
        rows=rows,
        measured=tuple(row for row in rows if row.is_ok),
        failed=tuple(row for row in rows if not row.is_ok),
        runs=(),
        axes=axes,
        fixed=tuple(axis for axis in every if axis not in axes),
        marks={} if is_fit else {row: marks_of(row) for row in rows},
        entries=dict(zip(rows, zip(*columns, strict=True), strict=True)),
        step_ratios=() if is_fit else step_ratios(rows),
        predictions=predictions_of(() if is_fit else rows),
        models=models,
    )


def _entries(axis: Axis, rows: Sequence[Row], names: Mapping[Hashable, str]) -> list[Cell]:
    """Return the entries of a column; equal values share one cell."""
    cells: dict[Hashable, Cell] = {}
    for row in rows:
        value = axis.get(row)
        if value not in cells:
            cells[value] = (
                Cell(text=names[value], sort=row.size_rank) if axis is SIZE else Cell(text=entry_text(axis, row))
            )
    return [cells[axis.get(row)] for row in rows]


def _machine_names(environments: Mapping[str, Environment]) -> dict[str, str]:
    fields = {
        machine: {key: value for key, value in asdict(environment).items() if key != "device_name"}
        for machine, environment in environments.items()
    }
    names = {machine: environment.device_name for machine, environment in environments.items()}
    return _distinct(names, fields)


def _named_models(rows: Iterable[Row]) -> tuple[NamedModel, ...]:
    of_models = (row for row in rows if not row.cell.is_attention)
    # Parameters of a user's own model are known of those rows only that could build it.
    first_of = {SIZE.get(row): row for row in sorted(of_models, key=lambda row: row.size_rank)}
    fields = {shape: row.cell.model.model_dump(exclude={"name"}) for shape, row in first_of.items()}
    names = _distinct({shape: row.cell.model.name for shape, row in first_of.items()}, fields)
    models = (
        NamedModel(name=names[shape], shape=shape, model=row.cell.model, parameters=row.record.parameters)
        for shape, row in first_of.items()
        if not isinstance(row.cell.model, AttentionSpec)
    )
    return tuple(sorted(models, key=lambda named: (named.parameters or 0, named.name)))


def _distinct(names: Mapping[_Thing, str], fields: Mapping[_Thing, Mapping[str, object]]) -> dict[_Thing, str]:
    """Add to a name that several things share the fields in which these differ."""
    sharing: dict[str, list[_Thing]] = {}
    for thing, name in names.items():
        sharing.setdefault(name, []).append(thing)
    return {thing: _told_apart(name, thing, things, fields) for name, things in sharing.items() for thing in things}


def _told_apart(name: str, thing: _Thing, things: list[_Thing], fields: Mapping[_Thing, Mapping[str, object]]) -> str:
    differing = [field for field in fields[thing] if len({str(fields[other][field]) for other in things}) > 1]
    said = listed(f"{field} {_said(fields[thing][field])}" for field in differing)
    return say("{name} ({differing})", name=name, differing=said) if said else name


def _said(value: object) -> str:
    if isinstance(value, Mapping):
        entries = cast("Mapping[object, object]", value)
        return " ".join(f"{key}={entry}" for key, entry in entries.items())
    return say("unknown") if value is None else str(value)
