"""What one step of attention alone does, and what is refused before anything is allocated."""

import gc
import weakref

import pytest
import torch
from torch import Tensor

from lone_attention import attention_task
from windtunnel.attention import eager
from windtunnel.attention.reference import reference, relative_error
from windtunnel.bench.build import build_workload
from windtunnel.bench.workload import Workload
from windtunnel.errors import RunError, UnsupportedError
from windtunnel.spec.tables import ATTENTION_WORKLOADS


def build(**fields: object) -> Workload:
    return build_workload(attention_task(**fields).cell)


def run_step(workload: Workload) -> dict[str, Tensor]:
    workload.reset()
    for phase in workload.phases:
        phase.run()
    assert workload.tensors is not None
    return dict(workload.tensors())


@pytest.mark.parametrize("name", ATTENTION_WORKLOADS)
def test_phases_and_whole_are_those_that_the_table_describes(name: str):
    workload = build(workload=name)

    names = [phase.name for phase in workload.phases]
    assert list(dict.fromkeys([*names, workload.total])) == list(ATTENTION_WORKLOADS[name].timed)


def test_forward_alone_keeps_no_graph():
    tensors = run_step(build(workload="attention_forward"))

    assert set(tensors) == {"Q", "K", "V", "O"}
    assert not any(tensor.requires_grad for tensor in tensors.values())


@pytest.mark.parametrize("mask", ["full", "causal", "window:5"])
@pytest.mark.parametrize("attention", ["eager", "sdpa", "flash-eager"])
def test_a_step_gives_what_float64_gives(attention: str, mask: str):
    tensors = run_step(build(attention=attention, mask=mask, num_kv_heads=2))

    window = 5 if mask == "window:5" else None
    exact = reference(*(tensors[name] for name in ("Q", "K", "V", "dO")), is_causal=mask != "full", window=window)
    wanted = {"O": exact.o, "dQ": exact.dq, "dK": exact.dk, "dV": exact.dv}
    assert {name: relative_error(tensors[name], wanted[name]) < 1e-5 for name in wanted} == dict.fromkeys(wanted, True)


def test_inputs_are_contiguous_and_of_the_shape_of_the_cell():
    tensors = run_step(build(num_heads=4, num_kv_heads=2, d_head=8, batch_size=3, context_length=5))

    assert {name: tuple(tensors[name].shape) for name in ("Q", "K", "V", "dO")} == {
        "Q": (3, 4, 5, 8),
        "K": (3, 2, 5, 8),
        "V": (3, 2, 5, 8),
        "dO": (3, 4, 5, 8),
    }
    assert all(tensor.is_contiguous() for tensor in tensors.values())


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_everything_is_in_the_format_of_matrix_products(precision: str, dtype: torch.dtype):
    tensors = run_step(build(precision=precision))

    assert {tensor.dtype for tensor in tensors.values()} == {dtype}


def test_the_seed_draws_the_inputs():
    first, again, other = (run_step(build(seed=seed))["Q"] for seed in (1, 1, 2))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_numbers_are_random_and_differ_between_inputs():
    tensors = run_step(build(context_length=512))

    for name in ("Q", "K", "V", "dO"):
        assert abs(tensors[name].std().item() - 1) < 0.05
    assert not torch.equal(tensors["K"], tensors["V"])


def test_a_step_gives_up_the_results_of_the_one_before():
    workload = build()
    results = [weakref.ref(tensor) for name, tensor in run_step(workload).items() if name in {"dQ", "dK", "dV"}]

    workload.reset()

    gc.collect()
    assert [result() for result in results] == [None] * 3


def test_bf16_pure_is_refused_as_there_are_no_weights():
    with pytest.raises(UnsupportedError, match=r"^precision 'bf16-pure' is about weights.* use bf16$"):
        build(precision="bf16-pure")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attention": "sdpa-cudnn"}, "does not run on cpu"),
        ({"attention": "flex"}, "has no backward"),
        ({"attention": "sdpa-flash", "mask": "window:5"}, "has no window mask"),
        ({"precision": "tf32"}, "mode of NVIDIA tensor cores"),
        ({"attention": "compiled", "compile": "default"}, "compiles itself"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_allocated(
    fields: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch, "randn", lambda *size, **options: pytest.fail("allocated"))

    with pytest.raises(UnsupportedError, match=message):
        build(**fields)


def test_a_sound_step_has_no_fault():
    workload = build()
    run_step(workload)

    assert workload.fault() is None


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_an_output_that_is_not_finite_is_a_fault(own_attention, value: str):
    def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
        o = eager.attend(q, k, v, is_causal=is_causal).clone()
        o.detach()[0, 0, -1, -1] = float(value)
        return o

    workload = build(workload="attention_forward", attention=own_attention(attend))
    run_step(workload)

    assert workload.fault() == "O is not all finite"


def test_gradients_that_are_not_finite_are_a_fault(own_attention, spoiled_backward):
    workload = build(attention=own_attention(spoiled_backward(lambda gradient: gradient * float("nan"))))
    run_step(workload)

    assert workload.fault() == "dQ is not all finite"


def attend_eagerly(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
    return eager.attend(q, k, v, is_causal=is_causal)


def test_an_output_without_a_backward_is_an_error_where_one_is_needed(own_attention):
    def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
        return attend_eagerly(q.detach(), k.detach(), v.detach(), is_causal=is_causal)

    name = own_attention(attend)

    run_step(build(workload="attention_forward", attention=name))
    with pytest.raises(RunError, match=r"returned an O without a gradient: it has no backward"):
        run_step(build(attention=name))


def test_a_gradient_that_is_missing_is_an_error_with_its_name(own_attention):
    def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
        return attend_eagerly(q, k.detach(), v, is_causal=is_causal)

    with pytest.raises(RunError, match=r"^attention 'own_kernels:attend' has no gradient dK: "):
        run_step(build(attention=own_attention(attend)))


def test_inputs_that_are_changed_in_place_are_an_error(own_attention):
    def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
        return attend_eagerly(q.mul_(2), k, v, is_causal=is_causal)

    with pytest.raises(RunError, match=r"^attention 'own_kernels:attend' changed its inputs in place \(Q\)"):
        run_step(build(workload="attention_forward", attention=own_attention(attend)))


def test_a_repeated_step_runs_each_phase_so_often_in_a_row(own_attention, spoiled_backward):
    ran: list[str] = []

    def see(gradient: Tensor) -> Tensor:
        ran.append("backward")
        return gradient

    spoiled = spoiled_backward(see)

    def attend(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool) -> Tensor:
        ran.append("forward")
        return spoiled(q, k, v, is_causal=is_causal)

    workload = build(attention=own_attention(attend))
    assert workload.repeat is not None

    workload.repeat(3)
    run_step(workload)
    workload.repeat(1)
    run_step(workload)

    assert ran == ["forward"] * 3 + ["backward"] * 3 + ["forward", "backward"]


@pytest.mark.parametrize("name", ATTENTION_WORKLOADS)
def test_a_repeated_step_gives_the_results_of_one(name: str):
    workload = build(workload=name)
    once = run_step(workload)
    assert workload.repeat is not None

    workload.repeat(4)
    repeated = run_step(workload)

    assert all(torch.equal(once[key], repeated[key]) for key in once)


def test_a_step_under_cuda_graphs_cannot_be_repeated():
    assert build(compile="reduce-overhead").repeat is None
    assert build(compile="default").repeat is not None
