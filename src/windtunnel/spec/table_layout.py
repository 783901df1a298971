"""A table of the report in a shape of the user's own: `[[tables]]` in a sweep file."""

from collections import Counter
from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from windtunnel.spec.cell import check_names
from windtunnel.spec.grid import ONCE, Names, known_names, names_schema
from windtunnel.spec.model import Frozen

STEP_AXES = (
    "size",
    "precision",
    "attention",
    "compile",
    "checkpoint",
    "batch",
    "context",
    "mode",
    "warmup",
    "steps",
    "seed",
)
"""What tells steps of models apart, by the names of a sweep's fields."""

ATTENTION_AXES = (
    "backend",
    "precision",
    "compile",
    "batch",
    "heads",
    "mask",
    "d",
    "seq",
    "phase",
    "warmup",
    "cache",
    "steps",
    "seed",
)
"""The same of attention alone."""

SHAPE_COLUMNS = ("d_model", "d_ff", "layers", "heads", "vocab", "parameters")
"""What the name of a size stands for."""

STATISTICS = ("mean", "std", "mean_std", "median", "interval", "cv")
"""What may be said of the samples of a whole step, or of a phase in it as `backward.mean`."""

PHASES = ("forward", "loss", "backward", "optimizer")
"""What may stand before the point."""

NUMBER, RATIO = "n", "backward_over_forward"
"""How many samples there are, and the ratio of the medians of two phases of one step."""

MEMORY_COLUMNS = ("peak_memory", "held_memory", "forward_peak_memory", "backward_peak_memory")
"""Bytes: the most at any time; of attention alone also what is held before backward, and the most of each phase."""

_TIMES = (*STATISTICS, *(f"{phase}.{statistic}" for phase in PHASES for statistic in STATISTICS))
STEP_COLUMNS = (*STEP_AXES, *SHAPE_COLUMNS, NUMBER, *_TIMES, RATIO, MEMORY_COLUMNS[0])
ATTENTION_COLUMNS = (*ATTENTION_AXES, NUMBER, *_TIMES, RATIO, *MEMORY_COLUMNS)

Unit = Literal["s", "ms", "us"]


class TableLayout(Frozen):
    """Which columns a table has, and what makes a table of its own.

    What else tells rows apart, and is neither a column nor named here, makes tables of its own too: no two rows of one
    table look like one cell that was measured twice. What inherits says which names there are.
    """

    columns: Names = Field(description="What stands side by side, in this order.")
    split: Names = Field(default=(), description="Axes of which each value has a table of its own.")
    across: str | None = Field(default=None, description="An axis whose values stand side by side, over the numbers.")
    unit: Unit = Field(default="ms", description="Of all times: s, ms or us.")

    @model_validator(mode="after")
    def _axes_stand_once(self) -> Self:
        if not self.columns:
            raise ValueError("a table has no columns: name at least one")
        across = [] if self.across is None else [self.across]
        named = Counter([*self.columns, *self.split, *across])
        if doubled := [name for name, times in named.items() if times > 1]:
            raise ValueError(f"{', '.join(doubled)} stands twice among columns, split and across: name it in one")
        return self


def _names_of(kind: str, known: Collection[str]) -> tuple[AfterValidator, WithJsonSchema]:
    return known_names(kind, known), WithJsonSchema(names_schema(known))


def _is_axis(known: Collection[str]) -> tuple[AfterValidator, WithJsonSchema]:
    def check(value: str | None) -> str | None:
        return value if value is None else check_names("axis", (value,), known)[0]

    schema = {"anyOf": [{"type": "string", "enum": list(known)}, {"type": "null"}]}
    return AfterValidator(check), WithJsonSchema(schema)


class StepTable(TableLayout):
    """A table of steps of models."""

    columns: Annotated[Names, ONCE, *_names_of("column", STEP_COLUMNS)]
    split: Annotated[Names, ONCE, *_names_of("axis", STEP_AXES)] = ()
    across: Annotated[str | None, *_is_axis(STEP_AXES)] = None


class AttentionTable(TableLayout):
    """A table of attention alone."""

    columns: Annotated[Names, ONCE, *_names_of("column", ATTENTION_COLUMNS)]
    split: Annotated[Names, ONCE, *_names_of("axis", ATTENTION_AXES)] = ()
    across: Annotated[str | None, *_is_axis(ATTENTION_AXES)] = None
