"""What a calibration says that a machine can do, as predictions need it."""

from windtunnel.cost.ceilings import ASSUMED_LAUNCH_SECONDS, Ceilings
from windtunnel.cost.devices import DevicePeaks
from windtunnel.language import say
from windtunnel.records.calibration import Calibration

_LAUNCHES = ("tiny kernels, host enqueues", "tiny operations")
_COPY = "device copy"


def calibrated_ceilings(calibration: Calibration, peaks: DevicePeaks | None) -> Ceilings:
    """Return the measured ceilings of a machine; what its name says besides is from the datasheet."""
    values = {ceiling.name: ceiling.value for ceiling in calibration.ceilings}
    copies = [value for name, value in values.items() if name.startswith(_COPY)]
    launches = [values[name] for name in _LAUNCHES if name in values]
    return Ceilings(
        flops_per_second={column: calibration.flops_per_second(column) for column in ("fp32", "tf32", "bf16", "fp16")},
        memory_bytes_per_second=max(copies, default=None),
        launch_seconds=1 / launches[0] if launches else ASSUMED_LAUNCH_SECONDS,
        num_processors=peaks.num_processors if peaks else None,
        source=say("calibration of {time}", time=calibration.started_at),
    )
