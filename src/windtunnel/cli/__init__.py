"""The command line: arguments to one library call to text, one file a command, imported when it is called."""

import errno
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from windtunnel import __version__
from windtunnel.errors import WindtunnelError

EXIT_DONE = 0
EXIT_NO = 1
"""The answer is no: a cell failed, the doctor found a problem, a comparison or a gate ended as --fail-if says, or an
audited number cannot be true."""
EXIT_WRONG = 2
"""The request was wrong."""
EXIT_INTERRUPTED = 130

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Errors of writing that are nobody's bug; a reader that is gone (EPIPE) ends a command without a word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A line of the help page; the module `windtunnel.cli.<name>` has a function `command`."""

    panel: str
    summary: str


_COMMANDS = {
    "run": _Entry(panel="Measure", summary="Measure a whole sweep: a TOML file, a preset, or this machine's default."),
    "step": _Entry(panel="Measure", summary="Measure one cell or a small grid, given by flags."),
    "attention": _Entry(panel="Measure", summary="Measure attention alone: backends, shapes, masks, precisions."),
    "compare": _Entry(panel="Measure", summary="Measure two configurations against each other, in pairs."),
    "tune": _Entry(panel="Measure", summary="Find the fastest configuration under limits of memory and error."),
    "profile": _Entry(panel="Look inside", summary="Show which kernels a step runs and what it waits for."),
    "memory": _Entry(panel="Look inside", summary="Show what one step holds in memory, byte by byte, and what for."),
    "precision": _Entry(panel="Look inside", summary="Show the number formats of one step, and what they cost it."),
    "predict": _Entry(panel="Plan", summary="Say what a cell must cost, hold and take on any GPU, before it runs."),
    "fit": _Entry(panel="Plan", summary="Find the largest context, batch or size that fits into memory."),
    "report": _Entry(panel="Results", summary="Write the report of a store: terminal, Markdown and HTML."),
    "verify": _Entry(panel="Results", summary="Recompute every sentence and number of a report from its store."),
    "list": _Entry(panel="Results", summary="List what a store holds."),
    "show": _Entry(panel="Results", summary="Show one record with every sample."),
    "gate": _Entry(panel="Results", summary="Did anything become slower? One store against another, for CI."),
    "history": _Entry(panel="Results", summary="Show how each cell changed over many runs, and when."),
    "export": _Entry(panel="Results", summary="Write results for other programs: CSV, Parquet, JSON, OpenMetrics."),
    "explore": _Entry(panel="Results", summary="Browse a store's tables with datasette."),
    "audit": _Entry(panel="Results", summary="Audit a published table: what its numbers support and contradict."),
    "schema": _Entry(panel="Results", summary="Print the JSON Schema of a sweep file, for editors."),
    "doctor": _Entry(panel="Machine", summary="Look for what would spoil a measurement on this machine."),
    "calibrate": _Entry(panel="Machine", summary="Measure what this machine can do at most, for reports to compare."),
}
_MODULES = {"list": "list_records"}  # `list` itself would hide the built-in


class _LazyGroup(TyperGroup):
    """Knows its commands by name and summary, and imports one only when it is called."""

    def __init__(self, **attributes: object) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]  # passed through to typer as they came
        self.commands = {
            name: TyperCommand(name, help=entry.summary, rich_help_panel=entry.panel)
            for name, entry in _COMMANDS.items()
        }

    def resolve_command(self, ctx, args):  # type: ignore[no-untyped-def]  # click's types, vendored or not by version
        if args and args[0] in _COMMANDS:
            self.commands[args[0]] = _load(args[0])
        return super().resolve_command(ctx, args)


def _load(name: str) -> TyperCommand:
    module = importlib.import_module(f"windtunnel.cli.{_MODULES.get(name, name)}")
    single = typer.Typer(add_completion=False, rich_markup_mode="rich")
    single.command(name, help=_unwrapped(module.command))(module.command)
    command = typer.main.get_command(single)
    assert isinstance(command, TyperCommand)
    return command


def _unwrapped(command: Callable[..., None]) -> str:
    """Return the docstring with each paragraph in one line, as typer keeps line breaks but in the first."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(command.__doc__ or ""))


_app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"windtunnel {__version__}")
        raise typer.Exit


@_app.callback(epilog="Start with [bold]windtunnel run[/]; every command has its own --help with examples.")
def _root(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Put a Transformer language model in a wind tunnel: time, memory and distance from the ceiling of each step."""


def main() -> None:
    """Run the command line; an error raised on purpose is one message and exit code 2, never a traceback."""
    try:
        _app()
    except WindtunnelError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        _forget_output()
        _fail(f"cannot write the output: {error.strerror}; make room, or send it elsewhere")


def _fail(message: str) -> NoReturn:
    for line in message.splitlines():
        typer.secho(f"error: {line}", err=True, fg=typer.colors.RED)
    sys.exit(EXIT_WRONG)


def _forget_output() -> None:
    """Send what is still buffered to nowhere, or Python would try to write it again at its end, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
