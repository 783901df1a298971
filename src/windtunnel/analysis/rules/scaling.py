"""How time grows with the size of a model: an exponent with its interval, beside the ratio of the work."""

import itertools
from collections.abc import Iterator

from windtunnel.analysis.finding import Finding, Number, Strength
from windtunnel.analysis.observed import SIZE_FIELDS, Observation, Observed, by_size
from windtunnel.analysis.rules.fitting import PowerLaw, fit_power_law
from windtunnel.analysis.rules.screening import all_near, scope, series_name, sources, usable

_OF_TOKENS_ONLY = "loss"
"""A phase whose work is tokens times vocabulary, the same at each size: no size explains its time."""

_OF_PARAMETERS_ONLY = "optimizer"
"""A phase without products: its work is read and written numbers of each parameter."""


def judge_scaling(observed: Observed) -> Iterator[Finding]:
    """Yield a finding for each series over four or more sizes of known shape, whose work grows with the size."""
    for series in by_size(usable(observed)):
        if series[0].phase == _OF_TOKENS_ONLY:
            continue
        members = tuple(one for one in series if one.config.model() is not None)
        if len({one.config.parameters() for one in members}) >= 4:
            yield from _findings(members)
    yield from _width_alone(observed)


def _findings(series: tuple[Observation, ...]) -> Iterator[Finding]:
    seconds = [one.mean for one in series]
    parameters = [float(one.config.parameters() or 0) for one in series]
    flops = [float(one.config.sample_flops() or 0) for one in series]
    by_parameters = fit_power_law(parameters, seconds)
    has_products = all(flops) and series[0].phase != _OF_PARAMETERS_ONLY
    by_flops = fit_power_law(flops, seconds) if has_products else None
    if by_parameters is None:
        return
    law = by_flops or by_parameters
    steps = [after / before for before, after in itertools.pairwise(seconds)]
    ruled_out = ["exponential"] * law.exponential_is_worse
    ruled_out += ["linear_in_work"] * (not law.low <= 1 <= law.high)
    ruled_out += ["same_factor_each_step"] * (not all_near(steps, 0.10))
    numbers: dict[str, Number] = {
        "phase": series[0].phase,
        "what": series_name(series[0], *SIZE_FIELDS),
        "count": len(series),
        "first": series[0].config.size or series[0].config.name,
        "last": series[-1].config.size or series[-1].config.name,
        "time_ratio": seconds[-1] / seconds[0],
        "parameter_ratio": parameters[-1] / parameters[0],
        "step_low": min(steps),
        "step_high": max(steps),
        "steps": tuple(steps),
        "parameter_slope": by_parameters.slope,
        "parameter_low": by_parameters.low,
        "parameter_high": by_parameters.high,
    }
    if by_flops:
        numbers |= {"work_ratio": flops[-1] / flops[0]}
        numbers |= {"work_slope": by_flops.slope, "work_low": by_flops.low, "work_high": by_flops.high}
    width = _width(series, seconds)
    if width:
        numbers |= {"width_slope": width.slope, "width_low": width.low, "width_high": width.high}
        ruled_out += ["quadratic_in_width"] * (not width.low <= 2 <= width.high)
    yield Finding(
        kind="scaling",
        claim="scales_with_work" if by_flops else "scales_with_parameters",
        subject=scope(series[0], *SIZE_FIELDS),
        numbers=numbers,
        evidence=sources(series),
        strength=Strength.INFERRED,
        rules_out=tuple(ruled_out),
    )


def _width_alone(observed: Observed) -> Iterator[Finding]:
    """Yield what no series here can tell: how time grows with the width, all else equal."""
    members = [one for series in by_size(usable(observed)) if _moves_both(series) for one in series]
    if members:
        yield Finding(
            kind="width",
            claim="width_and_depth_move_together",
            subject="all series",
            numbers={"count": len({one.config.size or one.config.name for one in members})},
            evidence=sources(members),
            strength=Strength.NOT_MEASURED,
            command='windtunnel compare --size small --mode forward_backward --b "--d-model 1536"',
        )


def _width(series: tuple[Observation, ...], seconds: list[float]) -> PowerLaw | None:
    """Return the exponent of the width, which is none of the width alone, where the depth changes too."""
    if not _moves_both(series):
        return None
    return fit_power_law([float(one.config.d_model or 1) for one in series], seconds)


def _moves_both(series: tuple[Observation, ...]) -> bool:
    shapes = {(one.config.d_model, one.config.num_layers) for one in series}
    widths, depths = {width for width, _ in shapes}, {depth for _, depth in shapes}
    return None not in widths | depths and len(shapes) >= 4 and len(widths) > 2 and len(depths) > 1
