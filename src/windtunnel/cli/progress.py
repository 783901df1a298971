"""What a user sees while a sweep runs: a bar on a terminal, a line a cell everywhere."""

import time

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from windtunnel import units
from windtunnel.language import counted
from windtunnel.records.environment import Environment
from windtunnel.records.pair import PairRecord
from windtunnel.records.record import Record, Status
from windtunnel.spec.cell import Task
from windtunnel.statistics.interval import median_interval

_BETWEEN = " · "
"""Stands between the parts of a cell's label."""


class Display:
    """Prints each record when it is stored; on a terminal the bar below names the present cell and stage."""

    def __init__(self, console: Console) -> None:
        """Write to `console`; its bar appears only on a terminal."""
        self._console = console
        self._bar = _make_bar(console)
        self._line = self._bar.add_task("starting a worker", total=None)
        self._label = ""
        self._begin = 0.0
        self.stored = 0
        self.tasks: tuple[Task, ...] = ()
        self.environment: Environment | None = None

    def __enter__(self) -> "Display":
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        self._bar.stop()

    def planned(self, tasks: tuple[Task, ...], todo: tuple[Task, ...], environment: Environment) -> None:
        """Say on what and how much will be measured."""
        self.tasks, self.environment = tasks, environment
        self.stored = len(tasks) - len(todo)
        there = f", {self.stored} of them stored already" if self.stored else ""
        self._console.print(
            f"[bold]{escape(environment.device_name)}[/] · torch {escape(environment.torch)} · "
            f"{tasks_text(tasks)}{there}"
        )
        self._print_own_code(tasks, todo)
        self._bar.update(self._line, total=len(tasks), completed=self.stored)

    def _print_own_code(self, tasks: tuple[Task, ...], todo: tuple[Task, ...]) -> None:
        """Say which stored cells may be of code that was edited since."""
        new = set(todo)
        own = [task.cell.own_code for task in tasks if task.cell.own_code and task not in new]
        if own:
            names = ", ".join(dict.fromkeys(own))
            self._console.print(
                f"Of the stored, {counted(len(own), 'measurement')} ran code of your own ({escape(names)}), which is "
                "known by its name only: if you changed it, --fresh measures again",
                soft_wrap=True,
            )

    def began(self, task: Task) -> None:
        """Name the cell on the bar."""
        self._label, self._begin = task.label(), time.monotonic()
        self._bar.update(self._line, description=self._label)

    def skipped(self, task: Task) -> None:
        """Count a cell that another run has stored."""
        self.stored += 1
        self._bar.update(self._line, completed=self.stored)

    def stage(self, name: str) -> None:
        """Name the stage on the bar."""
        self._bar.update(self._line, description=f"{self._label} · {name}")

    def ended(self, record: Record) -> None:
        """Print the line of a finished cell."""
        self.stored += 1
        self._bar.update(self._line, completed=self.stored)
        took = units.duration(time.monotonic() - self._begin, digits=2)
        counter = f"[dim]{self.stored:>{len(str(len(self.tasks)))}}/{len(self.tasks)}[/]"
        label = escape(record.task.label())
        self._console.print(f"{counter} {label}  {_outcome(record)} [dim]({took})[/]", soft_wrap=True, highlight=False)


class PairDisplay:
    """Prints a line for each comparison when it is stored; on a terminal the bar below names cells and stage."""

    def __init__(self, console: Console) -> None:
        """Write to `console`; its bar appears only on a terminal."""
        self._console = console
        self._bar = _make_bar(console)
        self._line = self._bar.add_task("starting a worker", total=None)
        self._label = ""
        self._begin = 0.0
        self.planned_count = 0
        self.stored = 0

    def __enter__(self) -> "PairDisplay":
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        self._bar.stop()

    def planned(
        self, pairs: tuple[tuple[Task, Task], ...], environments: tuple[Environment, Environment], seconds: float | None
    ) -> None:
        """Say on what and how much will be compared, and how long it takes where that is known."""
        self.planned_count = len(pairs)
        there = dict.fromkeys(f"{one.device_name} · torch {one.torch}" for one in environments)
        self._console.print(
            f"[bold]{escape(' against '.join(there))}[/] · {counted(len(pairs), 'comparison')}", soft_wrap=True
        )
        if seconds is not None:
            in_all = f" and {units.duration(len(pairs) * seconds, 2)} in all" if len(pairs) > 1 else ""
            self._console.print(
                f"A process for each turn: about {units.duration(seconds, 2)} a comparison{in_all}, "
                "building and warm-up not counted",
                soft_wrap=True,
            )
        self._bar.update(self._line, total=len(pairs), completed=0)

    def began(self, a: Task, b: Task) -> None:
        """Name the cells on the bar."""
        self._label = _label_of_pair(a, b)
        self._begin = time.monotonic()
        self._bar.update(self._line, description=self._label)

    def stage(self, name: str) -> None:
        """Name the stage on the bar."""
        self._bar.update(self._line, description=f"{self._label} · {name}")

    def ended(self, record: PairRecord) -> None:
        """Print the line of a finished comparison."""
        self.stored += 1
        self._bar.update(self._line, completed=self.stored)
        took = units.duration(time.monotonic() - self._begin, digits=2)
        pairs = sum(turn.pair is not None for turn in record.turns) // 2
        outcome = counted(pairs, "pair")
        if record.failure:
            where = escape(f"{record.failure.stage}: {record.failure.message}")
            outcome = f"[bold red]{record.status.value}[/] in {where}"
        counter = f"[dim]{self.stored}/{self.planned_count}[/]"
        self._console.print(
            f"{counter} {escape(self._label)}  {outcome} [dim]({took})[/]", soft_wrap=True, highlight=False
        )


def _label_of_pair(a: Task, b: Task) -> str:
    """Return what both cells share, then what each has alone."""
    of_a, of_b = (task.label().split(_BETWEEN) for task in (a, b))
    if of_a == of_b:
        return a.label()
    alone = (_BETWEEN.join(part for part in one if part not in other) for one, other in ((of_a, of_b), (of_b, of_a)))
    shared = [part for part in of_a if part in of_b]
    return _BETWEEN.join([*shared, " against ".join(text or "the same" for text in alone)])


def tasks_text(tasks: tuple[Task, ...]) -> str:
    """Return what a sweep asks for: 24 cells; or 5 cells in 3 processes each, 15 measurements."""
    if not is_repeated(tasks):
        return counted(len(tasks), "cell")
    processes = tasks[0].plan.processes
    cells = counted(len(tasks) // processes, "cell")
    return f"{cells} in {processes} processes each, {counted(len(tasks), 'measurement')}"


def is_repeated(tasks: tuple[Task, ...]) -> bool:
    """Whether a sweep measures each of its cells in several processes; they are the same plan's for all of them."""
    return bool(tasks) and tasks[0].plan.processes > 1


def _make_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        refresh_per_second=1,  # drawing takes the host's time from what is measured
        disable=not console.is_terminal,
    )


def _outcome(record: Record) -> str:
    series = record.whole_series()
    if record.status != Status.OK or not series:
        where = f" in {record.failure.stage}: {escape(record.failure.message)}" if record.failure else ""
        return f"[bold red]{record.status.value}[/]{where}"
    estimate = median_interval(series.nanoseconds)
    median = units.known_to(estimate.value * 1e-9, estimate.relative_half_width)
    return f"[bold]{median}[/] (n = {estimate.n:,})"
