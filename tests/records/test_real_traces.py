"""Real traces of an H200: two training steps of a model of two layers, as `benchmarks/inside.sh` makes them.

The kernels that are expected follow from the model: of two layers each attends once forward and once backward.
"""

from pathlib import Path

import pytest

from windtunnel.analysis.kernel_kinds import WorkKind
from windtunnel.analysis.profile import ProfileView
from windtunnel.records.chrome_trace import read_chrome_trace
from windtunnel.records.profile import Part, Profile, Unit
from windtunnel.records.record import Status
from windtunnel.records.trace_profile import columns_of, with_columns

TRACES = Path(__file__).parent.parent / "data" / "traces"
NAMES = ("eager", "sdpa-flash", "sdpa-cudnn", "flash-triton", "compiled", "graphs")


def view_of(name: str) -> ProfileView:
    trace = read_chrome_trace(TRACES / f"h200-{name}.json.gz")
    assert not trace.warnings
    empty = Profile(cell=None, source="", unit=Unit.KERNELS, status=Status.OK, failure=None, started_at="")
    return ProfileView(with_columns(empty, columns_of(trace)))


@pytest.mark.parametrize("name", NAMES)
def test_the_ledger_closes_and_every_launch_has_its_work(name: str):
    view = view_of(name)

    assert view.num_steps == 2
    assert view.phases == ("forward", "loss", "backward", "optimizer")
    assert all(abs(one.gap_share) <= 0.01 for one in view.gaps.steps)
    assert view.profile.launches.calls == view.profile.launches.matched
    assert view.share(WorkKind.OTHER) == 0


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("sdpa-flash", 2 * (1 + 3)),
        ("sdpa-cudnn", 2 * (1 + 3)),
        ("flash-triton", 2 * (1 + 2)),
        ("compiled", 2 * (1 + 3)),
    ],
)
def test_attention_has_the_kernels_of_its_backend(name: str, kernels: int):
    assert view_of(name).kind_sums()[WorkKind.ATTENTION].calls == kernels


def test_eager_attention_has_none_but_its_parts():
    view = view_of("eager")

    assert WorkKind.ATTENTION not in view.kind_sums()
    assert {Part.SCORES, Part.MASK, Part.SOFTMAX, Part.WEIGHTED_SUM} <= {place.part for place in view.profile.places}
    softmax = view.sums(
        lambda place, _, kind: place.phase if place.part is Part.SOFTMAX and kind is WorkKind.SOFTMAX else None
    )
    assert {phase: each.calls for phase, each in softmax.items()} == {"forward": 2, "backward": 2}


@pytest.mark.parametrize("name", ["compiled", "graphs"])
def test_compiled_code_has_phases_but_no_parts(name: str):
    parts = {place.part for place in view_of(name).profile.places}

    assert parts <= {Part.OTHER, Part.LOSS, Part.OPTIMIZER}


def test_a_replayed_graph_has_more_work_than_launches():
    launches = view_of("graphs").profile.launches

    assert launches.graphs == 4
    assert launches.uneven_graphs == 0
    assert view_of("graphs").calls > launches.calls / 2
