"""The axes in which cells may differ: what tables call each, and how its values are written."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import cast

from windtunnel.analysis.results import Row
from windtunnel.language import say, word
from windtunnel.report.document import ColumnKind
from windtunnel.units import memory


def workload_name(workload: str) -> str:
    """Return what tables call the whole step of a workload: the sum of two phases is never called by one of them."""
    return say("training step") if workload == "train_step" else word(workload)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Axis:
    """One thing in which cells may differ; each is equal to itself only.

    `key` names it in `[words]` of a language. `say_value` says a value in running text, and `describe` what it is, when
    a report is written.
    """

    key: str
    get: Callable[[Row], Hashable]
    say_value: Callable[[str], str]
    describe: Callable[[], str]
    kind: ColumnKind = ColumnKind.TEXT

    @property
    def name(self) -> str:
        """What columns and charts call it."""
        return word(self.key)

    @property
    def description(self) -> str:
        """What it is, in a sentence."""
        return self.describe()


def _axis(
    key: str,
    path: str,
    describe: Callable[[], str],
    say_value: Callable[[str], str] = str,
    kind: ColumnKind = ColumnKind.TEXT,
) -> Axis:
    return Axis(key=key, get=attrgetter(path), say_value=say_value, describe=describe, kind=kind)


SIZE = _axis("size", "shape", lambda: say("Shape of the model, by name."))
WORKLOAD = _axis("workload", "cell.workload", lambda: say("What the timed step does."))
PRECISION = _axis("precision", "cell.precision", lambda: say("Formats of weights and matrix products."))
ATTENTION = _axis(
    "attention",
    "cell.attention_name",
    lambda: say("Attention backend."),
    lambda value: say("attention {value}", value=value),
)
COMPILE = _axis(
    "compile",
    "cell.compile",
    lambda: say("Mode of torch.compile."),
    lambda value: say("compile {value}", value=value),
)
CHECKPOINT = _axis(
    "checkpoint",
    "cell.checkpoint_name",
    lambda: say("Which activations backward computes again."),
    lambda value: say("checkpoint {value}", value=value),
)
BATCH = _axis(
    "batch",
    "cell.batch_size",
    lambda: say("Sequences of a step."),
    lambda value: say("batch {value}", value=value),
    ColumnKind.NUMBER,
)
CONTEXT = _axis(
    "context",
    "cell.context_length",
    lambda: say("Tokens of each sequence."),
    lambda value: say("context {value}", value=value),
    ColumnKind.NUMBER,
)
WARMUP = _axis(
    "warm-up",
    "plan.warmup",
    lambda: say("Untimed steps before the samples."),
    lambda value: say("warm-up {value}", value=value),
    ColumnKind.NUMBER,
)
STEPS = _axis("samples", "plan.samples_asked", lambda: say("How many samples were asked for."))
SEED = _axis(
    "seed",
    "cell.seed",
    lambda: say("Seed of weights and tokens."),
    lambda value: say("seed {value}", value=value),
    ColumnKind.NUMBER,
)

AXES = (SIZE, PRECISION, ATTENTION, COMPILE, CHECKPOINT, BATCH, CONTEXT, WORKLOAD, WARMUP, STEPS, SEED)
"""Every axis of steps of a model, in the order of columns."""

BACKEND = _axis("backend", "cell.attention", lambda: say("Attention backend."))
HEADS = Axis(
    key="heads",
    get=attrgetter("cell.model.num_heads", "cell.model.kv_heads"),
    say_value=lambda value: say("heads {value}", value=value),
    describe=lambda: say("Query heads; with key and value heads after a slash where fewer."),
    kind=ColumnKind.NUMBER,
)
MASK = _axis(
    "mask", "cell.model.mask", lambda: say("Which keys a query sees: all, those up to it, or the last N of these.")
)
D_HEAD = _axis(
    "d",
    "cell.model.d_head",
    lambda: say("Width of one head."),
    lambda value: say("d {value}", value=value),
    ColumnKind.NUMBER,
)
SEQ = _axis(
    "seq",
    "cell.context_length",
    lambda: say("Length of the sequence: queries and keys."),
    lambda value: say("seq {value}", value=value),
    ColumnKind.NUMBER,
)
CACHE = _axis(
    "cache",
    "plan.cache",
    lambda: say("The device's cache before a timed call: as the last one left it, or flushed."),
    lambda value: say("{value} cache", value=value),
)

ATTENTION_AXES = (BACKEND, PRECISION, COMPILE, BATCH, HEADS, MASK, D_HEAD, SEQ, WORKLOAD, WARMUP, CACHE, STEPS, SEED)
"""Every axis of attention alone, in the order of columns."""

LIMIT = _axis(
    "memory limit",
    "plan.memory_limit_bytes",
    lambda: say("What the cell may take of the device."),
    lambda value: say("limit {value}", value=value),
)
_NAMED = frozenset({ATTENTION, CHECKPOINT, CACHE})
"""Axes of which some values are words: a model's own attention, a cold cache."""
_NOT_OF_PROBES = (WARMUP, CACHE, STEPS)

STEPS_BY_FIELD: Mapping[str, Axis] = {
    "size": SIZE,
    "precision": PRECISION,
    "attention": ATTENTION,
    "compile": COMPILE,
    "checkpoint": CHECKPOINT,
    "batch": BATCH,
    "context": CONTEXT,
    "mode": WORKLOAD,
    "warmup": WARMUP,
    "steps": STEPS,
    "seed": SEED,
}
ATTENTION_BY_FIELD: Mapping[str, Axis] = {
    "backend": BACKEND,
    "precision": PRECISION,
    "compile": COMPILE,
    "batch": BATCH,
    "heads": HEADS,
    "mask": MASK,
    "d": D_HEAD,
    "seq": SEQ,
    "phase": WORKLOAD,
    "warmup": WARMUP,
    "cache": CACHE,
    "steps": STEPS,
    "seed": SEED,
}
"""The axes by the names that the fields of a sweep have."""


def axes_of(*, is_attention: bool, is_fit: bool) -> tuple[Axis, ...]:
    """Return every axis of rows of a kind, in the order of columns; probes of what fits have a limit and no plan."""
    axes = ATTENTION_AXES if is_attention else AXES
    return (*(axis for axis in axes if axis not in _NOT_OF_PROBES), LIMIT) if is_fit else axes


def entry_text(axis: Axis, row: Row) -> str:
    """Return what a table shows of a row on an axis."""
    if axis is SIZE:
        return row.cell.model.name
    value = axis.get(row)
    if axis is LIMIT:
        return say("none") if value is None else memory(cast("int", value))
    if axis is HEADS:
        heads, kv_heads = cast("tuple[int, int]", value)
        return str(heads) if heads == kv_heads else f"{heads}/{kv_heads}"
    if axis is WORKLOAD:
        return workload_name(str(value))
    return word(str(value)) if axis in _NAMED else str(value)
