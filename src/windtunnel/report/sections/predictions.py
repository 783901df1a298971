"""What was predicted of each cell before it ran, beside what was measured: peak memory, the step, and its phases."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from windtunnel.analysis.predictions import DEVICE_SHARE, Beside, Compared, Predictions
from windtunnel.cost.prediction import Fit
from windtunnel.cost.time import Bound
from windtunnel.language import apart, counted, listed, passage, say, word
from windtunnel.report.document import Block, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import GAP, number_column
from windtunnel.report.scope import Scope
from windtunnel.units import Scale, between, change, mebibytes_scale, ratio, span, time_scale


def predictions(scope: Scope) -> Section | None:
    """Return peak memory and whole steps; None where nothing can be compared."""
    found = scope.predictions
    if not _is_comparable(found.beside):
        return None
    said = {
        say("Peak memory"): _memory_text(scope, found.beside),
        say("Time"): _time_text(scope, found.beside),
        say("Out of memory"): _fit_text(found.beside),
        say("Rates"): _source_text(found),
        say("No prediction"): _unknown_text(found.beside),
    }
    blocks: list[Block] = [Paragraph(lead=lead, text=text) for lead, text in said.items() if text]
    return Section(heading=say("Predicted beside measured"), blocks=(*blocks, _table(scope, found.beside)))


def predictions_by_phase(scope: Scope) -> Section | None:
    """Return the time of each phase inside the steps; None where there is none to compare."""
    found = scope.predictions.beside
    inside = [one for one in found if any(phase.ratio is not None for phase in one.phases.values())]
    if not inside:
        return None
    return Section(
        heading=say("Predicted beside measured, by phase"), blocks=(_phase_table(scope, inside),), is_detail=True
    )


def _is_comparable(beside: Iterable[Beside]) -> bool:
    return any(one.peak.ratio is not None or one.step.ratio is not None for one in beside)


def _memory_text(scope: Scope, beside: Sequence[Beside]) -> str:
    known = [(one, error) for one in beside if (error := one.peak.error) is not None]
    if not known:
        return ""
    worst, error = max(known, key=lambda pair: abs(pair[1]))
    if len(known) == 1:
        return say(
            "The predicted peak of {cell} is off by {error} of the measured one.",
            cell=scope.label(worst.row),
            error=change(error),
        )
    errors = [error for _, error in known]
    return say(
        "Predicted peaks of {cells} are off by {errors} of the measured ones; the worst is {worst}: {cell}.",
        cells=counted(len(known), "cell"),
        errors=_between(errors),
        worst=change(error),
        cell=scope.label(worst.row),
    )


def _between(errors: Sequence[float]) -> str:
    low, high = change(min(errors)), change(max(errors))
    return low if low == high else between(low, high)


def _time_text(scope: Scope, beside: Sequence[Beside]) -> str:
    """Say how near the times are, apart for steps whose kernels hide their launches: the others vary with the host."""
    known = [one for one in beside if one.step.ratio is not None]
    if any(one.row.cell.device == "cpu" for one in known):
        return say(
            "Of {steps} on a CPU, where launches and work do not overlap as predicted, the predicted time is {taken} "
            "of the measured one; the worst is {worst}: {cell}.",
            **_ratios(scope, known),
        )
    by_device = [one for one in known if one.is_device_bound]
    by_host = [one for one in known if not one.is_device_bound]
    factor = f"{DEVICE_SHARE:g}"
    said: list[str] = []
    if len(by_device) == 1:
        said.append(
            say(
                "The kernels of {cell} are predicted to take at least {factor} times as long as their launches; the "
                "predicted time of the step is {taken} of the measured one.",
                factor=factor,
                **_ratios(scope, by_device),
            )
        )
    elif by_device:
        said.append(
            say(
                "Of {steps} whose kernels are predicted to take at least {factor} times as long as their launches, the "
                "predicted time is {taken} of the measured one; the worst is {worst}: {cell}.",
                factor=factor,
                **_ratios(scope, by_device),
            )
        )
    if len(by_host) == 1:
        said.append(
            say(
                "The kernels of {cell} are predicted to take less than {factor} times as long as their launches, so "
                "that they may wait for the host; the predicted time of the step is {taken} of the measured one.",
                factor=factor,
                **_ratios(scope, by_host),
            )
        )
    elif by_host:
        said.append(
            say(
                "Of {steps} whose kernels are predicted to take less than {factor} times as long as their launches, so "
                "that they may wait for the host, the predicted time is {taken} of the measured one; the worst is "
                "{worst}: {cell}.",
                factor=factor,
                **_ratios(scope, by_host),
            )
        )
    return passage(said)


def _ratios(scope: Scope, beside: Sequence[Beside]) -> dict[str, str]:
    """Return what is said of the times of some steps: how many, between what ratios, and the worst with its cell."""
    ratios = {one: known for one in beside if (known := one.step.ratio) is not None}
    worst = max(ratios, key=lambda one: abs(ratios[one] - 1))
    ends = min(ratios.values()), max(ratios.values())
    return {
        "steps": counted(len(beside), "step"),
        "taken": span(ends) if ratio(ends[0]) != ratio(ends[1]) else ratio(ends[0]),
        "worst": ratio(ratios[worst]),
        "cell": scope.label(worst.row),
    }


def _fit_text(beside: Sequence[Beside]) -> str:
    """Hold whether cells were predicted to fit against whether they did; empty where all that ran was to fit."""
    known = [one for one in beside if one.fit is not None]
    ran = [one.fit for one in known if one.row.is_ok]
    ended = [one.fit for one in known if not one.row.is_ok]
    if not ended and all(fit is Fit.YES for fit in ran):
        return ""
    said = say("Of {cells} that ran, {fits}.", cells=counted(len(ran), "cell"), fits=_fits(ran))
    if not ended:
        return said
    of_ended = say("Of {cells} that ran out of memory, {fits}.", cells=counted(len(ended), "cell"), fits=_fits(ended))
    return passage([of_ended, said])


def _fits(found: Sequence[Fit | None]) -> str:
    return listed(_fit(fit, found.count(fit)) for fit in Fit if fit in found)


def _fit(fit: Fit, number: int) -> str:
    n, is_one = f"{number:,}", number == 1
    match fit:
        case Fit.YES:
            return say("{n} was predicted to fit", n=n) if is_one else say("{n} were predicted to fit", n=n)
        case Fit.CLOSE if is_one:
            return say("{n} was predicted to be too near to the capacity to tell", n=n)
        case Fit.CLOSE:
            return say("{n} were predicted to be too near to the capacity to tell", n=n)
        case Fit.NO:
            return say("{n} was predicted not to fit", n=n) if is_one else say("{n} were predicted not to fit", n=n)


def _source_text(found: Predictions) -> str:
    sentences: list[str] = []
    if any(one.step.ratio is not None for one in found.beside):
        sentences.append(say("Times are predicted from the {source}.", source=found.source))
    if found.stride > 1:
        sentences.append(
            say(
                "There are many cells, so 1 in {n} of them was predicted; windtunnel predict does any other.",
                n=f"{found.stride:,}",
            )
        )
    return passage(sentences)


def _unknown_text(beside: Iterable[Beside]) -> str:
    reasons = dict.fromkeys(one.unknown for one in beside if one.unknown)
    return say("{reasons}.", reasons=apart(reasons)) if reasons else ""


def _table(scope: Scope, beside: Sequence[Beside]) -> Table:
    has_peak = any(one.peak.ratio is not None for one in beside)
    has_step = any(one.step.ratio is not None for one in beside)
    size = mebibytes_scale(_numbers(one.peak for one in beside))
    time = time_scale(_numbers(one.step for one in beside))
    columns = [*scope.columns()]
    columns += [*_pair_columns(say("peak memory"), size), _error_column(say("peak memory"))] if has_peak else []
    columns += [*_time_columns(say("whole step"), time)] if has_step else []
    bound_by = say("Bound by: what the longest phase is predicted to wait for.")

    def cells(one: Beside) -> Iterator[Cell]:
        yield from scope.cells(one.row)
        if has_peak:
            yield from _pair(one, one.peak, size.text)
            yield GAP if one.peak.error is None else Cell(text=change(one.peak.error), sort=one.peak.error)
        if has_step:
            yield from _time_cells(one, one.step, time, one.bound)

    return Table(
        caption=say("Predicted and measured, of whole steps"),
        columns=tuple(columns),
        rows=tuple(tuple(cells(one)) for one in beside),
        note=passage([say("Peaks are those of the device's allocator."), bound_by]) if has_peak else bound_by,
    )


def _phase_table(scope: Scope, beside: Sequence[Beside]) -> Table:
    names = list(dict.fromkeys(name for one in beside for name in one.phases))
    scales = {name: time_scale(_numbers(one.phases[name] for one in beside if name in one.phases)) for name in names}
    nothing = Compared(predicted=None, measured=None)
    return Table(
        caption=say("Predicted and measured, by phase"),
        columns=(*scope.columns(), *(column for name in names for column in _time_columns(word(name), scales[name]))),
        rows=tuple(
            (
                *scope.cells(one.row),
                *(
                    cell
                    for name in names
                    for cell in _time_cells(one, one.phases.get(name, nothing), scales[name], one.bounds.get(name))
                ),
            )
            for one in beside
        ),
        note=say(
            "A phase takes the longer of what its kernels and what their launches take; the host runs ahead, so a "
            "phase can wait for launches of the one before it."
        ),
    )


def _numbers(pairs: Iterable[Compared]) -> list[float | None]:
    return [number for pair in pairs for number in (pair.predicted, pair.measured)]


def _pair_columns(group: str, scale: Scale) -> tuple[Column, Column]:
    return (
        number_column(say("predicted"), scale.unit, say("Before it ran, by closed form."), group),
        number_column(word("measured"), scale.unit, say("Of a time, the median; of memory, the most."), group),
    )


def _error_column(group: str) -> Column:
    return number_column(say("error"), "", say("By how much the prediction is too high, of what was measured."), group)


def _time_columns(group: str, scale: Scale) -> tuple[Column, ...]:
    return (
        *_pair_columns(group, scale),
        number_column(say("ratio"), "", say("Predicted over measured time."), group),
        Column(name=say("bound by"), description=say("What it is predicted to wait for."), group=group),
    )


def _pair(one: Beside, pair: Compared, text: Callable[[float | None], str]) -> tuple[Cell, Cell]:
    predicted = GAP if pair.predicted is None else Cell(text=text(pair.predicted))
    if not one.row.is_ok:
        return predicted, Cell(text=word(one.row.record.status.value), is_failure=True)
    return predicted, GAP if pair.measured is None else Cell(text=text(pair.measured))


def _time_cells(one: Beside, pair: Compared, time: Scale, bound: Bound | None) -> tuple[Cell, ...]:
    return (
        *_pair(one, pair, time.text),
        GAP if pair.ratio is None else Cell(text=ratio(pair.ratio)),
        Cell(text=_bound_name(bound)) if bound else GAP,
    )


def _bound_name(bound: Bound) -> str:
    match bound:
        case Bound.COMPUTE:
            return say("compute")
        case Bound.MEMORY:
            return say("memory")
        case Bound.LAUNCH:
            return say("launch")
