"""A frontier as a user asks for it: the cells that stay, the axis along which the largest that fits is sought."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from windtunnel.errors import SpecError, unknown_name
from windtunnel.spec.attention_sweep import AttentionSweep
from windtunnel.spec.cell import ContextLength, MeasurePlan
from windtunnel.spec.faults import faults_of
from windtunnel.spec.model import NAMED_SIZES, Frozen
from windtunnel.spec.sweep import AnySweep, Sweep


@dataclass(frozen=True, kw_only=True, slots=True)
class AlongAxis:
    """An axis along which one can search: the field of a cell that it is, and the values that are tried by default.

    `granularity` is the distance of these values and `most` the last of them; None for sizes, which are named.
    """

    field: str
    granularity: int | None
    most: int | None


ALONG_STEPS: Mapping[str, AlongAxis] = {
    "context": AlongAxis(field="context_length", granularity=128, most=2**20),
    "batch": AlongAxis(field="batch_size", granularity=1, most=4096),
    "size": AlongAxis(field="model", granularity=None, most=None),
}
ALONG_ATTENTION: Mapping[str, AlongAxis] = {
    "seq": AlongAxis(field="context_length", granularity=128, most=2**20),
    "batch": AlongAxis(field="batch_size", granularity=1, most=4096),
}
"""Along what one can search, for steps of models and for attention alone; the first is the default."""

MOST_PLACES = 2**24
"""A range of more values than this is a slip of the keyboard."""


class Frontier(Frozen):
    """A search for the largest that fits, for each cell of a sweep without the axis that is searched.

    What the sweep says of that axis, of samples and of warm-up has no effect; only of `size` its values are the range.
    """

    kind: Literal["fit"] = "fit"
    name: str = Field(default="fit", description="What the report calls this search.")
    along: str
    most: ContextLength | None = Field(default=None, description="The last value that is tried.")
    granularity: ContextLength | None = Field(default=None, description="The distance of the values that are tried.")
    memory_limit: str | None = Field(default=None, description="What a cell may take of the device: 24GiB, or 30%.")
    sweep: Sweep | AttentionSweep

    @model_validator(mode="after")
    def _range_is_possible(self) -> Self:
        axes = self._axes()
        if self.along not in axes:
            raise ValueError(unknown_name("axis to search along", self.along, axes))
        if self.along == "size":
            given = [name for name in ("most", "granularity") if getattr(self, name) is not None]
            if given:
                raise ValueError(
                    f"{' and '.join(given)} has no effect along size, whose values are names: leave it out"
                )
            return self
        first, last = self._granularity(), self._most()
        if first > last:
            raise ValueError(f"most is {last} and granularity {first}, which leaves no value to try: ask for more")
        if last // first > MOST_PLACES:
            raise ValueError(f"most is {last}, {last // first:,} values to try; allowed: {MOST_PLACES:,}")
        return self

    def _axes(self) -> Mapping[str, AlongAxis]:
        return ALONG_ATTENTION if isinstance(self.sweep, AttentionSweep) else ALONG_STEPS

    @property
    def field(self) -> str:
        """The field of a cell that is searched."""
        return self._axes()[self.along].field

    def values(self) -> range:
        """Return the numbers that may be tried, smallest first; not for sizes."""
        return range(self._granularity(), self._most() + 1, self._granularity())

    def _granularity(self) -> int:
        return self.granularity or self._axes()[self.along].granularity or 1

    def _most(self) -> int:
        return self.most or self._axes()[self.along].most or 1

    def plan(self, memory_limit_bytes: int | None) -> MeasurePlan:
        """Return the plan of a probe: the first step makes the optimizer's state, the second has the peak with it."""
        return MeasurePlan(warmup=1, steps=1, purpose="fit", memory_limit_bytes=memory_limit_bytes)


def make_frontier(sweep: AnySweep, *, given: Collection[str] = (), along: str | None = None, **fields: Any) -> Frontier:
    """Return the search that flags ask for.

    Args:
        sweep: The cells; the axis that is searched may be missing.
        given: The fields of the sweep that were flags: the axis must not be among them.
        along: What is searched; None: the sequence.
        fields: The others of `Frontier`.

    Raises:
        SpecError: One message for each fault.
    """
    along = along or next(iter(ALONG_ATTENTION if isinstance(sweep, AttentionSweep) else ALONG_STEPS))
    try:
        frontier = Frontier(along=along, sweep=sweep, **fields)
    except ValidationError as error:
        raise SpecError(*faults_of(error, Frontier)) from None
    if along in given and along != "size":
        raise SpecError(f"--{along} and --along {along} contradict: the search finds it; bound it with --most")
    return frontier


def with_every_size(fields: Mapping[str, Any], along: str | None) -> Mapping[str, Any]:
    """Return the fields of a sweep that is searched along its sizes: all that have a name, where none is given."""
    if along != "size" or "size" in fields:
        return fields
    return {**fields, "size": list(NAMED_SIZES)}
