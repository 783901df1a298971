"""One complete point to measure, how to measure it, and the two together as a task with a key."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from windtunnel.errors import unknown_name
from windtunnel.language import counted, say, word
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.checkpoint import NO_CHECKPOINT, CheckpointName, parse_checkpoint
from windtunnel.spec.model import Frozen, ModelSpec
from windtunnel.spec.own_model import ITS_OWN, OwnModel, is_path
from windtunnel.spec.quantities import parse_fraction, parse_seconds, parse_warmup
from windtunnel.spec.tables import (
    ATTENTION_BACKENDS,
    ATTENTION_WORKLOADS,
    COMPILE_MODES,
    LATER_PRECISIONS,
    PRECISIONS,
    WORKLOADS,
)
from windtunnel.units import memory

BatchSize = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
ContextLength = Annotated[int, Field(ge=1, le=100_000_000, strict=True)]
Warmup = Annotated[Literal["auto"] | int, BeforeValidator(parse_warmup)]
Steps = Annotated[int, Field(ge=1, le=100_000, strict=True)]
Target = Annotated[float, BeforeValidator(parse_fraction)]
Seconds = Annotated[float, BeforeValidator(parse_seconds)]
Processes = Annotated[int, Field(ge=1, le=100, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=2**63, strict=True)]

DEFAULT_MAX_SAMPLES = 1000
DEFAULT_MAX_SECONDS = 60.0

FEWEST_SAMPLES = 10
"""A series that a cap ends early has at least so many, however slow its steps are."""

FEWEST_AUTO_WARMUP = 10
"""Automatic warm-up compares two windows of five."""


def check_names(kind: str, values: tuple[str, ...], known: Collection[str]) -> tuple[str, ...]:
    """Return `values` if each is a known name, or a `module:attr` of the user's own where the kind allows one.

    Raises:
        ValueError: One line for each that is not.
    """
    takes_paths = kind in {"attention", "backend"}
    unknown = [value for value in values if value not in known and not (takes_paths and is_path(value))]
    if unknown:
        raise ValueError("\n".join(_refusal(kind, value, known) for value in unknown))
    return values


def _refusal(kind: str, value: str, known: Collection[str]) -> str:
    if kind == "precision" and value in LATER_PRECISIONS:
        return f"is {value!r}, which is not supported until a later version: {LATER_PRECISIONS[value]}"
    return unknown_name(kind, value, known)


def check_device(value: str) -> str:
    """Return the device with its index: `cpu`, or `cuda:N`; `cuda` is the first one."""
    if value == "cuda":
        return "cuda:0"
    kind, _, index = value.partition(":")
    if value == "cpu":
        return value
    if kind == "cuda" and index.isascii() and index.isdecimal():
        return f"cuda:{int(index)}"  # cuda:01 is cuda:1, and must not get a key of its own
    raise ValueError(f"unknown device {value!r}; allowed: cpu, cuda, cuda:N")


_NAMES: Mapping[str, Collection[str]] = {
    "workload": WORKLOADS,
    "precision": PRECISIONS,
    "attention": ATTENTION_BACKENDS,
    "compile": COMPILE_MODES,
}


class Cell(Frozen):
    """One complete point: everything that a measured number depends on, but the machine and the plan.

    Attention alone has its shape in place of a model; its context length is that of queries and of keys. A model of the
    user's own attends and checkpoints as it likes: both fields keep their defaults, which then mean nothing.
    """

    model: ModelSpec | OwnModel | AttentionSpec
    workload: str
    batch_size: BatchSize
    context_length: ContextLength
    precision: str = "fp32"
    attention: str = "eager"
    compile: str = "off"
    checkpoint: CheckpointName = NO_CHECKPOINT
    device: str
    seed: Seed = 0

    @field_validator("workload", "precision", "attention", "compile")
    @classmethod
    def _known(cls, value: str, info: ValidationInfo) -> str:
        name = str(info.field_name)
        return check_names(name, (value,), _NAMES[name])[0]

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        return check_device(value)

    @model_validator(mode="after")
    def _workload_fits(self) -> Self:
        if self.is_attention != (self.workload in ATTENTION_WORKLOADS):
            what = "attention alone" if self.is_attention else "a whole model"
            raise ValueError(f"workload {self.workload!r} is not one of {what}")
        return self

    @model_validator(mode="after")
    def _checkpoint_fits(self) -> Self:
        if isinstance(self.model, AttentionSpec):
            if self.checkpoint != NO_CHECKPOINT:
                raise ValueError(
                    f"checkpoint is {self.checkpoint!r}; attention alone has no blocks to compute again: allowed: none"
                )
            return self
        if isinstance(self.model, OwnModel):
            faults = own_model_faults(self.model.factory, attention=self.attention, checkpoint=self.checkpoint)
            if faults:
                raise ValueError("\n".join(faults))
            return self
        fault = parse_checkpoint(self.checkpoint).fault(num_layers=self.model.num_layers, workload=self.workload)
        if fault:
            raise ValueError(fault)
        return self

    @property
    def is_attention(self) -> bool:
        """Whether this is attention alone, without a model around it."""
        return isinstance(self.model, AttentionSpec)

    @property
    def attention_name(self) -> str:
        """What tables call its attention, which is a backend's name or the model's own."""
        return ITS_OWN if isinstance(self.model, OwnModel) else self.attention

    @property
    def checkpoint_name(self) -> str:
        """What tables call its checkpointing, which may be the model's own."""
        return ITS_OWN if isinstance(self.model, OwnModel) else self.checkpoint

    @property
    def own_code(self) -> str | None:
        """The `module:attr` of the user's own that it runs, of which only this name is in its key; None: of none."""
        if isinstance(self.model, OwnModel):
            return self.model.factory
        return self.attention if is_path(self.attention) else None


def own_model_faults(factory: str, *, attention: str, checkpoint: str) -> list[str]:
    """Say what of a cell has no meaning for a model of the user's own."""
    faults: list[str] = []
    for name, value, default in (("attention", attention, "eager"), ("checkpoint", checkpoint, NO_CHECKPOINT)):
        if value != default:
            faults.append(
                f"{name} {value!r} is for the reference model, and has no effect on model {factory!r}: leave it out, "
                "and name a factory for each way in which your model does it"
            )
    return faults


class MeasurePlan(Frozen):
    """How a cell is measured: how many untimed and how many timed steps.

    Both counts are exact, unless `warmup` is `auto` (until the steps are steady) or there is a `target` (until
    the interval of the median is that narrow, or a cap is reached; `steps` has no effect then). A plan without
    warm-up asks for the cold start, so its cell runs in a process of its own. With several `processes` each of that
    many fresh ones does the whole plan. A `cold` cache is that of the device, flushed before each step of attention
    alone; a `warm` one is as the step before left it.

    `purpose` is `fit` where no time is asked for, only whether the step fits into memory; such a probe has a process
    of its own, and its record never stands in a table of times. It may have a `memory_limit_bytes`: what the cell may
    take of the device; None: all there is.
    """

    warmup: Warmup = 5
    steps: Steps = 10
    target: Target | None = Field(default=None, description="Relative half-width of the interval, a fraction of 1.")
    max_samples: Steps = DEFAULT_MAX_SAMPLES
    max_seconds: Seconds = DEFAULT_MAX_SECONDS
    processes: Processes = 1
    cache: Literal["warm", "cold"] = "warm"
    purpose: Literal["time", "fit"] = "time"
    memory_limit_bytes: Annotated[int, Field(ge=1, strict=True)] | None = None

    @model_validator(mode="after")
    def _only_probes_are_limited(self) -> Self:
        if self.memory_limit_bytes is not None and self.purpose != "fit":
            raise ValueError("memory_limit_bytes is for plans of purpose 'fit': times under a limit are no one's times")
        return self

    @property
    def is_cold(self) -> bool:
        """Whether the first sample has to be the first step of its process."""
        return self.warmup == 0

    @property
    def needs_fresh_process(self) -> bool:
        """Whether no other cell may have run in its process: it is cold, a probe, or processes are what it compares."""
        return self.is_cold or self.processes > 1 or self.purpose == "fit"

    @property
    def warmup_rank(self) -> float:
        """A number to order plans by their warm-up; `auto` is more than any count."""
        return math.inf if self.warmup == "auto" else self.warmup

    @property
    def samples_asked(self) -> str:
        """Say in words how many samples were asked for."""
        if self.target:
            asked = say("samples to ± {percent} %", percent=f"{100 * self.target:g}")
        else:
            asked = counted(self.steps, "timed step")
        if self.processes == 1:
            return asked
        return say("{samples} in each of {processes} processes", samples=asked, processes=self.processes)

    @property
    def fewest_steps(self) -> int:
        """The steps that this plan takes at least, in all its processes, warm-up included."""
        warmup = FEWEST_AUTO_WARMUP if self.warmup == "auto" else self.warmup
        return self.processes * (warmup + (min(FEWEST_SAMPLES, self.max_samples) if self.target else self.steps))


class Task(Frozen):
    """A cell and its plan: the unit that a sweep hands to a worker and that a store holds once.

    A plan of several processes makes as many tasks; `replica` tells them apart, from 0.
    """

    cell: Cell
    plan: MeasurePlan
    replica: int = Field(default=0, ge=0, strict=True)

    @model_validator(mode="after")
    def _is_one_of_its_processes(self) -> Self:
        if self.replica >= self.plan.processes:
            raise ValueError(
                f"replica is {self.replica}; allowed: less than its plan's processes, {self.plan.processes}"
            )
        if self.plan.cache != "warm" and not self.cell.is_attention:
            raise ValueError(f"cache is {self.plan.cache!r}; a step of a whole model has its own order: allowed: warm")
        return self

    def key(self) -> str:
        """Return the content hash: 16 hex digits over every field that differs from its default.

        A field added later with a default leaves the keys of older records as they are.
        """
        fields = self.model_dump(mode="json", exclude_defaults=True)
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def process_name(self) -> str:
        """Which of its cell's processes this is, as 'process 2 of 5'; empty where there is only one."""
        if self.plan.processes == 1:
            return ""
        return say("process {n} of {all}", n=self.replica + 1, all=self.plan.processes)

    def label(self) -> str:
        """Return a short name for people, with what differs from the defaults."""
        return " · ".join(filter(None, (self.cell_label(), self.process_name)))

    def cell_label(self) -> str:
        """Return the part of the label that all processes of the cell share."""
        cell = self.cell
        length = cell.context_length
        parts = [
            cell.model.name,
            cell.workload,
            say("seq {value}", value=length) if cell.is_attention else say("context {value}", value=length),
            say("batch {value}", value=cell.batch_size),
        ]
        parts += [cell.precision] if isinstance(cell.model, OwnModel) else [cell.precision, cell.attention]
        if cell.compile != "off":
            parts.append(say("compile {value}", value=cell.compile))
        if cell.checkpoint != NO_CHECKPOINT:
            parts.append(say("checkpoint {value}", value=cell.checkpoint))
        if self.plan.purpose == "fit":
            limit = self.plan.memory_limit_bytes
            asked = say("does it fit into {limit}?", limit=memory(limit)) if limit else say("does it fit?")
            return " · ".join([*parts, asked])
        parts.append(say("warm-up {value}", value=self.plan.warmup))
        if self.plan.target:
            parts.append(say("target {percent} %", percent=f"{100 * self.plan.target:g}"))
        if self.plan.cache != "warm":
            parts.append(say("{value} cache", value=word(self.plan.cache)))
        return " · ".join(parts)
