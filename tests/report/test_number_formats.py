"""The section of number formats: sentences, tables, chart."""

from collections.abc import Callable
from dataclasses import replace

import plotly.graph_objects as go

from factory import CPU, GPU, make_pair, make_task
from precision_looks import CELL, CURVES, FORMATS, NUMERICS, make_look, of_step
from windtunnel.analysis.results import Results
from windtunnel.records.looks import StoredLook
from windtunnel.records.precision_look import ComponentKind, PrecisionLook
from windtunnel.records.record import Failure, Status
from windtunnel.records.store import StoredComparison
from windtunnel.report.build import build_document
from windtunnel.report.document import Callout, Document, Figure, Paragraph, Section, Table
from windtunnel.report.html import render_html
from windtunnel.report.markdown import render_markdown
from windtunnel.report.sections.precision.section import MOST_DETAILED
from windtunnel.report.terminal import render_terminal
from windtunnel.spec.precision_request import PrecisionRequest


def document_of(*looks: PrecisionLook) -> Document:
    made = tuple(StoredLook(key=look.key(), look=look, environment=GPU) for look in looks)
    return build_document(Results(rows=(), runs=(), precision_looks=made))


def section_of(*looks: PrecisionLook) -> Section:
    return next(section for section in document_of(*looks).sections if section.heading == "Number formats")


def texts(section: Section) -> str:
    return "\n".join(block.text for block in section.blocks if isinstance(block, Paragraph | Callout))


def table_of(section: Section, caption: str) -> list[list[str]]:
    (table,) = [block for block in section.blocks if isinstance(block, Table) and block.caption == caption]
    return [[column.name for column in table.columns], *([cell.text for cell in row] for row in table.rows)]


def test_the_answer_names_every_component():
    assert (
        "Observed under fp16 (float16 autocast on float32 weights, loss scaling in train_step): parameters float32; "
        "output of the first linear layer (fc1) float16; output of the first norm (ln) float32; logits float16; "
        "loss float32; gradients float32; optimizer state float32." in texts(section_of(make_look()))
    )


def test_a_table_of_a_cpu_says_that_it_is_of_the_cpu():
    on_cpu = PrecisionRequest(cell=CELL.model_copy(update={"device": "cpu"}))

    assert "this is the CPU's" in texts(section_of(make_look(request=on_cpu)))
    assert "this is CUDA's" in texts(section_of(make_look()))


def test_a_loss_in_a_half_format_is_pointed_at():
    components = (*FORMATS.components[:4], of_step(ComponentKind.LOSS, "float16"))

    assert "The loss is float16: this loss function" in texts(
        section_of(make_look(formats=replace(FORMATS, components=components)))
    )
    assert "The loss is float16" not in texts(section_of(make_look()))


def test_the_flags_of_tf32_stand_in_its_answer():
    tf32 = PrecisionRequest(cell=CELL.model_copy(update={"precision": "tf32"}))

    assert "which no dtype shows: cuda.matmul.allow_tf32 = False." in texts(section_of(make_look(request=tf32)))


def test_an_overflow_is_a_warning_that_names_it():
    warnings = [block.text for block in section_of(make_look()).blocks if isinstance(block, Callout)]

    assert warnings == [
        "Overflow in forward: mul of blocks.0 (mine.py:3 in forward) made 7 numbers of 64 in float16 that are not "
        "finite; what it was given was finite, at most 100,000.",
        "2 later operations made numbers that are not finite of finite ones, too.",
    ]


def test_numbers_are_said_and_tabulated_with_and_without_loss_scaling():
    section = section_of(make_look())

    assert (
        "logits 5.0e-04, loss 1.0e-05, gradients 2.0e-03 in the median and 3.0e-03 in the worst (fc1.weight)."
        " Of all gradient elements, without loss scaling 12.500 % underflow to 0 and 5.000 % are subnormal; with the "
        "loss times 65,536 50.000 % overflow." in texts(section)
    )
    assert table_of(section, "Relative error against float64") == [
        ["tensor", "made in", "error, unscaled", "error, loss times 65,536"],
        ["logits", "float16", "5.0e-04", "5.0e-04"],
        ["loss", "float16", "1.0e-05", "1.0e-05"],
        ["gradient of fc1.weight", "float16", "3.0e-03", "2.0e-03"],
        ["gradient of fc2.weight", "float16", "1.0e-03", "not finite"],
    ]
    assert table_of(section, "Gradient elements that are lost")[1:] == [
        ["none", "12.500 %", "5.000 %", "0.000 %"],
        ["loss times 65,536", "0.000 %", "0.000 %", "50.000 %"],
    ]
    assert table_of(section, "Gradients that lose the most, without loss scaling")[1:] == [
        ["fc1.weight", "float16", "1,000", "25.00 %", "10.00 %", "0.00 %"]
    ]


def test_another_reference_than_float64_says_why():
    numerics = replace(NUMERICS, reference="float32", reference_reason="it does not fit")

    assert "against the same step in float32 (it does not fit)" in texts(section_of(make_look(numerics=numerics)))


def test_the_loss_is_said_and_drawn():
    section = section_of(make_look())
    (figure,) = [block for block in section.blocks if isinstance(block, Figure)]

    assert (
        "Over the first 3 training steps the loss in fp16 differs from fp32 (same weights, same tokens) by at most "
        "1.0e-01, in step 2: within the noise of two fp32 seeds, which differ by up to 2.0e-01." in texts(section)
    )
    assert [trace.name for trace in go.Figure(dict(figure.plotly)).data] == [
        "fp16",
        "fp32",
        "fp32, weights of another seed",
    ]


def test_a_loss_that_is_lost_says_where_and_is_drawn_up_to_there():
    section = section_of(make_look(curves=replace(CURVES, losses=(4.0, None, None))))
    (figure,) = [block for block in section.blocks if isinstance(block, Figure)]

    assert "the loss in fp16 is not finite, from step 2 on" in texts(section)
    assert figure.plotly["data"][0]["x"] == [1]


def test_operations_are_a_section_of_detail_with_modes_only_where_there_are_some():
    section = next(one for one in document_of(make_look()).sections if one.heading == "Number formats by operation")

    assert section.is_detail
    (table,) = section.blocks
    assert [cell.text for cell in table.rows[0]] == [
        "forward",
        "Linear",
        "mm",
        "float16, float16",
        "float16",
        "float32",
        "–",
        "5",
    ]
    assert table.rows[2][6].text == "TF32 off"


def test_a_failure_is_named_with_what_was_found_before():
    failure = Failure(stage="numerics", message="no more memory")
    look = make_look(status=Status.OUT_OF_MEMORY, failure=failure, numerics=None, curves=None)

    (said,) = [
        block.text for block in section_of(look).blocks if isinstance(block, Callout) and "numerics" in block.text
    ]

    assert "out of memory in numerics: no more memory. What was found before it stands below." in said


def test_several_looks_stand_beside_one_another():
    bf16 = PrecisionRequest(cell=CELL.model_copy(update={"precision": "bf16"}))
    failure = Failure(stage="build", message="no")
    lost = make_look(request=bf16, status=Status.CRASHED, failure=failure, formats=None, numerics=None, curves=None)

    rows = table_of(section_of(make_look(), lost), "Precisions beside one another")[1:]

    assert rows[0][1:] == [
        *("float16", "float32", "float32"),
        *("5.0e-04", "1.0e-05", "2.0e-03", "3.0e-03", "17.50 %"),
        *("1.0e-01", "yes"),
    ]
    assert rows[1][1:] == ["crashed", *["–"] * 9]


def test_a_share_too_small_to_be_shown_is_not_called_none():
    run = NUMERICS.runs[0]
    huge = replace(run.gradients[0], size=10**9, zeros=1, subnormal=0)
    numerics = replace(NUMERICS, runs=(replace(run, gradients=(huge,)),))

    assert "Of all gradient elements, less than 0.001 % underflow to 0." in texts(
        section_of(make_look(numerics=numerics))
    )


def test_older_looks_are_counted():
    requests = [PrecisionRequest(cell=CELL.model_copy(update={"seed": seed})) for seed in range(MOST_DETAILED + 2)]

    assert "2 older looks left out" in texts(section_of(*(make_look(request=request) for request in requests)))


def test_every_format_shows_it(golden: Callable[[str, str], None]):
    document = document_of(make_look())

    assert document.title == "Number formats on NVIDIA H200"
    golden("number-formats.md", render_markdown(document))
    assert "Format of each component" in render_html(document)
    assert "Format of each operation" not in str(render_terminal(document))


def test_precisions_that_were_compared_in_pairs_make_a_table_by_size():
    fp32, bf16 = (make_task(workload="train_step", precision=name, device="cpu") for name in ("fp32", "bf16"))
    pair = StoredComparison(record=make_pair(fp32, bf16, ratio=0.5), environment_a=CPU, environment_b=CPU)

    document = build_document(Results(rows=(), runs=(), comparisons=(pair,)))

    (section,) = [section for section in document.sections if section.heading == "Number formats"]
    header, row = table_of(section, "Time of a step against fp32, by size and precision")
    assert header == ["size", "context", "batch", "workload", "attention", "bf16"]
    assert row[:5] == ["tiny", "16", "4", "training step", "eager"]
    assert row[5].startswith("-50")
    assert row[5].endswith("faster")
    assert not any(
        block for block in section.blocks if isinstance(block, Callout) and block.kind is CalloutKind.FAILURE
    )
