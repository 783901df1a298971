"""What a machine can do at most, as a prediction needs it: from a datasheet, or from what was measured on it."""

from collections.abc import Mapping
from dataclasses import dataclass

from windtunnel.cost.devices import DevicePeaks
from windtunnel.language import say
from windtunnel.units import percent

SUSTAINED_PRODUCTS = 0.72
"""Of a datasheet's rate, what large products reach: 0.76 in fp32, 0.71 in tf32 and 0.68 in bf16 on an H200."""
SUSTAINED_COPY = 0.89
"""Of a datasheet's bandwidth, what a copy reaches: 4.29 of 4.8 TB/s on an H200."""
ASSUMED_LAUNCH_SECONDS = 5e-6
"""Of the host, for one launch, where nothing was measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceilings:
    """Rates that bound a step; None is not known.

    Attributes:
        flops_per_second: Of large matrix products, by the columns of the precision table.
        memory_bytes_per_second: Of a copy, counting what is read and what is written.
        launch_seconds: What the host needs to launch one tiny kernel.
        num_processors: Streaming multiprocessors, among which the tiles of a product are shared out.
        source: Where the rates are from, in words.
    """

    flops_per_second: Mapping[str, float | None]
    memory_bytes_per_second: float | None
    launch_seconds: float = ASSUMED_LAUNCH_SECONDS
    num_processors: int | None = None
    source: str


def datasheet_ceilings(peaks: DevicePeaks) -> Ceilings:
    """Return what steps can be expected to reach of a datasheet's rates."""

    def sustained(column: str) -> float | None:
        rate = peaks.flops_per_second(column)
        return None if rate is None else SUSTAINED_PRODUCTS * rate

    return Ceilings(
        flops_per_second={column: sustained(column) for column in ("fp32", "tf32", "bf16", "fp16")},
        memory_bytes_per_second=SUSTAINED_COPY * peaks.memory_bytes_per_second,
        num_processors=peaks.num_processors,
        source=say(
            "datasheet: {products} of its rates, {copy} of its bandwidth",
            products=percent(SUSTAINED_PRODUCTS, 0),
            copy=percent(SUSTAINED_COPY, 0),
        ),
    )
