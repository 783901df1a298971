"""Two real cells in one process, on tiny shapes, and everything that can go wrong with either."""

import gc
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from factory import TINY, make_task
from windtunnel.attention import eager
from windtunnel.bench import together
from windtunnel.bench.together import compare_cells
from windtunnel.records.pair import PairRecord
from windtunnel.records.record import ClockName, Status
from windtunnel.spec.cell import Task
from windtunnel.statistics.paired import Side, Verdict, judge
from windtunnel.statistics.pairing import PairPlan

ONE_LAYER = TINY.model_copy(update={"num_layers": 1})
EIGHT_LAYERS = TINY.model_copy(update={"num_layers": 8})
HUGE = TINY.model_copy(update={"vocab_size": 1_000_000, "d_model": 1_000_000, "num_heads": 2})


def compare(a: Task, b: Task, *, max_pairs: int = 8, seed: int = 0, stages: list[str] | None = None) -> PairRecord:
    plan = PairPlan(max_pairs=max_pairs, max_seconds=30.0)
    record, _ = compare_cells(a, b, plan=plan, seed=seed, on_stage=(stages if stages is not None else []).append)
    return record


def task(**fields: object) -> Task:
    return make_task(**{"size": ONE_LAYER, "workload": "train_step", "warmup": 2} | fields)


def verdict_of(record: PairRecord, phase: str) -> Verdict:
    return judge(*record.differences(phase), delta=0.01).verdict


@pytest.fixture
def own(own_attention) -> Callable[[Callable[[], None]], str]:
    """Make attention that first does something of the test's."""

    def make(act: Callable[[], None]) -> str:
        def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
            act()
            return eager.attend(q, k, v, is_causal=is_causal)

        return own_attention(attend)

    return make


def test_eight_times_the_layers_are_slower_in_each_phase_that_has_layers():
    plan = PairPlan(max_pairs=48, max_seconds=60.0, target=1e-9)  # all pairs: the box may be busy

    record, _ = compare_cells(task(), task(size=EIGHT_LAYERS), plan=plan, seed=0, on_stage=lambda stage: None)

    assert (record.status, record.failure) == (Status.OK, None)
    assert record.a.phases() == ("forward", "loss", "backward", "optimizer", "step")
    inside = {phase: verdict_of(record, phase) for phase in record.a.phases() if phase != "loss"}  # of equal logits
    assert set(inside.values()) == {Verdict.SLOWER}


def test_a_cell_against_itself_is_no_large_difference():
    record = compare(task(), task(), max_pairs=32)

    judgement = judge(*record.differences(), delta=0.01)
    assert record.is_same
    assert abs(judgement.effect.value) < 0.5


def test_every_step_is_kept_with_its_turn_and_the_warm_up_beside_them():
    record = compare(task(warmup=3), task(warmup=2, attention="sdpa"))

    assert len(record.turns) == 3 * 8
    for side in Side:
        kept = record.side(side)
        turns = sum(turn.side is side for turn in record.turns)
        assert kept.steps == (1,) * turns
        assert {len(series.nanoseconds) for series in kept.samples} == {turns}
    assert (record.a.warmup_steps, record.b.warmup_steps) == ((3,), (2,))
    assert [len(record.side(side).samples[0].warmup_nanoseconds) for side in Side] == [3, 2]


def test_the_steps_run_in_the_order_of_the_turns(own):
    ran: list[str] = []
    attention = own(lambda: ran.append("b"))

    record = compare(task(warmup=1), task(warmup=1, attention=attention))

    of_b = sum(turn.side is Side.B for turn in record.turns)
    assert len(ran) == 1 + of_b + 1  # warm-up, samples, and the last one that is looked at for its numbers


def test_the_order_is_that_of_the_seed():
    first, again, other = (compare(task(), task(), seed=seed).turns for seed in (1, 1, 2))

    assert first == again != other


def test_two_workloads_are_compared_with_their_own_phases():
    record = compare(task(workload="forward"), task(workload="train_step"))

    assert record.status is Status.OK
    assert (record.a.phases(), record.b.phases()) == (
        ("forward",),
        ("forward", "loss", "backward", "optimizer", "step"),
    )


def test_automatic_warm_up_ends_when_both_sides_are_steady():
    record = compare(task(warmup="auto"), task(warmup="auto"))

    assert record.status is Status.OK
    assert all(record.side(side).warmup_steps[0] % 5 == 0 for side in Side)
    assert all(record.side(side).warmup_steps[0] >= 10 for side in Side)


def test_warm_up_that_finds_no_steady_state_ends_at_its_cap_with_a_warning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(together, "is_steady", lambda samples: False)
    monkeypatch.setattr(together, "MAX_WARMUP_STEPS", 20)

    record = compare(task(warmup="auto"), task(warmup=2))

    assert record.a.warmup_steps == (20,)
    assert record.warnings == ("the steps of A were not steady after 20 warm-up steps, where warm-up ends",)


def test_the_stages_are_told_as_they_begin():
    stages: list[str] = []

    compare(task(), task(), stages=stages)

    assert stages == ["build", "warmup", "measure", "clean"]


def test_a_target_that_was_not_reached_is_a_warning():
    plan = PairPlan(max_pairs=8, max_seconds=30.0, target=1e-9)

    record, _ = compare_cells(task(), task(), plan=plan, seed=0, on_stage=lambda stage: None)

    assert record.warnings == ("the target of ±0.00 % was not reached at the limit of 8 pairs",)


def test_a_side_that_cannot_run_here_is_refused_by_its_name():
    record = compare(task(), task(attention="sdpa-cudnn"))

    assert (record.status, record.failed_side, record.failure.stage) == (Status.UNSUPPORTED, Side.B, "build")
    assert record.turns == ()


def test_b_that_does_not_fit_beside_a_says_what_to_do():
    record = compare(task(), task(size=HUGE))

    assert (record.status, record.failed_side) == (Status.OUT_OF_MEMORY, None)
    assert record.failure.message.startswith("A and B do not fit together on this device (")
    assert " asked for, " in record.failure.message
    assert record.failure.message.endswith(" free): use --pair process")


def test_a_that_does_not_fit_alone_is_not_blamed_on_both():
    record = compare(task(size=HUGE), task())

    assert (record.status, record.failed_side) == (Status.OUT_OF_MEMORY, Side.A)
    assert record.failure.message.startswith("A alone does not fit on this device (")


def test_memory_that_runs_out_in_the_warm_up_is_that_of_both(own):
    def run_out() -> None:
        raise MemoryError("no more")

    record = compare(task(), task(attention=own(run_out)))

    assert (record.status, record.failure.stage, record.failure.phase) == (Status.OUT_OF_MEMORY, "warmup", "forward")
    assert record.failure.message == "A and B do not fit together on this device (no more): use --pair process"


def test_an_error_in_a_step_keeps_the_pairs_before_it(own):
    calls: list[int] = []

    def break_in_step_6() -> None:
        calls.append(1)
        if len(calls) == 2 + 6:
            raise ValueError("six")

    record = compare(task(), task(attention=own(break_in_step_6)), max_pairs=16)

    assert (record.status, record.failed_side) == (Status.FAILED, Side.B)
    assert (record.failure.stage, record.failure.phase) == ("measure", "forward")
    assert record.failure.message == "ValueError: six"
    assert sum(turn.side is Side.B for turn in record.turns) == len(record.b.steps) == 5
    assert len(record.differences()[0]) == 4  # the fifth step of B is one of its control


def test_numbers_that_are_not_finite_are_a_failure_of_their_side(own_attention):
    name = own_attention(lambda q, k, v, *, is_causal: v * float("nan"))

    record = compare(task(), task(attention=name))

    assert (record.status, record.failed_side) == (Status.BAD_NUMERICS, Side.B)
    assert record.failure.message == "the loss is nan after 12 timed steps"


def test_the_garbage_collector_is_off_between_the_first_and_the_last_step(own):
    is_enabled: list[bool] = []

    record = compare(task(warmup=1), task(warmup=1, attention=own(lambda: is_enabled.append(gc.isenabled()))))

    assert record.status is Status.OK
    assert not any(is_enabled)
    assert gc.isenabled()


def test_each_side_runs_with_its_own_switch_for_tf32(own, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("windtunnel.bench.step_parts.check_precision", lambda name, place: None)
    seen: list[str] = []
    attention = own(lambda: seen.append(torch.get_float32_matmul_precision()))

    record = compare(task(attention=attention, precision="tf32"), task(attention=attention, precision="fp32"))

    torch.set_float32_matmul_precision("highest")
    wanted = {Side.A: "high", Side.B: "highest"}
    warm, sampled = seen[:4], seen[4:-2]
    assert warm == ["high", "highest"] * 2
    assert sampled == [wanted[turn.side] for turn in record.turns]


@pytest.mark.compile
def test_a_compiled_side_against_an_eager_one_is_compiled_once():
    record = compare(task(), task(compile="default"))

    assert (record.status, record.failure, record.warnings) == (Status.OK, None, ())


@pytest.mark.compile
@pytest.mark.parametrize("lengths", [(5, 5), (5, 7)])
def test_two_compiled_sides_have_a_graph_each_for_their_own_shapes(
    lengths: tuple[int, int], monkeypatch: pytest.MonkeyPatch
):
    """Not one for any shape, which is what Dynamo makes of the same code with another length."""
    graphs: list[list[type]] = []
    compile_model = torch.compile

    def note(graph: torch.fx.GraphModule, inputs: list[object]) -> Callable[..., object]:
        graphs.append([type(value) for value in inputs])
        return graph.forward

    def traced_only(model: torch.nn.Module, *, mode: str, fullgraph: bool) -> Callable[[Tensor], Tensor]:
        return compile_model(model, backend=note, fullgraph=fullgraph)

    monkeypatch.setattr(torch, "compile", traced_only)

    record = compare(*(task(compile="default", context_length=length) for length in lengths))

    assert (record.status, record.failure, record.warnings) == (Status.OK, None, ())
    assert len(graphs) == 2
    assert not any(issubclass(kind, torch.SymInt) for graph in graphs for kind in graph)


@pytest.mark.gpu
def test_on_cuda_phases_are_on_the_clocks_of_ordinary_cells():
    record = compare(task(device="cuda:0", precision="tf32"), task(device="cuda:0", attention="sdpa"))

    assert record.status is Status.OK
    assert {series.clock for series in record.a.samples if series.phase == "step"} == set(ClockName)
    inner = {series.clock for series in record.b.samples if series.phase == "forward"}
    assert inner == {ClockName.DEVICE, ClockName.ENQUEUE}
