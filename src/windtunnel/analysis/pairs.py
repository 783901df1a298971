"""What stored pairs say: the effect of B against A in each phase, and in what the two differ."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from windtunnel.language import counted, listed, say, word
from windtunnel.records.environment import Environment
from windtunnel.records.pair import PairRecord, PairSide
from windtunnel.records.record import ClockName, Status
from windtunnel.records.store import StoredComparison
from windtunnel.spec.checkpoint import NO_CHECKPOINT
from windtunnel.statistics.paired import Side, Verdict, benjamini_hochberg
from windtunnel.statistics.pairing import Finding
from windtunnel.units import percent

FALSE_DISCOVERY_RATE = 0.05
"""Of the differences that a grid of comparisons claims, at most this share is expected to be false."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseEffect:
    """What the pairs say of one phase; the seconds are medians over all timed steps of each side."""

    phase: str
    is_total: bool
    clock: ClockName
    a_seconds: float
    b_seconds: float
    finding: Finding


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """A stored comparison with its findings, the whole step first; there are none where it failed."""

    stored: StoredComparison
    effects: tuple[PhaseEffect, ...]

    @property
    def record(self) -> PairRecord:
        """The comparison as it was stored."""
        return self.stored.record

    @property
    def whole(self) -> Finding | None:
        """What is said of the whole step; None where the comparison failed."""
        return self.effects[0].finding if self.effects else None


def judge_runs(comparisons: Iterable[StoredComparison]) -> dict[str, tuple[Compared, ...]]:
    """Judge all comparisons of each run together; the keys say when it began, in the order of the comparisons."""
    runs: dict[str, list[StoredComparison]] = {}
    for stored in comparisons:
        runs.setdefault(stored.record.run_started_at, []).append(stored)
    return {started_at: judge_grid(run) for started_at, run in runs.items()}


def judge_grid(comparisons: Sequence[StoredComparison]) -> tuple[Compared, ...]:
    """Judge comparisons that were made to be read together.

    Of several, a difference in the whole step must survive Benjamini and Hochberg's correction; one that does not
    becomes inconclusive. Phases inside the step are not corrected.
    """
    compared = [Compared(stored=stored, effects=effects_of(stored.record)) for stored in comparisons]
    wholes = [one.whole for one in compared]
    judged = [whole for whole in wholes if whole]
    survives = iter(benjamini_hochberg([whole.p_value for whole in judged], rate=FALSE_DISCOVERY_RATE))
    return tuple(
        one if not one.whole or next(survives) or len(judged) == 1 else _without_difference(one, len(judged))
        for one in compared
    )


def _without_difference(compared: Compared, num_points: int) -> Compared:
    whole, *phases = compared.effects
    if whole.finding.verdict not in {Verdict.FASTER, Verdict.SLOWER}:
        return compared
    reason = say(
        "among {comparisons} such a difference turns up by accident (Benjamini and Hochberg at {rate})",
        comparisons=counted(num_points, "comparison"),
        rate=percent(FALSE_DISCOVERY_RATE, 0),
    )
    finding = replace(whole.finding, verdict=Verdict.INCONCLUSIVE, reason=reason)
    return replace(compared, effects=(replace(whole, finding=finding), *phases))


def effects_of(record: PairRecord) -> tuple[PhaseEffect, ...]:
    """Return what the pairs of one comparison say by themselves, the whole step first; nothing if it failed.

    Two workloads have only the whole step in common: forward of inference and forward in training are two quantities.
    """
    if record.status is not Status.OK:
        return ()
    phases = record.a.phases() if record.a.total == record.b.total else (record.a.total,)
    inner = [phase for phase in phases if phase != record.a.total]
    return (_effect(record, None), *(_effect(record, phase) for phase in inner))


def _effect(record: PairRecord, phase: str | None) -> PhaseEffect:
    is_part = phase is not None or record.a.task.cell.is_attention
    has_device = is_part and all(side.series(phase or side.total, ClockName.DEVICE) for side in map(record.side, Side))
    clock = ClockName.DEVICE if has_device else ClockName.HOST
    pairs, null_pairs = record.differences(phase, clock)
    return PhaseEffect(
        phase=phase or record.a.total,
        is_total=phase is None,
        clock=clock,
        a_seconds=_median_seconds(record.a, phase, clock),
        b_seconds=_median_seconds(record.b, phase, clock),
        finding=Finding.of(record.plan.judge(pairs, null_pairs), record.plan, len(pairs)),
    )


def _median_seconds(side: PairSide, phase: str | None, clock: ClockName) -> float:
    series = side.series(phase or side.total, clock)
    assert series is not None  # a comparison that is ok has samples of both sides
    return median(series.nanoseconds) * 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Sides:
    """In words: what both sides share, and in what each differs from the other (nothing, where they are the same)."""

    shared: tuple[str, ...]
    a: str
    b: str


def describe_sides(stored: StoredComparison) -> Sides:
    """Return what to call the cell and its two sides."""
    a = _phrases(stored.record.a, stored.environment_a)
    b = _phrases(stored.record.b, stored.environment_b)
    differing = [name for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)]
    if "size" in differing:  # the name says it; the single fields are for models that share one
        of_models = _model_fields(stored.record.a) | _model_fields(stored.record.b)
        differing = [name for name in differing if name not in of_models]
    of_a, of_b = (
        listed(phrases.get(name) or say("no {name}", name=word(name)) for name in differing) for phrases in (a, b)
    )
    return Sides(shared=tuple(a[name] for name in _NAMED if name not in differing and a[name]), a=of_a, b=of_b)


_NAMED = ("size", "workload", "context", "batch", "precision", "attention", "compile", "checkpoint", "warm-up", "cache")
"""What a cell is called by; the other phrases are said only where the sides differ."""

_SURROUNDINGS = ("python", "torch", "cuda", "cudnn", "triton", "driver", "device_name", "host_cpu")


def _phrases(side: PairSide, environment: Environment) -> dict[str, str]:
    """Return all that may tell two sides apart, each as it is said; empty where there is nothing to say."""
    cell = side.task.cell
    named = {
        "size": cell.model.name,
        "workload": cell.workload,
        "context": say("seq {value}", value=cell.context_length)
        if cell.is_attention
        else say("context {value}", value=cell.context_length),
        "batch": say("batch {value}", value=cell.batch_size),
        "precision": cell.precision,
        "attention": say("attention {value}", value=cell.attention_name),
        "compile": "" if cell.compile == "off" else say("compile {value}", value=cell.compile),
        "checkpoint": "" if cell.checkpoint == NO_CHECKPOINT else say("checkpoint {value}", value=cell.checkpoint),
        "warm-up": say("warm-up {value}", value=side.task.plan.warmup),
        "cache": "" if side.task.plan.cache == "warm" else say("{value} cache", value=word(side.task.plan.cache)),
        "seed": say("seed {value}", value=cell.seed),
        "project": say("project {value}", value=side.project) if side.project else "",
        "commit": say("commit {value}", value=side.commit) if side.commit else "",
        "interpreter": say("interpreter {value}", value=side.python) if side.python else "",
    }
    surroundings = {
        name: say("{name} {value}", name=word(name.replace("_", " ")), value=getattr(environment, name))
        for name in _SURROUNDINGS
    }
    surroundings |= {name: f"{name}={value}" for name, value in environment.settings.items()}
    return named | _model_fields(side) | surroundings


def _model_fields(side: PairSide) -> dict[str, str]:
    return {
        f"model.{name}": f"{name} {value}" for name, value in side.task.cell.model.model_dump(exclude={"name"}).items()
    }
