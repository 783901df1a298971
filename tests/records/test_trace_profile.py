"""From events to the columns of a profile: phases, parts, backward by its forward, launches, graphs."""

from dataclasses import replace

import pytest

from profiles import (
    ADD,
    GEMM,
    MS,
    US,
    call,
    kernel,
    make_profile,
    node,
    op,
    part,
    phase,
    profile_of,
    step,
    trace_of,
    training_step,
)
from windtunnel.records.profile import Part, Place, Profile, Unit, profile_from_json, profile_to_json
from windtunnel.records.trace import HostEvent, HostKind


def places_of(profile: Profile) -> list[tuple[str, Part]]:
    return [(profile.places[place].phase, profile.places[place].part) for place in profile.work.places]


def test_a_kernel_belongs_where_the_call_was_made_that_launched_it():
    profile = profile_of(training_step())

    assert places_of(profile) == [
        ("forward", Part.SCORES),
        ("forward", Part.SOFTMAX),
        ("forward", Part.WEIGHTED_SUM),
        ("forward", Part.FEED_FORWARD),
        ("backward", Part.FEED_FORWARD),
        ("backward", Part.SOFTMAX),
        ("backward", Part.SOFTMAX),
        ("optimizer", Part.OPTIMIZER),
    ]
    assert {place.block for place in profile.places} == {"blocks.0", ""}


def test_times_count_from_the_first_step_and_what_ran_before_is_left_out():
    begin = 5 * MS
    host = [call(1, 0, 5 * US), step(begin, begin + MS), call(2, begin, begin + US)]
    device = [kernel(ADD, 10 * US, 12 * US, 1), kernel(ADD, begin + 10 * US, begin + 12 * US, 2)]

    profile = profile_of(trace_of(host, device))

    assert profile.work.starts == (10 * US,)
    assert profile.work.launched == (0,)
    assert profile.steps[0].begin == 0


def test_operators_of_a_cpu_have_the_time_of_their_own_code():
    host = [
        step(0, 100 * US),
        phase("forward", 0, 100 * US),
        part(Part.FEED_FORWARD, 0, 90 * US),
        op("aten::linear", 10 * US, 50 * US),
        op("aten::mm", 20 * US, 45 * US),
    ]

    profile = profile_of(trace_of(host))

    assert profile.unit is Unit.OPERATORS
    owns = {profile.names[name]: own for name, own in zip(profile.work.names, profile.work.owns, strict=True)}
    assert owns == {"aten::linear": 15 * US, "aten::mm": 25 * US}


def test_the_engine_of_autograd_is_no_work_but_what_it_runs_is():
    host = [
        step(0, 100 * US),
        phase("forward", 0, 40 * US),
        part(Part.NORM, 0, 30 * US),
        op("aten::mul", 10 * US, 20 * US, seq=9),
        phase("backward", 50 * US, 100 * US),
        node("MulBackward0", 55 * US, 90 * US, seq=9, thread=1),
        op("MulBackward0", 56 * US, 89 * US, seq=9, is_backward=True),
        op("aten::mul", 60 * US, 80 * US),
    ]

    profile = profile_of(trace_of(host))

    assert [profile.names[name] for name in profile.work.names] == ["aten::mul", "aten::mul"]
    assert places_of(profile) == [("forward", Part.NORM), ("backward", Part.NORM)]


def test_attention_without_a_softmax_of_its_own_is_one_part():
    host = [
        step(0, 100 * US),
        phase("forward", 0, 100 * US),
        part(Part.ATTENTION, 0, 90 * US),
        op("aten::mul", 5 * US, 10 * US),
        op("aten::bmm", 20 * US, 40 * US),
        op("aten::exp", 45 * US, 50 * US),
    ]

    assert {part for _, part in places_of(profile_of(trace_of(host)))} == {Part.ATTENTION}


def test_a_module_of_attention_rotates_before_its_products_and_orders_heads_after_them():
    names = ["addcmul", "matmul", "softmax", "matmul", "clone"]
    host = [step(0, 100 * US), phase("forward", 0, 100 * US), part(Part.ATTENTION_OTHER, 0, 90 * US)]
    host += [op(f"aten::{name}", (10 * n + 1) * US, (10 * n + 9) * US) for n, name in enumerate(names)]

    found = [one for _, one in places_of(profile_of(trace_of(host)))]

    assert found == [Part.ROTATION, Part.SCORES, Part.SOFTMAX, Part.WEIGHTED_SUM, Part.ATTENTION_OTHER]


def test_a_step_ends_when_its_last_kernel_does_and_the_next_begins_after():
    host = [step(0, 10 * US), call(1, 1 * US, 2 * US), step(50 * US, 90 * US, 1), call(2, 51 * US, 52 * US)]
    device = [kernel(GEMM, 5 * US, 40 * US, 1), kernel(GEMM, 60 * US, 95 * US, 2)]

    profile = profile_of(trace_of(host, device))

    assert [(one.begin, one.end) for one in profile.steps] == [(0, 40 * US), (50 * US, 95 * US)]


def test_launches_without_work_in_the_trace_are_counted():
    trace = training_step()
    trace.device.pop()

    launches = profile_of(trace).launches

    assert launches is not None
    assert (launches.calls, launches.matched) == (8, 7)


def test_a_replayed_graph_with_fewer_kernels_than_in_another_step_is_found():
    host = [step(0, 100 * US), step(100 * US, 200 * US, 1)]
    host += [call(n, n * 100 * US + US, n * 100 * US + 2 * US, name="cudaGraphLaunch") for n in (0, 1)]
    device = [kernel(ADD, (5 + n) * US, (6 + n) * US, 0) for n in range(3)]
    device += [kernel(ADD, (105 + n) * US, (106 + n) * US, 1) for n in range(2)]

    launches = profile_of(trace_of(host, device)).launches

    assert launches is not None
    assert (launches.graphs, launches.uneven_graphs) == (2, 1)


def test_steps_of_torch_s_own_schedule_are_steps_and_autograd_tells_backward():
    host = [
        HostEvent("ProfilerStep#3", 0, 100 * US, 1, HostKind.RANGE),
        op("aten::mul", 10 * US, 20 * US, seq=1),
        call(1, 12 * US, 13 * US),
        node("MulBackward0", 30 * US, 60 * US, seq=1),
        call(2, 40 * US, 41 * US, thread=2),
    ]
    device = [kernel(ADD, 15 * US, 18 * US, 1), kernel(ADD, 45 * US, 48 * US, 2)]

    profile = profile_of(trace_of(host, device), None)

    assert [one.name for one in profile.steps] == ["ProfilerStep#3"]
    assert [phase for phase, _ in places_of(profile)] == ["not backward", "backward"]


def test_a_profile_comes_back_from_its_json():
    profile = make_profile()

    assert profile_from_json(profile_to_json(profile)) == profile


def test_a_profile_whose_work_has_no_place_is_refused():
    profile = make_profile()

    with pytest.raises(ValueError, match="has no place"):
        replace(profile, places=(Place(phase="forward", part=Part.NORM),))
