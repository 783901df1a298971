"""A sweep: axes written by a user, expanded to tasks; flags and TOML are these same fields."""

import itertools
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from windtunnel.errors import SpecError, unknown_name
from windtunnel.spec.attention_sweep import AttentionSweep
from windtunnel.spec.cell import Cell, Task, check_names, own_model_faults
from windtunnel.spec.checkpoint import CHECKPOINT_KINDS, CHECKPOINT_PATTERN, CheckpointName, parse_checkpoint
from windtunnel.spec.faults import faults_of
from windtunnel.spec.grid import (
    AS_TUPLE,
    ONCE,
    SOME,
    Backends,
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
from windtunnel.spec.model import DEFAULT_VOCAB_SIZE, NAMED_SIZES, Activation, Count, Frozen, ModelSpec, RopeTheta
from windtunnel.spec.own_model import FactoryPath, OwnModel
from windtunnel.spec.table_layout import StepTable
from windtunnel.spec.tables import ATTENTION_BACKENDS, STEP_WORKLOADS

_Modes = Annotated[Names, known_names("mode", STEP_WORKLOADS), WithJsonSchema(names_schema(STEP_WORKLOADS))]

_CHECKPOINT = {"type": "string", "pattern": CHECKPOINT_PATTERN}
_Checkpoints = Annotated[tuple[CheckpointName, ...], AS_TUPLE, WithJsonSchema(axis_schema(_CHECKPOINT))]

_FACTORY = {"type": "string", "pattern": "^[^:]+:.+$"}
_Factories = Annotated[tuple[FactoryPath, ...], AS_TUPLE, WithJsonSchema(axis_schema(_FACTORY))]


class SizeTable(Frozen):
    """A size of the user's own, as `[sizes.NAME]` in a sweep file."""

    d_model: Count
    num_layers: Count
    num_heads: Count
    d_ff: Count | None = Field(default=None, description="Default: 4 * d_model.")
    num_kv_heads: Count | None = None
    vocab_size: Count = 10_000
    rope_theta: RopeTheta = 10_000.0
    is_tied: Annotated[bool, Field(strict=True)] = False
    activation: Activation = "swiglu"

    @model_validator(mode="after")
    def _shape_is_possible(self) -> Self:
        self.named("shape")
        return self

    def named(self, name: str) -> ModelSpec:
        """Return the model of this shape."""
        fields = self.model_dump()
        return ModelSpec.model_validate({**fields, "name": name, "d_ff": self.d_ff or 4 * self.d_model})


class Exclusion(ExcludedPoints):
    """Points of a sweep of steps that are left out."""

    size: FreeNames = ()
    precision: Precisions = ()
    attention: Backends = ()
    compile: CompileModes = ()
    checkpoint: _Checkpoints = ()
    batch: BatchSizes = ()
    context: Lengths = ()
    mode: _Modes = ()
    warmup: Warmups = ()


AXES: tuple[str, ...] = tuple(name for name in Exclusion.model_fields if name != "reason")
"""The axes in the order in which a grid is walked; the last one varies fastest."""


class Sweep(MeasureFields):
    """A grid of cells and how to measure them; every axis takes one value or a list."""

    kind: Literal["step"] = Field(default="step", description="What is measured: steps of a whole model.")
    name: str = Field(default="step", description="What the report calls this sweep.")
    sizes: dict[str, SizeTable] = Field(default_factory=dict, description="Sizes of one's own by name.")
    size: Annotated[FreeNames, ONCE] = Field(
        default=(), description=f"Named sizes ({', '.join(NAMED_SIZES)}) or those of [sizes]."
    )
    model: Annotated[_Factories, ONCE] = Field(
        default=(), description="Models of one's own in place of sizes: code that makes one, as module:attr."
    )
    context: Annotated[Lengths, SOME, ONCE] = Field(default=(256,), description="Tokens of each sequence.")
    batch: Annotated[BatchSizes, SOME, ONCE] = Field(default=(4,), description="Sequences of a step.")
    mode: Annotated[_Modes, SOME, ONCE] = Field(default=tuple(STEP_WORKLOADS), description="Which workloads.")
    precision: Annotated[Precisions, SOME, ONCE] = Field(
        default=("fp32",), description="Formats of weights and matrix products."
    )
    attention: Annotated[Backends, SOME, ONCE] = Field(
        default=("eager",), description=f"Attention backends: {', '.join(ATTENTION_BACKENDS)}, or module:attr."
    )
    compile: Annotated[CompileModes, SOME, ONCE] = Field(default=("off",), description="torch.compile modes.")
    checkpoint: Annotated[_Checkpoints, SOME, ONCE] = Field(
        default=("none",), description=f"What backward computes again: {', '.join(CHECKPOINT_KINDS)}."
    )
    d_model: Count | None = Field(default=None, description="Width, for a size of one's own.")
    d_ff: Count | None = Field(default=None, description="Feed-forward width; default 4 * d_model.")
    layers: Count | None = Field(default=None, description="Blocks, for a size of one's own.")
    heads: Count | None = Field(default=None, description="Query heads, for a size of one's own.")
    kv_heads: Count | None = Field(default=None, description="Key and value heads; default: as many as heads.")
    vocab: Count | None = Field(default=None, description="Number of tokens; default 10,000.")
    tied: Annotated[bool, Field(strict=True)] | None = Field(
        default=None, description="Whether the output head shares the weights of the embedding; default false."
    )
    activation: Activation | None = Field(
        default=None, description="Of the feed-forward layer: swiglu (default), gelu or relu."
    )
    exclude: tuple[Exclusion, ...] = Field(default=(), description="Points left out, each with its reason.")
    tables: tuple[StepTable, ...] = Field(default=(), description="Tables of the report in a shape of one's own.")

    @field_validator("size")
    @classmethod
    def _size_exists(cls, values: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "sizes" in info.data:  # not there when [sizes] itself is at fault, which has been said then
            known = {**NAMED_SIZES, **info.data["sizes"]}
            check_names("size", values, known)
        return values

    @model_validator(mode="after")
    def _shape_is_possible(self) -> Self:
        known = {*NAMED_SIZES, *self.sizes, *(model.name for model in self.models())}
        for exclusion in self.exclude:
            check_names("size", exclusion.size, known)
        faults = [*self._own_model_faults(), *self._checkpoint_faults()]
        if faults:
            raise ValueError("\n".join(dict.fromkeys(faults)))
        return self

    def _checkpoint_faults(self) -> Iterator[str]:
        sizes = zip(self.axes()["size"], self.models(), strict=True)
        for (size, model), mode, checkpoint in itertools.product(sizes, self.mode, self.checkpoint):
            if isinstance(model, OwnModel):
                continue  # has no blocks that we know of
            fault = parse_checkpoint(checkpoint).fault(num_layers=model.num_layers, workload=mode)
            point = {"size": size, "mode": mode, "checkpoint": checkpoint}
            if fault and not any(exclusion.covers(point) for exclusion in self.exclude):
                yield f"{fault}, or leave these points out with a reason"

    def _own_model_faults(self) -> Iterator[str]:
        if not self.model:
            return
        given = [name for name in (*_OF_REFERENCE, "size", "sizes") if name in self.model_fields_set]
        if given:
            yield f"model {self.model[0]!r} brings its own shape: leave out {', '.join(given)}, or leave out the model"
        for factory, attention, checkpoint in itertools.product(self.model, self.attention, self.checkpoint):
            yield from own_model_faults(factory, attention=attention, checkpoint=checkpoint)

    def models(self) -> tuple[ModelSpec | OwnModel, ...]:
        """Return the models of the size axis, with the overriding shape fields applied, or those of the user's own.

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
            "is_tied": self.tied,
            "activation": self.activation,
        }
        given = {field: value for field, value in shape.items() if value is not None}
        if self.model:
            vocab_size = DEFAULT_VOCAB_SIZE if self.vocab is None else self.vocab
            return tuple(OwnModel(factory=factory, vocab_size=vocab_size) for factory in self.model)
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

    def _own_size(self, given: Mapping[str, object]) -> ModelSpec:
        missing = [flag for flag, field in _NEEDED_SHAPE.items() if field not in given]
        if missing:
            raise ValueError(
                f"no size: name one ({', '.join([*NAMED_SIZES, *self.sizes])}), "
                f"or give a shape of your own; still missing: {', '.join(missing)}"
            )
        name = f"d{given['d_model']}-l{given['num_layers']}-h{given['num_heads']}"
        return SizeTable.model_validate(given).named(name)

    def axes(self) -> Mapping[str, tuple[object, ...]]:
        """Return the values of each axis, in the order of AXES; a shape without a name is the one value of its axis."""
        return {axis: getattr(self, axis) for axis in AXES} | {"size": self.model or self.size or ("",)}

    def points(self, device: str) -> tuple[tuple[Point, Task], ...]:
        """Return the points of the grid in the order of AXES, without the excluded ones, each with its task.

        Of several processes the task is that of the first.

        Raises:
            SpecError: Nothing is left, or more than MAX_TASKS tasks are.
        """
        models = dict(zip(self.axes()["size"], self.models(), strict=True))
        grid = [[{axis: value} for value in values] for axis, values in self.axes().items()]
        points = points_of(grid, self.exclude, processes=self.processes)
        return tuple((point, self._task(models[point["size"]], point, device)) for point in points)

    def expand(self, device: str) -> tuple[Task, ...]:
        """Return the tasks of the grid on `device`, in the order of AXES, without the excluded ones.

        With several processes the whole grid comes once for each of them.

        Raises:
            SpecError: Nothing is left, or more than MAX_TASKS tasks are.
        """
        return in_each_process([task for _, task in self.points(device)], self.processes)

    def _task(self, model: ModelSpec | OwnModel, point: Point, device: str) -> Task:
        cell = Cell(
            model=model,
            workload=point["mode"],
            batch_size=point["batch"],
            context_length=point["context"],
            precision=point["precision"],
            attention=point["attention"],
            compile=point["compile"],
            checkpoint=point["checkpoint"],
            device=device,
            seed=self.seed,
        )
        return Task(cell=cell, plan=self.plan(point["warmup"]))


_OF_REFERENCE = ("d_model", "d_ff", "layers", "heads", "kv_heads", "tied", "activation")
_NEEDED_SHAPE = {"d_model": "d_model", "layers": "num_layers", "heads": "num_heads"}


AnySweep = Sweep | AttentionSweep
"""A sweep of either kind."""

_KINDS: Mapping[str, type[AnySweep]] = {"step": Sweep, "attention": AttentionSweep}


def make_sweep(fields: Mapping[str, Any]) -> AnySweep:
    """Return the sweep that `fields` describe, from flags, TOML or Python alike.

    Their `kind` says whether it is one of steps, as it is where there is none, or of attention alone.

    Raises:
        SpecError: One message for every fault in them.
    """
    if not isinstance(fields, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # anyone may call it
        raise SpecError(f"fields are {fields!r}; pass the fields of a sweep by name, as {{'size': 'small'}}")
    kind = fields.get("kind", "step")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise SpecError(unknown_name("kind", kind, _KINDS))
    try:
        return _KINDS[kind].model_validate(dict(fields))
    except ValidationError as error:
        raise SpecError(*faults_of(error, _KINDS[kind])) from None


def sweep_schema() -> dict[str, Any]:
    """Return the JSON Schema of a sweep file of either kind."""
    return TypeAdapter(AnySweep).json_schema()


def load_sweep(path: Path | str) -> AnySweep:
    """Read a sweep file; its name is that of the file unless it says otherwise.

    Raises:
        SpecError: The file cannot be read, is not TOML, or holds faults; each message names the file.
    """
    path = Path(path)
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
