"""Named ranges around the parts of a model, by hooks that are there only while somebody looks."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from windtunnel.probe.memory import blocks_of
from windtunnel.records.profile import Part
from windtunnel.records.trace import part_range

OpenRange = Callable[[str], AbstractContextManager[Any]]
"""Makes a range of a name: of torch's profiler, or of NVTX."""

_ATTENTION = ("attention", "attn")
_FEED_FORWARD = ("feed_forward", "feedforward", "mlp", "ffn")


@contextmanager
def part_ranges(model: nn.Module, open_range: OpenRange) -> Iterator[None]:
    """Open a range around every part of `model` whenever it runs, recomputation in backward included.

    A module that keeps its backend in `attend` gets a range around the call of that too. All is undone at the end.
    """
    names = {module: part_range(part, block) for module, (part, block) in parts_of(model).items()}
    opened: list[AbstractContextManager[Any] | None] = []

    def enter(module: nn.Module, inputs: object) -> None:
        del inputs
        name = names.get(module)
        one = open_range(name) if name else None
        if one:
            one.__enter__()
        opened.append(one)

    def leave(module: nn.Module, inputs: object, output: object) -> None:
        del module, inputs, output
        one = opened.pop()
        if one:
            one.__exit__(None, None, None)

    hooks = (register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True))
    try:
        with _backends_in_ranges(model, open_range):
            yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _backends_in_ranges(model: nn.Module, open_range: OpenRange) -> Iterator[None]:
    kept: list[tuple[nn.Module, Callable[..., Any]]] = []
    for module, (part, block) in parts_of(model).items():
        attend = vars(module).get("attend")
        if part is Part.ATTENTION_OTHER and callable(attend):
            kept.append((module, attend))
            setattr(module, "attend", _in_range(attend, open_range, part_range(Part.ATTENTION, block)))  # noqa: B010
    try:
        yield
    finally:
        for module, attend in kept:
            setattr(module, "attend", attend)  # noqa: B010  # a module's attribute has no type of its own


def _in_range(attend: Callable[..., Any], open_range: OpenRange, name: str) -> Callable[..., Any]:
    @wraps(attend)
    def attend_in_range(*args: Any, **kwargs: Any) -> Any:
        with open_range(name):
            return attend(*args, **kwargs)

    return attend_in_range


def parts_of(model: nn.Module) -> Mapping[nn.Module, tuple[Part, str]]:
    """Return the modules that are a part, with the path of their block; by their class and by what they are called.

    What a part calls belongs to it, unless it is a part itself: a norm, or a projection of attention. Linear layers
    outside of blocks are the head.
    """
    blocks = frozenset(blocks_of(model))
    found: dict[nn.Module, tuple[Part, str]] = {}
    for path, module in model.named_modules():
        block = next((name for name in _above(path) if name in blocks), "")
        above = [found[outer][0] for name in _above(path)[1:] if (outer := model.get_submodule(name)) in found]
        part = _part(path, module, is_block=path in blocks, block=block, above=above)
        if part is not None and module not in found:
            found[module] = part, block
    return found


def _above(path: str) -> list[str]:
    """Return the path of a module, then those of the modules around it, innermost first; the model itself is none."""
    parts = path.split(".") if path else []
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _part(path: str, module: nn.Module, *, is_block: bool, block: str, above: list[Part]) -> Part | None:
    words = f"{path.rpartition('.')[2]} {type(module).__name__}".lower()
    if "norm" in words:
        return Part.NORM
    if isinstance(module, nn.Embedding):
        return Part.EMBEDDING
    if Part.ATTENTION_OTHER in above:
        return Part.PROJECTIONS if isinstance(module, nn.Linear) else None
    if Part.FEED_FORWARD in above:
        return None
    if is_block:
        return Part.RESIDUAL
    if any(word in words for word in _ATTENTION):
        return Part.ATTENTION_OTHER
    if any(word in words for word in _FEED_FORWARD):
        return Part.FEED_FORWARD
    return Part.HEAD if isinstance(module, nn.Linear) and not block else None
