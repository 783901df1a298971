"""The machine: device, libraries and every setting that changes speed."""

from dataclasses import asdict

from windtunnel.language import apart, listed, say, word
from windtunnel.records.environment import Environment
from windtunnel.report.document import Block, Cell, Column, Paragraph, Section, Table
from windtunnel.report.scope import Scope
from windtunnel.spec.tables import PRECISIONS
from windtunnel.units import NOT_KNOWN, memory, rate

_BYTES = frozenset({"device_memory_bytes", "host_memory_bytes"})


def machine(scope: Scope) -> Section:
    """Return the environment; a field that changed between records of this machine shows each value."""
    # Rows read from one store share their environment objects, and these cannot be hashed.
    environments = {id(row.environment): row.environment for row in scope.rows}.values()
    entries = [_entries(environment) for environment in environments]
    names = dict.fromkeys(name for fields in entries for name in fields)
    table = Table(
        caption=say("Environment"),
        columns=(Column(name=say("what")), Column(name=say("value"))),
        rows=tuple(
            (
                Cell(text=name),
                Cell(text=apart(dict.fromkeys(fields.get(name, NOT_KNOWN) for fields in entries))),
            )
            for name in names
        ),
        note=say("Names of the host and of its user are not recorded."),
    )
    said = _calibration(scope)
    blocks: tuple[Block, ...] = (Paragraph(lead=say("Calibration"), text=said), table) if said else (table,)
    return Section(heading=say("Machine"), blocks=blocks, is_detail=True)


def _calibration(scope: Scope) -> str:
    """Say what the latest calibration reached in matrix products; empty where there is none."""
    calibration = scope.rows[-1].calibration
    columns = dict.fromkeys(precision.peak for precision in PRECISIONS.values())
    reached = {column: calibration.flops_per_second(column) for column in columns} if calibration else {}
    said = listed(f"{column} {rate(value)}" for column, value in reached.items() if value)
    if not calibration or not said:
        return ""
    return say(
        "Measured on this machine at {time}, the fastest matrix product of each precision: {rates}.",
        time=calibration.started_at,
        rates=said,
    )


def _entries(environment: Environment) -> dict[str, str]:
    fields = asdict(environment)
    settings: dict[str, str] = fields.pop("settings")
    texts = {word(name.removesuffix("_bytes").replace("_", " ")): _text(name, value) for name, value in fields.items()}
    return texts | {say("setting {name}", name=name): value for name, value in sorted(settings.items())}


def _text(name: str, value: str | int | None) -> str:
    if value is None:
        return NOT_KNOWN
    return memory(int(value)) if name in _BYTES else str(value)
