"""Kernels by the names that profilers gave them, and rows whose kernels are or are not what was asked for."""

import ast
from pathlib import Path

import pytest

import windtunnel
from factory import make_record, make_row, make_row_of, make_task
from windtunnel.analysis.kernel_kinds import KernelKind, classify
from windtunnel.analysis.kernels import FUSED, KernelVerdict, expected, verdict_of
from windtunnel.analysis.labels import Mark, marks_of
from windtunnel.analysis.results import Row
from windtunnel.records.record import Kernel
from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.tables import ATTENTION_BACKENDS

HEADS = AttentionSpec(num_heads=4, d_head=64, mask="full")

FLASH = (
    "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128, 4, false, false, cutlass::bfloat16_t"
)
FLASH_BACKWARD = (
    "void pytorch_flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<pytorch_flash::Flash_bwd_kernel_traits"
)
EFFICIENT = (
    "fmha_cutlassF_bf16_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel<cutlass::bfloat16_t, cutlass"
)
EFFICIENT_BACKWARD = (
    "fmha_cutlassB_bf16_aligned_64x64_k64_seqaligned_sm80(PyTorchMemEffAttention::AttentionBackwardKernel<"
)
CUDNN = "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1_kernel0_0"
CUDNN_BACKWARD = "cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma_f16_knob_26_64x64x128_1x1x1_kernel0_0"
FA3 = (
    "void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<flash::CollectiveMainloopFwdSm90<2"
)
FA4 = "kernel_cutlass_kernel_flash_attncuteflash_fwd_sm90FlashAttentionForwardSm90_object_at__tensor0000o11101213_0"
FLEX = "triton_tem_fused_flex_attention_0"
FLEX_BACKWARD = "triton_tem_fused_flex_attention_backward_zeros_1"
GEMM = "nvjet_tst_256x128_64x4_1x2_h_bz_coopA_TNT"
SOFTMAX = "void (anonymous namespace)::softmax_warp_forward<c10::BFloat16, c10::BFloat16, float, 10, false, false>"
FUSED_LOOP = "triton_per_fused__softmax_mul_0"
GRAPH = "## Call CompiledFxGraph fydkzmlclijedkke3vyvb3giued4vcusdsqercmxe363fcl7ok6q ##"
CPU_FLASH = "aten::_scaled_dot_product_flash_attention_for_cpu"
CPU_MATH = "aten::_scaled_dot_product_attention_math"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (FLASH, KernelKind.FLASH),
        (FLASH_BACKWARD, KernelKind.FLASH),
        (
            "void pytorch_flash::flash_bwd_dot_do_o_kernel<true, pytorch_flash::Flash_bwd_kernel_traits",
            KernelKind.FLASH,
        ),
        (
            "void pytorch_flash::flash_fwd_splitkv_combine_kernel<pytorch_flash::Flash_fwd_kernel_traits",
            KernelKind.FLASH,
        ),
        (CPU_FLASH, KernelKind.FLASH),
        (f"{CPU_FLASH}_backward", KernelKind.FLASH),
        (EFFICIENT, KernelKind.EFFICIENT),
        (EFFICIENT_BACKWARD, KernelKind.EFFICIENT),
        (CUDNN, KernelKind.CUDNN),
        (CUDNN_BACKWARD, KernelKind.CUDNN),
        ("void cudnn::fusion::compute_dot_do_o_specialized<true, __nv_bfloat16", KernelKind.CUDNN),
        ("void flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128, 128, 64, 4", KernelKind.FLASH_ATTN),
        ("void flash_bwd_convert_dq_kernel<Flash_bwd_kernel_traits<64", KernelKind.FLASH_ATTN),
        (FA3, KernelKind.FLASH_ATTN_3),
        ("void cutlass::device_kernel<flash::enable_sm90<flash::FlashAttnBwdSm90<flash::Coll", KernelKind.FLASH_ATTN_3),
        ("void cutlass::device_kernel<flash::FlashAttnBwdPreprocess<cute::tuple<cute::C<80>", KernelKind.FLASH_ATTN_3),
        (FA4, KernelKind.FLASH_ATTN_4),
        (
            "flash_bwd_sm90_bf16_head_dim128_tile128x128_kernel_cutlass_kernel_flash_attncutefla",
            KernelKind.FLASH_ATTN_4,
        ),
        (FLEX, KernelKind.FLEX),
        (FLEX_BACKWARD, KernelKind.FLEX),
        ("triton_tem_fused_flex_decoding_0", KernelKind.FLEX),
        (CPU_MATH, KernelKind.MATH),
        (FUSED_LOOP, KernelKind.INDUCTOR),
        ("triton_tem_fused_bmm_0", KernelKind.INDUCTOR),
        (GRAPH, KernelKind.INDUCTOR),
        (GEMM, KernelKind.GEMM),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute", KernelKind.GEMM),
        (
            "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_256x128_32x3_nn_align8>",
            KernelKind.GEMM,
        ),
        ("void gemv2T_kernel_val<int, int, float, float, float, float, 128, 16, 4, 4, false", KernelKind.GEMM),
        ("void cublasLt::splitKreduce_kernel<32, 16, int, float, float, float, float, true", KernelKind.GEMM),
        ("aten::bmm", KernelKind.GEMM),
        (SOFTMAX, KernelKind.SOFTMAX),
        ("void at::native::(anonymous namespace)::cunn_SoftMaxForwardSmem<4, float, float, float", KernelKind.SOFTMAX),
        ("aten::_softmax_backward_data", KernelKind.SOFTMAX),
        (
            "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>",
            KernelKind.ELEMENTWISE,
        ),
        ("Memcpy DtoD (Device -> Device)", KernelKind.COPY),
        ("Memset (Device)", KernelKind.COPY),
        ("void at::native::triu_tril_kernel<bool, int, true, 1, false>", KernelKind.OTHER),
        ("aten::empty_strided", KernelKind.OTHER),
    ],
)
def test_a_name_that_a_profiler_gave_says_what_the_kernel_is(name: str, kind: KernelKind):
    assert classify(name) == kind


@pytest.mark.parametrize(
    "name",
    [
        "triton_poi_fused__scaled_dot_product_cudnn_attention_clone_1",
        "triton_red_fused_flex_attention_backward_mul_sum_0",
        "triton_poi_fused__scaled_dot_product_flash_attention_backward_view_3",
    ],
)
def test_code_of_inductor_around_fused_attention_is_named_after_it_and_is_not_it(name: str):
    assert classify(name) == KernelKind.INDUCTOR


KERNELS = Path(windtunnel.__file__).parent / "kernels"


def test_each_kernel_of_our_own_is_known_by_its_name():
    """Those that are launched: what they call is inlined, and shows in no profile."""
    functions = [
        node
        for path in KERNELS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and any("jit" in ast.unparse(mark) for mark in node.decorator_list)
    ]

    launched = [function.name for function in functions if function.name.endswith("_kernel")]

    assert launched
    assert {classify(name) for name in launched} == {KernelKind.TRITON}


def row_of(forward: str, *others: str, attention: str, device: str = "cuda:0", **cell: object) -> Row:
    """Return a row of attention alone that ran `forward`, and in backward the other kernels."""
    workload = "attention_forward_backward" if others else "attention_forward"
    task = make_task(size=HEADS, workload=workload, attention=attention, device=device, **cell)
    return make_row(make_record(task, kernels=kernels_of(forward=(forward,), backward=others)))


def kernels_of(**phases: tuple[str, ...]) -> tuple[Kernel, ...]:
    return tuple(
        Kernel(phase=phase, name=name, launches=1, nanoseconds=1000)
        for phase, names in phases.items()
        for name in names
    )


AS_ASKED = {
    "eager": (GEMM, GEMM),
    "compiled": (FUSED_LOOP, FUSED_LOOP),
    "sdpa": (CUDNN, CUDNN_BACKWARD),
    "sdpa-flash": (FLASH, FLASH_BACKWARD),
    "sdpa-efficient": (EFFICIENT, EFFICIENT_BACKWARD),
    "sdpa-cudnn": (CUDNN, CUDNN_BACKWARD),
    "sdpa-math": (GEMM, GEMM),
    "flex": (FLEX, FLEX_BACKWARD),
    "flash-eager": (GEMM, GEMM),
    "flash-triton": ("forward_kernel", "dkdv_kernel"),
    "flash-attn": ("void flash::flash_fwd_kernel<F", "void flash::flash_bwd_dot_do_o_kernel<true"),
    "flash-attn-3": (FA3, FA3.replace("Fwd", "Bwd")),
    "flash-attn-4": (FA4, FA4.replace("Forward", "Backward")),
}


@pytest.mark.parametrize("attention", ATTENTION_BACKENDS)
def test_each_backend_that_runs_its_own_kernels_is_as_asked(attention: str):
    row = row_of(*AS_ASKED[attention], attention=attention)

    verdict = verdict_of(row)

    assert verdict.is_as_asked, verdict.sentence
    assert Mark.OTHER_KERNELS not in marks_of(row)


@pytest.mark.parametrize("attention", ATTENTION_BACKENDS)
@pytest.mark.parametrize("other", [FLASH, EFFICIENT, CUDNN, FLEX, FA3])
def test_each_backend_that_runs_the_attention_of_another_is_marked(attention: str, other: str):
    if other in AS_ASKED[attention] or (attention == "sdpa" and other in {FLASH, EFFICIENT, CUDNN}):
        pytest.skip("that is what was asked for")

    row = row_of(GEMM, *AS_ASKED[attention], other, attention=attention)

    assert not verdict_of(row).is_as_asked
    assert Mark.OTHER_KERNELS in marks_of(row)


@pytest.mark.parametrize("attention", sorted(set(ATTENTION_BACKENDS) - {"sdpa"}))
def test_each_backend_whose_kernels_are_missing_in_backward_is_marked(attention: str):
    row = row_of(AS_ASKED[attention][0], SOFTMAX, attention=attention)

    verdict = verdict_of(row)

    assert not verdict.is_as_asked
    assert verdict.sentence.startswith(f"asked for {attention}, ran softmax in backward: no ")


def test_math_that_ran_flash_is_named():
    row = row_of(FLASH, attention="sdpa-math")

    assert verdict_of(row) == KernelVerdict(
        ran="flash",
        is_as_asked=False,
        sentence="asked for sdpa-math, ran pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_t…: flash attention",
    )


def test_compiled_attention_that_was_matched_into_sdpa_is_named():
    row = row_of(CUDNN, attention="compiled")

    assert verdict_of(row) == KernelVerdict(
        ran="cuDNN",
        is_as_asked=False,
        sentence="asked for compiled, ran cudnn_generated_fort_native_sdpa_sm90_flash_fprop_…: "
        "pattern-matched into cuDNN attention",
    )


@pytest.mark.parametrize("attention", ["eager", "sdpa-math", "my_module:attend"])
def test_a_compiled_step_without_any_compiled_code_ran_eagerly(attention: str):
    task = make_task(device="cuda:0", attention=attention, compile="default")
    row = make_row(make_record(task, kernels=kernels_of(forward=(GEMM, SOFTMAX))))

    verdict = verdict_of(row)

    assert not verdict.is_as_asked
    assert verdict.sentence == (
        f"asked for {attention}, compile default, ran GEMM + softmax: "
        "nothing that torch.compile made, so it ran eagerly"
    )


def test_a_compiled_step_needs_no_code_of_inductor_beside_fused_attention():
    """Attention alone is one call: there is nothing left to generate."""
    assert verdict_of(row_of(FLASH, attention="sdpa-flash", compile="default")).is_as_asked


def test_compiled_code_makes_products_of_its_own():
    row = row_of("triton_tem_fused_bmm_0", "triton_tem_fused_bmm_1", attention="eager", compile="max-autotune")

    assert verdict_of(row) == KernelVerdict(
        ran="Inductor", is_as_asked=True, sentence="asked for eager, compile max-autotune, ran Inductor"
    )


def test_compiled_code_where_none_was_asked_for_is_marked():
    row = row_of(GEMM, GEMM, FUSED_LOOP, attention="eager")

    verdict = verdict_of(row)

    assert not verdict.is_as_asked
    assert verdict.sentence == "asked for eager, ran triton_per_fused__softmax_mul_0: compiled, which was not asked for"


@pytest.mark.parametrize(("name", "ran"), [(FLASH, "flash"), (EFFICIENT, "mem-efficient"), (GEMM, "GEMM")])
def test_sdpa_may_choose_what_it_likes_and_the_choice_is_said(name: str, ran: str):
    verdict = verdict_of(row_of(name, attention="sdpa"))

    assert (verdict.ran, verdict.is_as_asked) == (ran, True)


def test_of_a_function_of_the_users_own_nothing_is_expected():
    verdict = verdict_of(row_of(CUDNN, attention="my_module:attend"))

    assert verdict == KernelVerdict(ran="cuDNN", is_as_asked=True, sentence="asked for my_module:attend, ran cuDNN")


def test_a_row_at_which_nobody_looked_has_no_verdict_and_no_mark():
    row = make_row(make_record(make_task(attention="sdpa-flash")))

    assert verdict_of(row) is None
    assert Mark.OTHER_KERNELS not in marks_of(row)


@pytest.mark.parametrize(
    ("attention", "attends", "is_as_asked"),
    [("eager", GEMM, True), ("eager", FLASH, False), ("sdpa-flash", FLASH, True), ("sdpa-flash", GEMM, False)],
)
def test_of_a_whole_model_only_what_attends_is_judged(attention: str, attends: str, is_as_asked: bool):
    """Products are everywhere, and the softmax and the compiled code of a loss or an optimizer say nothing."""
    task = make_task(workload="train_step", device="cuda:0", attention=attention)
    kernels = kernels_of(
        forward=(GEMM, attends), loss=(SOFTMAX, FUSED_LOOP), backward=(attends, GEMM), optimizer=(FUSED_LOOP,)
    )

    assert verdict_of(make_row(make_record(task, kernels=kernels))).is_as_asked == is_as_asked


@pytest.mark.parametrize(
    ("attention", "name", "is_as_asked"),
    [
        ("sdpa-flash", CPU_FLASH, True),
        ("sdpa-math", CPU_MATH, True),
        ("sdpa-math", CPU_FLASH, False),
        ("eager", "aten::bmm", True),
        ("eager", CPU_FLASH, False),
        ("compiled", GRAPH, True),
        ("compiled", "aten::bmm", False),
        ("flex", GRAPH, True),
        ("flex", "aten::bmm", False),
        ("flash-eager", "aten::matmul", True),
    ],
)
def test_on_a_cpu_operators_say_it(attention: str, name: str, is_as_asked: bool):
    assert verdict_of(row_of(name, attention=attention, device="cpu")).is_as_asked == is_as_asked


def test_of_several_processes_the_one_that_ran_something_else_speaks():
    records = [
        make_record(
            make_task(processes=3, replica=replica, attention="sdpa-flash", device="cuda:0"),
            kernels=kernels_of(forward=(name,)),
        )
        for replica, name in enumerate((FLASH, CUDNN, FLASH))
    ]

    assert verdict_of(make_row_of(*records)).ran == "cuDNN"


def test_every_backend_has_an_expectation_and_at_most_the_choice_of_sdpa_is_open():
    of_each = {name: expected(make_task(attention=name, device="cuda:0").cell) for name in ATTENTION_BACKENDS}

    assert None not in of_each.values()
    assert [name for name, wanted in of_each.items() if not wanted.needed] == ["sdpa"]
    assert all(wanted.allowed <= set(FUSED) for wanted in of_each.values())
