"""Cells as the flags that ask for them, and such flags as the fields of a sweep: what commands in texts are made of."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from windtunnel.errors import SpecError, unknown_name
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import NAMED_SIZES, ModelSpec
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.sweep import AXES, Sweep

_SWITCHES = {"tied": ("tied", True), "untied": ("tied", False)}
_SIDES = ("a", "b")
_OF_COMPARE = ("pair", "delta", "max_pairs", "max_time", "block_time", "device", "store", "timeout", "fail_if")
"""The other options of `windtunnel compare` that have a value: they say how, and not what, is compared."""


def flags_of(cell: Cell) -> Mapping[str, str]:
    """Return the flags of `windtunnel step` that ask for this cell of a whole model, by name; a switch has no text.

    `rope_theta` has no flag: a size that sets it is one of a file.
    """
    axes = {
        "context": str(cell.context_length),
        "batch": str(cell.batch_size),
        "mode": cell.workload,
        "precision": cell.precision,
        "compile": cell.compile,
    }
    if cell.seed:
        axes["seed"] = str(cell.seed)
    if isinstance(cell.model, OwnModel):
        return {"model": cell.model.factory, "vocab": str(cell.model.vocab_size), **axes}
    assert not isinstance(cell.model, AttentionSpec)
    return {**_shape(cell.model), **axes, "attention": cell.attention, "checkpoint": cell.checkpoint}


def _shape(model: ModelSpec) -> Mapping[str, str]:
    if NAMED_SIZES.get(model.name) == model:
        return {"size": model.name}
    shape = {"d_model": model.d_model, "d_ff": model.d_ff, "layers": model.num_layers, "heads": model.num_heads}
    if model.num_kv_heads is not None:
        shape["kv_heads"] = model.num_kv_heads
    texts = {name: str(value) for name, value in {**shape, "vocab": model.vocab_size}.items()}
    if model.activation != "swiglu":
        texts["activation"] = model.activation
    return texts | ({"tied": ""} if model.is_tied else {})


def compare_command(a: Cell, b: Cell) -> str:
    """Return the command that compares two cells of whole models in pairs."""
    of_a, of_b = flags_of(a), flags_of(b)
    shared = {name: text for name, text in of_a.items() if of_b.get(name) == text}
    alone = [{name: text for name, text in of.items() if name not in shared} for of in (of_a, of_b)]
    sides = " ".join(f'--{side} "{_text(own)}"' for side, own in zip(_SIDES, alone, strict=True))
    return f"windtunnel compare {_text(shared)} {sides}"


def _text(flags: Mapping[str, str]) -> str:
    return " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(text) if text else ''}".strip() for name, text in flags.items()
    )


def sides_of(command: str) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Return the fields of the sweeps A and B of a `windtunnel compare` command; None where it is another command.

    What it says of how they are compared is left out.

    Raises:
        SpecError: It compares, and has flags that are none of a cell, or none of a side.
    """
    words = shlex.split(command)
    if words[:2] != ["windtunnel", "compare"]:
        return None
    fields, others = _fields(words[2:], also=(*_SIDES, *_OF_COMPARE))
    sides = {side: others[side] for side in _SIDES if side in others}
    if not sides:
        raise SpecError(f"{command!r} has no sides: it needs --a, --b, or both")
    of_a, of_b = (_fields(shlex.split(sides.get(side, "")))[0] for side in _SIDES)
    return {**fields, **of_a}, {**fields, **of_b}


def _fields(words: Sequence[str], *, also: Sequence[str] = ()) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what flags say of the fields of a sweep, and the values of the others that are allowed."""
    fields: dict[str, Any] = {}
    others: dict[str, str] = {}
    rest = list(words)
    while rest:
        flag, equals, text = rest.pop(0).partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if name in _SWITCHES and not equals:
            field, value = _SWITCHES[name]
            fields[field] = value
            continue
        if not flag.startswith("--") or name not in {*Sweep.model_fields, *also}:
            raise SpecError(
                unknown_name("flag", flag, {f"--{field.replace('_', '-')}" for field in Sweep.model_fields})
            )
        if not equals:
            if not rest:
                raise SpecError(f"{flag} has no value; write it as '{flag} VALUE'")
            text = rest.pop(0)
        if name in also:  # before the fields: `device` and `max_time` are both
            others[name] = text
        else:
            fields[name] = field_of(name, text)
    return fields, others


def field_of(name: str, text: str) -> object:
    """Return what a flag's text says of the field of that name: a list where it is an axis, numbers where it has them.

    What is no number where there should be one stays text, for the sweep to refuse.
    """
    is_number = int in _types(Sweep.model_fields[name].annotation)
    values = [_number(part.strip()) if is_number else part.strip() for part in text.split(",")]
    return values if name in AXES or name == "model" else values[0]


def _types(annotation: object) -> set[object]:
    inner = get_args(annotation)
    return {annotation}.union(*(_types(one) for one in inner)) if inner else {annotation}


def _number(text: str) -> int | str:
    return int(text) if text.removeprefix("-").isdecimal() else text
