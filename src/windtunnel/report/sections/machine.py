"""The machine: device, libraries and every setting that changes speed."""

from dataclasses import asdict

from windtunnel.records.environment import Environment
from windtunnel.report.document import Cell, Column, Section, Table
from windtunnel.report.scope import Scope
from windtunnel.units import NOT_KNOWN, memory

_BYTES = frozenset({"device_memory_bytes", "host_memory_bytes"})


def machine(scope: Scope) -> Section:
    """Return the environment; a field that changed between records of this machine shows each value."""
    # Rows read from one store share their environment objects, and these cannot be hashed.
    environments = {id(row.environment): row.environment for row in scope.rows}.values()
    entries = [_entries(environment) for environment in environments]
    names = dict.fromkeys(name for fields in entries for name in fields)
    table = Table(
        caption="Environment",
        columns=(Column(name="what"), Column(name="value")),
        rows=tuple(
            (
                Cell(text=name),
                Cell(text="; ".join(dict.fromkeys(fields.get(name, NOT_KNOWN) for fields in entries))),
            )
            for name in names
        ),
        note="Names of the host and of its user are not recorded.",
    )
    return Section(heading="Machine", blocks=(table,), is_detail=True)


def _entries(environment: Environment) -> dict[str, str]:
    fields = asdict(environment)
    settings: dict[str, str] = fields.pop("settings")
    texts = {name.removesuffix("_bytes").replace("_", " "): _text(name, value) for name, value in fields.items()}
    return texts | {f"setting {name}": value for name, value in sorted(settings.items())}


def _text(name: str, value: str | int | None) -> str:
    if value is None:
        return NOT_KNOWN
    return memory(int(value)) if name in _BYTES else str(value)
