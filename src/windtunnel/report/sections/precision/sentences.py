"""The answers of a look at formats in sentences."""

from collections.abc import Iterator, Sequence

from windtunnel.analysis.number_formats import (
    HALF,
    GradientShares,
    answers_of,
    shares_of,
    typical_error,
    worst_gradient,
)
from windtunnel.language import apart, counted, listed, passage, say, word
from windtunnel.records.precision_look import ComponentKind, Formats, Numerics, Overflow, PrecisionLook, TensorNumbers
from windtunnel.spec.cell import Cell
from windtunnel.spec.tables import PRECISIONS
from windtunnel.units import percent, scientific, significant

_LEAST_SHARE = 1e-5
"""What three decimals of a percentage show."""


def answer(look: PrecisionLook) -> str:
    """Say of which format parameters, outputs, logits, loss, gradients and optimizer state are."""
    cell = look.request.cell
    precision = PRECISIONS[cell.precision]
    parts = [
        say("{what} ({name}) {dtypes}", what=word(one.question), name=one.name, dtypes=one.dtypes)
        if one.name
        else say("{what} {dtypes}", what=word(one.question), dtypes=one.dtypes)
        for one in answers_of(look)
    ]
    sentences = [
        say(
            "Observed under {precision} ({description}): {formats}.",
            precision=cell.precision,
            description=word(precision.description),
            formats=apart(parts),
        )
    ]
    if precision.autocast:
        sentences.append(_of_autocast(cell))
    assert look.formats is not None
    sentences.append(_of_loss(look.formats, cell))
    if precision.tf32:
        flags = listed(f"{name} = {value}" for name, value in look.formats.flags.items() if "tf32" in name)
        sentences.append(
            say("Products of float32 tensors may run as TF32 inside, which no dtype shows: {flags}.", flags=flags)
        )
    return passage(sentences)


def _of_autocast(cell: Cell) -> str:
    if cell.device == "cpu":
        return say(
            "Autocast has a list of operations for each kind of device, and this is the CPU's: CUDA's, which sends "
            "layer norms and softmax to float32, may give other formats."
        )
    return say("Autocast has a list of operations for each kind of device, and this is CUDA's.")


def _of_loss(formats: Formats, cell: Cell) -> str:
    dtypes = [dtype for part in formats.components if part.kind is ComponentKind.LOSS for dtype in part.dtypes]
    half = next((dtype for dtype in dtypes if dtype in HALF), None)
    if half is None or PRECISIONS[cell.precision].weights == half:
        return ""
    return say(
        "The loss is {dtype}: this loss function computes it in the format of the logits, where torch's cross_entropy "
        "under autocast would go to float32.",
        dtype=half,
    )


def overflow_texts(look: PrecisionLook) -> Iterator[str]:
    """Yield a sentence for each of the first operations that overflowed."""
    if look.formats is None:
        return
    for overflow in look.formats.overflows:
        yield _overflow(overflow)
    if left := look.formats.num_overflows - len(look.formats.overflows):
        yield say(
            "{operations} made numbers that are not finite of finite ones, too.",
            operations=counted(left, "later operation"),
        )


def _overflow(one: Overflow) -> str:
    what = say("{operation} of {module}", operation=one.operation, module=one.module) if one.module else one.operation
    return say(
        "Overflow in {phase}: {what} made {numbers} of {all} in {dtype} that are not finite; what it was given was "
        "finite, at most {largest}.",
        phase=word(one.phase),
        what=say("{what} ({more})", what=what, more=one.site) if one.site else what,
        numbers=counted(one.elements, "number"),
        all=f"{one.size:,}",
        dtype=one.dtype,
        largest=significant(one.largest),
    )


def numbers_answer(numerics: Numerics, cell: Cell) -> str:
    """Say how far logits, loss and gradients are from the reference, and what loss scaling saves."""
    first = numerics.runs[0]
    said = [say("logits {error}", error=_error(first.logits))]
    if first.loss:
        said.append(say("loss {error}", error=_error(first.loss)))
    worst = worst_gradient(first)
    if worst:
        said.append(
            say(
                "gradients {typical} in the median and {worst} in the worst ({name})",
                typical=scientific(typical_error(first)),
                worst=_error(worst),
                name=worst.name,
            )
        )
    reference = numerics.reference
    if why := numerics.reference_reason:
        reference = say("{what} ({more})", what=reference, more=word(why))
    sentences = [
        say(
            "Relative errors against the same step in {reference}, from the same weights on the same tokens: {errors}.",
            reference=reference,
            errors=listed(said),
        )
    ]
    shares = [share for run in numerics.runs if (share := shares_of(run))]
    if shares:
        sentences.append(say("Of all gradient elements, {shares}.", shares=apart(_by_scale(shares))))
    if cell.precision == "tf32":
        sentences.append(say("TF32 keeps 10 bits of each factor, and the range of float32."))
    return passage(sentences)


def _error(one: TensorNumbers) -> str:
    return say("not finite") if one.not_finite else scientific(one.relative_error)


def _by_scale(shares: Sequence[GradientShares]) -> Iterator[str]:
    plain, *scaled = shares
    yield say("without loss scaling {lost}", lost=_lost(plain)) if scaled else _lost(plain)
    for share in scaled:
        yield say("with the loss times {scale} {lost}", scale=f"{share.loss_scale:,.0f}", lost=_lost(share))


def _share(fraction: float) -> str:
    if fraction >= _LEAST_SHARE:
        return percent(fraction, 3)
    return say("less than {share}", share=percent(_LEAST_SHARE, 3))


def _lost(share: GradientShares) -> str:
    said = [
        *([say("{share} underflow to 0", share=_share(share.zeros))] if share.zeros else []),
        *([say("{share} are subnormal", share=_share(share.subnormal))] if share.subnormal else []),
        *([say("{share} overflow", share=_share(share.not_finite))] if share.not_finite else []),
    ]
    if len(said) > 1:
        return say("{some} and {last}", some=listed(said[:-1]), last=said[-1])
    return said[0] if said else say("none is lost")
