"""The tables of one profile: phases, kinds and parts; kernels of each phase; gaps; what the instruments add."""

from collections.abc import Iterator, Sequence

from windtunnel.analysis.kernel_kinds import WorkKind
from windtunnel.analysis.profile import ProfileView, Rate, Sum
from windtunnel.analysis.profile_gaps import Explained
from windtunnel.language import counted, passage, say, word
from windtunnel.records.profile import NSYS, Part, Unit
from windtunnel.report.document import Cell, Column, Table
from windtunnel.report.measures import GAP, number_column
from windtunnel.report.sections.profile.words import calls, short_name
from windtunnel.units import NOT_KNOWN, PERCENT, change, count, duration, milliseconds_scale, percent, time_scale

_MOST_KERNELS = 8
_LEAST_SHARE = 0.01
"""What takes less of its phase has no row."""

_MOST_GAPS = 10


def kinds_table(view: ProfileView) -> Table:
    """Return the time of each kind of work in each phase, and its share of the whole step."""
    sums = view.sums(lambda place, _name, kind: (place.phase, kind))
    kinds = [kind for kind in WorkKind if any(one == kind for _, one in sums)]
    size = milliseconds_scale([one.seconds for one in sums.values()])
    phases = view.phases

    def row(kind: WorkKind) -> tuple[Cell, ...]:
        each = [sums.get((phase, kind)) for phase in phases]
        there = [one for one in each if one]
        seconds = sum(one.seconds for one in there)
        return (
            Cell(text=word(kind.value)),
            *(Cell(text=size.text(one.seconds)) if one else GAP for one in each),
            Cell(text=size.text(seconds)),
            Cell(text=PERCENT.text(seconds / view.total)),
            Cell(text=calls(sum(one.calls for one in there))),
        )

    totals = [sum(one.seconds for (at, _), one in sums.items() if at == phase) for phase in phases]
    return Table(
        caption=say("Kinds of work by phase, of one step"),
        columns=(
            Column(name=say("kind")),
            *(number_column(word(phase), size.unit) for phase in phases),
            number_column(say("step"), size.unit),
            number_column(
                say("of all"), PERCENT.unit, say("Share of the time of all work, which is less than the step's.")
            ),
            number_column(
                say("calls"),
                description=say("How often a kernel of it ran.")
                if view.profile.unit is Unit.KERNELS
                else say("How often an operator of it ran."),
            ),
        ),
        rows=(
            *map(row, kinds),
            (
                Cell(text=say("all")),
                *(Cell(text=size.text(total)) for total in totals),
                Cell(text=size.text(view.total)),
                Cell(text=PERCENT.text(1.0)),
                Cell(text=calls(view.calls)),
            ),
        ),
    )


def parts_table(view: ProfileView) -> Table | None:
    """Return the time of each part by kind of work, with the rate of its products; None where parts are not known."""
    if not view.profile.has_parts:
        return None
    sums = view.sums(lambda place, _name, kind: (place.part, kind))
    kinds = [kind for kind in WorkKind if any(one == kind for _, one in sums)]
    parts = [part for part in Part if any(one == part for one, _ in sums)]
    size = milliseconds_scale([one.seconds for one in sums.values()])
    forward = view.sums(lambda place, _name, _kind: place.part if place.phase == "forward" else None)

    def row(part: Part) -> tuple[Cell, ...]:
        each = [sums.get((part, kind)) for kind in kinds]
        seconds = sum(one.seconds for one in each if one)
        rate = view.product_rate("forward", part)
        return (
            Cell(text=word(part.value)),
            *(Cell(text=size.text(one.seconds)) if one else GAP for one in each),
            Cell(text=size.text(seconds)),
            Cell(text=PERCENT.text(seconds / view.total)),
            Cell(text=size.text(forward[part].seconds)) if part in forward else GAP,
            *_rate_cells(rate),
        )

    return Table(
        caption=say("Parts of the model by kind of work, of one step"),
        columns=(
            Column(name=say("part")),
            *(number_column(word(kind.value), size.unit, is_detail=True) for kind in kinds),
            number_column(say("all"), size.unit),
            number_column(say("of all"), PERCENT.unit),
            number_column(say("of it forward"), size.unit),
            number_column(
                say("products in forward"), "", say("FLOPs by the closed formula over the time of its products.")
            ),
            _of_ceiling(),
        ),
        rows=tuple(map(row, parts)),
        note=say("Backward counts for the part whose gradients it finds."),
    )


def kernels_table(view: ProfileView) -> Table:
    """Return the kernels, or on a CPU the operators, that take most of each phase."""
    rows: list[tuple[Cell, ...]] = []
    left = 0
    every = view.sums(lambda place, name, _kind: (place.phase, name))
    shown: dict[str, list[tuple[str, Sum]]] = {
        phase: [(name, one) for (at, name), one in every.items() if at == phase] for phase in view.phases
    }
    size = milliseconds_scale([one.seconds for found in shown.values() for _, one in found[:_MOST_KERNELS]])
    kind_of = dict(zip(view.profile.names, view.kinds, strict=True))
    for phase, found in shown.items():
        total = sum(one.seconds for _, one in found)
        longest = [(name, one) for name, one in found[:_MOST_KERNELS] if one.seconds >= _LEAST_SHARE * total]
        left += len(found) - len(longest)
        for name, one in longest:
            rows.append(
                (
                    Cell(text=word(phase)),
                    Cell(text=short_name(name)),
                    Cell(text=word(kind_of[name].value)),
                    Cell(text=size.text(one.seconds)),
                    Cell(text=PERCENT.text(one.seconds / total if total else None)),
                    Cell(text=calls(one.calls)),
                    Cell(text=duration(one.per_call), sort=one.per_call),
                    *_rate_cells(view.kernel_rate(phase, name)),
                )
            )
    is_of_kernels = view.profile.unit is Unit.KERNELS
    return Table(
        caption=say("Kernels by phase, of one step") if is_of_kernels else say("Operators by phase, of one step"),
        columns=(
            Column(name=say("phase")),
            Column(name=say("kernel") if is_of_kernels else say("operator")),
            Column(name=say("kind")),
            number_column(say("time"), size.unit),
            number_column(say("of phase"), PERCENT.unit),
            number_column(say("calls")),
            number_column(say("per call")),
            number_column(
                say("rate"), "", say("FLOP/s of products, B/s of what reads and writes memory, where known.")
            ),
            _of_ceiling(),
        ),
        rows=tuple(rows),
        note=passage(
            (
                say("{rows} left out.", rows=counted(left, "shorter row")) if left else "",
                say("FLOPs of a part are shared out to its products by their number."),
            )
        ),
    )


def _of_ceiling() -> Column:
    described = say("Share of what the device reached in calibration, or of its datasheet where it has none.")
    return number_column(say("of ceiling"), PERCENT.unit, described)


def gaps_table(view: ProfileView) -> Table | None:
    """Return the longest gaps with what the host was doing; None where there are none."""
    gaps = view.gaps.longest(_MOST_GAPS)
    if not gaps:
        return None
    size = time_scale([one.gap.span * 1e-9 for one in gaps])
    begins = [step.begin for step in view.profile.steps]

    def row(one: Explained) -> tuple[Cell, ...]:
        return (
            Cell(text=str(one.gap.step)),
            Cell(text=duration((one.gap.begin - begins[one.gap.step]) * 1e-9), sort=float(one.gap.begin)),
            Cell(text=size.text(one.gap.span * 1e-9)),
            Cell(text=word(one.phase) if one.phase else say("between phases")),
            Cell(text=_part(one.part) if one.part else NOT_KNOWN),
            Cell(text=_doing(one)),
            Cell(text=short_name(one.before) if one.before else say("begin of the step")),
            Cell(text=short_name(one.after) if one.after else say("end of the step")),
        )

    every = view.gaps.every
    total = sum(gap.span for gap in every) * 1e-9 / view.num_steps
    return Table(
        caption=say("The longest gaps"),
        columns=(
            number_column(say("step")),
            number_column(say("at"), description=say("Since the step began.")),
            number_column(say("long"), size.unit),
            Column(name=say("phase")),
            Column(name=say("host in")),
            Column(name=say("the host was doing")),
            Column(name=say("after")),
            Column(name=say("before")),
        ),
        rows=tuple(map(row, gaps)),
        note=say(
            "{gaps} in {steps}, {time} a step.",
            gaps=counted(len(every), "gap"),
            steps=counted(view.num_steps, "step"),
            time=duration(total),
        ),
    )


def _part(name: str) -> str:
    """Write a part with the block that it is in, which is a path in the model: 'softmax @ blocks.0'."""
    part, at, block = name.partition(" @ ")
    return f"{word(part)}{at}{block}"


def _doing(one: Explained) -> str:
    if not one.host:
        return say("code outside of PyTorch")
    return say("waiting for the device: {call}", call=one.host) if one.is_wait else short_name(one.host)


def instruments_table(view: ProfileView) -> Table | None:
    """Return what each instrument adds to a step; None where that was not measured."""
    if not view.costs:
        return None
    return Table(
        caption=say("What watching costs"),
        columns=(
            Column(name=say("instrument")),
            number_column(say("step"), "", say("Watched against plain: the median over the pairs.")),
            number_column(say("from"), "", say("The smallest of the pairs.")),
            number_column(say("to"), "", say("The largest of the pairs.")),
            number_column(say("pairs")),
        ),
        rows=tuple(
            (
                Cell(text=word(cost.name)),
                Cell(text=change(cost.ratio - 1)),
                Cell(text=change(cost.low - 1)),
                Cell(text=change(cost.high - 1)),
                Cell(text=str(cost.pairs)),
            )
            for cost in view.costs
        ),
        note=_how_watched(view),
    )


def _how_watched(view: ProfileView) -> str:
    time = duration(view.stopwatch)
    if any(cost.name == NSYS for cost in view.costs):
        return say(
            "Steps of {time} without and with it, in pairs of processes in random order: medians of each.", time=time
        )
    return say("Steps of {time} without and with it, in pairs of random order, in the same process.", time=time)


def _rate_cells(rate: Rate | None) -> Sequence[Cell]:
    if rate is None:
        return GAP, GAP
    unit = "FLOP/s" if rate.is_flops else "B/s"
    share = GAP if rate.of_ceiling is None else Cell(text=PERCENT.text(rate.of_ceiling))
    return Cell(text=count(rate.value, unit), sort=rate.value), share


def launches_texts(view: ProfileView) -> Iterator[str]:
    """Say whether the trace has all that was launched; nothing for a CPU, where nothing is."""
    launches = view.profile.launches
    if launches is None or view.profile.unit is Unit.OPERATORS:
        return
    every = f"{launches.calls:,}"
    if missing := launches.calls - launches.matched:
        yield say(
            "{missing} of {all} launches have no work in the trace ({share}): it is under-recorded.",
            missing=f"{missing:,}",
            all=every,
            share=percent(missing / launches.calls),
        )
    else:
        yield say("Every launch has its work in the trace: {all} of {all}.", all=every)
    if launches.uneven_graphs:
        yield say(
            "{uneven} of {all} launches of CUDA graphs have fewer kernels than in another step: those are not all "
            "recorded.",
            uneven=launches.uneven_graphs,
            all=launches.graphs,
        )
