"""The commands that test what our own records cannot tell, for the very cell in question."""

import shlex

from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import DEFAULT_VOCAB_SIZE, NAMED_SIZES, ModelSpec
from windtunnel.spec.own_model import OwnModel

_DEFAULTS = {"precision": "fp32", "attention": "eager", "compile": "off", "checkpoint": "none"}


def step_of(cell: Cell, *more: str) -> str:
    """Return the command that measures a cell, with further flags."""
    command = "attention" if cell.is_attention else "step"
    return " ".join(["windtunnel", command, *_flags(cell), *more])


def profile_of(cell: Cell) -> str:
    """Return the command that shows what a step waits for; of attention alone which kernels run."""
    return step_of(cell) if cell.is_attention else " ".join(["windtunnel", "profile", *_flags(cell)])


def memory_of(cell: Cell) -> str:
    """Return the command that shows what a step holds; of attention alone how much."""
    return step_of(cell) if cell.is_attention else " ".join(["windtunnel", "memory", *_flags(cell)])


def precision_of(cell: Cell) -> str:
    """Return the command that looks at the number formats of a step."""
    return " ".join(["windtunnel", "precision", *_flags(cell)])


def compare_of(a: Cell, b: Cell) -> str | None:
    """Return the command that measures `b` against `a` in pairs; None where no flag says what tells them apart.

    Attention alone is compared between backends only.
    """
    if a.is_attention:
        if a.attention == b.attention or a.model_copy(update={"attention": b.attention}) != b:
            return None
        both = a.model_copy(update={"attention": f"{a.attention},{b.attention}"})
        return " ".join(
            ["windtunnel attention", *_flags(both), "--compare", shlex.quote(f"{a.attention}/{b.attention}")]
        )
    changed = changed_flags(a, b)
    return f'windtunnel compare {" ".join(_flags(a))} --b "{changed}"' if changed else None


def changed_flags(a: Cell, b: Cell) -> str | None:
    """Return the flags that make `b` of `a`; None where there are none, or flags cannot say it."""
    fields = {"precision", "attention", "compile", "checkpoint", "batch_size", "context_length"}
    differing = [name for name in Cell.model_fields if getattr(a, name) != getattr(b, name)]
    if not differing or not fields.issuperset(differing):
        return None
    names = _ATTENTION_NAMES if a.is_attention else _NAMES
    return " ".join(f"{names.get(name, f'--{name}')} {getattr(b, name)}" for name in differing)


_NAMES = {"batch_size": "--batch", "context_length": "--context"}
_ATTENTION_NAMES = {"batch_size": "--batch", "context_length": "--seq", "attention": "--backend"}


def _flags(cell: Cell) -> list[str]:
    flags = [*_of_attention(cell, cell.model)] if isinstance(cell.model, AttentionSpec) else _of_step(cell, cell.model)
    flags += ["--precision", cell.precision] if cell.precision != _DEFAULTS["precision"] else []
    flags += ["--compile", cell.compile] if cell.compile != _DEFAULTS["compile"] else []
    flags += ["--device", "cpu"] if cell.device == "cpu" else []
    return [shlex.quote(flag) for flag in flags]


def _of_step(cell: Cell, model: ModelSpec | OwnModel) -> list[str]:
    flags = [*_own(model)] if isinstance(model, OwnModel) else _shape(model)
    flags += ["--context", str(cell.context_length), "--batch", str(cell.batch_size), "--mode", cell.workload]
    for name in ("attention", "checkpoint"):
        value = getattr(cell, name)
        flags += [f"--{name}", value] if value != _DEFAULTS[name] else []
    return flags


def _own(model: OwnModel) -> list[str]:
    return ["--model", model.factory, "--vocab", str(model.vocab_size)]


def _shape(model: ModelSpec) -> list[str]:
    if NAMED_SIZES.get(model.name) == model:
        return ["--size", model.name]
    flags = ["--d-model", str(model.d_model), "--d-ff", str(model.d_ff), "--layers", str(model.num_layers)]
    flags += ["--heads", str(model.num_heads)]
    flags += ["--kv-heads", str(model.num_kv_heads)] if model.num_kv_heads else []
    flags += ["--vocab", str(model.vocab_size)] if model.vocab_size != DEFAULT_VOCAB_SIZE else []
    flags += ["--activation", model.activation] if model.activation != "swiglu" else []
    return [*flags, *(["--tied"] if model.is_tied else [])]


def _of_attention(cell: Cell, shape: AttentionSpec) -> list[str]:
    flags = ["--backend", cell.attention, "--batch", str(cell.batch_size), "--heads", str(shape.num_heads)]
    flags += ["--kv-heads", str(shape.num_kv_heads)] if shape.num_kv_heads else []
    flags += ["--seq", str(cell.context_length), "--d", str(shape.d_head), "--mask", shape.mask]
    return [*flags, "--phase", cell.workload.removeprefix("attention_")]
