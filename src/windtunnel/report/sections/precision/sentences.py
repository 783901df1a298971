"""The answers of a look at formats in sentences."""

from collections.abc import Iterator

from windtunnel.analysis.number_formats import (
    HALF,
    GradientShares,
    answers_of,
    shares_of,
    typical_error,
    worst_gradient,
)
from windtunnel.language import counted
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
    parts = [f"{one.question} {f'({one.name}) ' if one.name else ''}{one.dtypes}" for one in answers_of(look)]
    sentences = [f"Observed under {cell.precision} ({precision.description}): {'; '.join(parts)}."]
    if precision.autocast:
        sentences.append(_of_autocast(cell))
    assert look.formats is not None
    sentences.append(_of_loss(look.formats, cell))
    if precision.tf32:
        flags = ", ".join(f"{name} = {value}" for name, value in look.formats.flags.items() if "tf32" in name)
        sentences.append(f"Products of float32 tensors may run as TF32 inside, which no dtype shows: {flags}.")
    return " ".join(filter(None, sentences))


def _of_autocast(cell: Cell) -> str:
    if cell.device == "cpu":
        return (
            "Autocast has a list of operations for each kind of device, and this is the CPU's: CUDA's, which sends "
            "layer norms and softmax to float32, may give other formats."
        )
    return "Autocast has a list of operations for each kind of device, and this is CUDA's."


def _of_loss(formats: Formats, cell: Cell) -> str:
    dtypes = [dtype for part in formats.components if part.kind is ComponentKind.LOSS for dtype in part.dtypes]
    half = next((dtype for dtype in dtypes if dtype in HALF), None)
    if half is None or PRECISIONS[cell.precision].weights == half:
        return ""
    return (
        f"The loss is {half}: this loss function computes it in the format of the logits, where torch's cross_entropy "
        "under autocast would go to float32."
    )


def overflow_texts(look: PrecisionLook) -> Iterator[str]:
    """Yield a sentence for each of the first operations that overflowed."""
    if look.formats is None:
        return
    for overflow in look.formats.overflows:
        yield _overflow(overflow)
    if left := look.formats.num_overflows - len(look.formats.overflows):
        yield f"{counted(left, 'later operation')} made numbers that are not finite of finite ones, too."


def _overflow(one: Overflow) -> str:
    where = "".join([f" of {one.module}" if one.module else "", f" ({one.site})" if one.site else ""])
    return (
        f"Overflow in {one.phase}: {one.operation}{where} made {counted(one.elements, 'number')} of {one.size:,} in "
        f"{one.dtype} that are not finite; what it was given was finite, at most {significant(one.largest)}."
    )


def numbers_answer(numerics: Numerics, cell: Cell) -> str:
    """Say how far logits, loss and gradients are from the reference, and what loss scaling saves."""
    first = numerics.runs[0]
    said = [f"logits {_error(first.logits)}"]
    if first.loss:
        said.append(f"loss {_error(first.loss)}")
    worst = worst_gradient(first)
    if worst:
        said.append(
            f"gradients {scientific(typical_error(first))} in the median and {_error(worst)} in the worst "
            f"({worst.name})"
        )
    why = f" ({numerics.reference_reason})" if numerics.reference_reason else ""
    sentences = [
        f"Relative errors against the same step in {numerics.reference}{why}, from the same weights on the same "
        f"tokens: {', '.join(said)}."
    ]
    shares = [share for run in numerics.runs if (share := shares_of(run))]
    if shares:
        scaled = [f"with the loss times {share.loss_scale:,.0f} {_lost(share)}" for share in shares[1:]]
        plain = f"{'without loss scaling ' if scaled else ''}{_lost(shares[0])}"
        sentences.append(f"Of all gradient elements, {'; '.join([plain, *scaled])}.")
    if cell.precision == "tf32":
        sentences.append("TF32 keeps 10 bits of each factor, and the range of float32.")
    return " ".join(sentences)


def _error(one: TensorNumbers) -> str:
    return "not finite" if one.not_finite else scientific(one.relative_error)


def _share(fraction: float) -> str:
    return percent(fraction, 3) if fraction >= _LEAST_SHARE else f"less than {percent(_LEAST_SHARE, 3)}"


def _lost(share: GradientShares) -> str:
    lost = {"underflow to 0": share.zeros, "are subnormal": share.subnormal, "overflow": share.not_finite}
    said = [f"{_share(fraction)} {what}" for what, fraction in lost.items() if fraction]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said) or "none is lost"
