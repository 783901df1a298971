"""What a machine can do at most, measured on it: matrix products, memory, launches and transfers."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import TypeAdapter

from windtunnel.statistics.summary import summarize

MATMUL = "matmul"
"""First word of the name of every ceiling of matrix products; the second is a column of the precision table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceiling:
    """One rate that the machine reached, with every sample.

    Attributes:
        name: What was done; of a matrix product its precision and sizes.
        unit: What `work` counts, and of the rates "per second": FLOP/s, B/s or launch/s.
        samples_ns: Time of each sample in nanoseconds, in the order in which they were taken.
        work: What one sample does: FLOPs, bytes read and written, launches.
    """

    name: str
    unit: str
    samples_ns: tuple[int, ...]
    work: int

    def __post_init__(self) -> None:
        """Check that there is a rate."""
        if not self.samples_ns or min(self.samples_ns) <= 0 or self.work <= 0:
            raise ValueError(f"{self.name!r} needs samples above 0 ns and work above 0")

    @property
    def value(self) -> float:
        """The ceiling: work over the median of the fastest quarter of the samples.

        A disturbance only adds time, so the median of all is no ceiling on a busy machine: an undisturbed step
        would be above it. The single fastest sample is none either: it gets faster with their number, it has
        the error of the clock, and on a GPU that was idle it ran at the boost of the first milliseconds, before
        the power limit, where no step after a warm-up is.
        """
        fastest = sorted(self.samples_ns)[: (len(self.samples_ns) + 3) // 4]
        return self.work / summarize(fastest).median

    @property
    def median(self) -> float:
        """The rate of the median sample: what the machine sustains."""
        return self.work / summarize(self.samples_ns).median

    @property
    def best(self) -> float:
        """The rate of the fastest sample."""
        return self.work / summarize(self.samples_ns).minimum


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """All ceilings of one device, and the reason for each that could not be measured.

    Attributes:
        seconds: How long it took, warm-up included.
        started_at: UTC, ISO 8601.
    """

    device: str
    started_at: str
    seconds: float
    ceilings: tuple[Ceiling, ...]
    left_out: Mapping[str, str]

    def flops_per_second(self, column: str) -> float | None:
        """Return the highest ceiling of matrix products in a column of the precision table, whatever their shape.

        The highest, as a step is made of products of several shapes and none may be above its ceiling.
        """
        return max((c.value for c in self.ceilings if c.name.startswith(f"{MATMUL} {column} ")), default=None)


_ADAPTER = TypeAdapter(Calibration)


def calibration_to_json(calibration: Calibration) -> str:
    """Write a calibration as one JSON object."""
    return _ADAPTER.dump_json(calibration).decode()


def calibration_from_json(text: str | bytes) -> Calibration:
    """Read a calibration; nothing in it is ever executed.

    Raises:
        pydantic.ValidationError: The text is not a calibration.
    """
    return _ADAPTER.validate_json(text)
