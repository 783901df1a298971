"""The loss of the first steps beside that of fp32."""

from collections.abc import Iterator, Sequence

from windtunnel.analysis.number_formats import Following, follow
from windtunnel.language import counted, say, word
from windtunnel.records.precision_look import LossCurves
from windtunnel.report import figures
from windtunnel.report.document import Block, Figure, Paragraph
from windtunnel.units import scientific, significant


def curve_blocks(curves: LossCurves, precision: str, label: str) -> Iterator[Block]:
    """Yield what the loss does, and its chart."""
    found = follow(curves)
    text = _said(found, precision)
    yield Paragraph(text=text)
    yield Figure(
        caption=say(
            "Loss of the first {steps} of {cell}: one batch again and again.",
            steps=counted(found.steps, "training step"),
            cell=label,
        ),
        plotly=_chart(curves, precision),
        alternative=text,
    )


def _said(found: Following, precision: str) -> str:
    steps = counted(found.steps, "training step")
    if found.not_finite:
        return say(
            "Over the first {steps} the loss in {precision} is not finite, from step {step} on.",
            steps=steps,
            precision=precision,
            step=found.not_finite,
        )
    if found.deviation is None or found.noise is None:
        return say(
            "Over the first {steps} a loss in fp32 is not finite, so there is nothing to compare that of {precision} "
            "with.",
            steps=steps,
            precision=precision,
        )
    fields = {
        "steps": steps,
        "precision": precision,
        "deviation": scientific(found.deviation),
        "step": found.at,
        "noise": scientific(found.noise),
    }
    if found.is_within_noise:
        return say(
            "Over the first {steps} the loss in {precision} differs from fp32 (same weights, same tokens) by at most "
            "{deviation}, in step {step}: within the noise of two fp32 seeds, which differ by up to {noise}.",
            **fields,
        )
    return say(
        "Over the first {steps} the loss in {precision} differs from fp32 (same weights, same tokens) by at most "
        "{deviation}, in step {step}: more than what lies between two fp32 seeds, which differ by up to {noise}.",
        **fields,
    )


def _chart(curves: LossCurves, precision: str) -> figures.Json:
    named = [("fp32", curves.fp32, 0), (say("fp32, weights of another seed"), curves.other_seed, 6)]
    if precision != "fp32":
        named.insert(0, (precision, curves.losses, 1))
    traces = [_line(name, losses, place=place, mark=mark) for mark, (name, losses, place) in enumerate(named)]
    values = [loss for _, losses, _ in named for loss in losses if loss is not None]
    return dict(
        figures.chart(
            traces,
            x=figures.counting_axis(say("training step")),
            y=figures.values_axis(word("loss"), values, is_from_zero=False),
        )
    )


def _line(name: str, losses: Sequence[float | None], *, place: int, mark: int) -> figures.Json:
    known = [(step, loss) for step, loss in enumerate(losses, start=1) if loss is not None]
    trace = figures.dots(
        name, [step for step, _ in known], [loss for _, loss in known], place=place, mark=mark, is_joined=True
    )
    return {
        **figures.with_hover(trace, [significant(loss, 6) for _, loss in known]),
        "marker": {**trace["marker"], "size": 4},
    }
