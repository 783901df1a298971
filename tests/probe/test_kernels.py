"""What the profiler sees of real steps on a CPU and on a GPU, and of a GPU that is played."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.autograd.profiler_util import Interval
from torch.nn.functional import scaled_dot_product_attention
from torch.profiler import ProfilerActivity

from factory import make_record, make_row, make_task
from windtunnel.analysis.kernel_kinds import KernelKind, classify
from windtunnel.analysis.kernels import KernelVerdict, verdict_of
from windtunnel.analysis.labels import Mark, marks_of
from windtunnel.attention import eager
from windtunnel.attention.backend import load_backend
from windtunnel.errors import RunError
from windtunnel.probe import kernels as kernels_module
from windtunnel.probe.kernels import MAX_NAME_LENGTH, read_kernels
from windtunnel.records.record import Kernel
from windtunnel.spec.attention import AttentionSpec

CPU = torch.device("cpu")
CUDA = torch.device("cuda:0")
HEADS = AttentionSpec(num_heads=2, d_head=64, mask="full")

Attend = Callable[..., Tensor]


class Step:
    """Attention forward and backward on fresh random Q, K and V."""

    def __init__(self, attend: Attend, device: torch.device, dtype: torch.dtype, *, is_causal: bool = False) -> None:
        generator = torch.Generator(device).manual_seed(3)
        shape = (2, HEADS.num_heads, 256, HEADS.d_head)
        self.inputs = tuple(
            torch.randn(shape, generator=generator, device=device, dtype=dtype).requires_grad_() for _ in range(3)
        )
        self.attend, self.is_causal = attend, is_causal
        self.output: Tensor | None = None

    def reset(self) -> None:
        self.output = None
        if self.inputs[0].is_cuda:
            torch.compiler.cudagraph_mark_step_begin()

    def forward(self) -> None:
        self.output = self.attend(*self.inputs, is_causal=self.is_causal)

    def backward(self) -> None:
        torch.autograd.grad(self.output, self.inputs, torch.ones_like(self.output))

    def look(self, device: torch.device) -> tuple[Kernel, ...]:
        """Run the step until CUDA graphs are recorded, then once more under the profiler."""
        phases = (("forward", self.forward), ("backward", self.backward))
        for run in 3 * (self.reset, self.forward, self.backward):
            run()
        return read_kernels(phases, self.reset, device)


def verdict(kernels: Sequence[Kernel], attention: str, device: str, **cell: object) -> KernelVerdict:
    task = make_task(size=HEADS, workload="attention_forward_backward", attention=attention, device=device, **cell)
    return verdict_of(make_row(make_record(task, kernels=tuple(kernels))))


def names_in(kernels: Sequence[Kernel], phase: str) -> set[str]:
    return {kernel.name for kernel in kernels if kernel.phase == phase}


def test_eager_attention_on_a_cpu_is_products_and_a_softmax():
    kernels = Step(eager.attend, CPU, torch.float32).look(CPU)

    assert {"aten::bmm", "aten::_softmax"} <= names_in(kernels, "forward")
    assert {"aten::bmm", "aten::_softmax_backward_data"} <= names_in(kernels, "backward")
    assert verdict(kernels, "eager", "cpu") == KernelVerdict(
        ran="GEMM + softmax", is_as_asked=True, sentence="asked for eager, ran GEMM + softmax"
    )


def test_launches_and_times_are_summed_by_phase():
    """Two products forward, and for each of them two backward."""
    kernels = Step(eager.attend, CPU, torch.float32).look(CPU)

    products = {kernel.phase: kernel for kernel in kernels if kernel.name == "aten::bmm"}

    assert {phase: kernel.launches for phase, kernel in products.items()} == {"forward": 2, "backward": 4}
    assert all(kernel.nanoseconds > 0 for kernel in products.values())


def test_neither_nodes_of_autograd_nor_what_dynamo_does_is_a_kernel():
    kernels = Step(eager.attend, CPU, torch.float32).look(CPU)

    assert all(kernel.name.startswith("aten::") for kernel in kernels)


def test_flash_attention_on_a_cpu_is_seen_in_both_phases():
    kernels = Step(load_backend("sdpa-flash").attend, CPU, torch.float32).look(CPU)

    assert verdict(kernels, "sdpa-flash", "cpu").sentence == "asked for sdpa-flash, ran flash"
    assert {kernel.phase for kernel in kernels if classify(kernel.name) == KernelKind.FLASH} == {"forward", "backward"}


def test_math_that_runs_flash_is_found_out():
    """A label and the kernels that really ran: they disagree, and the row says so."""
    kernels = Step(scaled_dot_product_attention, CPU, torch.float32).look(CPU)
    task = make_task(size=HEADS, workload="attention_forward", attention="sdpa-math")
    row = make_row(make_record(task, kernels=kernels))

    assert not verdict_of(row).is_as_asked
    assert Mark.OTHER_KERNELS in marks_of(row)


def test_math_that_runs_math_is_not():
    kernels = Step(load_backend("sdpa-math").attend, CPU, torch.float32).look(CPU)

    assert verdict(kernels, "sdpa-math", "cpu").ran == "math"
    assert verdict(kernels, "sdpa-math", "cpu").is_as_asked


def test_the_step_is_reset_once_before_it_and_its_phases_run_once_in_order():
    ran: list[str] = []

    read_kernels(
        (("forward", lambda: ran.append("forward")), ("backward", lambda: ran.append("backward"))),
        lambda: ran.append("reset"),
        CPU,
    )

    assert ran == ["reset", "forward", "backward"]


def test_what_reset_does_is_in_no_phase():
    kernels = read_kernels((("forward", lambda: None),), lambda: torch.ones(3).exp_(), CPU)

    assert kernels == ()


def test_an_error_of_the_step_comes_through_and_the_next_look_works():
    def fail() -> None:
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        read_kernels((("forward", fail),), lambda: None, CPU)

    assert "aten::exp" in names_in(read_kernels((("forward", torch.ones(3).exp),), lambda: None, CPU), "forward")


@pytest.mark.compile
def test_compiled_attention_on_a_cpu_is_seen_as_compiled_graphs():
    torch.compiler.reset()

    kernels = Step(torch.compile(eager.attend, fullgraph=True), CPU, torch.float32, is_causal=True).look(CPU)

    assert (
        verdict(kernels, "eager", "cpu", compile="default").sentence == "asked for eager, compile default, ran Inductor"
    )
    assert {kernel.phase for kernel in kernels if classify(kernel.name) == KernelKind.INDUCTOR} == {
        "forward",
        "backward",
    }


@pytest.mark.compile
def test_a_compiled_label_on_a_step_that_ran_eagerly_is_found_out():
    torch.compiler.reset()

    kernels = Step(torch.compile(eager.attend, backend="eager"), CPU, torch.float32).look(CPU)

    assert not verdict(kernels, "eager", "cpu", compile="default").is_as_asked


class PlayedGpu:
    """A device, and the profile of what is launched on it while it is watched."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.ran: list[SimpleNamespace] = []
        self.now_us = 0.0
        self.takes_marks = True

    def launch(self, name: str, microseconds: float = 1.0, *, on: DeviceType = DeviceType.CUDA, is_range: bool = False):
        time_range = Interval(self.now_us, self.now_us + microseconds)
        self.log.append(name)
        self.ran.append(SimpleNamespace(name=name, device_type=on, is_user_annotation=is_range, time_range=time_range))
        self.now_us += microseconds

    def sleep(self, cycles: int) -> None:
        if self.takes_marks:
            self.launch("at::cuda::(anonymous namespace)::spin_kernel(long)")

    def synchronize(self, device: torch.device) -> None:
        assert device == CUDA
        self.launch("cudaDeviceSynchronize", on=DeviceType.CPU)

    @contextmanager
    def profile(self, *, activities: Sequence[ProfilerActivity], acc_events: bool) -> Iterator[SimpleNamespace]:
        assert activities == [ProfilerActivity.CUDA]
        assert acc_events, "torch 2.11 warns without it"
        self.ran.clear()
        self.log.append("begin")
        yield SimpleNamespace(events=lambda: events)
        self.log.append("end")
        events = sorted(self.ran, key=lambda event: event.name)  # in no order of time


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> PlayedGpu:
    """Play a device and its profiler."""
    played = PlayedGpu()
    monkeypatch.setattr(kernels_module, "profile", played.profile)
    monkeypatch.setattr(kernels_module, "_LETTING_GO_SECONDS", 0.0)
    monkeypatch.setattr(torch.cuda, "_sleep", played.sleep, raising=False)
    monkeypatch.setattr(torch.cuda, "synchronize", played.synchronize)
    monkeypatch.setenv("TEARDOWN_CUPTI", "unset next, and after the test as it was before")
    monkeypatch.delenv("TEARDOWN_CUPTI")
    return played


def test_kernels_of_a_gpu_go_to_the_phase_in_which_they_ran(gpu: PlayedGpu):
    def forward() -> None:
        gpu.launch("gemm", 2.0)
        gpu.launch("softmax", 0.5)
        gpu.launch("gemm", 1.0)

    def backward() -> None:
        gpu.launch("gemm", 4.0)
        gpu.launch("Memset (Device)", 0.25)

    kernels = read_kernels((("forward", forward), ("backward", backward)), lambda: gpu.launch("flush"), CUDA)

    assert kernels == (
        Kernel(phase="forward", name="gemm", launches=2, nanoseconds=3000),
        Kernel(phase="forward", name="softmax", launches=1, nanoseconds=500),
        Kernel(phase="backward", name="gemm", launches=1, nanoseconds=4000),
        Kernel(phase="backward", name="Memset (Device)", launches=1, nanoseconds=250),
    )


def test_calls_of_the_host_and_ranges_that_it_named_are_no_kernels(gpu: PlayedGpu):
    def forward() -> None:
        gpu.launch("cudaLaunchKernel", on=DeviceType.CPU)
        gpu.launch("my range", is_range=True)

    assert read_kernels((("forward", forward),), lambda: None, CUDA) == ()


def test_the_device_is_waited_for_before_the_profile_and_around_each_phase(gpu: PlayedGpu):
    phases = tuple((name, partial(gpu.launch, name)) for name in ("forward", "backward"))

    read_kernels(phases, lambda: gpu.launch("reset"), CUDA)

    wait, mark = "cudaDeviceSynchronize", "at::cuda::(anonymous namespace)::spin_kernel(long)"
    around = [[mark, wait, phase, wait] for phase, _ in phases]
    assert gpu.log[: gpu.log.index("end") + 1] == ["reset", wait, "begin", *around[0], *around[1], "end"]


def test_after_the_profile_cupti_is_let_go_before_anything_else_is_timed(gpu: PlayedGpu):
    """It needs calls of CUDA's runtime for that; while it is attached, all launches are slower."""
    read_kernels((("forward", lambda: None),), lambda: None, CUDA)

    assert os.environ["TEARDOWN_CUPTI"] == "1"
    assert len(gpu.log) - gpu.log.index("end") > 2


def test_a_choice_about_cupti_that_was_made_before_is_kept(gpu: PlayedGpu, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TEARDOWN_CUPTI", "0")

    read_kernels((("forward", lambda: None),), lambda: None, CUDA)

    assert os.environ["TEARDOWN_CUPTI"] == "0"


def test_long_names_are_cut_and_what_is_then_the_same_is_one(gpu: PlayedGpu):
    template = "void cutlass::device_kernel<" + "x" * 300

    def forward() -> None:
        gpu.launch(template + "1>", 1.0)
        gpu.launch(template + "2>", 1.0)

    (kernel,) = read_kernels((("forward", forward),), lambda: None, CUDA)

    assert (kernel.name, kernel.launches) == (template[:MAX_NAME_LENGTH], 2)


def test_a_profile_that_saw_nothing_is_an_error_and_no_empty_step(gpu: PlayedGpu):
    gpu.takes_marks = False

    with pytest.raises(RunError, match="the profiler saw 0 of 1 phase begin on cuda:0"):
        read_kernels((("forward", lambda: gpu.launch("gemm")),), lambda: None, CUDA)


SDPA = {
    "sdpa-flash": KernelKind.FLASH,
    "sdpa-efficient": KernelKind.EFFICIENT,
    "sdpa-cudnn": KernelKind.CUDNN,
}


@pytest.mark.gpu
@pytest.mark.parametrize("attention", SDPA)
@pytest.mark.parametrize("is_causal", [False, True])
def test_on_a_gpu_each_backend_of_sdpa_is_what_it_says(attention: str, is_causal: bool):
    kernels = Step(load_backend(attention).attend, CUDA, torch.bfloat16, is_causal=is_causal).look(CUDA)

    for phase in ("forward", "backward"):
        assert SDPA[attention] in {classify(name) for name in names_in(kernels, phase)}, names_in(kernels, phase)
    assert verdict(kernels, attention, "cuda:0") == KernelVerdict(
        ran=SDPA[attention], is_as_asked=True, sentence=f"asked for {attention}, ran {SDPA[attention]}"
    )


@pytest.mark.gpu
@pytest.mark.parametrize("attention", ["eager", "sdpa-math"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_on_a_gpu_attention_out_of_operators_is_products_and_a_softmax(attention: str, dtype: torch.dtype):
    kernels = Step(load_backend(attention).attend, CUDA, dtype).look(CUDA)

    found = verdict(kernels, attention, "cuda:0")

    assert (found.ran, found.is_as_asked) == ("GEMM + softmax", True), kernels


@pytest.mark.gpu
@pytest.mark.parametrize("attention", ["flash-triton", "flash-eager"])
def test_on_a_gpu_our_own_kernels_are_what_they_say(attention: str):
    kernels = Step(load_backend(attention).attend, CUDA, torch.bfloat16, is_causal=True).look(CUDA)

    assert verdict(kernels, attention, "cuda:0").is_as_asked, kernels


@pytest.mark.gpu
@pytest.mark.compile
@pytest.mark.parametrize("attention", ["flex", "compiled"])
def test_on_a_gpu_generated_kernels_are_what_they_say(attention: str):
    kernels = Step(load_backend(attention).attend, CUDA, torch.bfloat16, is_causal=True).look(CUDA)

    assert verdict(kernels, attention, "cuda:0").is_as_asked, kernels


@pytest.mark.gpu
@pytest.mark.compile
@pytest.mark.filterwarnings("ignore:The CUDA Graph is empty:UserWarning")  # torch captures one to set up its pool
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_on_a_gpu_compiled_eager_attention_is_of_inductor_or_marked(mode: str):
    """With a CUDA graph its kernels are seen too; without a mask torch may have put SDPA in its place."""
    torch.compiler.reset()
    compiled = torch.compile(eager.attend, fullgraph=True, mode=mode)

    kernels = Step(compiled, CUDA, torch.bfloat16).look(CUDA)

    found = verdict(kernels, "eager", "cuda:0", compile=mode)
    assert found.is_as_asked == (found.ran == KernelKind.INDUCTOR)
    assert found.is_as_asked or "pattern-matched into" in found.sentence


@pytest.mark.gpu
def test_on_a_gpu_a_look_does_not_slow_the_launches_after_it():
    """CUPTI that stays attached would cost 10 % and more of each."""
    x = torch.ones(1, device=CUDA)

    def seconds() -> float:
        torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(2000):
            x.add_(1)
        torch.cuda.synchronize()
        return time.perf_counter() - begin

    def least() -> float:
        return min(seconds() for _ in range(10))

    seconds()
    before = max(least() for _ in range(3))  # what the machine's own noise makes of it

    read_kernels((("forward", x.exp),), lambda: None, CUDA)

    assert least() / before < 1.05
