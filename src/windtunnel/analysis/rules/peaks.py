"""The rate that a time implies, held against what the device can do at most in the declared precision."""

from collections.abc import Iterator
from dataclasses import dataclass

from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.observed import Observation, Observed, by_size
from windtunnel.analysis.published.precisions import precision_of
from windtunnel.analysis.rules.commands import step_command
from windtunnel.analysis.rules.screening import has_outlier, sources, trend
from windtunnel.cost.devices import peaks_of
from windtunnel.spec.tables import PRECISIONS

_FORWARDS = {"forward": 1, "backward": 2, "forward_backward": 3, "step": 3, "total": 3}
"""How many times the FLOPs of forward a phase has at least."""
_OPTIONS = {"batch": "--batch", "context": "--context", "gpu": "--gpu", "precision": "--precision"}
"""What may be missing, to the option that says it; none says the shape of a model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rated:
    one: Observation
    rate: float


def judge_rates(observed: Observed) -> Iterator[Finding]:
    """Yield the implied rates of each phase, those above the peak as errors; or what is missing to tell."""
    times = [one for one in observed.valid() if one.phase in _FORWARDS]
    rated = [_Rated(one=one, rate=flops / one.mean) for one in times if (flops := _flops(one))]
    if times and not rated:
        yield _missing(times)
    for phase in dict.fromkeys(one.one.phase for one in rated):
        members = [one for one in rated if one.one.phase == phase]
        yield from _over_peak(phase, members, observed)
        steady = [one for one in members if not has_outlier(one.one)]
        if steady:
            yield _rates(phase, steady)


def _flops(one: Observation) -> float | None:
    """Return the FLOPs of an observation; of attention alone the least, with a causal mask that skips half."""
    if one.flops is not None:
        return one.flops
    config = one.config
    if config.batch_size is None or config.context_length is None:
        return None
    if config.is_attention and config.d_model:
        return _FORWARDS[one.phase] * 2.0 * config.batch_size * config.context_length**2 * config.d_model
    sample = config.sample_flops()
    return None if sample is None else float(_FORWARDS[one.phase] * sample * config.batch_size)


def _over_peak(phase: str, members: list[_Rated], observed: Observed) -> Iterator[Finding]:
    gpus = {member.one.config.gpu or observed.gpu for member in members}
    peaks = {gpu: peaks_of(gpu) for gpu in gpus}
    over: list[tuple[_Rated, float, str]] = []
    for member in members:
        device = peaks[member.one.config.gpu or observed.gpu]
        precision = precision_of(member.one.config.precision or "")
        if device is None or precision is None:
            continue
        peak = device.flops_per_second(PRECISIONS[precision].peak)
        if peak is not None and member.rate > peak:
            over.append((member, peak, precision))
    if over:
        worst, peak, precision = max(over, key=lambda item: item[0].rate / item[1])
        yield Finding(
            kind="peak",
            claim="rate_over_peak",
            subject=phase,
            numbers={
                "phase": phase,
                "name": worst.one.config.name,
                "rate": worst.rate,
                "peak": peak,
                "precision": precision,
                "gpu": worst.one.config.gpu or observed.gpu or "",
                "count": len(over),
            },
            evidence=sources([member.one for member, _, _ in over]),
            strength=Strength.INFERRED,
            severity=Severity.ERROR,
            advice="check_what_was_declared",
            command=step_command(worst.one.config, phase),
        )


def _rates(phase: str, members: list[_Rated]) -> Finding:
    least, most = min(members, key=lambda one: one.rate), max(members, key=lambda one: one.rate)
    rates = {member.one: member.rate for member in members}
    trends = {trend([rates[one] for one in series]) for series in by_size(rates) if len(series) >= 4}
    claim = "implied_rates_rise" if trends == {1} else "implied_rates_fall" if trends == {-1} else "implied_rates"
    return Finding(
        kind="rate",
        claim=claim if len(members) > 1 else "implied_rate",
        subject=phase,
        numbers={
            "phase": phase,
            "low": least.rate,
            "low_name": least.one.config.name,
            "high": most.rate,
            "high_name": most.one.config.name,
            "count": len(members),
        },
        evidence=sources([member.one for member in members]),
        strength=Strength.INFERRED,
    )


def _missing(times: list[Observation]) -> Finding:
    first = times[0].config
    missing = ["batch"] * (first.batch_size is None) + ["context"] * (first.context_length is None)
    missing += ["shape"] * (not first.is_attention and first.model() is None)
    missing += ["gpu"] * (first.gpu is None) + ["precision"] * (first.precision is None)
    options = tuple(_OPTIONS[name] for name in missing if name in _OPTIONS)
    return Finding(
        kind="rate",
        claim="rates_not_known" if options else "rates_not_known_without_options",
        subject="all phases",
        numbers={"missing": tuple(missing), "options": options},
        evidence=sources(times),
        strength=Strength.NOT_MEASURED,
        command=step_command(first),
    )
