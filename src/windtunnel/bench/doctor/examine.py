"""Make the checks, and turn what cannot be looked at into an answer too."""

from windtunnel.bench.doctor.check import Check
from windtunnel.bench.doctor.gpu import GPU_CHECKS
from windtunnel.bench.doctor.host import HOST_CHECKS
from windtunnel.bench.vitals import NotKnownError, Vitals
from windtunnel.records.checkup import CheckResult, CheckStatus


def examine(vitals: Vitals) -> tuple[CheckResult, ...]:
    """Make all checks that apply to the device, in the order of the table."""
    checks = HOST_CHECKS if vitals.device == "cpu" else (*GPU_CHECKS, *HOST_CHECKS)
    return tuple(_result(check, vitals) for check in checks)


def _result(check: Check, vitals: Vitals) -> CheckResult:
    try:
        seen = check.look(vitals)
    except OSError as error:
        return _not_known(check, f"{error.filename or 'the system'}: {error.strerror or error}")
    except NotKnownError as error:
        return _not_known(check, str(error))
    except (ValueError, IndexError, KeyError) as error:  # a file that is written in another way than we know
        return _not_known(check, f"what the system says is not understood: {error}")
    advice = seen.advice if seen.status in {CheckStatus.WARNING, CheckStatus.PROBLEM} else ""
    return CheckResult(name=check.name, status=seen.status, value=seen.value, why=seen.why or check.why, advice=advice)


def _not_known(check: Check, reason: str) -> CheckResult:
    return CheckResult(name=check.name, status=CheckStatus.NOT_KNOWN, value="", why=reason)
