"""A profile of a trace that was made elsewhere, by torch's profiler or by nsys."""

from pathlib import Path

from windtunnel.errors import SpecError
from windtunnel.records.chrome_trace import read_chrome_trace
from windtunnel.records.nsys_export import read_nsys_export
from windtunnel.records.profile import Profile
from windtunnel.records.record import Status
from windtunnel.records.trace import Trace
from windtunnel.records.trace_profile import columns_of, with_columns

_SQLITE = b"SQLite format 3\x00"


def profile_of_file(path: Path, *, started_at: str) -> Profile:
    """Return the profile of a file; what it is, its first bytes say, not its name.

    Raises:
        SpecError: It cannot be read, or nothing ran in it.
    """
    return profile_of_trace(_read(path), path.name, started_at=started_at)


def profile_of_trace(trace: Trace, name: str, *, started_at: str) -> Profile:
    """Return the profile of a trace of a file called `name`.

    Raises:
        SpecError: Nothing ran in it.
    """
    columns = columns_of(trace)
    if not len(columns.work):
        raise SpecError(
            f"--import {name!r}: nothing ran in it, neither a kernel nor an operator of PyTorch"
            + "".join(f"; {warning}" for warning in trace.warnings)
        )
    profile = Profile(
        cell=None,
        source=f"{trace.source}, {name}",
        status=Status.OK,
        failure=None,
        started_at=started_at,
        unit=columns.unit,
        warnings=tuple(trace.warnings),
    )
    return with_columns(profile, columns)


def _read(path: Path) -> Trace:
    try:
        with path.open("rb") as file:
            begin = file.read(len(_SQLITE))
    except OSError as error:
        raise SpecError(f"--import {str(path)!r}: cannot be read: {error.strerror}") from error
    if path.suffix == ".nsys-rep":
        raise SpecError(
            f"--import {str(path)!r}: a report of nsys, which only nsys reads: run "
            f"`nsys export --type sqlite {path.name}`, and import what that writes"
        )
    return read_nsys_export(path) if begin == _SQLITE or path.suffix == ".sqlite" else read_chrome_trace(path)
