"""What the store keeps of looks inside one step: all kinds in one table, and a line here for each."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar, cast

from windtunnel.records.calibration import Calibration
from windtunnel.records.environment import Environment
from windtunnel.records.memory_ledger import MemoryLedger, ledger_from_json, ledger_to_json
from windtunnel.records.precision_look import PrecisionLook, look_from_json, look_to_json
from windtunnel.records.profile import Profile, kernel_rows, profile_from_json, profile_to_json
from windtunnel.records.record import Status


class Look(Protocol):
    """A look inside one step: of what, when, and how it ended. Frozen data without tensors."""

    @property
    def started_at(self) -> str:
        """When it began, in UTC and ISO 8601."""
        ...

    @property
    def status(self) -> Status:
        """How it ended; a look that failed is kept too."""
        ...

    def key(self) -> str:
        """Return a content hash of what was looked at; of those with the same key the latest counts."""
        ...


LookT = TypeVar("LookT", bound=Look)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredLook(Generic[LookT]):
    """A look with the key of what it looked at, the environment in which it was made, and its machine's calibration.

    `digest` is the hash of its text in the store; empty where it comes from none.
    """

    key: str
    look: LookT
    environment: Environment
    calibration: Calibration | None = None
    digest: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class LookFormat(Generic[LookT]):
    """How looks of one class are kept: what the store calls them, and how they become JSON and back.

    `from_json` raises ValueError where the text is none of them. `kernel_rows` are for tools that read the store
    themselves: phase, part, block, name, calls and nanoseconds of each kernel.
    """

    kind: str
    to_json: Callable[[LookT], str]
    from_json: Callable[[str], LookT]
    kernel_rows: Callable[[LookT], Iterable[tuple[object, ...]]] = field(default=lambda look: ())


_FORMATS: Mapping[type, LookFormat[Any]] = MappingProxyType(
    {
        MemoryLedger: LookFormat(kind="memory ledger", to_json=ledger_to_json, from_json=ledger_from_json),
        PrecisionLook: LookFormat(kind="number formats", to_json=look_to_json, from_json=look_from_json),
        Profile: LookFormat(
            kind="profile", to_json=profile_to_json, from_json=profile_from_json, kernel_rows=kernel_rows
        ),
    }
)


def format_of(of: type[LookT]) -> LookFormat[LookT]:
    """Return how looks of this class are kept."""
    return cast("LookFormat[LookT]", _FORMATS[of])
