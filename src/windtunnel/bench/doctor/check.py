"""What a check is, and how it says what it saw."""

from collections.abc import Callable
from dataclasses import dataclass

from windtunnel.bench.vitals import Vitals
from windtunnel.records.checkup import CheckStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a check saw; `advice` is a command where there is one, and is shown for a warning or a problem only.

    `why` is why this matters where that is not what the check says in general; else empty.
    """

    status: CheckStatus
    value: str
    advice: str = ""
    why: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A line of the table: `why` is one sentence on why it matters."""

    name: str
    why: str
    look: Callable[[Vitals], Seen]


def grade(*, problem: bool = False, warning: bool = False) -> CheckStatus:
    """Return the worst status whose condition holds."""
    return CheckStatus.PROBLEM if problem else CheckStatus.WARNING if warning else CheckStatus.OK


def parse_cpus(text: str) -> frozenset[int]:
    """Read the kernel's lists: '0-3,8' is 0, 1, 2, 3 and 8."""
    bounds = [part.split("-") for part in text.strip().split(",") if part]
    return frozenset(number for bound in bounds for number in range(int(bound[0]), int(bound[-1]) + 1))
