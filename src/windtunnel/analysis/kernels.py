"""Which attention really ran: whether the kernels of a cell are what it asked for."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from windtunnel.analysis.kernel_kinds import KernelKind, classify
from windtunnel.analysis.results import Row
from windtunnel.language import say, word
from windtunnel.records.record import Kernel
from windtunnel.spec.cell import Cell

_SHOWN_LENGTH = 50
"""So much of a kernel's name tells which one it was."""

_ATTENDING = ("forward", "backward")
"""The phases that attend; loss and optimizer do not."""


FUSED = (
    KernelKind.FLASH,
    KernelKind.EFFICIENT,
    KernelKind.CUDNN,
    KernelKind.TRITON,
    KernelKind.FLEX,
    KernelKind.FLASH_ATTN,
    KernelKind.FLASH_ATTN_3,
    KernelKind.FLASH_ATTN_4,
)
"""The kinds that are whole attention."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """What a cell's attention has to run, and which code may run at all.

    `needed` are kinds of which one has to run in forward, and one in backward; empty where any will do. `allowed` are
    the fused kinds that may run. `is_compiled` says that torch.compile was asked for around the attention, which has
    to show; `may_inductor` that code of torch.compile may run.
    """

    needed: frozenset[KernelKind]
    allowed: frozenset[KernelKind]
    is_compiled: bool
    may_inductor: bool


_NEEDED: Mapping[str, frozenset[KernelKind]] = {
    "eager": frozenset({KernelKind.GEMM}),
    "compiled": frozenset({KernelKind.INDUCTOR}),
    "sdpa": frozenset(),
    "sdpa-flash": frozenset({KernelKind.FLASH}),
    "sdpa-efficient": frozenset({KernelKind.EFFICIENT}),
    "sdpa-cudnn": frozenset({KernelKind.CUDNN}),
    "sdpa-math": frozenset({KernelKind.GEMM, KernelKind.MATH}),
    "flex": frozenset({KernelKind.FLEX}),
    "flash-eager": frozenset({KernelKind.GEMM}),
    "flash-triton": frozenset({KernelKind.TRITON}),
    "flash-attn": frozenset({KernelKind.FLASH_ATTN}),
    "flash-attn-3": frozenset({KernelKind.FLASH_ATTN_3}),
    "flash-attn-4": frozenset({KernelKind.FLASH_ATTN_4}),
}
_CHOICES_OF_SDPA = frozenset({KernelKind.FLASH, KernelKind.EFFICIENT, KernelKind.CUDNN})
_COMPILED_INSIDE = ("compiled", "flex")


def expected(cell: Cell) -> Expectation | None:
    """Return what has to run for a cell; None for attention or a model of the user's own, of which nothing is known.

    Only a whole model that is compiled around it has to show that it was.
    """
    is_compiled = cell.compile != "off"
    if cell.attention_name not in _NEEDED:
        if cell.is_attention or not is_compiled:
            return None
        return Expectation(needed=frozenset(), allowed=frozenset(FUSED), is_compiled=True, may_inductor=True)
    needed = _NEEDED[cell.attention]
    if cell.attention == "flex" and cell.device == "cpu":
        needed = frozenset({KernelKind.INDUCTOR})  # its loops are within the compiled graph
    if is_compiled and KernelKind.GEMM in needed:
        needed |= {KernelKind.INDUCTOR}  # which makes products of its own where that is faster
    return Expectation(
        needed=needed,
        allowed=_CHOICES_OF_SDPA if cell.attention == "sdpa" else needed.intersection(FUSED),
        is_compiled=is_compiled,
        may_inductor=is_compiled or cell.attention in _COMPILED_INSIDE,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelVerdict:
    """What ran in a row, in words, whether that is what was asked for, and a sentence that says both."""

    ran: str
    is_as_asked: bool
    sentence: str


def verdict_of(row: Row) -> KernelVerdict | None:
    """Judge the kernels of a row; None where nobody looked, as then nothing is known.

    Of several processes the first that ran something else speaks for all.
    """
    verdicts = [_judge(row, stored.record.kernels) for stored in row.processes if stored.record.kernels]
    return next((verdict for verdict in verdicts if not verdict.is_as_asked), verdicts[0] if verdicts else None)


def _judge(row: Row, kernels: Sequence[Kernel]) -> KernelVerdict:
    """Judge what one process ran."""
    cell = row.cell
    attending = tuple(kernel for kernel in kernels if kernel.phase in _ATTENDING)
    ran = _in_words({classify(kernel.name) for kernel in attending})
    fault = _fault(cell, [phase for phase in row.phases if phase in _ATTENDING], attending, ran)
    return KernelVerdict(ran=ran, is_as_asked=fault is None, sentence=_sentence(cell, fault or ran))


def _sentence(cell: Cell, ran: str) -> str:
    if cell.compile == "off":
        return say("asked for {attention}, ran {ran}", attention=cell.attention_name, ran=ran)
    return say(
        "asked for {attention}, compile {compile}, ran {ran}",
        attention=cell.attention_name,
        compile=cell.compile,
        ran=ran,
    )


def _fault(cell: Cell, phases: Iterable[str], attending: Sequence[Kernel], ran: str) -> str | None:
    """Say what ran that was not asked for, or did not run although it was; None where all is as asked."""
    wanted = expected(cell)
    if wanted is None:
        return None
    by_kind = {classify(kernel.name): kernel.name for kernel in reversed(attending)}  # the first of each kind
    for kind in FUSED:
        if kind in by_kind and kind not in wanted.allowed:
            name = _short(by_kind[kind])
            if wanted.may_inductor:
                return say("{kernel}: pattern-matched into {kind} attention", kernel=name, kind=kind.value)
            return say("{kernel}: {kind} attention", kernel=name, kind=kind.value)
    if wanted.is_compiled and not by_kind.keys() & {KernelKind.INDUCTOR, *FUSED}:
        return say("{ran}: nothing that torch.compile made, so it ran eagerly", ran=ran)
    if not wanted.may_inductor and KernelKind.INDUCTOR in by_kind:
        return say("{kernel}: compiled, which was not asked for", kernel=_short(by_kind[KernelKind.INDUCTOR]))
    for phase in phases:
        kinds = {classify(kernel.name) for kernel in attending if kernel.phase == phase}
        if wanted.needed and not kinds & wanted.needed:
            needed, *others = _sorted(wanted.needed)
            missing = needed.value
            for other in others:
                missing = say("{one} or {other}", one=missing, other=other.value)
            return say("{ran} in {phase}: no {missing} there", ran=_in_words(kinds), phase=word(phase), missing=missing)
    return None


def _in_words(kinds: Collection[KernelKind]) -> str:
    """Name the most telling kinds: fused attention, else compiled code, else what it was put together from."""
    for telling in (FUSED, (KernelKind.INDUCTOR,), (KernelKind.MATH,), (KernelKind.GEMM, KernelKind.SOFTMAX)):
        there = [kind for kind in telling if kind in kinds]
        if there:
            return " + ".join(there)
    return word(KernelKind.OTHER) if kinds else say("nothing")


def _sorted(kinds: Collection[KernelKind]) -> list[KernelKind]:
    return [kind for kind in KernelKind if kind in kinds]


def _short(name: str) -> str:
    """Cut a name after what tells which kernel it is."""
    plain = name.removeprefix("void ")
    return plain if len(plain) <= _SHOWN_LENGTH else f"{plain[:_SHOWN_LENGTH]}…"
