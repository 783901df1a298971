"""What a look at the machine found: one result a check, with what was seen and what to do."""

from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter


class CheckStatus(StrEnum):
    """What a check says about measuring on this machine."""

    OK = "ok"
    WARNING = "warning"
    """Numbers are made, but differ from those of a machine without it, or spread more."""
    PROBLEM = "problem"
    """Numbers would be of something else than of what is measured."""
    NOT_KNOWN = "not known"
    """The check could not be made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """One check: `value` is what was seen, `why` says why it matters, `advice` what to do.

    When it is not known, `value` is empty and `why` says why not. `advice` is empty where there is nothing to do.
    """

    name: str
    status: CheckStatus
    value: str
    why: str
    advice: str = ""


_ADAPTER = TypeAdapter(tuple[CheckResult, ...])


def checkup_to_json(results: tuple[CheckResult, ...]) -> str:
    """Write the results as one JSON array."""
    return _ADAPTER.dump_json(results, indent=2).decode()


def checkup_from_json(text: str) -> tuple[CheckResult, ...]:
    """Read the results.

    Raises:
        pydantic.ValidationError: The text is not such results.
    """
    return _ADAPTER.validate_json(text)
