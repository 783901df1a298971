"""The profiles of a machine: one row for each, then each in sentences, tables and a flame graph."""

from collections.abc import Iterator, Sequence

from windtunnel.analysis.kernel_kinds import WorkKind
from windtunnel.analysis.profile import ProfileView
from windtunnel.analysis.stopwatch import compare_with_stopwatch
from windtunnel.cost.ceilings import Ceilings, datasheet_ceilings
from windtunnel.cost.devices import peaks_of
from windtunnel.language import counted, passage, say, word
from windtunnel.records.ceilings import calibrated_ceilings
from windtunnel.records.looks import StoredLook
from windtunnel.records.profile import Profile, Unit
from windtunnel.report.anchors import keyed
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import GAP, number_column
from windtunnel.report.scope import Scope
from windtunnel.report.sections.failures import stage_name
from windtunnel.report.sections.profile.answers import answers
from windtunnel.report.sections.profile.flame import flame
from windtunnel.report.sections.profile.tables import (
    gaps_table,
    instruments_table,
    kernels_table,
    kinds_table,
    launches_texts,
    parts_table,
)
from windtunnel.report.sections.profile.words import calls, profile_label
from windtunnel.units import PERCENT, change, percent, time_scale

MOST_DETAILED = 8
"""Profiles that have tables and a chart of their own; the others have their row."""

_CLOSES = 0.01
"""Busy and idle that leave more than this share of a step say so in a warning."""


def profiles(scope: Scope) -> Section | None:
    """Return the profiles of a scope; None where it has none."""
    if not scope.profiles:
        return None
    section = profiles_section([ProfileView(stored.look, _ceilings(stored)) for stored in scope.profiles])
    return keyed(section, say("Profiled steps"), [scope.look_key("profile", stored) for stored in scope.profiles])


def _ceilings(stored: StoredLook[Profile]) -> Ceilings | None:
    peaks = peaks_of(stored.environment.device_name)
    if stored.calibration:
        return calibrated_ceilings(stored.calibration, peaks)
    return datasheet_ceilings(peaks) if peaks else None


def profiles_section(views: Sequence[ProfileView]) -> Section:
    """Return a row for each profile, and the latest ones in full."""
    explained = say(
        "A few steps of each cell under a profiler, in a pass of its own: its times enter no other table. Times of "
        "kernels are the device's own; what a step takes under the profiler stands beside what it takes without."
    )
    blocks: list[Block] = [Paragraph(text=explained)]
    if len(views) > 1 or views[0].profile.cell:
        blocks.append(_summary(views))
    detailed = views[-MOST_DETAILED:]
    for view in detailed:
        blocks += _detail(view)
    if left := len(views) - len(detailed):
        blocks.append(
            Paragraph(text=say("{profiles} in the table above only.", profiles=counted(left, "older profile")))
        )
    return Section(heading=say("Profile"), blocks=tuple(blocks))


def _summary(views: Sequence[ProfileView]) -> Table:
    seen = [view for view in views if view.total]
    size = time_scale([value for view in seen for value in (view.wall, view.stopwatch, view.busy)])
    columns = (
        Column(name=say("cell")),
        number_column(say("stopwatch"), size.unit, say("One step without any instrument: the median.")),
        number_column(say("profiled"), size.unit, say("One step under the profiler: the median.")),
        number_column(say("difference"), "", say("Of the profiled step to the stopwatch's.")),
        number_column(say("busy"), size.unit, say("For how long anything ran in a profiled step.")),
        number_column(say("idle"), PERCENT.unit, say("Share of the step in which nothing ran.")),
        number_column(
            say("host-bound"), PERCENT.unit, say("Share in which the device waits for the host to launch anything.")
        ),
        number_column(say("work"), say("a step"), say("Kernels, copies and fills; on a CPU operators.")),
        number_column(word(WorkKind.MATMUL.value), PERCENT.unit, say("Share of all work.")),
        number_column(
            word(WorkKind.OTHER.value), PERCENT.unit, say("Share of all work that the table of kinds does not know.")
        ),
    )

    def row(view: ProfileView) -> tuple[Cell, ...]:
        label = Cell(text=profile_label(view.profile))
        if not view.total:
            return (label, Cell(text=word(view.profile.status.value), is_failure=True), *(GAP for _ in columns[2:]))
        compared = compare_with_stopwatch(view)
        is_device = view.profile.unit is Unit.KERNELS
        return (
            label,
            Cell(text=size.text(view.stopwatch)),
            Cell(text=size.text(view.wall)),
            Cell(text=change(compared.difference)) if compared else GAP,
            Cell(text=size.text(view.busy)),
            Cell(text=PERCENT.text(view.idle_share)),
            Cell(text=PERCENT.text(view.gaps.host_bound_share)) if is_device else GAP,
            Cell(text=calls(view.calls)),
            Cell(text=PERCENT.text(view.share(WorkKind.MATMUL))),
            Cell(text=PERCENT.text(view.share(WorkKind.OTHER))),
        )

    return Table(caption=say("Profiled steps"), columns=columns, rows=tuple(map(row, views)))


def _detail(view: ProfileView) -> Iterator[Block]:
    profile = view.profile
    label = profile_label(profile)
    if profile.failure:
        yield Callout(kind=CalloutKind.FAILURE, text=say("{what}: {text}", what=label, text=_failed(profile)))
    for warning in profile.warnings:
        yield Callout(kind=CalloutKind.WARNING, text=say("{what}: {text}.", what=label, text=warning))
    if not view.total:
        return
    yield Paragraph(lead=label, text=passage((*_source(view), *launches_texts(view))))
    if is_open := [step for step in view.gaps.steps if abs(step.gap_share) > _CLOSES]:
        worst = max(abs(step.gap_share) for step in is_open)
        yield Callout(
            kind=CalloutKind.WARNING,
            text=say(
                "The time does not close: busy and idle leave {share} of a step, of which nothing is known.",
                share=percent(worst),
            ),
        )
    for lead, text in answers(view):
        yield Paragraph(lead=lead, text=text)
    yield kinds_table(view)
    yield from filter(None, (parts_table(view),))
    yield kernels_table(view)
    yield from filter(None, (gaps_table(view), instruments_table(view), flame(view, label)))


def _source(view: ProfileView) -> Iterator[str]:
    profile = view.profile
    closes = max((abs(step.gap_share) for step in view.gaps.steps), default=0.0)
    yield say(
        "By {source}, {steps}; busy and idle make the wall time within {share}.",
        source=profile.source,
        steps=counted(view.num_steps, "step"),
        share=percent(closes),
    )
    if profile.trace:
        yield say("The trace is in {file}.", file=profile.trace)


def _failed(profile: Profile) -> str:
    failure = profile.failure
    assert failure is not None
    status = say("{status} in {where}.", status=word(profile.status.value), where=stage_name(failure.stage))
    return passage((status, say("{message}.", message=failure.message)))
