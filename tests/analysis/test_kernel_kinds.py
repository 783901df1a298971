"""Kernels as traces of A100, H100 and H200 name them, and operators of a CPU, by what kind of work they do."""

import re

import pytest

from windtunnel.analysis.kernel_kinds import TABLE, WorkKind, is_product, work_kind

_NATIVE = "void at::native::"

NAMES = {
    WorkKind.MATMUL: (
        "nvjet_tst_256x128_64x4_1x2_h_bz_coopA_TNT",
        "nvjet_hsh_128x256_64x4_2x1_v_bz_coopA_NNT",
        "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off",
        "sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize128x128x16_stage4_warpsize2x2x1_tensor16x8x8_execute",
        "ampere_sgemm_128x64_tn",
        "ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_32x5_nn",
        "ampere_fp16_s1688gemm_fp16_256x64_sliced1x2_ldg8_f2f_tn",
        "void cutlass::Kernel2<cutlass_80_tensorop_s1688gemm_128x256_16x3_nt_align4>(cutlass_80_tensorop_s1688gemm)",
        "void cutlass::Kernel<cutlass_80_simt_sgemm_256x128_8x4_nn_align1>(cutlass_80_simt_sgemm_256x128_8x4::Params)",
        "cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_16x16_128x2_nn_align8",
        "void cublasLt::splitKreduce_kernel<32, 16, int, float, float, float, float, false, float, float>",
        "std::enable_if<!(false), void>::type internal::gemvx::kernel<int, int, float, float, float, float, false>",
        "void gemmSN_NN_kernel<float, 256, 4, 2, 8, 4, 4, false, cublasGemvTensorStridedBatched<float const> >",
        "triton_tem_fused_mm_4",
        "triton_tem_fused_addmm_relu_1",
        "aten::mm",
        "aten::bmm",
        "aten::addmm",
        "mkldnn::_linear_pointwise",
    ),
    WorkKind.ATTENTION: (
        "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128, 4, false, false, cutlass::bfloat16",
        "void pytorch_flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<pytorch_flash::Flash_bwd_kernel_traits<64",
        "void pytorch_flash::flash_bwd_convert_dq_kernel<pytorch_flash::Flash_bwd_kernel_traits<64, 128, 128, 8, 4",
        "fmha_cutlassF_f32_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel<float, cutlass::arch::Sm80",
        "fmha_cutlassB_bf16_aligned_64x64_k64_sm80(PyTorchMemEffAttention::AttentionBackwardKernel<cutlass::arch",
        "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1_kernel0_0",
        "cudnn_generated_fort_native_sdpa_sm80_flash_bprop_f16_knob_34_64x128x64_4x1x1_cga1x1x1_kernel0_0",
        "void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<flash::CollectiveMainloop",
        "kernel_cutlass_kernel_flash_attncuteflash_fwd_sm90FlashAttentionForwardSm90_object_at__tensor0000o1110",
        "triton_tem_fused_flex_attention_0",
        "_attn_fwd",
        "dkdv_kernel",
        "aten::_scaled_dot_product_flash_attention_for_cpu",
        "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
        "aten::_efficient_attention_forward",
    ),
    WorkKind.SOFTMAX: (
        "void (anonymous namespace)::softmax_warp_forward<float, float, float, 9, false, false>(float*, float const*",
        "void (anonymous namespace)::softmax_warp_backward<float, float, float, 9, false, false>(float*, float const*",
        f"{_NATIVE}(anonymous namespace)::cunn_SoftMaxForward<4, float, float, float, at::native::(anonymous",
        f"{_NATIVE}(anonymous namespace)::cunn_SoftMaxBackwardSmem<8, c10::BFloat16, float, float",
        "triton_per_fused__softmax_mul_0",
        "triton_red_fused__log_softmax__to_copy_nll_loss_forward_3",
        "liger_cross_entropy_kernel",
        "aten::_softmax",
        "aten::_log_softmax_backward_data",
    ),
    WorkKind.NORM: (
        f"{_NATIVE}(anonymous namespace)::vectorized_layer_norm_kernel<float, float, true>(int, float, float const*",
        f"{_NATIVE}(anonymous namespace)::layer_norm_grad_input_kernel_vectorized<float, float, true>",
        f"{_NATIVE}(anonymous namespace)::GammaBetaBackwardCUDAKernelTemplate<float, float, 64u, 1u, 32u, true",
        "_rms_norm_forward_kernel",
        "void vllm::rms_norm_kernel<c10::BFloat16>(c10::BFloat16*, c10::BFloat16 const*, float, int, int)",
        "void flashinfer::norm::FusedAddRMSNormKernel<8u, __half>(__half*, __half*, __half*, unsigned int, float)",
        "void cuApplyRMSNorm<float, float, float>",
        "triton_per_fused__fused_rms_norm_add_2",
        "triton_red_fused_add_mean_mul_pow_rsqrt_5",
        "aten::_fused_rms_norm",
        "aten::native_layer_norm_backward",
    ),
    WorkKind.ELEMENTWISE: (
        f"{_NATIVE}vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, std::array<char*, 3ul> >",
        f"{_NATIVE}unrolled_elementwise_kernel<at::native::BinaryFunctor<float, float, float, at::native::MulFunctor",
        f"{_NATIVE}elementwise_kernel<128, 2, at::native::gpu_kernel_impl_nocast<at::native::BinaryFunctor<float",
        f"{_NATIVE}vectorized_elementwise_kernel<4, at::native::(anonymous namespace)::silu_kernel(at::TensorIterator",
        f"{_NATIVE}(anonymous namespace)::fused_dropout_kernel_vec<float, float, unsigned int, 1, 4, bool>",
        f"{_NATIVE}triu_tril_kernel<bool, int, true, 1, false>",
        "triton_poi_fused_mul_silu_6",
        "triton_poi_fused_add_addcmul_mul_roll_1",
        "aten::mul",
        "aten::masked_fill_",
        "aten::silu_backward",
    ),
    WorkKind.REDUCTION: (
        f"{_NATIVE}reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::func_wrapper_t<float, at::native::sum",
        f"{_NATIVE}(anonymous namespace)::nll_loss_forward_reduce_cuda_kernel_2d<float, float, long>",
        f"{_NATIVE}(anonymous namespace)::compute_grad_weight<float, int>(int*, float*, long, float*, long, long",
        f"{_NATIVE}(anonymous namespace)::embedding_backward_feature_kernel<float, float, long>",
        f"{_NATIVE}(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous namespace)::TensorList"
        "Metadata<1>, at::native::(anonymous namespace)::LpNormFunctor<float, (at::native::NormType)1",
        "void cub::CUB_200200_SM_900::DeviceReduceSingleTileKernel<cub::DeviceReducePolicy<int",
        "triton_red_fused_add_mul_sum_view_7",
        "aten::sum",
        "aten::embedding_dense_backward",
    ),
    WorkKind.COPY: (
        "Memcpy DtoD (Device -> Device)",
        "Memcpy HtoD (Pinned -> Device)",
        "Memset (Device)",
        f"{_NATIVE}elementwise_kernel<128, 2, at::native::gpu_kernel_impl_nocast<at::native::direct_copy_kernel_cuda",
        f"{_NATIVE}unrolled_elementwise_kernel<at::native::bfloat16_copy_kernel_cuda(at::TensorIteratorBase&)",
        f"{_NATIVE}vectorized_elementwise_kernel<4, at::native::FillFunctor<float>, std::array<char*, 1ul> >",
        f"{_NATIVE}(anonymous namespace)::CatArrayBatchedCopy_aligned16_contig<at::native::(anonymous namespace)::Op",
        f"{_NATIVE}(anonymous namespace)::indexSelectLargeIndex<float, long, unsigned int, 2, 2, -2, true>",
        f"{_NATIVE}vectorized_gather_kernel<16, long>(char*, char*, long*, int, long, long, long, long, bool)",
        f"{_NATIVE}roll_cuda_kernel<float>(float const*, float*, long, long, long, long, long, long)",
        "triton_poi_fused_clone_3",
        "triton_poi_fused__to_copy_0",
        "aten::copy_",
        "aten::cat",
    ),
    WorkKind.OPTIMIZER: (
        f"{_NATIVE}(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous namespace)::FusedOptimizer"
        "TensorListMetadata<4>, at::native::(anonymous namespace)::FusedAdamMathFunctor<float, 4",
        "void multi_tensor_apply_kernel<TensorListMetadata<4>, AdamFunctor<float, float, int>, float",
        "triton_for_fused_0",
        "aten::_fused_adamw_",
        "aten::_foreach_add_",
    ),
    WorkKind.COMMUNICATION: (
        "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
        "ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
        "ncclKernel_ReduceScatter_RING_LL_Sum_float(ncclDevComm*, unsigned long, ncclWork*)",
        "void vllm::cross_device_all_reduce_2stage<__nv_bfloat16, 8>",
        "c10d::allreduce_",
    ),
    WorkKind.BOOKKEEPING: ("aten::view", "aten::as_strided", "aten::empty", "aten::t", "aten::item"),
    WorkKind.OTHER: ("my_kernel_of_nobody_knows", "aten::an_operator_of_next_year", "void spin_kernel(long)"),
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in names])
def test_the_name_of_a_kernel_says_what_kind_of_work_it_does(kind: WorkKind, name: str):
    assert work_kind(name) == kind


@pytest.mark.parametrize("name", ["aten::linear", "aten::matmul", "aten::einsum"])
def test_an_operator_that_hands_its_product_to_another_is_no_product_of_its_own(name: str):
    assert work_kind(name) == WorkKind.MATMUL
    assert not is_product(name)


@pytest.mark.parametrize("kind", WorkKind)
def test_every_kernel_that_multiplies_is_a_product(kind: WorkKind):
    assert {is_product(name) for name in NAMES[kind]} == {kind in {WorkKind.MATMUL, WorkKind.ATTENTION}}


def test_every_kind_has_a_line_of_the_table():
    assert {line.work for line in TABLE} == set(WorkKind)


def test_every_pattern_of_the_table_can_be_read():
    assert all(re.compile(line.pattern) for line in TABLE)
