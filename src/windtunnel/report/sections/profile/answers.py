"""The answers of one profile, in sentences of which every number comes from it."""

from collections.abc import Iterator

from windtunnel.analysis.kernel_kinds import WorkKind
from windtunnel.analysis.profile import ProfileView, SoftmaxAgainstProducts, Sum
from windtunnel.analysis.profile_gaps import LAUNCH_BOUND_SHARE
from windtunnel.analysis.stopwatch import AGREES_WITHIN, Comparison, Verdict, compare_with_stopwatch
from windtunnel.language import counted
from windtunnel.records.profile import Unit
from windtunnel.report.sections.profile.words import calls, noun, runner, short_name
from windtunnel.units import count, duration, percent, ratio, significant

_NOTABLE = 0.05
"""Kinds with less than this share of a phase are not named."""


def answers(view: ProfileView) -> Iterator[tuple[str, str]]:
    """Yield each question in a few words, with its answer; nothing where nothing ran."""
    if not view.total:
        return
    yield "Where the time goes", _busy(view)
    if view.profile.unit is Unit.KERNELS:
        yield "Who waits for whom", _waiting(view)
    compared = compare_with_stopwatch(view)
    if compared:
        yield "Profiler against stopwatch", _stopwatch(view, compared)
    yield "What takes the most", _longest(view)
    yield "Matrix products", _products(view)
    versus = view.softmax_against_products
    if versus:
        yield "Softmax against products, inside attention", _softmax(versus)
    yield "What the table does not know", _unknown(view)


def _busy(view: ProfileView) -> str:
    steps = counted(view.num_steps, "step")
    what = "kernels, copies and fills" if view.profile.unit is Unit.KERNELS else "operators"
    begin = (
        f"Of {steps} under the profiler the median takes {duration(view.wall)}. {runner(view)} is busy "
        f"{percent(1 - view.idle_share)} of it, {duration(view.busy)} in {calls(view.calls)} {what}"
    )
    rest = (
        "had nothing to do"
        if view.profile.unit is Unit.KERNELS
        else "is between operators: Python, autograd's engine, and the profiler itself"
    )
    return f"{begin}; {percent(view.idle_share)} {'it ' if view.profile.unit is Unit.KERNELS else ''}{rest}."


def _waiting(view: ProfileView) -> str:
    gaps = view.gaps
    waits = percent(gaps.launch_wait_share)
    bound = (
        f"The step is launch-bound: for {waits} of it the device waits for the next launch, again and again."
        if gaps.is_launch_bound
        else f"The step is not launch-bound: the device waits for launches {waits} of it, below the "
        f"{percent(LAUNCH_BOUND_SHARE, 0)} from which it is called so."
    )
    long = gaps.host_bound_share - gaps.launch_wait_share
    more = f" Longer gaps that are the host's take {percent(long)}: they stand below." if long > 0.001 else ""
    launches = view.profile.launches
    if launches is None:
        return f"{bound}{more} The calls of the host were not recorded."
    a_step = calls(launches.calls / view.num_steps)
    return f"{bound}{more} The host launches {a_step} times a step."


def _stopwatch(view: ProfileView, compared: Comparison) -> str:
    text = f"A step takes {duration(compared.stopwatch)} by the stopwatch, without any instrument. "
    difference = percent(abs(compared.difference))
    match compared.verdict:
        case Verdict.AGREES:
            text += f"The profiler agrees within {difference}."
        case Verdict.ADDS:
            text += f"The profiler adds {difference}: its times are those of a slower step."
        case Verdict.IS_FASTER:
            text += f"The profiled steps were {difference} faster: the machine was not quiet."
    if compared.includes_waiting and view.profile.unit is Unit.KERNELS:
        wait = duration(compared.stopwatch - compared.busy)
        text += (
            f" The stopwatch includes the launch wait: all kernels together run {duration(compared.busy)}, and it "
            f"shows {wait} more ({percent(1 - compared.busy_share)}), in which the device had nothing to do."
        )
    elif view.profile.unit is Unit.KERNELS:
        text += (
            f" All kernels together run {duration(compared.busy)}, which is the stopwatch's time within "
            f"{percent(max(AGREES_WITHIN, abs(1 - compared.busy_share)))}."
        )
    return text


def _longest(view: ProfileView) -> str:
    """Name the kernel that takes most of forward, and of the whole step."""
    said: list[str] = []
    whole = next(iter(view.sums(lambda _place, name, _kind: name).items()))
    if "forward" in view.phases and len(view.phases) > 1:
        found = view.sums(lambda place, name, _kind: name if place.phase == "forward" else None)
        name, one = next(iter(found.items()))
        said.append(f"In forward the {noun(view)} that takes the most is {_named(name, one, found)}.")
        same = "the same one" if name == whole[0] else "another one"
        said.append(f"In the whole step it is {same}:")
        said.append(f"{_named(*whole, view.sums(lambda _place, name, _kind: name))}.")
    else:
        said.append(f"The {noun(view)} that takes the most is")
        said.append(f"{_named(*whole, view.sums(lambda _place, name, _kind: name))}.")
    phase = "forward" if "forward" in view.phases else None
    others = [
        f"{kind.value} {percent(view.share(kind, phase))}"
        for kind in view.kind_sums(phase)
        if kind is not WorkKind.MATMUL and view.share(kind, phase) >= _NOTABLE
    ]
    where = "forward" if phase else "the step"
    said.append(
        f"Besides matrix products, {where} spends notable time on {', '.join(others)}."
        if others
        else f"Besides matrix products, nothing takes {percent(_NOTABLE, 0)} of {where}."
    )
    return " ".join(said)


def _named(name: str, one: Sum, among: dict[str, Sum]) -> str:
    share = one.seconds / sum(other.seconds for other in among.values())
    times = "1 call" if one.calls == 1 else f"{calls(one.calls)} calls"
    return f"{short_name(name)}: {duration(one.seconds)} ({percent(share)}) in {times}"


def _products(view: ProfileView) -> str:
    whole = view.share(WorkKind.MATMUL)
    if "forward" not in view.phases or len(view.phases) == 1:
        return f"Matrix products take {percent(whole)} of all work."
    forward = view.share(WorkKind.MATMUL, "forward")
    word = "less" if whole < forward else "more"
    return (
        f"Matrix products take {percent(forward)} of the work of forward alone, and {word} of the whole step, "
        f"{percent(whole)}. Forward here is that of training, which keeps what backward needs."
    )


def _softmax(versus: SoftmaxAgainstProducts) -> str:
    text = (
        f"In forward the softmax takes {duration(versus.softmax_seconds)} and both products around it "
        f"{duration(versus.product_seconds)}: {ratio(versus.softmax_seconds / versus.product_seconds)} the time"
    )
    if versus.softmax_flops is None or versus.product_flops is None:
        return f"{text}."
    share = versus.softmax_flops / versus.product_flops
    return (
        f"{text}, for {ratio(share, 3)} the FLOPs ({count(versus.softmax_flops, 'FLOP')} against "
        f"{count(versus.product_flops, 'FLOP')}). For each FLOP the softmax takes "
        f"{significant(versus.softmax_seconds / versus.product_seconds / share)} times as long."
    )


def _unknown(view: ProfileView) -> str:
    share = view.share(WorkKind.OTHER)
    found = view.sums(lambda _place, name, kind: name if kind is WorkKind.OTHER else None)
    if not found:
        return f"Every {noun(view)} has a kind: other is 0.0 % of all work."
    names = ", ".join(short_name(name) for name in list(found)[:5])
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return f"Other is {percent(share)} of all work: {names}{more}."
