"""Every error that windtunnel raises on purpose, and how such a message is built.

    WindtunnelError
    ├── SpecError          the request is wrong: fix the flag, the file or the argument
    ├── UnsupportedError   the request is right, but this machine or backend cannot do it
    ├── RunError           a run started and could not go on
    ├── StoreError         a store cannot be opened, read or written
    └── ContradictionError two findings say different things about the same: a rule is at fault

A message says what was wrong with its value, what is allowed, and what to do.
"""

import difflib
from collections.abc import Iterable


class WindtunnelError(Exception):
    """The root of all errors raised on purpose; everything else is a bug."""


class SpecError(WindtunnelError):
    """The request is wrong; `faults` holds one message for each fault found."""

    def __init__(self, *faults: str) -> None:
        """Keep every fault, so that a file with several is corrected in one go."""
        self.faults = faults
        super().__init__("\n".join(faults))


class UnsupportedError(WindtunnelError):
    """The request is right, but this machine, torch or backend cannot do it."""


class RunError(WindtunnelError):
    """A run started and could not go on; `samples` holds what was complete by then, where there is something."""

    def __init__(self, message: str, *, samples: tuple[object, ...] = ()) -> None:
        """Keep what was measured before: it cost time."""
        self.samples = samples
        super().__init__(message)


class StoreError(WindtunnelError):
    """A store cannot be opened, read or written."""


class ContradictionError(WindtunnelError):
    """Two findings say different things about the same: a rule is at fault, and neither may be shown."""


def unknown_name(kind: str, value: object, known: Iterable[str]) -> str:
    """Say that `value` is no known `kind`, what is known, and the nearest of these."""
    names = sorted(known)
    message = f"unknown {kind} {value!r}; known: {', '.join(names)}"
    # In one case: otherwise 'FP32' shares as much with tf32 as with fp32.
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(str(value).casefold(), folded, n=1, cutoff=0.5)
    return f"{message}; did you mean {folded[near[0]]!r}?" if near else message
