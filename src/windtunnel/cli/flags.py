"""The flags of sweeps, the same for every command that takes them: each is a field of a sweep."""

import inspect
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer

from windtunnel.errors import SpecError, unknown_name
from windtunnel.spec.attention import MAX_D_HEAD
from windtunnel.spec.checkpoint import CHECKPOINT_KINDS
from windtunnel.spec.model import ACTIVATIONS, NAMED_SIZES
from windtunnel.spec.tables import ATTENTION_BACKENDS, COMPILE_MODES, PRECISIONS, STEP_WORKLOADS


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """A flag and the sweep field of the same name; lists are written with commas.

    One with an `opposite` takes no value: it says true, and its opposite false.
    """

    help: str
    opposite: str | None = None
    is_list: bool = False
    is_number: bool = False
    metavar: str = "NAME"
    panel: str = "What to measure"


def _names(names: object) -> str:
    return ", ".join(names)  # type: ignore[call-overload]  # any iterable of str


_SHAPE = "A size of your own"
_HOW = "How to measure"

_COMPILE = Flag(is_list=True, help=f"torch.compile: {_names(COMPILE_MODES)}. [dim]default: off[/]")

HOW_FLAGS = {
    "warmup": Flag(
        is_list=True,
        is_number=True,
        panel=_HOW,
        help="Untimed steps before the samples; auto: until they are steady; 0: the cold start in a fresh process. "
        "[dim]default: 5[/]",
    ),
    "steps": Flag(is_number=True, panel=_HOW, help="Timed steps: the samples of a cell. [dim]default: 10[/]"),
    "target": Flag(
        metavar="SHARE",
        panel=_HOW,
        help="Instead of --steps: sample until the interval of the median is ± this, as 1%.",
    ),
    "max_samples": Flag(is_number=True, panel=_HOW, help="With --target: the most samples. [dim]default: 1000[/]"),
    "max_time": Flag(
        metavar="TIME", panel=_HOW, help="With --target: the longest time to sample a cell. [dim]default: 60s[/]"
    ),
    "processes": Flag(
        is_number=True,
        panel=_HOW,
        help="Measure each cell in so many fresh processes: the same cell often differs more between processes than "
        "inside one. From 3 on the interval is between them; use it before you compare with numbers of another run, or "
        "call a small difference real. [dim]default: 1[/]",
    ),
    "seed": Flag(is_number=True, panel=_HOW, help="Seed of weights and inputs. [dim]default: 0[/]"),
}
"""The flags of both that say how a cell is measured."""

CELL_FLAGS = {
    "size": Flag(is_list=True, help=f"Sizes: {_names(NAMED_SIZES)}."),
    "model": Flag(
        is_list=True,
        metavar="MODULE:ATTR",
        help="In place of a size: code of your own that makes a torch.nn.Module, tokens to logits.",
    ),
    "context": Flag(is_list=True, is_number=True, help="Tokens of each sequence. [dim]default: 256[/]"),
    "batch": Flag(is_list=True, is_number=True, help="Sequences of a step. [dim]default: 4[/]"),
    "mode": Flag(is_list=True, help=f"Workloads: {_names(STEP_WORKLOADS)}. [dim]default: all[/]"),
    "precision": Flag(
        is_list=True,
        help=f"{_names(PRECISIONS)}; bf16 and fp16 are autocast on fp32 weights. [dim]default: fp32[/]",
    ),
    "attention": Flag(
        is_list=True, help=f"{_names(ATTENTION_BACKENDS)}, or module:attr of your own. [dim]default: eager[/]"
    ),
    "compile": _COMPILE,
    "checkpoint": Flag(
        is_list=True,
        help=f"Activations that backward computes again: {_names(CHECKPOINT_KINDS)}; every:N keeps the input of each N "
        "blocks only, selective the results of products with weights and of fused attention, ffn all but the "
        "feed-forward parts. [dim]default: none[/]",
    ),
    "d_model": Flag(is_number=True, panel=_SHAPE, help="Width; with --size it overrides the named one."),
    "d_ff": Flag(is_number=True, panel=_SHAPE, help="Feed-forward width. [dim]default: 4 * d_model[/]"),
    "layers": Flag(is_number=True, panel=_SHAPE, help="Number of blocks."),
    "heads": Flag(is_number=True, panel=_SHAPE, help="Query heads."),
    "kv_heads": Flag(is_number=True, panel=_SHAPE, help="Key and value heads. [dim]default: as many as heads[/]"),
    "vocab": Flag(is_number=True, panel=_SHAPE, help="Number of tokens. [dim]default: 10,000[/]"),
    "activation": Flag(panel=_SHAPE, help=f"Of the feed-forward layer: {_names(ACTIVATIONS)}. [dim]default: swiglu[/]"),
    "tied": Flag(
        panel=_SHAPE,
        opposite="untied",
        help="The output head shares the weights of the embedding. [dim]default: untied[/]",
    ),
    **HOW_FLAGS,
}
"""The flags of a cell with a whole model, or a grid of them."""

TRAINING_FLAGS = CELL_FLAGS | {
    "mode": Flag(is_list=True, help=f"Workloads: {_names(STEP_WORKLOADS)}. [dim]default: train_step[/]")
}
"""The same of commands that look at a training step unless told otherwise."""

ATTENTION_FLAGS = {
    "backend": Flag(
        is_list=True, help=f"{_names(ATTENTION_BACKENDS)}, or module:attr of your own. [dim]default: eager,sdpa[/]"
    ),
    "batch": Flag(is_list=True, is_number=True, help="Sequences of a step. [dim]default: 1[/]"),
    "heads": Flag(is_list=True, is_number=True, help="Query heads. [dim]default: 8[/]"),
    "kv_heads": Flag(is_list=True, is_number=True, help="Key and value heads. [dim]default: as many as heads[/]"),
    "seq": Flag(is_list=True, is_number=True, help="Queries, and keys, of each sequence. [dim]default: 1024[/]"),
    "d": Flag(is_list=True, is_number=True, help=f"Width of one head, at most {MAX_D_HEAD}. [dim]default: 64[/]"),
    "mask": Flag(
        is_list=True,
        metavar="MASK",
        help="full, causal, or window:N, which is causal with the last N keys only. [dim]default: causal[/]",
    ),
    "precision": Flag(
        is_list=True,
        help="fp32, tf32, bf16, fp16: the format of Q, K and V and of their products. [dim]default: fp32[/]",
    ),
    "compile": _COMPILE,
    "phase": Flag(is_list=True, help="forward, forward_backward. [dim]default: forward_backward[/]"),
    **HOW_FLAGS,
    "steps": Flag(is_number=True, panel=_HOW, help="Timed steps: the samples of a cell. [dim]default: 30[/]"),
    "cache": Flag(
        panel=_HOW,
        help="cold: the device's cache is flushed before each step; warm: it is as the step before left it. "
        "[dim]default: cold[/]",
    ),
    "compare": Flag(
        is_list=True,
        metavar="A/B",
        panel=_HOW,
        help="Backends to compare afterwards in pairs, step by step in one process, at each point that both could "
        "measure.",
    ),
}
"""The flags of a sweep of attention alone."""

DeviceOption = Annotated[
    str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N. [dim]default: auto[/]", metavar="DEVICE")
]


COUNT_FLAGS = ("steps", "target", "max_samples", "max_time", "processes")
"""The flags that say how many samples a cell gets, and in how many processes; in pairs that is another question."""


def takes_flags(flags: Mapping[str, Flag]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these flags.

    The function's parameter `fields` receives those that were given, as the fields of a sweep, unchecked:
    the sweep checks flags and TOML by the same code.
    """
    return partial(_with_flags, flags=flags)


def _with_flags(function: Callable[..., None], *, flags: Mapping[str, Flag]) -> Callable[..., None]:
    own = [parameter for name, parameter in inspect.signature(function).parameters.items() if name != "fields"]

    def command(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in flags}
        fields = {name: _parse(flags[name], value) for name, value in given.items() if value is not None}
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
    known = {f"--{name.replace('_', '-')}": name for name in (*CELL_FLAGS, *also) if name not in COUNT_FLAGS}
    switches = {
        f"--{word}": {name: word == name}
        for name, flag in CELL_FLAGS.items()
        if flag.opposite
        for word in (name, flag.opposite)
    }
    fields: dict[str, object] = {}
    others: dict[str, str] = {}
    while words:
        flag, equals, value = words.pop(0).partition("=")
        if flag.removeprefix("--").replace("-", "_") in COUNT_FLAGS:
            raise SpecError(
                f"{flag} has no effect on one side: pairs are taken until there is a verdict; to say how many, give "
                "--target, --max-pairs or --max-time beside --a and --b"
            )
        if flag in switches:
            if equals:
                raise SpecError(f"{flag} takes no value; write it as '{flag}'")
            fields |= switches[flag]
            continue
        if flag not in known:
            raise SpecError(unknown_name("flag", flag, known.keys() | switches.keys()))
        if not equals:
            if not words or words[0].startswith("--"):
                raise SpecError(f"{flag} has no value; write it as '{flag} VALUE'")
            value = words.pop(0)
        name = known[flag]
        if name in also:
            others[name] = value
        else:
            fields[name] = _parse(CELL_FLAGS[name], value)
    return fields, others


def _option(name: str, flag: Flag) -> object:
    if flag.opposite:
        words = f"--{name}/--{flag.opposite}"
        return Annotated[
            bool | None, typer.Option(words, help=flag.help, rich_help_panel=flag.panel, show_default=False)
        ]
    metavar = ("N" if flag.is_number else flag.metavar) + (",…" if flag.is_list else "")
    option = typer.Option(
        f"--{name.replace('_', '-')}", help=flag.help, metavar=metavar, rich_help_panel=flag.panel, show_default=False
    )
    return Annotated[str | None, option]


def _parse(flag: Flag, text: str | bool) -> object:
    """Split at commas and read what looks like a whole number; anything else stays text for the sweep to refuse."""
    if isinstance(text, bool):
        return text
    parts = [part.strip() for part in text.split(",")] if flag.is_list else [text.strip()]
    values = [_number(part) if flag.is_number else part for part in parts]
    return values if flag.is_list else values[0]


def _number(text: str) -> int | str:
    try:
        return int(text.replace("_", ""))
    except ValueError:
        return text
