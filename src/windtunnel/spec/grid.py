"""What all sweeps share: axes of one value or a list, points left out, a plan, and how a grid becomes tasks."""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from windtunnel.errors import SpecError
from windtunnel.spec.cell import (
    DEFAULT_MAX_SAMPLES,
    DEFAULT_MAX_SECONDS,
    BatchSize,
    ContextLength,
    MeasurePlan,
    Processes,
    Seconds,
    Seed,
    Steps,
    Target,
    Task,
    Warmup,
    check_device,
    check_names,
)
from windtunnel.spec.model import Frozen
from windtunnel.spec.tables import ATTENTION_BACKENDS, COMPILE_MODES, PRECISIONS

MAX_TASKS = 10_000
"""More cells than this, one of several processes counted once for each, are a slip of the keyboard: at one second each
they take three hours."""

_Value = TypeVar("_Value")

Point = Mapping[str, Any]
"""The value of each axis by its name, or of some of them."""


def as_tuple(value: object) -> object:
    """Return the values of an axis that may have been written as one value."""
    return tuple(cast("list[object]", value)) if isinstance(value, list | tuple) else (value,)


def axis_schema(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of an axis: one `item`, or a list of them."""
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}]}


def names_schema(known: Collection[str]) -> dict[str, Any]:
    """Return the JSON Schema of an axis of known names."""
    return axis_schema({"type": "string", "enum": list(known)})


def known_names(kind: str, known: Collection[str]) -> AfterValidator:
    """Return a check that each value of an axis is a known name."""
    return AfterValidator(lambda values: check_names(kind, values, known))


def _named_once(values: tuple[_Value, ...]) -> tuple[_Value, ...]:
    doubled = sorted({str(value) for value, times in Counter(values).items() if times > 1})
    if doubled:
        raise ValueError(f"{', '.join(doubled)} is named more than once: name each value once")
    return values


def _not_empty(values: tuple[_Value, ...]) -> tuple[_Value, ...]:
    if not values:
        raise ValueError("an axis without a value makes a sweep without cells: name at least one value")
    return values


ONCE = AfterValidator(_named_once)
SOME = AfterValidator(_not_empty)

AS_TUPLE = BeforeValidator(as_tuple)
INTEGERS = WithJsonSchema(axis_schema({"type": "integer", "minimum": 1}))
_NUMBER_OR_TEXT = WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}]})
_WARMUPS = WithJsonSchema(
    axis_schema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "enum": ["auto"]}]})
)

Names = Annotated[tuple[str, ...], AS_TUPLE]
FreeNames = Annotated[Names, WithJsonSchema(axis_schema({"type": "string"}))]
Precisions = Annotated[Names, known_names("precision", PRECISIONS), WithJsonSchema(names_schema(PRECISIONS))]
Backends = Annotated[FreeNames, known_names("attention", ATTENTION_BACKENDS)]
CompileModes = Annotated[Names, known_names("compile", COMPILE_MODES), WithJsonSchema(names_schema(COMPILE_MODES))]
BatchSizes = Annotated[tuple[BatchSize, ...], AS_TUPLE, INTEGERS]
Lengths = Annotated[tuple[ContextLength, ...], AS_TUPLE, INTEGERS]
Warmups = Annotated[tuple[Warmup, ...], AS_TUPLE, _WARMUPS]


class ExcludedPoints(Frozen):
    """Points of a grid that are left out: those that match every named axis. The reason is shown in reports.

    What inherits has a field for each axis, empty where it is not named.
    """

    reason: str = Field(min_length=1)

    @model_validator(mode="after")
    def _names_an_axis(self) -> Self:
        if not self.named():
            axes = (name for name in type(self).model_fields if name != "reason")
            raise ValueError(f"it leaves nothing out: name at least one of {', '.join(axes)}")
        return self

    def named(self) -> dict[str, tuple[object, ...]]:
        """Return the values by axis, of those axes that this exclusion names."""
        axes = (name for name in type(self).model_fields if name != "reason")
        return {axis: values for axis in axes if (values := getattr(self, axis))}

    def covers(self, point: Point) -> bool:
        """Say whether `point` has every axis that this exclusion names, with a value that it names."""
        return all(axis in point and point[axis] in values for axis, values in self.named().items())


class MeasureFields(Frozen):
    """How the cells of a sweep are measured, on what, and what the report says of the sweep."""

    description: str = Field(default="", description="One or two sentences for the report.")
    warmup: Annotated[Warmups, SOME, ONCE] = Field(
        default=(5,),
        description="Untimed steps before the samples; auto: until steady; 0: the cold start of a process.",
    )
    steps: Steps = Field(default=10, description="Timed steps: the samples of a cell.")
    target: Annotated[Target | None, _NUMBER_OR_TEXT] = Field(
        default=None, description="Instead of steps: sample until the interval's relative half-width is this, as 1%."
    )
    max_samples: Steps = Field(default=DEFAULT_MAX_SAMPLES, description="With target: the most samples of a cell.")
    max_time: Annotated[Seconds, _NUMBER_OR_TEXT] = Field(
        default=DEFAULT_MAX_SECONDS, description="With target: the longest time to sample a cell, as 60s."
    )
    processes: Processes = Field(
        default=1, description="Fresh processes that measure each cell; from 3 on the interval is between processes."
    )
    seed: Seed = Field(default=0, description="Seed of weights and inputs.")
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N.")

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        return value if value == "auto" else check_device(value)

    @model_validator(mode="after")
    def _samples_are_said_once(self) -> Self:
        given = self.model_fields_set
        if self.target is not None and "steps" in given:
            raise ValueError("steps and target both say how many samples: give one of them")
        idle = [name for name in ("max_samples", "max_time") if name in given and self.target is None]
        if idle:
            raise ValueError(f"{' and '.join(idle)} has no effect without a target: give one, or leave it out")
        return self

    def plan(self, warmup: int | Literal["auto"], *, cache: Literal["warm", "cold"] = "warm") -> MeasurePlan:
        """Return the plan of the cells with this warm-up."""
        if self.target is None:
            return MeasurePlan(warmup=warmup, steps=self.steps, processes=self.processes, cache=cache)
        return MeasurePlan(
            warmup=warmup,
            target=self.target,
            max_samples=self.max_samples,
            max_seconds=self.max_time,
            processes=self.processes,
            cache=cache,
        )


def points_of(axes: Sequence[Sequence[Point]], exclude: Sequence[ExcludedPoints], *, processes: int) -> Sequence[Point]:
    """Return the points of the grid that are not left out; the last axis varies fastest.

    Args:
        axes: For each axis its values, each as the part of a point that it is.
        exclude: What is left out.
        processes: How often each cell is measured.

    Raises:
        SpecError: Nothing is left, or more than MAX_TASKS tasks are.
    """
    total = math.prod(len(axis) for axis in axes)
    if total * processes > MAX_TASKS:
        raise SpecError(_too_many(total, processes))
    grid = [{name: value for part in parts for name, value in part.items()} for parts in itertools.product(*axes)]
    points = [point for point in grid if not any(exclusion.covers(point) for exclusion in exclude)]
    if not points:
        raise SpecError("the sweep has no cells: its exclusions leave nothing of the grid; remove one")
    return points


def in_each_process(tasks: Sequence[Task], processes: int) -> tuple[Task, ...]:
    """Return all tasks once for each process, so that slow drift of the machine falls on all cells alike."""
    if processes == 1:
        return tuple(tasks)
    return tuple(task.model_copy(update={"replica": replica}) for replica in range(processes) for task in tasks)


def _too_many(cells: int, processes: int) -> str:
    if processes == 1:
        return f"the sweep has {cells:,} cells; at most {MAX_TASKS:,} are allowed: shorten an axis"
    return (
        f"the sweep has {cells:,} cells in {processes} processes each; at most {MAX_TASKS:,} measurements are "
        "allowed: shorten an axis, or ask for fewer processes"
    )
