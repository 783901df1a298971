"""The report of profiles: answers that follow from the data, tables, the flame graph, failures."""

from dataclasses import replace

import plotly.graph_objects as go
import pytest

from factory import GPU
from profiles import CELL, GEMM, make_profile, one_product, profile_of, tiny_kernels, training_step
from windtunnel.analysis.profile import ProfileView
from windtunnel.analysis.results import Results
from windtunnel.records.looks import StoredLook
from windtunnel.records.profile import Launches, Profile
from windtunnel.records.record import Failure, Status
from windtunnel.report.build import build_document
from windtunnel.report.document import Callout, Document, Figure, Section, Table
from windtunnel.report.html import render_html
from windtunnel.report.markdown import render_markdown
from windtunnel.report.sections.profile.answers import answers
from windtunnel.report.sections.profile.profiles import profiles_section
from windtunnel.sweep.profiles import failed_profile


def said(profile: Profile) -> dict[str, str]:
    return dict(answers(ProfileView(profile)))


def section_of(*profiles: Profile) -> Section:
    return profiles_section([ProfileView(profile) for profile in profiles])


def tables_of(section: Section) -> dict[str, Table]:
    return {block.caption: block for block in section.blocks if isinstance(block, Table)}


def test_the_five_questions_of_seed_002_are_answered_in_sentences():
    found = said(make_profile())

    assert "Of 1 step under the profiler the median takes 1.00 ms" in found["Where the time goes"]
    assert "The profiler agrees within 1.0 %." in found["Profiler against stopwatch"]
    assert "The stopwatch includes the launch wait" in found["Profiler against stopwatch"]
    longest = found["What takes the most"]
    assert "In forward the kernel that takes the most is nvjet_tst_256x128" in longest
    assert "60.0 µs (75.0 %) in 3 calls" in longest
    assert "In the whole step it is the same one" in longest
    assert "forward spends notable time on softmax 25.0 %" in longest
    assert "75.0 % of the work of forward alone, and less of the whole step, 50.0 %" in found["Matrix products"]
    assert "the softmax takes 20.0 µs" in found["Softmax against products, inside attention"]
    assert found["What the table does not know"] == "Every kernel has a kind: other is 0.0 % of all work."


@pytest.mark.parametrize(
    ("profile", "sentence"),
    [
        (profile_of(tiny_kernels()), "The step is launch-bound: for 74.9 % of it the device waits"),
        (profile_of(one_product()), "The step is not launch-bound"),
    ],
)
def test_who_waits_for_whom_is_said(profile: Profile, sentence: str):
    assert sentence in said(profile)["Who waits for whom"]


def test_a_profiler_that_makes_steps_slower_is_said_so():
    text = said(make_profile(stopwatch=(0.0008,)))["Profiler against stopwatch"]

    assert "The profiler adds 25.0 %: its times are those of a slower step." in text


def test_an_unknown_kernel_is_other_with_its_name():
    trace = training_step()
    trace.device[0] = trace.device[0]._replace(name="mystery_kernel")

    assert said(profile_of(trace))["What the table does not know"] == "Other is 12.5 % of all work: mystery_kernel."


def test_tables_have_every_kind_part_kernel_gap_and_instrument():
    tables = tables_of(section_of(make_profile()))

    assert list(tables) == [
        "Profiled steps",
        "Kinds of work by phase, of one step",
        "Parts of the model by kind of work, of one step",
        "Kernels by phase, of one step",
        "The longest gaps",
        "What watching costs",
    ]
    kernels = tables["Kernels by phase, of one step"].rows
    assert [cell.text for cell in kernels[0][:3]] == ["forward", GEMM, "matmul"]
    assert tables["What watching costs"].rows[0][1].text == "+15.0 %"


def test_the_flame_graph_is_a_figure_that_plotly_takes():
    (figure,) = [block for block in section_of(make_profile()).blocks if isinstance(block, Figure)]

    drawn = go.Figure(figure.plotly)

    (trace,) = drawn.data
    assert trace.type == "icicle"
    assert "forward" in trace.labels
    assert set(trace.parents) <= {"", *trace.ids}
    assert sum(trace["values"]) == pytest.approx(0.160)
    assert "backward 60.0 µs" in figure.alternative


def test_a_trace_that_lacks_launches_says_that_it_is_under_recorded():
    profile = replace(make_profile(), launches=Launches(calls=10, matched=8, graphs=2, uneven_graphs=1))

    text = "\n".join(block.text for block in section_of(profile).blocks if hasattr(block, "text"))

    assert "2 of 10 launches have no work in the trace (20.0 %): it is under-recorded." in text
    assert "1 of 2 launches of CUDA graphs have fewer kernels than in another step" in text


def test_a_failed_profile_has_its_row_and_says_why():
    failure = Failure(stage="warmup", message="3.00 GiB asked for, 1.00 GiB free")
    section = section_of(failed_profile(CELL, Status.OUT_OF_MEMORY, failure, "2026-11-24"), make_profile())

    assert "out of memory" in [cell.text for cell in tables_of(section)["Profiled steps"].rows[0]]
    (callout,) = [block for block in section.blocks if isinstance(block, Callout)]
    assert callout.text.endswith("out of memory in warmup. 3.00 GiB asked for, 1.00 GiB free.")


def test_profiles_alone_make_a_report_in_every_format_that_escapes_names():
    trace = training_step()
    trace.device[0] = trace.device[0]._replace(name="<script>alert(1)</script>")
    stored = StoredLook(key="k", look=profile_of(trace, stopwatch=(0.001,)), environment=GPU)

    document = build_document(Results(rows=(), runs=(), profiles=(stored,)))

    assert isinstance(document, Document)
    assert document.title == f"Profiles on {GPU.device_name}"
    page = render_html(document)
    assert "<script>alert(1)" not in page
    assert "Kernels by phase" in render_markdown(document)
