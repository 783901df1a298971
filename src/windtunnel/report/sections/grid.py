"""Every cell with its numbers, failures among them, and the shapes behind the names of sizes."""

from collections.abc import Iterator

from windtunnel.language import counted, passage, say, word
from windtunnel.report.document import Block, Callout, CalloutKind, Cell, Column, Paragraph, Section, Table
from windtunnel.report.measures import explain_marks, measures_of, number_column
from windtunnel.report.scope import Scope
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.own_model import OwnModel
from windtunnel.statistics.interval import FEWEST_PROCESSES
from windtunnel.units import NOT_KNOWN, count_scale, percent, rate

_MOST_OF_CEILING = 1.02
"""Above this a rate is not a fast cell but a fault: the ceiling itself is known to a percent or two."""


def grid(scope: Scope) -> Section:
    """Return the full grid; what does not vary stands in a sentence above it."""
    measures = measures_of(scope.rows, scope.marks)
    blocks: list[Block] = [_sizes(scope)]
    if constants := scope.constants():
        blocks.append(Paragraph(text=constants))
    blocks.append(
        Table(
            caption=say("Complete results, {cells}", cells=counted(len(scope.rows), "cell")),
            columns=(*scope.columns(), *measures.columns),
            rows=tuple((*scope.cells(row), *measures.cells(row)) for row in scope.rows),
            keys=scope.row_keys(scope.rows),
            note=passage([_order(), _processes(scope), explain_marks(scope.rows, scope.marks)]),
        )
    )
    if fault := _above_ceiling(scope):
        blocks.append(Callout(kind=CalloutKind.FAILURE, text=fault))
    return Section(heading=say("Complete results"), blocks=tuple(blocks))


def _order() -> str:
    return say(
        "In the order in which the cells were measured. Times are of the whole step on the host clock. There is no "
        "interval where samples are too few, or each too much like the one before."
    )


def _processes(scope: Scope) -> str:
    """Say how to read rows of several processes; empty where there is none."""
    if not any(row.plan.processes > 1 for row in scope.rows):
        return ""
    return say(
        "A row with n as 5 x 10 has samples of 5 processes: its median is the mean of their medians, and its interval "
        "is a t interval over these, from {fewest} processes on.",
        fewest=FEWEST_PROCESSES,
    )


def _above_ceiling(scope: Scope) -> str:
    """Say which cell is furthest above its ceiling, and how many are; empty when none is."""
    fractions = [(fraction, row) for row in scope.measured if (fraction := row.ceiling_fraction())]
    above = [(fraction, row) for fraction, row in fractions if fraction > _MOST_OF_CEILING]
    if not above:
        return ""
    fraction, row = max(above, key=lambda pair: pair[0])
    fields = {
        "cell": scope.label(row),
        "rate": rate(row.flops_per_second()),
        "share": percent(fraction),
        "ceiling": rate(row.ceiling_flops_per_second),
    }
    if len(above) > 1:
        fault = say(
            "A fault in the measurement or the calibration: {cell} does {rate}, {share} of the {ceiling} that this "
            "machine reached in calibration, and {others} above 102 %.",
            others=counted(len(above) - 1, "other cell"),
            **fields,
        )
    else:
        fault = say(
            "A fault in the measurement or the calibration: {cell} does {rate}, {share} of the {ceiling} that this "
            "machine reached in calibration.",
            **fields,
        )
    advice = say(
        "Calibrate again on the idle machine: windtunnel calibrate. Attention that skips masked work is counted in "
        "full, and may be the reason at long contexts."
    )
    return passage([fault, advice])


def _sizes(scope: Scope) -> Table:
    scale = count_scale(named.parameters for named in scope.models)
    known = [named.model for named in scope.models if isinstance(named.model, ModelSpec)]
    has_others = any(model.activation != "swiglu" for model in known)
    has_tied = any(model.is_tied for model in known)
    return Table(
        caption=say("Sizes"),
        columns=(
            Column(name=word("size")),
            number_column("d_model", description=say("Width of the residual stream.")),
            number_column("d_ff", description=say("Inner width of the feed-forward layer.")),
            number_column(say("layers"), description=say("Number of blocks.")),
            number_column(
                say("heads"), description=say("Query heads; with key and value heads after a slash where fewer.")
            ),
            number_column(say("vocabulary"), description=say("Number of tokens.")),
            *([Column(name=say("activation"), description=say("Of the feed-forward layer."))] if has_others else []),
            *([Column(name=say("head"), description=say("Whether it has weights of its own."))] if has_tied else []),
            number_column(say("parameters"), scale.unit, say("All weights, embedding and output head included.")),
        ),
        rows=tuple(
            (
                Cell(text=named.name, sort=named.parameters),
                *_shape_cells(named.model, has_others=has_others, has_tied=has_tied),
                Cell(text=scale.text(named.parameters)),
            )
            for named in scope.models
        ),
    )


def _shape_cells(model: ModelSpec | OwnModel, *, has_others: bool, has_tied: bool) -> Iterator[Cell]:
    """Yield the cells between name and parameters; of a user's own model only its vocabulary is known."""
    is_own = isinstance(model, OwnModel)
    texts = [NOT_KNOWN] * 4 if is_own else [str(model.d_model), str(model.d_ff), str(model.num_layers), _heads(model)]
    texts.append(str(model.vocab_size))
    if has_others:
        texts.append(NOT_KNOWN if is_own else model.activation)
    if has_tied:
        texts.append(NOT_KNOWN if is_own else say("tied") if model.is_tied else say("own"))
    return (Cell(text=text) for text in texts)


def _heads(model: ModelSpec) -> str:
    return str(model.num_heads) if model.kv_heads == model.num_heads else f"{model.num_heads}/{model.kv_heads}"
