"""The answers of one profile, in sentences of which every number comes from it."""

from collections.abc import Iterator

from windtunnel.analysis.kernel_kinds import WorkKind
from windtunnel.analysis.profile import ProfileView, SoftmaxAgainstProducts, Sum
from windtunnel.analysis.profile_gaps import LAUNCH_BOUND_SHARE
from windtunnel.analysis.stopwatch import AGREES_WITHIN, Comparison, Verdict, compare_with_stopwatch
from windtunnel.language import counted, listed, passage, say, word
from windtunnel.records.profile import Unit
from windtunnel.report.sections.profile.words import calls, short_name
from windtunnel.units import count, duration, percent, ratio, significant

_NOTABLE = 0.05
"""Kinds with less than this share of a phase are not named."""

_MOST_UNKNOWN = 5


def answers(view: ProfileView) -> Iterator[tuple[str, str]]:
    """Yield each question in a few words, with its answer; nothing where nothing ran."""
    if not view.total:
        return
    yield say("Where the time goes"), _busy(view)
    if view.profile.unit is Unit.KERNELS:
        yield say("Who waits for whom"), _waiting(view)
    compared = compare_with_stopwatch(view)
    if compared:
        yield say("Profiler against stopwatch"), _stopwatch(view, compared)
    yield say("What takes the most"), _longest(view)
    yield say("Matrix products"), _products(view)
    versus = view.softmax_against_products
    if versus:
        yield say("Softmax against products, inside attention"), _softmax(versus)
    yield say("What the table does not know"), _unknown(view)


def _busy(view: ProfileView) -> str:
    fields = {
        "share": percent(1 - view.idle_share),
        "busy": duration(view.busy),
        "calls": calls(view.calls),
        "idle": percent(view.idle_share),
    }
    median = say(
        "Of {steps} under the profiler the median takes {time}.",
        steps=counted(view.num_steps, "step"),
        time=duration(view.wall),
    )
    if view.profile.unit is Unit.KERNELS:
        busy = say(
            "The device is busy {share} of it, {busy} in {calls} kernels, copies and fills; {idle} it had nothing to "
            "do.",
            **fields,
        )
    else:
        busy = say(
            "PyTorch is busy {share} of it, {busy} in {calls} operators; {idle} is between operators: Python, "
            "autograd's engine, and the profiler itself.",
            **fields,
        )
    return passage((median, busy))


def _waiting(view: ProfileView) -> str:
    gaps = view.gaps
    waits = percent(gaps.launch_wait_share)
    bound = (
        say(
            "The step is launch-bound: for {share} of it the device waits for the next launch, again and again.",
            share=waits,
        )
        if gaps.is_launch_bound
        else say(
            "The step is not launch-bound: the device waits for launches {share} of it, below the {least} from which "
            "it is called so.",
            share=waits,
            least=percent(LAUNCH_BOUND_SHARE, 0),
        )
    )
    long = gaps.host_bound_share - gaps.launch_wait_share
    more = (
        say("Longer gaps that are the host's take {share}: they stand below.", share=percent(long))
        if long > 0.001
        else ""
    )
    launches = view.profile.launches
    by_host = (
        say("The calls of the host were not recorded.")
        if launches is None
        else say("The host launches {calls} times a step.", calls=calls(launches.calls / view.num_steps))
    )
    return passage((bound, more, by_host))


def _stopwatch(view: ProfileView, compared: Comparison) -> str:
    plain = say("A step takes {time} by the stopwatch, without any instrument.", time=duration(compared.stopwatch))
    return passage((plain, _difference(compared), _of_kernels(view, compared)))


def _difference(compared: Comparison) -> str:
    difference = percent(abs(compared.difference))
    match compared.verdict:
        case Verdict.AGREES:
            return say("The profiler agrees within {difference}.", difference=difference)
        case Verdict.ADDS:
            return say("The profiler adds {difference}: its times are those of a slower step.", difference=difference)
        case Verdict.IS_FASTER:
            return say("The profiled steps were {difference} faster: the machine was not quiet.", difference=difference)


def _of_kernels(view: ProfileView, compared: Comparison) -> str:
    """Say how long kernels run of what the stopwatch shows; empty for a CPU."""
    if view.profile.unit is not Unit.KERNELS:
        return ""
    if compared.includes_waiting:
        return say(
            "The stopwatch includes the launch wait: all kernels together run {busy}, and it shows {wait} more "
            "({share}), in which the device had nothing to do.",
            busy=duration(compared.busy),
            wait=duration(compared.stopwatch - compared.busy),
            share=percent(1 - compared.busy_share),
        )
    return say(
        "All kernels together run {busy}, which is the stopwatch's time within {share}.",
        busy=duration(compared.busy),
        share=percent(max(AGREES_WITHIN, abs(1 - compared.busy_share))),
    )


def _longest(view: ProfileView) -> str:
    """Name the kernel that takes most of forward, and of the whole step."""
    said: list[str] = []
    every = view.sums(lambda _place, name, _kind: name)
    name, one = next(iter(every.items()))
    whole = _named(name, one, every)
    is_of_kernels = view.profile.unit is Unit.KERNELS
    if "forward" in view.phases and len(view.phases) > 1:
        of_forward = view.sums(lambda place, name, _kind: name if place.phase == "forward" else None)
        first, most = next(iter(of_forward.items()))
        named = _named(first, most, of_forward)
        said += [
            say("In forward the kernel that takes the most is {named}.", named=named)
            if is_of_kernels
            else say("In forward the operator that takes the most is {named}.", named=named),
            say("In the whole step it is the same one: {named}.", named=whole)
            if first == name
            else say("In the whole step it is another one: {named}.", named=whole),
        ]
    elif is_of_kernels:
        said.append(say("The kernel that takes the most is {named}.", named=whole))
    else:
        said.append(say("The operator that takes the most is {named}.", named=whole))
    phase = "forward" if "forward" in view.phases else None
    others = listed(
        say("{name} {share}", name=word(kind.value), share=percent(view.share(kind, phase)))
        for kind in view.kind_sums(phase)
        if kind is not WorkKind.MATMUL and view.share(kind, phase) >= _NOTABLE
    )
    return passage((*said, _besides_products(others, is_of_forward=phase is not None)))


def _besides_products(kinds: str, *, is_of_forward: bool) -> str:
    least = percent(_NOTABLE, 0)
    if kinds and is_of_forward:
        return say("Besides matrix products, forward spends notable time on {kinds}.", kinds=kinds)
    if kinds:
        return say("Besides matrix products, the step spends notable time on {kinds}.", kinds=kinds)
    if is_of_forward:
        return say("Besides matrix products, nothing takes {least} of forward.", least=least)
    return say("Besides matrix products, nothing takes {least} of the step.", least=least)


def _named(name: str, one: Sum, among: dict[str, Sum]) -> str:
    share = one.seconds / sum(other.seconds for other in among.values())
    return say(
        "{name}: {time} ({share}) in {calls}",
        name=short_name(name),
        time=duration(one.seconds),
        share=percent(share),
        calls=counted(1, "call") if one.calls == 1 else say("{number} calls", number=calls(one.calls)),
    )


def _products(view: ProfileView) -> str:
    whole = view.share(WorkKind.MATMUL)
    if "forward" not in view.phases or len(view.phases) == 1:
        return say("Matrix products take {share} of all work.", share=percent(whole))
    forward = view.share(WorkKind.MATMUL, "forward")
    fields = {"forward": percent(forward), "whole": percent(whole)}
    compared = (
        say(
            "Matrix products take {forward} of the work of forward alone, and less of the whole step, {whole}.",
            **fields,
        )
        if whole < forward
        else say(
            "Matrix products take {forward} of the work of forward alone, and more of the whole step, {whole}.",
            **fields,
        )
    )
    return passage((compared, say("Forward here is that of training, which keeps what backward needs.")))


def _softmax(versus: SoftmaxAgainstProducts) -> str:
    fields = {
        "softmax": duration(versus.softmax_seconds),
        "products": duration(versus.product_seconds),
        "ratio": ratio(versus.softmax_seconds / versus.product_seconds),
    }
    if versus.softmax_flops is None or versus.product_flops is None:
        return say(
            "In forward the softmax takes {softmax} and both products around it {products}: {ratio} the time.", **fields
        )
    share = versus.softmax_flops / versus.product_flops
    return passage(
        (
            say(
                "In forward the softmax takes {softmax} and both products around it {products}: {ratio} the time, for "
                "{share} the FLOPs ({softmax_flops} against {product_flops}).",
                **fields,
                share=ratio(share, 3),
                softmax_flops=count(versus.softmax_flops, "FLOP"),
                product_flops=count(versus.product_flops, "FLOP"),
            ),
            say(
                "For each FLOP the softmax takes {times} times as long.",
                times=significant(versus.softmax_seconds / versus.product_seconds / share),
            ),
        )
    )


def _unknown(view: ProfileView) -> str:
    share = view.share(WorkKind.OTHER)
    found = view.sums(lambda _place, name, kind: name if kind is WorkKind.OTHER else None)
    if not found:
        if view.profile.unit is Unit.KERNELS:
            return say("Every kernel has a kind: other is {share} of all work.", share=percent(0.0))
        return say("Every operator has a kind: other is {share} of all work.", share=percent(0.0))
    names = listed(short_name(name) for name in list(found)[:_MOST_UNKNOWN])
    if len(found) > _MOST_UNKNOWN:
        names = say("{names} and {number} more", names=names, number=len(found) - _MOST_UNKNOWN)
    return say("Other is {share} of all work: {names}.", share=percent(share), names=names)
