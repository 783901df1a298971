"""Steps of real models under torch's profiler: what is a part, what backward belongs to, where a sleep shows."""

import random
import time
from collections.abc import Iterator, MutableSequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from factory import TINY
from profiles import make_profile
from windtunnel.analysis.kernel_kinds import WorkKind
from windtunnel.analysis.profile import ProfileView
from windtunnel.bench.build import build_workload
from windtunnel.cost.flops import forward_flops
from windtunnel.probe.profile import MOST_PAIRS, Steps, export_trace, watch_instruments
from windtunnel.probe.ranges import OpenRange, part_ranges, parts_of
from windtunnel.records.chrome_trace import read_chrome_trace
from windtunnel.records.profile import Part, Profile, Unit
from windtunnel.records.record import Status
from windtunnel.records.trace_profile import columns_of, with_columns
from windtunnel.spec.cell import Cell
from windtunnel.sweep.profile_look import steps_of


def steps_for(attention: str = "eager", workload: str = "train_step", **fields: object) -> Steps:
    cell = Cell.model_validate(
        {
            "model": TINY,
            "workload": workload,
            "batch_size": 2,
            "context_length": 16,
            "attention": attention,
            "device": "cpu",
            **fields,
        }
    )
    steps = steps_of(build_workload(cell), cell)
    steps.run()
    return steps


def profiled(steps: Steps, folder: Path, count: int = 1) -> ProfileView:
    export_trace(steps, count, folder / "trace.json")
    empty = Profile(cell=None, source="", unit=Unit.OPERATORS, status=Status.OK, failure=None, started_at="")
    return ProfileView(with_columns(empty, columns_of(read_chrome_trace(folder / "trace.json"))))


def parts_in(view: ProfileView, phase: str) -> set[Part]:
    return set(view.sums(lambda place, _name, _kind: place.part if place.phase == phase else None))


def test_every_part_is_seen_in_forward_and_in_backward(tmp_path: Path):
    view = profiled(steps_for(), tmp_path)

    attention = {Part.PROJECTIONS, Part.ROTATION, Part.SCORES, Part.MASK, Part.SOFTMAX, Part.WEIGHTED_SUM}
    both = {*attention, Part.EMBEDDING, Part.FEED_FORWARD, Part.NORM, Part.HEAD}
    assert both | {Part.RESIDUAL} <= parts_in(view, "forward")
    assert both | {Part.LOSS} <= parts_in(view, "backward")
    assert parts_in(view, "loss") == {Part.LOSS}
    assert parts_in(view, "optimizer") == {Part.OPTIMIZER}
    assert view.phases == ("forward", "loss", "backward", "optimizer")


def test_products_are_counted_where_they_are(tmp_path: Path):
    layers = TINY.num_layers
    view = profiled(steps_for(), tmp_path, count=2)

    products = view.sums(
        lambda place, _name, kind: (place.phase, place.part) if kind is WorkKind.MATMUL and "mm" in _name else None
    )

    assert products["forward", Part.PROJECTIONS].calls == 4 * layers
    assert products["backward", Part.PROJECTIONS].calls == 8 * layers
    assert products["forward", Part.SCORES].calls == layers
    assert products["backward", Part.WEIGHTED_SUM].calls == 2 * layers
    assert products["forward", Part.FEED_FORWARD].calls == 3 * layers
    assert products["backward", Part.HEAD].calls == 2


def test_the_flops_of_all_operators_make_those_of_forward(tmp_path: Path):
    steps = steps_for(workload="forward")
    cell = Cell(model=TINY, workload="forward", batch_size=2, context_length=16, attention="eager", device="cpu")
    seen = profiled(steps, tmp_path)
    view = ProfileView(replace(seen.profile, cell=cell))
    operators = view.sums(lambda _place, name, _kind: name)

    rates = {name: view.kernel_rate("forward", name) for name in operators}

    flops = {name: rate.value * operators[name].seconds for name, rate in rates.items() if rate and rate.is_flops}
    assert set(flops) == {"aten::mm", "aten::bmm"}
    assert sum(flops.values()) == pytest.approx(forward_flops(TINY, batch_size=2, context_length=16))


@pytest.mark.parametrize("attention", ["sdpa", "flash-eager"])
def test_attention_in_one_piece_is_one_part(tmp_path: Path, attention: str):
    view = profiled(steps_for(attention), tmp_path)

    assert Part.ATTENTION in parts_in(view, "forward") & parts_in(view, "backward")
    assert not {Part.SCORES, Part.SOFTMAX, Part.WEIGHTED_SUM} & parts_in(view, "forward")


def test_parts_that_are_computed_again_belong_where_they_did(tmp_path: Path):
    view = profiled(steps_for(checkpoint="every:1"), tmp_path)

    again = view.sums(
        lambda place, name, _: place.part if (place.phase, name) == ("backward", "aten::_softmax") else None
    )
    assert set(again) == {Part.SOFTMAX}


def test_busy_and_idle_make_the_wall_time_of_every_step(tmp_path: Path):
    view = profiled(steps_for(), tmp_path, count=3)

    assert len(view.gaps.steps) == 3
    assert all(one.busy + one.idle == one.wall for one in view.gaps.steps)
    assert view.total == pytest.approx(sum(one.busy for one in view.gaps.steps) / 3e9, rel=0.01)


def test_a_sleep_of_5_ms_in_a_block_is_a_gap_at_its_place(tmp_path: Path):
    steps = steps_for(workload="forward")
    assert steps.model is not None
    block = steps.model.get_submodule("blocks.1.feed_forward")
    hook = block.register_forward_pre_hook(lambda *_: time.sleep(0.005))

    view = profiled(steps, tmp_path)
    hook.remove()
    (longest, *_) = view.gaps.longest(1)

    assert longest.gap.span >= 5_000_000
    assert longest.phase == "forward"
    assert longest.part.endswith("@ blocks.1")
    assert longest.host == ""


def test_nothing_of_the_ranges_stays_behind():
    steps = steps_for()
    assert steps.model is not None
    attention = steps.model.get_submodule("blocks.0.attention")
    attend = attention.attend

    with steps.ranges():
        assert attention.attend is not attend

    assert attention.attend is attend
    assert not nn.modules.module._global_forward_hooks


def test_ranges_close_when_a_module_raises():
    opened: list[str] = []

    class Range:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> None:
            opened.append(self.name)

        def __exit__(self, *_: object) -> None:
            opened.pop()

    class Norm(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("planted")

    model = nn.Sequential(Norm())
    with part_ranges(model, Range), pytest.raises(ValueError, match="planted"):
        model(torch.ones(1))

    assert opened == []


def test_a_model_of_other_names_has_parts_by_class_and_name():
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln_1 = nn.LayerNorm(4)
            self.attn = nn.ModuleDict({"c_attn": nn.Linear(4, 12)})
            self.mlp = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4))

    model = nn.ModuleDict({"wte": nn.Embedding(7, 4), "h": nn.ModuleList([Layer()]), "lm_head": nn.Linear(4, 7)})

    found = {path: parts_of(model)[module] for path, module in model.named_modules() if module in parts_of(model)}

    assert found == {
        "wte": (Part.EMBEDDING, ""),
        "h.0": (Part.RESIDUAL, "h.0"),
        "h.0.ln_1": (Part.NORM, "h.0"),
        "h.0.attn": (Part.ATTENTION_OTHER, "h.0"),
        "h.0.attn.c_attn": (Part.PROJECTIONS, "h.0"),
        "h.0.mlp": (Part.FEED_FORWARD, "h.0"),
        "lm_head": (Part.HEAD, ""),
    }


def test_every_instrument_is_paired_with_plain_steps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windtunnel.probe.profile.MOST_PAIRS", 3)

    watching = watch_instruments(steps_for())

    assert [one.name for one in watching.instruments] == [
        "ranges",
        "ranges + profiler",
        "profiler with shapes",
        "profiler with stacks",
        "profiler with memory",
    ]
    assert all(len(one.plain) == len(one.watched) == 3 for one in watching.instruments)
    assert len(watching.stopwatch) == 15
    assert list(watching.phases) == ["forward", "loss", "backward", "optimizer"]


class PlannedOrder(random.Random):
    """Leaves the order of a pair as it is, or turns it around."""

    turns_around: ClassVar[bool] = False

    def shuffle(self, x: MutableSequence[Any]) -> None:
        if self.turns_around:
            x.reverse()


@pytest.mark.parametrize("turns_around", [False, True])
def test_the_cost_of_an_instrument_is_the_same_with_the_order_reversed(
    monkeypatch: pytest.MonkeyPatch, *, turns_around: bool
):
    """Ranges are made to take as long as the step, and each step after another a little longer than the one before."""
    steps_run: list[bool] = []
    is_watched = [False]

    @contextmanager
    def slow_ranges(model: nn.Module, open_range: OpenRange) -> Iterator[None]:
        is_watched[0] = True
        yield
        is_watched[0] = False

    def run() -> None:
        steps_run.append(is_watched[0])
        time.sleep((2 if is_watched[0] else 1) * (0.01 + 0.0001 * len(steps_run)))

    monkeypatch.setattr("windtunnel.probe.profile.part_ranges", slow_ranges)
    monkeypatch.setattr("windtunnel.probe.profile.random.Random", PlannedOrder)
    monkeypatch.setattr(PlannedOrder, "turns_around", turns_around)
    steps = Steps(phases=[("forward", run)], reset=lambda: None, device=torch.device("cpu"), model=nn.Identity())

    ranges = watch_instruments(steps).instruments[0]

    first = 2  # one step to choose the number of pairs, one that warms the instrument up
    assert steps_run[first : first + 4] == [turns_around, not turns_around] * 2
    (cost,) = ProfileView(make_profile(instruments=(ranges,))).costs
    assert cost.pairs == MOST_PAIRS
    assert cost.ratio == pytest.approx(2, rel=0.2)


def test_of_a_long_step_only_the_cost_of_its_own_profile_is_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windtunnel.probe.profile.LONGEST_SECONDS", 0.0)

    watching = watch_instruments(steps_for())

    assert [one.name for one in watching.instruments] == ["ranges", "ranges + profiler"]
    assert watching.left_out == ("profiler with shapes", "profiler with stacks", "profiler with memory")
