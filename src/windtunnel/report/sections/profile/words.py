"""What the sections of profiles call things."""

import re

from windtunnel.language import say
from windtunnel.records.profile import Profile
from windtunnel.report.sections.cell_label import cell_label

_SHOWN = 64
"""So much of a kernel's name tells which one it was; templates go on for thousands of characters."""

_TEMPLATE = re.compile(r"^(void |std::enable_if<.*?>::type )")
_NAMESPACES = re.compile(r"at::native::|\(anonymous namespace\)::|c10::")


def profile_label(profile: Profile) -> str:
    """Return the name of the cell, with what differs from its defaults."""
    return cell_label(profile.cell) if profile.cell else say("imported trace")


def short_name(name: str) -> str:
    """Return what of a kernel's name tells which one it was."""
    plain = _NAMESPACES.sub("", _TEMPLATE.sub("", name))
    return plain if len(plain) <= _SHOWN else f"{plain[:_SHOWN]}…"


def calls(number: float) -> str:
    """Write a mean number of calls: whole where every step has as many."""
    return f"{number:,.0f}" if abs(number - round(number)) < 0.005 else f"{number:,.1f}"
