"""What a user sees while a frontier is searched: a line a probe, and what came of each line."""

import time

from rich.console import Console
from rich.markup import escape
from rich.status import Status as Spinner

from windtunnel import units
from windtunnel.language import counted
from windtunnel.records.environment import Environment
from windtunnel.records.record import Record, Status
from windtunnel.spec.cell import Task
from windtunnel.sweep.bracketing import Bracket, most_probes
from windtunnel.sweep.lines import Line


class FitDisplay:
    """Prints each probe when it is stored; on a terminal a line below names the present one and its stage."""

    def __init__(self, console: Console) -> None:
        """Write to `console`; what moves appears only on a terminal."""
        self._console = console
        self._spinner = Spinner("starting a worker", console=console, refresh_per_second=1)
        self._count = self._lines = self._probes = 0
        self._label = self._outcome = ""
        self._began = time.monotonic()

    def __enter__(self) -> "FitDisplay":
        """Show the line."""
        if self._console.is_terminal:
            self._spinner.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        self._spinner.stop()

    def planned(self, lines: tuple[Line, ...], environment: Environment, budget_bytes: int) -> None:
        """Say on what and how much will be searched."""
        self._count = len(lines)
        most = sum(most_probes(len(line)) for line in lines)
        self._console.print(
            f"[bold]{escape(environment.device_name)}[/] · torch {escape(environment.torch)} · "
            f"{counted(len(lines), 'line')} to search in {units.memory(budget_bytes)}, "
            f"at most {counted(most, 'probe')} where nothing contradicts",
            soft_wrap=True,
        )

    def began_line(self, line: Line, predicted: int | None) -> None:
        """Name the line, and where it is predicted to end."""
        self._lines += 1
        self._probes = 0
        name = escape(_name_of(line))
        expected = "" if predicted is None else f", predicted: {_value(line, predicted)}"
        self._console.print(f"[dim]{self._lines}/{self._count}[/] [bold]{name}[/]{expected}", soft_wrap=True)

    def began(self, task: Task) -> None:
        """Name the probe on the line below."""
        self._label, self._began = task.label(), time.monotonic()
        self._spinner.update(escape(self._label))

    def stage(self, name: str) -> None:
        """Name the stage on the line below."""
        self._spinner.update(escape(f"{self._label} · {name}"))

    def ended(self, record: Record, *, was_stored: bool) -> None:
        """Print what came of a probe."""
        self._probes += 1
        self._outcome = _outcome(record)
        took = "stored before" if was_stored else units.duration(time.monotonic() - self._began, digits=2)
        cell = record.task.cell
        what = f"{cell.model.name} · {'seq' if cell.is_attention else 'context'} {cell.context_length}"
        self._console.print(
            f"    {self._probes}. {escape(what)} · batch {cell.batch_size}  {self._outcome} [dim]({took})[/]",
            soft_wrap=True,
            highlight=False,
        )

    def ended_line(self, line: Line, found: Bracket) -> None:
        """Say where the line ends."""
        if found.largest is None and found.broken is not None:
            self._console.print(
                f"    [bold]what fits is not known[/]: {_value(line, found.broken)} {self._outcome}",
                soft_wrap=True,
                highlight=False,
            )
            return
        largest = "none fits" if found.largest is None else f"{_value(line, found.largest)} fits"
        smallest = "" if found.smallest is None else f", {_value(line, found.smallest)} does not"
        self._console.print(f"    [bold]{largest}[/]{smallest}", soft_wrap=True, highlight=False)


def _outcome(record: Record) -> str:
    if record.status is Status.OK:
        return "fits"
    if record.failure is None:
        return f"[bold red]{record.status.value}[/]"
    where = record.failure.phase or record.failure.stage
    return f"[bold red]{record.status.value}[/] in {escape(where)}: {escape(record.failure.message)}"


def _value(line: Line, place: int) -> str:
    return "none" if place < 0 else str(line.value(place))


def _name_of(line: Line) -> str:
    """Return the label of the line's first probe without what is searched."""
    cell = line.template
    length = "seq" if cell.is_attention else "context"
    without = {"context_length": f"{length} ", "batch_size": "batch ", "model": cell.model.name}[line.field]
    return " · ".join(part for part in line.task(0).label().split(" · ") if not part.startswith(without))
