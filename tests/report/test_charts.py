import subprocess
import sys
from collections.abc import Callable

import plotly.graph_objects
import pytest

from factory import TINY, make_record, make_task
from reading import section_of
from windtunnel.report import figures
from windtunnel.report.document import Document, Figure
from windtunnel.report.figures import COLORS, DARK, GRID, INK, MUTED
from windtunnel.report.raw_samples import MAX_OF_CELL
from windtunnel.spec.model import ModelSpec

Build = Callable[..., Document]


def charts_of(document: Document) -> dict[str, Figure]:
    """Return the charts by the first words of their captions."""
    blocks = section_of(document, "Charts").blocks
    return {block.caption.split(",")[0].split(":")[0]: block for block in blocks if isinstance(block, Figure)}


def size(layers: int) -> ModelSpec:
    return TINY.model_copy(update={"name": f"L{layers}", "num_layers": layers})


def test_every_chart_follows_plotlys_schema(document: Document):
    charts = charts_of(document)

    for chart in charts.values():
        plotly.graph_objects.Figure(chart.plotly)  # raises ValueError where it does not

    assert len(charts) == 3


def test_an_invalid_chart_would_be_found():
    with pytest.raises(ValueError, match="Invalid property"):
        plotly.graph_objects.Figure({"data": [{"type": "scatter", "no_such": 1}]})


def test_building_charts_does_not_import_plotly():
    code = "import sys, windtunnel.report.write; sys.exit('plotly' in sys.modules or 'torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_cell_has_a_chart_of_its_samples(report_of: Build):
    charts = charts_of(report_of(make_record(make_task(), milliseconds=[10, 20, 10])))

    (trace,) = charts["Samples in order"].plotly["data"]
    assert trace["y"] == [1.0, 2.0, 1.0]


def test_time_by_size_has_a_series_for_each_workload(document: Document):
    chart = charts_of(document)["Time of a step by size"]

    assert [trace["name"] for trace in chart.plotly["data"]] == ["forward", "forward + backward", "training step"]


def test_time_by_size_shows_medians_of_warm_cells_with_their_intervals(report_of: Build):
    times = [1.7, 1.2, 1.9, 1.1, 1.5, 1.4, 1.8, 1.3, 1.6, 1.0]
    records = [make_record(make_task(size=size(n)), milliseconds=[n * value for value in times]) for n in (1, 2)]

    (trace,) = charts_of(report_of(*records))["Time of a step by size"].plotly["data"]

    assert trace["x"] == ["L1", "L2"]
    assert trace["y"] == [1.45, 2.9]
    assert trace["error_y"]["arrayminus"] == [0.35, 0.7]
    assert trace["error_y"]["array"] == [0.35, 0.7]


def test_the_error_bars_of_an_interval_may_be_of_two_lengths():
    trace = figures.dots("a", [1, 2], [10.0, 20.0], place=0, mark=0, is_joined=False)

    bars = figures.with_intervals(trace, [(9.0, 13.0), (None, None)])["error_y"]

    assert (bars["arrayminus"], bars["array"], bars["symmetric"]) == ([1.0, 0.0], [3.0, 0.0], False)


def test_a_point_says_where_the_pointer_is_what_its_bars_cannot(report_of: Build):
    times = [1.7, 1.2, 1.9, 1.1, 1.5, 1.4, 1.8, 1.3, 1.6, 1.0]
    records = [make_record(make_task(size=size(n)), milliseconds=times[: 10 * (n % 2) or 2]) for n in (1, 2)]

    (trace,) = charts_of(report_of(*records))["Time of a step by size"].plotly["data"]

    assert trace["customdata"] == [
        "1.450 ms, 95 % interval 1.100 to 1.800, mean ± std 1.450 ± 0.303, n = 10",
        "1.450 ms, no interval, mean ± std 1.450 ± 0.354, n = 2",
    ]


def test_a_chart_says_which_cells_it_leaves_out(document: Document):
    caption = charts_of(document)["Time of a step by size"]

    assert caption.caption == (
        "Time of a step by size, cells with warm-up 5, 8 of 18 cells, failed ones have nothing to draw"
    )


def test_a_wide_range_of_times_has_a_logarithmic_axis(report_of: Build):
    records = [make_record(make_task(size=size(n)), milliseconds=[10.0**n] * 3) for n in (1, 2, 3)]

    chart = charts_of(report_of(*records))["Time of a step by size"]

    assert chart.plotly["layout"]["yaxis"]["type"] == "log"


def test_contexts_make_lines_in_order_of_length(report_of: Build):
    records = [make_record(make_task(context_length=n), milliseconds=[n / 10] * 3) for n in (64, 16, 32)]

    (trace,) = charts_of(report_of(*records))["Time of a step by context"].plotly["data"]

    assert trace["x"] == [16, 32, 64]
    assert trace["y"] == [1.6, 3.2, 6.4]


def test_no_series_has_two_points_above_one_value(report_of: Build):
    records = [
        make_record(make_task(size=size(n), precision=precision, attention=attention, batch_size=batch))
        for n in (1, 2)
        for precision in ("fp32", "bf16")
        for attention in ("eager", "sdpa")
        for batch in (1, 2)
    ]

    figures_drawn = [b for b in section_of(report_of(*records), "Charts").blocks if isinstance(b, Figure)]

    by_size = [figure for figure in figures_drawn if figure.caption.startswith("Time of a step by size")]
    assert len(by_size) == 2
    assert all(trace["x"] == ["L1", "L2"] for figure in by_size for trace in figure.plotly["data"])


def test_only_the_widest_cells_show_their_samples(report_of: Build):
    records = [make_record(make_task(context_length=n), milliseconds=[10, 10 + n / 100, 10, 10]) for n in range(1, 13)]

    chart = charts_of(report_of(*records))["Samples in order"]

    assert chart.caption.endswith("the 8 of 12 with the largest CV")
    assert [trace["name"] for trace in chart.plotly["data"]] == [f"context {n}" for n in range(12, 4, -1)]


def test_cold_samples_have_a_chart_of_their_own(document: Document):
    captions = [block.caption for block in section_of(document, "Charts").blocks if isinstance(block, Figure)]

    assert len([caption for caption in captions if caption.startswith("Samples in order, cells with")]) == 2


def test_many_cells_do_not_make_many_traces(report_of: Build):
    records = [
        make_record(make_task(size=size(n), context_length=length, batch_size=batch))
        for n in range(1, 8)
        for length in range(1, 9)
        for batch in (1, 2, 3, 4, 5, 6)
    ]

    blocks = [block for block in section_of(report_of(*records), "Charts").blocks if isinstance(block, Figure)]

    assert len(blocks) < 20
    assert max(len(block.plotly["data"]) for block in blocks) <= 48


def test_a_name_is_no_markup_for_plotly():
    trace = figures.dots("<a href='javascript:x'>", [1], [1.0], place=0, mark=0, is_joined=False)

    assert trace["name"] == "&lt;a href='javascript:x'&gt;"


def test_every_colour_of_a_chart_has_a_dark_one():
    assert set(DARK) == {*COLORS, INK, MUTED, GRID}


def _luminance(color: str) -> float:
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("color", DARK.values())
def test_dark_colours_stand_out_from_the_dark_ground(color: str):
    contrast = (_luminance(color) + 0.05) / (_luminance("#12171e") + 0.05)

    assert contrast > (1.2 if color == DARK[GRID] else 4.5)  # WCAG AA for text; lines of the grid are decoration


def test_time_by_size_brings_its_raw_samples_apart_from_the_points(report_of: Build):
    records = [make_record(make_task(size=size(n)), milliseconds=[n, n + 0.5, n]) for n in (1, 2)]

    chart = charts_of(report_of(*records))["Time of a step by size"]

    (trace,), (samples,) = chart.plotly["data"], chart.samples
    plotly.graph_objects.Figure({"data": [samples]})  # raises ValueError where it does not fit the schema
    assert samples["x"] == ["L1"] * 3 + ["L2"] * 3
    assert samples["y"] == [1.0, 1.5, 1.0, 2.0, 2.5, 2.0]
    assert (samples["offsetgroup"], samples["marker"]["color"]) == (trace["offsetgroup"], trace["marker"]["color"])


def test_of_many_samples_some_are_drawn_from_first_to_last(report_of: Build):
    records = [make_record(make_task(size=size(n), steps=1000), milliseconds=range(1, 1001)) for n in (1, 2)]

    (samples,) = charts_of(report_of(*records))["Time of a step by size"].samples

    assert len(samples["y"]) == 2 * MAX_OF_CELL
    assert samples["y"][:MAX_OF_CELL] == [1.0 + 10 * place for place in range(MAX_OF_CELL)]


def test_series_that_differ_in_one_thing_differ_in_colour_and_in_mark(document: Document):
    traces = charts_of(document)["Time of a step by size"].plotly["data"]

    assert len({trace["marker"]["color"] for trace in traces}) == len(traces) == 3
    assert len({trace["marker"]["symbol"] for trace in traces}) == 3
