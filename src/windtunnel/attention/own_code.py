"""Copies of a function that torch.compile keeps apart."""

from collections.abc import Callable
from types import FunctionType
from typing import ParamSpec, TypeVar, cast

_P = ParamSpec("_P")
_R = TypeVar("_R")


def with_own_code(function: Callable[_P, _R], *, name: str | None = None) -> Callable[_P, _R]:
    """Return a copy of `function` with a copy of its code, by which Dynamo keeps what it compiled.

    Two compiled cells that take turns in one process would else share one list: the second to be compiled would be
    compiled for any shape (or not at all, if it is the same), and each step would first try the other's guards.
    What Dynamo knows of shapes goes by name, file and line: unless it compiles for fixed shapes only, `name` must
    differ where shapes do.
    """
    assert isinstance(function, FunctionType)
    name = name or function.__name__
    copied = FunctionType(
        function.__code__.replace(co_name=name),
        function.__globals__,
        name,
        function.__defaults__,
        function.__closure__,
    )
    copied.__kwdefaults__ = function.__kwdefaults__
    return cast("Callable[_P, _R]", copied)
