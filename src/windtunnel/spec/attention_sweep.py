"""A sweep of attention alone: axes of shapes, backends and precisions, and which backends are compared in pairs."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from windtunnel.spec.abilities import ABILITIES
from windtunnel.spec.attention import MAX_D_HEAD, AttentionSpec, HeadWidth, MaskName
from windtunnel.spec.cell import BatchSize, Cell, ContextLength, Steps, Task
from windtunnel.spec.grid import (
    AS_TUPLE,
    INTEGERS,
    ONCE,
    SOME,
    BatchSizes,
    CompileModes,
    ExcludedPoints,
    FreeNames,
    Lengths,
    MeasureFields,
    Names,
    Point,
    Precisions,
    Warmups,
    axis_schema,
    in_each_process,
    known_names,
    names_schema,
    points_of,
)
from windtunnel.spec.model import Count, Frozen
from windtunnel.spec.table_layout import AttentionTable
from windtunnel.spec.tables import ATTENTION_BACKENDS, PRECISIONS

_PHASES = {"forward": "attention_forward", "forward_backward": "attention_forward_backward"}
"""What the axis `phase` calls the workloads."""

_PURE = "bf16-pure"
_COMPILED = tuple(name for name, abilities in ABILITIES.items() if abilities.is_compiled)

_BETWEEN_SIDES = "/"
"""Stands between the backends of a comparison; a colon is in module:attr."""


def _without_weights(values: tuple[str, ...]) -> tuple[str, ...]:
    if _PURE in values:
        raise ValueError(f"{_PURE} differs from bf16 in its weights, and attention alone has none: name bf16")
    return values


def _has_two_sides(values: tuple[str, ...]) -> tuple[str, ...]:
    for text in values:
        sides = text.split(_BETWEEN_SIDES)
        if len(sides) != 2 or not all(sides) or sides[0] == sides[1]:
            raise ValueError(f"is {text!r}; allowed: two backends with a slash, as eager/sdpa")
    return values


_MASK = {"type": "string", "pattern": "^(full|causal|window:0*[1-9][0-9]*)$"}
_WIDTHS = WithJsonSchema(axis_schema({"type": "integer", "minimum": 1, "maximum": MAX_D_HEAD}))

_Counts = Annotated[tuple[Count, ...], AS_TUPLE, INTEGERS]
_Widths = Annotated[tuple[HeadWidth, ...], AS_TUPLE, _WIDTHS]
_Masks = Annotated[tuple[MaskName, ...], AS_TUPLE, WithJsonSchema(axis_schema(_MASK))]
_Backends = Annotated[FreeNames, known_names("backend", ATTENTION_BACKENDS)]
_Phases = Annotated[Names, known_names("phase", _PHASES), WithJsonSchema(names_schema(_PHASES))]
_Formats = Annotated[
    Precisions,
    AfterValidator(_without_weights),
    WithJsonSchema(names_schema([name for name in PRECISIONS if name != _PURE])),
]
_SIDES = {"type": "string", "pattern": "^[^/]+/[^/]+$"}
_Comparisons = Annotated[Names, AfterValidator(_has_two_sides), WithJsonSchema(axis_schema(_SIDES))]


class ShapeTable(Frozen):
    """One shape: a point of the axes that make it, for shapes that are no grid."""

    mask: Annotated[MaskName, WithJsonSchema(_MASK)] = "causal"
    batch: BatchSize
    heads: Count
    kv_heads: Count | None = Field(default=None, description="Default: as many as heads.")
    d: HeadWidth
    seq: ContextLength

    @model_validator(mode="after")
    def _shape_is_possible(self) -> Self:
        _shape_of(self.point())
        return self

    def point(self) -> Point:
        """Return the values of the axes that make a shape."""
        return {**self.model_dump(), "kv_heads": self.kv_heads or self.heads}


def _shape_of(point: Point) -> AttentionSpec:
    """Return the shape at a point; key heads as many as query heads are not said, so that both have one key."""
    heads, kv_heads = point["heads"], point["kv_heads"]
    return AttentionSpec(
        num_heads=heads,
        num_kv_heads=None if kv_heads == heads else kv_heads,
        d_head=point["d"],
        mask=point["mask"],
    )


class AttentionExclusion(ExcludedPoints):
    """Points of a sweep of attention alone that are left out."""

    precision: _Formats = ()
    backend: _Backends = ()
    compile: CompileModes = ()
    mask: _Masks = ()
    batch: BatchSizes = ()
    heads: _Counts = ()
    kv_heads: _Counts = ()
    d: _Widths = ()
    seq: Lengths = ()
    phase: _Phases = ()
    warmup: Warmups = ()


SHAPE_AXES = tuple(ShapeTable.model_fields)

AXES = tuple(name for name in AttentionExclusion.model_fields if name != "reason")
"""The axes in the order in which a grid is walked; the last one varies fastest."""

_BEFORE_SHAPE, _AFTER_SHAPE = AXES[: AXES.index(SHAPE_AXES[0])], AXES[AXES.index(SHAPE_AXES[-1]) + 1 :]


class AttentionSweep(MeasureFields):
    """A grid of cells of attention alone and how to measure them; every axis takes one value or a list."""

    kind: Literal["attention"] = Field(description="What is measured: attention alone.")
    name: str = Field(default="attention", description="What the report calls this sweep.")
    backend: Annotated[_Backends, SOME, ONCE] = Field(
        default=("eager", "sdpa"), description=f"Backends: {', '.join(ATTENTION_BACKENDS)}, or module:attr."
    )
    batch: Annotated[BatchSizes, SOME, ONCE] = Field(default=(1,), description="Sequences of a step.")
    heads: Annotated[_Counts, SOME, ONCE] = Field(default=(8,), description="Query heads.")
    kv_heads: Annotated[_Counts, ONCE] = Field(default=(), description="Key heads; default: as many as heads.")
    seq: Annotated[Lengths, SOME, ONCE] = Field(default=(1024,), description="Queries, and keys, of each sequence.")
    d: Annotated[_Widths, SOME, ONCE] = Field(default=(64,), description="Width of one head.")
    mask: Annotated[_Masks, SOME, ONCE] = Field(
        default=("causal",), description="full, causal, or window:N: causal, with the last N keys only."
    )
    shapes: tuple[ShapeTable, ...] = Field(
        default=(), description="Shapes that are no grid, in place of batch, heads, kv_heads, seq, d and mask."
    )
    precision: Annotated[_Formats, SOME, ONCE] = Field(
        default=("fp32",), description="Formats of Q, K and V and of their products."
    )
    compile: Annotated[CompileModes, SOME, ONCE] = Field(default=("off",), description="torch.compile modes.")
    phase: Annotated[_Phases, SOME, ONCE] = Field(default=("forward_backward",), description="Which workloads.")
    steps: Steps = Field(default=30, description="Timed steps: the samples of a cell.")
    cache: Literal["cold", "warm"] = Field(
        default="cold", description="cold: the device's cache is flushed before each step; warm: it is not."
    )
    compare: Annotated[_Comparisons, ONCE] = Field(
        default=(), description="Backends to compare in pairs after the sweep, as eager/compiled."
    )
    exclude: tuple[AttentionExclusion, ...] = Field(default=(), description="Points left out, each with its reason.")
    tables: tuple[AttentionTable, ...] = Field(default=(), description="Tables of the report in a shape of one's own.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        faults = [*self._shape_faults(), *self._compile_faults(), *self._compare_faults()]
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _shape_faults(self) -> list[str]:
        doubled = [axis for axis in SHAPE_AXES if axis in self.model_fields_set]
        if self.shapes and doubled:
            return [f"shapes and {', '.join(doubled)} both say which shapes: give one of them"]
        times = Counter(", ".join(f"{axis} {value}" for axis, value in shape.point().items()) for shape in self.shapes)
        if again := [text for text, count in times.items() if count > 1]:
            return [f"shapes names {'; '.join(again)} more than once: name each shape once"]
        return [
            f"kv_heads {kv_heads} does not divide heads {heads}: each key head serves the same number of query heads; "
            "leave these points out with a reason, or name the shapes one by one in `shapes`"
            for heads, kv_heads in itertools.product(self.heads, self.kv_heads)
            if heads % kv_heads and not self._leaves_out({"heads": heads, "kv_heads": kv_heads})
        ]

    def _compile_faults(self) -> list[str]:
        return [
            f"backend {backend!r} compiles itself, so compile {mode!r} has no meaning for it: "
            "leave compile off, or leave these points out with a reason"
            for backend, mode in itertools.product(self.backend, self.compile)
            if backend in _COMPILED and mode != "off" and not self._leaves_out({"backend": backend, "compile": mode})
        ]

    def _compare_faults(self) -> list[str]:
        backends = ", ".join(self.backend)
        return [
            f"compare is {text!r}; this sweep does not measure {', '.join(missing)}: its backends are {backends}"
            for text in self.compare
            if (missing := [side for side in text.split(_BETWEEN_SIDES) if side not in self.backend])
        ]

    def _leaves_out(self, point: Point) -> bool:
        return any(exclusion.covers(point) for exclusion in self.exclude)

    def comparisons(self) -> tuple[tuple[str, str], ...]:
        """Return the backends A and B of each comparison."""
        return tuple((a, b) for a, _, b in (text.partition(_BETWEEN_SIDES) for text in self.compare))

    def axes(self) -> Mapping[str, tuple[object, ...]]:
        """Return the values of each axis, in the order of AXES; those of shapes that are no grid are in it too."""
        parts = [part for parts in self._grid() for part in parts]
        return {axis: tuple(dict.fromkeys(part[axis] for part in parts if axis in part)) for axis in AXES}

    def points(self, device: str) -> tuple[tuple[Point, Task], ...]:
        """Return the points of the grid in the order of AXES, without the excluded ones, each with its task.

        Of several processes the task is that of the first.

        Raises:
            SpecError: Nothing is left, or more than MAX_TASKS tasks are.
        """
        points = points_of(self._grid(), self.exclude, processes=self.processes)
        return tuple((point, self._task(point, device)) for point in points)

    def expand(self, device: str) -> tuple[Task, ...]:
        """Return the tasks of the grid on `device`, in the order of AXES, without the excluded ones.

        With several processes the whole grid comes once for each of them.

        Raises:
            SpecError: Nothing is left, or more than MAX_TASKS tasks are.
        """
        return in_each_process([task for _, task in self.points(device)], self.processes)

    def _grid(self) -> Sequence[Sequence[Point]]:
        """Return the values of each axis as parts of points; shapes that are no grid are one axis, and so are heads."""
        heads = [
            {"heads": heads, "kv_heads": kv_heads or heads}
            for heads, kv_heads in itertools.product(self.heads, self.kv_heads or (None,))
        ]
        plain = {axis: [{axis: value} for value in getattr(self, axis)] for axis in AXES if axis != "kv_heads"}
        if not self.shapes:
            return [*(plain | {"heads": heads}).values()]
        before, after = ([plain[axis] for axis in axes] for axes in (_BEFORE_SHAPE, _AFTER_SHAPE))
        return [*before, [shape.point() for shape in self.shapes], *after]

    def _task(self, point: Point, device: str) -> Task:
        cell = Cell(
            model=_shape_of(point),
            workload=_PHASES[point["phase"]],
            batch_size=point["batch"],
            context_length=point["seq"],
            precision=point["precision"],
            attention=point["backend"],
            compile=point["compile"],
            device=device,
            seed=self.seed,
        )
        return Task(cell=cell, plan=self.plan(point["warmup"], cache=self.cache))
