"""The flags of a cell, the same for every command that works on one: each is a field of a sweep."""

import inspect
import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from windtunnel.errors import SpecError, unknown_name
from windtunnel.spec.model import NAMED_SIZES
from windtunnel.spec.tables import ATTENTION_BACKENDS, COMPILE_MODES, PRECISIONS, STEP_WORKLOADS


@dataclass(frozen=True, kw_only=True, slots=True)
class _Flag:
    """A flag and the sweep field of the same name; lists are written with commas."""

    help: str
    is_list: bool = False
    is_number: bool = False
    metavar: str = "NAME"
    panel: str = "What to measure"


def _names(names: object) -> str:
    return ", ".join(names)  # type: ignore[call-overload]  # any iterable of str


_SHAPE = "A size of your own"
_HOW = "How to measure"

_FLAGS = {
    "size": _Flag(is_list=True, help=f"Sizes: {_names(NAMED_SIZES)}."),
    "context": _Flag(is_list=True, is_number=True, help="Tokens of each sequence. [dim]default: 256[/]"),
    "batch": _Flag(is_list=True, is_number=True, help="Sequences of a step. [dim]default: 4[/]"),
    "mode": _Flag(is_list=True, help=f"Workloads: {_names(STEP_WORKLOADS)}. [dim]default: all[/]"),
    "precision": _Flag(
        is_list=True,
        help=f"{_names(PRECISIONS)}; bf16 and fp16 are autocast on fp32 weights. [dim]default: fp32[/]",
    ),
    "attention": _Flag(
        is_list=True, help=f"{_names(ATTENTION_BACKENDS)}, or module:attr of your own. [dim]default: eager[/]"
    ),
    "compile": _Flag(is_list=True, help=f"torch.compile: {_names(COMPILE_MODES)}. [dim]default: off[/]"),
    "d_model": _Flag(is_number=True, panel=_SHAPE, help="Width; with --size it overrides the named one."),
    "d_ff": _Flag(is_number=True, panel=_SHAPE, help="Feed-forward width. [dim]default: 4 * d_model[/]"),
    "layers": _Flag(is_number=True, panel=_SHAPE, help="Number of blocks."),
    "heads": _Flag(is_number=True, panel=_SHAPE, help="Query heads."),
    "kv_heads": _Flag(is_number=True, panel=_SHAPE, help="Key and value heads. [dim]default: as many as heads[/]"),
    "vocab": _Flag(is_number=True, panel=_SHAPE, help="Number of tokens. [dim]default: 10,000[/]"),
    "warmup": _Flag(
        is_list=True,
        is_number=True,
        panel=_HOW,
        help="Untimed steps before the samples; auto: until they are steady; 0: the cold start in a fresh process. "
        "[dim]default: 5[/]",
    ),
    "steps": _Flag(is_number=True, panel=_HOW, help="Timed steps: the samples of a cell. [dim]default: 10[/]"),
    "target": _Flag(
        metavar="SHARE",
        panel=_HOW,
        help="Instead of --steps: sample until the interval of the median is ± this, as 1%.",
    ),
    "max_samples": _Flag(is_number=True, panel=_HOW, help="With --target: the most samples. [dim]default: 1000[/]"),
    "max_time": _Flag(
        metavar="TIME", panel=_HOW, help="With --target: the longest time to sample a cell. [dim]default: 60s[/]"
    ),
    "processes": _Flag(
        is_number=True,
        panel=_HOW,
        help="Measure each cell in so many fresh processes: the same cell often differs more between processes than "
        "inside one. From 3 on the interval is between them; use it before you compare with numbers of another run, or "
        "call a small difference real. [dim]default: 1[/]",
    ),
    "seed": _Flag(is_number=True, panel=_HOW, help="Seed of weights and tokens. [dim]default: 0[/]"),
}

DeviceOption = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N. [dim]default: auto[/]", metavar="DEVICE")
]


COUNT_FLAGS = ("steps", "target", "max_samples", "max_time", "processes")
"""The flags that say how many samples a cell gets, and in how many processes; in pairs that is another question."""


def takes_cell_flags(function: Callable[..., None], *, without: Collection[str] = ()) -> Callable[..., None]:
    """Give a command the flags of a cell, but for those named in `without`.

    The function's parameter `fields` receives those that were given, as the fields of a sweep, unchecked:
    the sweep checks flags and TOML by the same code.
    """
    flags = {name: flag for name, flag in _FLAGS.items() if name not in without}
    own = [parameter for name, parameter in inspect.signature(function).parameters.items() if name != "fields"]

    def command(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in flags}
        fields = {name: _parse(_FLAGS[name], text) for name, text in given.items() if text is not None}
        function(fields=fields, **arguments)

    parameters = [
        *own,
        *(
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_option(name, flag))
            for name, flag in flags.items()
        ),
    ]
    as_keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    command.__signature__ = inspect.Signature(as_keywords)  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in as_keywords}
    command.__doc__ = function.__doc__
    return command


def parse_cell_flags(text: str, *, also: Collection[str] = ()) -> tuple[dict[str, object], dict[str, str]]:
    """Read flags of a cell out of one text, such as '--attention sdpa --layers 4'.

    Returns:
        The fields of a sweep, unchecked, and the values of those flags that `also` allows.

    Raises:
        SpecError: The text cannot be split into words, or holds something else than known flags with values.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise SpecError(f"{text!r} cannot be split into flags: {error}") from None
    known = {f"--{name.replace('_', '-')}": name for name in (*_FLAGS, *also) if name not in COUNT_FLAGS}
    fields: dict[str, object] = {}
    others: dict[str, str] = {}
    while words:
        flag, equals, value = words.pop(0).partition("=")
        if flag.removeprefix("--").replace("-", "_") in COUNT_FLAGS:
            raise SpecError(
                f"{flag} has no effect on one side: pairs are taken until there is a verdict; to say how many, give "
                "--target, --max-pairs or --max-time beside --a and --b"
            )
        if flag not in known:
            raise SpecError(unknown_name("flag", flag, known))
        if not equals:
            if not words or words[0].startswith("--"):
                raise SpecError(f"{flag} has no value; write it as '{flag} VALUE'")
            value = words.pop(0)
        name = known[flag]
        if name in also:
            others[name] = value
        else:
            fields[name] = _parse(_FLAGS[name], value)
    return fields, others


def _option(name: str, flag: _Flag) -> object:
    metavar = ("N" if flag.is_number else flag.metavar) + (",…" if flag.is_list else "")
    option = typer.Option(
        f"--{name.replace('_', '-')}", help=flag.help, metavar=metavar, rich_help_panel=flag.panel, show_default=False
    )
    return Annotated[str | None, option]


def _parse(flag: _Flag, text: str) -> object:
    """Split at commas and read what looks like a whole number; anything else stays text for the sweep to refuse."""
    parts = [part.strip() for part in text.split(",")] if flag.is_list else [text.strip()]
    values = [_number(part) if flag.is_number else part for part in parts]
    return values if flag.is_list else values[0]


def _number(text: str) -> int | str:
    try:
        return int(text.replace("_", ""))
    except ValueError:
        return text
