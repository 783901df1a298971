"""A sweep: axes written by a user, expanded to tasks; flags and TOML are these same fields."""

import itertools
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self, cast

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from windtunnel.errors import SpecError
from windtunnel.spec.cell import (
    DEFAULT_MAX_SAMPLES,
    DEFAULT_MAX_SECONDS,
    BatchSize,
    Cell,
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
from windtunnel.spec.faults import faults_of
from windtunnel.spec.model import NAMED_SIZES, Count, Frozen, ModelSpec, RopeTheta
from windtunnel.spec.tables import ATTENTION_BACKENDS, COMPILE_MODES, PRECISIONS, STEP_WORKLOADS

MAX_TASKS = 10_000
"""More cells than this, one of several processes counted once for each, are a slip of the keyboard: at one second each
they take three hours."""


def _as_tuple(value: object) -> object:
    return tuple(cast("list[object]", value)) if isinstance(value, list | tuple) else (value,)


def _axis_schema(item: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}]}


def _names(*known: str) -> dict[str, Any]:
    return _axis_schema({"type": "string", "enum": list(known)})


_Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
_FreeNames = Annotated[_Names, WithJsonSchema(_axis_schema({"type": "string"}))]
_Modes = Annotated[_Names, WithJsonSchema(_names(*STEP_WORKLOADS))]
_Precisions = Annotated[_Names, WithJsonSchema(_names(*PRECISIONS))]
_CompileModes = Annotated[_Names, WithJsonSchema(_names(*COMPILE_MODES))]
_INTEGERS = WithJsonSchema(_axis_schema({"type": "integer", "minimum": 1}))
_NUMBER_OR_TEXT = WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}]})
_WARMUPS = WithJsonSchema(
    _axis_schema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "enum": ["auto"]}]})
)


class SizeTable(Frozen):
    """A size of the user's own, as `[sizes.NAME]` in a sweep file."""

    d_model: Count
    num_layers: Count
    num_heads: Count
    d_ff: Count | None = Field(default=None, description="Default: 4 * d_model.")
    num_kv_heads: Count | None = None
    vocab_size: Count = 10_000
    rope_theta: RopeTheta = 10_000.0

    @model_validator(mode="after")
    def _shape_is_possible(self) -> Self:
        self.named("shape")
        return self

    def named(self, name: str) -> ModelSpec:
        """Return the model of this shape."""
        fields = self.model_dump()
        return ModelSpec.model_validate({**fields, "name": name, "d_ff": self.d_ff or 4 * self.d_model})


class Exclusion(Frozen):
    """Points of the grid that are left out: those that match every named axis. The reason is shown in reports."""

    reason: str = Field(min_length=1)
    size: _FreeNames = ()
    context: Annotated[tuple[ContextLength, ...], BeforeValidator(_as_tuple), _INTEGERS] = ()
    batch: Annotated[tuple[BatchSize, ...], BeforeValidator(_as_tuple), _INTEGERS] = ()
    mode: _Modes = ()
    precision: _Precisions = ()
    attention: _FreeNames = ()
    compile: _CompileModes = ()
    warmup: Annotated[tuple[Warmup, ...], BeforeValidator(_as_tuple), _WARMUPS] = ()

    @field_validator("mode", "precision", "attention", "compile")
    @classmethod
    def _known(cls, values: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return _check_names(str(info.field_name), values)

    @model_validator(mode="after")
    def _names_an_axis(self) -> Self:
        if not self.named():
            raise ValueError(f"it leaves nothing out: name at least one of {', '.join(AXES)}")
        return self

    def named(self) -> dict[str, tuple[object, ...]]:
        """Return the values by axis, of those axes that this exclusion names."""
        return {axis: values for axis in AXES if (values := getattr(self, axis))}

    def covers(self, point: Mapping[str, object]) -> bool:
        """Say whether every axis that this exclusion names holds the point's value."""
        return all(point[axis] in values for axis, values in self.named().items())


def _check_names(axis: str, values: tuple[str, ...]) -> tuple[str, ...]:
    tables = {
        "mode": tuple(STEP_WORKLOADS),
        "precision": tuple(PRECISIONS),
        "attention": tuple(ATTENTION_BACKENDS),
        "compile": COMPILE_MODES,
    }
    return check_names(axis, values, tables[axis])


AXES: tuple[str, ...] = ("size", "precision", "attention", "compile", "batch", "context", "mode", "warmup")
"""The axes in the order in which a grid is walked; the last one varies fastest."""


class Sweep(Frozen):
    """A grid of cells and how to measure them; every axis takes one value or a list."""

    name: str = Field(default="step", description="What the report calls this sweep.")
    description: str = Field(default="", description="One or two sentences for the report.")
    sizes: dict[str, SizeTable] = Field(default_factory=dict, description="Sizes of one's own by name.")
    size: _FreeNames = Field(default=(), description=f"Named sizes ({', '.join(NAMED_SIZES)}) or those of [sizes].")
    context: Annotated[tuple[ContextLength, ...], BeforeValidator(_as_tuple), _INTEGERS] = Field(
        default=(256,), description="Tokens of each sequence."
    )
    batch: Annotated[tuple[BatchSize, ...], BeforeValidator(_as_tuple), _INTEGERS] = Field(
        default=(4,), description="Sequences of a step."
    )
    mode: _Modes = Field(default=tuple(STEP_WORKLOADS), description="Which workloads.")
    precision: _Precisions = Field(default=("fp32",), description="Formats of weights and matrix products.")
    attention: _FreeNames = Field(
        default=("eager",), description=f"Attention backends: {', '.join(ATTENTION_BACKENDS)}, or module:attr."
    )
    compile: _CompileModes = Field(default=("off",), description="torch.compile modes.")
    warmup: Annotated[tuple[Warmup, ...], BeforeValidator(_as_tuple), _WARMUPS] = Field(
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
    seed: Seed = Field(default=0, description="Seed of weights and tokens.")
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N.")
    d_model: Count | None = Field(default=None, description="Width, for a size of one's own.")
    d_ff: Count | None = Field(default=None, description="Feed-forward width; default 4 * d_model.")
    layers: Count | None = Field(default=None, description="Blocks, for a size of one's own.")
    heads: Count | None = Field(default=None, description="Query heads, for a size of one's own.")
    kv_heads: Count | None = Field(default=None, description="Key and value heads; default: as many as heads.")
    vocab: Count | None = Field(default=None, description="Number of tokens; default 10,000.")
    exclude: tuple[Exclusion, ...] = Field(default=(), description="Points left out, each with its reason.")

    @field_validator("mode", "precision", "attention", "compile")
    @classmethod
    def _known(cls, values: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        return _check_names(str(info.field_name), values)

    @field_validator("size", "context", "batch", "mode", "precision", "attention", "compile", "warmup")
    @classmethod
    def _not_empty_or_doubled(cls, values: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        if not values and info.field_name != "size":  # without a size, the shape fields make one
            raise ValueError("an axis without a value makes a sweep without cells: name at least one value")
        doubled = sorted({str(value) for value, times in Counter(values).items() if times > 1})
        if doubled:
            raise ValueError(f"{', '.join(doubled)} is named more than once: name each value once")
        return values

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        return value if value == "auto" else check_device(value)

    @field_validator("size")
    @classmethod
    def _size_exists(cls, values: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "sizes" in info.data:  # not there when [sizes] itself is at fault, which has been said then
            known = {**NAMED_SIZES, **info.data["sizes"]}
            check_names("size", values, known)
        return values

    @model_validator(mode="after")
    def _samples_are_said_once(self) -> Self:
        given = self.model_fields_set
        if self.target is not None and "steps" in given:
            raise ValueError("steps and target both say how many samples: give one of them")
        idle = [name for name in ("max_samples", "max_time") if name in given and self.target is None]
        if idle:
            raise ValueError(f"{' and '.join(idle)} has no effect without a target: give one, or leave it out")
        return self

    @model_validator(mode="after")
    def _shape_is_possible(self) -> Self:
        known = {*NAMED_SIZES, *self.sizes, *(model.name for model in self.models())}
        for exclusion in self.exclude:
            check_names("size", exclusion.size, known)
        return self

    def models(self) -> tuple[ModelSpec, ...]:
        """Return the models of the size axis, with the overriding shape fields applied.

        Raises:
            ValueError: The shape fields do not make a whole model, or heads do not fit its width.
        """
        shape = {
            "d_model": self.d_model,
            "d_ff": self.d_ff,
            "num_layers": self.layers,
            "num_heads": self.heads,
            "num_kv_heads": self.kv_heads,
            "vocab_size": self.vocab,
        }
        given = {field: value for field, value in shape.items() if value is not None}
        if not self.size:
            return (self._own_size(given),)
        named = [self.sizes[name].named(name) if name in self.sizes else NAMED_SIZES[name] for name in self.size]
        if not given:
            return tuple(named)
        suffix = ", ".join(f"{field}={value}" for field, value in given.items())
        return tuple(
            ModelSpec.model_validate({**model.model_dump(), **given, "name": f"{model.name} ({suffix})"})
            for model in named
        )

    def _own_size(self, given: dict[str, int]) -> ModelSpec:
        missing = [flag for flag, field in _NEEDED_SHAPE.items() if field not in given]
        if missing:
            raise ValueError(
                f"no size: name one ({', '.join([*NAMED_SIZES, *self.sizes])}), "
                f"or give a shape of your own; still missing: {', '.join(missing)}"
            )
        name = f"d{given['d_model']}-l{given['num_layers']}-h{given['num_heads']}"
        return SizeTable.model_validate(given).named(name)

    def expand(self, device: str) -> tuple[Task, ...]:
        """Return the tasks of the grid on `device`, in the order of AXES, without the excluded ones.

        With several processes the whole grid comes once for each of them, so that slow drift of the machine falls on
        all cells alike.

        Raises:
            SpecError: Nothing is left, or more than MAX_TASKS tasks are.
        """
        models = {model.name: model for model in self.models()}
        names = self.size or tuple(models)
        by_axis_name = dict(zip(names, models.values(), strict=True))
        values: dict[str, tuple[Any, ...]] = {axis: getattr(self, axis) for axis in AXES} | {"size": names}
        total = 1
        for axis in AXES:
            total *= len(values[axis])
        if total * self.processes > MAX_TASKS:
            raise SpecError(self._too_many(total))
        tasks: list[Task] = []
        for combination in itertools.product(*(values[axis] for axis in AXES)):
            point = dict(zip(AXES, combination, strict=True))
            if not any(exclusion.covers(point) for exclusion in self.exclude):
                tasks.append(self._task(by_axis_name[point["size"]], point, device))
        if not tasks:
            raise SpecError("the sweep has no cells: its exclusions leave nothing of the grid; remove one")
        if self.processes == 1:
            return tuple(tasks)
        return tuple(
            task.model_copy(update={"replica": replica}) for replica in range(self.processes) for task in tasks
        )

    def _too_many(self, cells: int) -> str:
        if self.processes == 1:
            return f"the sweep has {cells:,} cells; at most {MAX_TASKS:,} are allowed: shorten an axis"
        return (
            f"the sweep has {cells:,} cells in {self.processes} processes each; at most {MAX_TASKS:,} measurements are "
            "allowed: shorten an axis, or ask for fewer processes"
        )

    def _task(self, model: ModelSpec, point: dict[str, Any], device: str) -> Task:
        cell = Cell(
            model=model,
            workload=point["mode"],
            batch_size=point["batch"],
            context_length=point["context"],
            precision=point["precision"],
            attention=point["attention"],
            compile=point["compile"],
            device=device,
            seed=self.seed,
        )
        if self.target is None:
            plan = MeasurePlan(warmup=point["warmup"], steps=self.steps, processes=self.processes)
            return Task(cell=cell, plan=plan)
        plan = MeasurePlan(
            warmup=point["warmup"],
            target=self.target,
            max_samples=self.max_samples,
            max_seconds=self.max_time,
            processes=self.processes,
        )
        return Task(cell=cell, plan=plan)


_NEEDED_SHAPE = {"d_model": "d_model", "layers": "num_layers", "heads": "num_heads"}


def make_sweep(fields: Mapping[str, Any]) -> Sweep:
    """Return the sweep that `fields` describe, from flags, TOML or Python alike.

    Raises:
        SpecError: One message for every fault in them.
    """
    try:
        return Sweep.model_validate(dict(fields))
    except ValidationError as error:
        raise SpecError(*faults_of(error, Sweep)) from None


def load_sweep(path: Path) -> Sweep:
    """Read a sweep file; its name is that of the file unless it says otherwise.

    Raises:
        SpecError: The file cannot be read, is not TOML, or holds faults; each message names the file.
    """
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors put a mark first
    except OSError as error:
        raise SpecError(f"cannot read the sweep file {str(path)!r}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not valid UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path}: not valid TOML: {error}") from None
    try:
        return make_sweep({"name": path.stem, **fields})
    except SpecError as error:
        raise SpecError(*(f"{path}: {fault}" for fault in error.faults)) from None
