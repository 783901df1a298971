"""Turn what pydantic found into one sentence a fault: the field, its value, what is allowed, the nearest name."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from windtunnel.errors import unknown_name


def faults_of(error: ValidationError, model: type[BaseModel]) -> tuple[str, ...]:
    """Return a message for each fault that was found while validating data for `model`."""
    return tuple(dict.fromkeys(fault for details in error.errors() for fault in _faults(details, model)))


def _faults(details: Mapping[str, Any], model: type[BaseModel]) -> tuple[str, ...]:
    inner = details.get("ctx", {}).get("error")
    if isinstance(inner, ValidationError):  # a value of ours was built from the user's inside a validator
        prefix = ".".join(str(part) for part in details["loc"])
        return tuple(f"{prefix}: {fault}" if prefix else fault for fault in faults_of(inner, model))
    return tuple(_fault(details, model).splitlines())


def _fault(details: Mapping[str, Any], model: type[BaseModel]) -> str:
    path = [str(part) for part in details["loc"]]
    value = details.get("input")
    kind, context = details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        *table, name = path
        return unknown_name(f"field of {'.'.join(table)}" if table else "field", name, _known_fields(model, path))
    if path and path[-1].isdecimal():
        path = path[:-1]  # a place in a list, which the user may have left out; the message shows the value
    where = ".".join(path)
    if kind == "value_error":
        message = str(context["error"])
        if message.startswith("is "):
            return f"{where} {message}"
        return f"{where}: {message}" if where and not message.startswith("unknown") else message
    if kind == "missing":
        return f"{where} is missing"
    if kind.startswith(("greater_than", "less_than")):
        bound = {"greater_than_equal": "at least", "greater_than": "more than"}.get(kind)
        bound = bound or {"less_than_equal": "at most", "less_than": "less than"}[kind]
        limit = next(iter(context.values()))
        return f"{where} is {value!r}; allowed: {bound} {limit:,}"
    if kind in _ALLOWED:
        return f"{where} is {value!r}; allowed: {_ALLOWED[kind]}"
    return f"{where} is {value!r}: {details['msg'][0].lower()}{details['msg'][1:]}"


_ALLOWED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "dict_type": "a table",
    "model_type": "a table",
    "tuple_type": "a list",
}
"""What pydantic says in terms of Python, in terms of TOML."""


def _known_fields(model: type[BaseModel], path: list[str]) -> list[str]:
    """Return the names allowed where the last part of `path` stands."""
    if len(path) == 1:
        return list(model.model_fields)
    annotation: Any = model.model_fields[path[0]].annotation
    inner = [a for a in getattr(annotation, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)]
    return list(inner[0].model_fields) if inner else []
