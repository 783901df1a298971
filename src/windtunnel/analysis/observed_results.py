"""Rows of a store as observations: what the rules of an audit see of our own records."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from windtunnel.analysis.observed import Configuration, Observation, Observed, State, shared_fields
from windtunnel.analysis.results import Row
from windtunnel.records.record import Status
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.own_model import OwnModel


def observed_of(rows: Iterable[Row], name_of: Callable[[Row], str] | None = None) -> Observed:
    """Return the phases of rows of one machine, each with median, deviation and number of samples.

    A table of somebody else has means; our own tables and ratios are of medians, and so is what is said of them.

    Cells that failed for another reason than memory are left out: they say nothing of time or memory. `name_of` says
    what a row is called; by default by the fields in which it differs.

    Raises:
        ValueError: The rows are of several machines, whose numbers never meet.
    """
    rows = tuple(rows)
    if len({row.machine for row in rows}) > 1:
        raise ValueError("the rows are of several machines; take those of one, as Results.by_machine() gives them")
    models = {row.shape: row.cell.model for row in rows}  # one object for each: equal ones are slow to compare
    configs = {row: _configuration(row, models[row.shape]) for row in rows}
    shared = shared_fields(configs.values())
    times = [
        one
        for row, config in configs.items()
        for phase in row.phases
        for one in _observation(row, phase, replace(config, shared=shared, label=name_of(row) if name_of else ""))
    ]
    name = rows[0].environment.device_name if rows else None
    return Observed(times=tuple(times), gpu=name)


def _observation(row: Row, phase: str, config: Configuration) -> Iterable[Observation]:
    state: State = "out of memory" if row.record.status == Status.OUT_OF_MEMORY else "ok"
    spread, location = (row.spread(phase), row.estimate(phase)) if row.is_ok else (None, None)
    if state == "ok" and (spread is None or location is None or location.value <= 0):
        return
    yield Observation(
        config=config,
        phase=phase,
        mean_seconds=None if location is None else location.value,
        std_seconds=None if spread is None else spread.std,
        n=len(row.samples(phase)) or None,
        flops=row.flops(phase),
        state=state,
        source=f"{row.key[:12]}, {phase}",
    )


def _configuration(row: Row, model: ModelSpec | OwnModel | AttentionSpec) -> Configuration:
    cell = row.cell
    others = (("workload", cell.workload), ("checkpoint", cell.checkpoint))
    common = Configuration(
        context_length=cell.context_length,
        batch_size=cell.batch_size,
        warmup=row.plan.warmup if isinstance(row.plan.warmup, int) else None,
        precision=cell.precision,
        compile=cell.compile,
        attention=cell.attention,
        others=others,
    )
    match model:
        case ModelSpec():
            return replace(
                common,
                size=model.name,
                d_model=model.d_model,
                d_ff=model.d_ff,
                num_layers=model.num_layers,
                num_heads=model.num_heads,
                spec=model,
            )
        case OwnModel():
            return replace(common, size=model.name)
        case AttentionSpec():
            heads = (("heads", str(model.num_heads)), ("mask", model.mask), ("d_head", str(model.d_head)))
            return replace(common, d_model=model.num_heads * model.d_head, others=(*others, *heads))
