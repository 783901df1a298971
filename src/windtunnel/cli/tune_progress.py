"""What a user sees while the fastest configuration is searched: a line a look and a duel, and who leads."""

from rich.console import Console
from rich.markup import escape
from rich.status import Status as Spinner

from windtunnel import units
from windtunnel.analysis.tuning import estimate_of, finding_of, label_of
from windtunnel.language import counted
from windtunnel.records.environment import Environment
from windtunnel.spec.cell import Cell
from windtunnel.spec.tuning import Tuning
from windtunnel.statistics.racing import Standing
from windtunnel.sweep.candidates import Candidate
from windtunnel.sweep.tuning import Duelled, Place, Trial


class TuneDisplay:
    """Prints what was measured when it is stored; on a terminal a line below says what is being done, and who leads."""

    def __init__(self, console: Console) -> None:
        """Write to `console`; what moves appears only on a terminal."""
        self._console = console
        self._spinner = Spinner("starting a worker", console=console, refresh_per_second=1)
        self._tuning: Tuning | None = None
        self._count = self._looks = 0
        self._doing = self._leader = ""
        self._seen: set[str] = set()

    def __enter__(self) -> "TuneDisplay":
        """Show the line."""
        if self._console.is_terminal:
            self._spinner.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        self._spinner.stop()

    def asked(self, tuning: Tuning) -> Tuning:
        """Note what is searched, whose words name the candidates; return it."""
        self._tuning = tuning
        return tuning

    def planned(self, candidates: tuple[Candidate, ...], environment: Environment, limit_bytes: int | None) -> None:
        """Say on what and how much will be tried."""
        assert self._tuning is not None
        self._count = len(candidates)
        limit = "" if self._tuning.memory_limit is None else f" in {units.memory(limit_bytes)}"
        self._console.print(
            f"[bold]{escape(environment.device_name)}[/] · torch {escape(environment.torch)} · "
            f"{counted(len(candidates), 'configuration')}{limit}, {units.duration(self._tuning.budget)} to spend",
            soft_wrap=True,
        )

    def began(self, what: str, cell: Cell) -> None:
        """Name what is done on the line below."""
        self._doing = f"{what}: {self._label(cell)}"
        self._spinner.update(escape(f"{self._doing}{self._leader}"))

    def stage(self, name: str) -> None:
        """Name the stage on the line below."""
        self._spinner.update(escape(f"{self._doing} · {name}{self._leader}"))

    def looked(self, trial: Trial) -> None:
        """Print what a look found, or that an error excludes a candidate that had one."""
        is_new = trial.candidate.name not in self._seen
        self._seen.add(trial.candidate.name)
        self._looks += is_new
        number = f"[dim]look {self._looks}/{self._count}[/]" if is_new else "[dim]error[/]"
        self._console.print(
            f"{number} {escape(self._label(trial.candidate.cell))}  {escape(_look_text(trial))}",
            soft_wrap=True,
            highlight=False,
        )

    def duelled(self, duelled: Duelled, challenger: Candidate) -> None:
        """Print what a duel found."""
        finding = finding_of(duelled.record)
        change = f"{units.change(finding.effect.value)}, {_verdict(duelled)}" if finding else "not compared"
        pairs = f" ({counted(finding.pairs, 'pair')})" if finding else ""
        self._console.print(
            f"[dim]round {duelled.duel.round + 1}[/] {escape(self._label(challenger.cell))} against the leader: "
            f"[bold]{change}[/]{pairs}",
            soft_wrap=True,
            highlight=False,
        )

    def leads(self, leader: Candidate) -> None:
        """Print who leads from here on."""
        name = self._label(leader.cell)
        self._leader = f" · leader: {name}"
        self._console.print(f"[bold]leader: {escape(name)}[/]", soft_wrap=True, highlight=False)

    def _label(self, cell: Cell) -> str:
        return label_of(cell, self._tuning) if self._tuning else cell.model.name


def _look_text(trial: Trial) -> str:
    if trial.place is Place.TOO_LARGE:
        return f"{trial.place.value}: it needs {units.memory(trial.candidate.least_bytes)} at least"
    if trial.place is Place.NOT_MEASURED:
        return "not measured: no time left for it"
    if trial.place is Place.INEXACT:
        return f"{trial.place.value}: {units.scientific(trial.error)}"
    record = trial.record
    assert record is not None
    if record.failure:
        return f"{record.status.value} in {record.failure.stage}: {record.failure.message}"
    estimate = estimate_of(record)
    assert estimate is not None  # a record without a failure has samples
    peak = record.memory.peak_bytes if record.memory else None
    over = f", {trial.place.value}" if trial.place is Place.OVER_LIMIT else ""
    return f"{units.known_to(estimate.value, estimate.relative_half_width)}, {units.memory(peak)}{over}"


def _verdict(duelled: Duelled) -> str:
    if duelled.leads == duelled.duel.challenger:
        return "faster"
    return "no verdict yet" if duelled.standing is Standing.OPEN else duelled.standing.value
