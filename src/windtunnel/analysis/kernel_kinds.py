"""The table that says what a kernel is by its name: whose it is, and what kind of work it does."""

import re
from enum import StrEnum
from functools import cache
from typing import NamedTuple


class KernelKind(StrEnum):
    """Whose kernel it is, as far as its name says; the fused kinds are whole attention."""

    FLASH = "flash"
    """FlashAttention-2 as torch has it; on a CPU torch's own flash attention."""
    EFFICIENT = "mem-efficient"
    """torch's memory-efficient attention."""
    CUDNN = "cuDNN"
    """Attention of cuDNN, its passes before and after included."""
    TRITON = "flash-triton"
    """Our FlashAttention-2 in Triton."""
    FLEX = "flex"
    """FlexAttention as Inductor generates it for a GPU."""
    FLASH_ATTN = "flash-attn"
    """FlashAttention-2 of its own package."""
    FLASH_ATTN_3 = "flash-attn-3"
    """FlashAttention-3 of its own package."""
    FLASH_ATTN_4 = "flash-attn-4"
    """FlashAttention-4 of its own package."""
    MATH = "math"
    """torch's attention out of single operators; on a GPU only the operators show."""
    INDUCTOR = "Inductor"
    """Code that torch.compile made; on a CPU a whole compiled graph."""
    GEMM = "GEMM"
    """A product of matrices, or of a matrix and a vector."""
    SOFTMAX = "softmax"
    """A softmax of its own, that of a loss too."""
    ELEMENTWISE = "elementwise"
    """One operation on each element (CUDA)."""
    COPY = "copy"
    """A copy or a fill of memory by the driver."""
    OTHER = "other"
    """Anything else."""


class WorkKind(StrEnum):
    """What kind of work it does, in the order in which tables show them."""

    MATMUL = "matmul"
    ATTENTION = "attention"
    """Fused attention: products and softmax in one kernel."""
    SOFTMAX = "softmax"
    """A softmax, with the logarithm in a loss too."""
    NORM = "norm"
    ELEMENTWISE = "elementwise"
    REDUCTION = "reduction"
    """A sum or the like over many elements, with what is fused into it."""
    COPY = "copy"
    """A copy, a fill, a gather, a new order of elements, a cast."""
    OPTIMIZER = "optimizer"
    COMMUNICATION = "communication"
    BOOKKEEPING = "bookkeeping"
    """Operators of a CPU that touch no elements: views, allocation, dispatch."""
    OTHER = "other"
    """No line of the table fits."""


class Line(NamedTuple):
    """A line of the table: what a name that the pattern is found in says."""

    kind: KernelKind
    work: WorkKind
    pattern: str


_VIEWS = (
    "as_strided|view|_unsafe_view|_reshape_alias|reshape|t|transpose|permute|expand|expand_as|slice|select|narrow|"
    "unsqueeze|squeeze|flatten|unflatten|detach|detach_|alias|split|chunk|unbind|numpy_T|swapaxes|movedim|diagonal|"
    "empty|empty_like|empty_strided|new_empty|resize_|set_|result_type|resolve_conj|resolve_neg|is_nonzero|item|"
    "_local_scalar_dense|lift_fresh|size|stride|numel|broadcast_tensors|_has_compatible_shallow_copy_type|unfold|"
    "_nested_tensor_size|_assert_async|can_cast|view_as|view_as_complex|view_as_real|contiguous|to|dropout|conj"
)
_COPIES = (
    "copy_|clone|_to_copy|cat|stack|roll|repeat|repeat_interleave|fill_|zero_|zeros|zeros_like|ones|ones_like|full|"
    "full_like|arange|eye|index_select|index|gather|embedding|take|flip|pad|constant_pad_nd|new_zeros|new_ones|"
    "slice_backward|select_backward|scalar_tensor|linspace|index_put_|_index_put_impl_|scatter|scatter_|type_as|"
    "masked_select|to_mkldnn|to_dense|new_full|index_copy_|_foreach_copy_"
)
_POINTWISE = (
    "add|sub|mul|div|rsub|pow|exp|exp2|log|log2|sqrt|rsqrt|neg|abs|silu|gelu|relu|sigmoid|tanh|addcmul|addcdiv|"
    "masked_fill|where|clamp|clamp_min|clamp_max|maximum|minimum|erf|cos|sin|lerp|reciprocal|sign|floor|ceil|round|"
    "eq|ne|lt|le|gt|ge|isfinite|isnan|isinf|logical_and|logical_or|logical_not|logical_xor|bitwise_and|bitwise_or|"
    "bitwise_not|triu|tril|threshold_backward|native_dropout|native_dropout_backward|bernoulli|normal|uniform|"
    "silu_backward|gelu_backward|sigmoid_backward|tanh_backward|square|remainder|fmod|softplus|leaky_relu|elu|"
    "hardtanh|xlogy|log1p|expm1|atan2|floor_divide|glu|glu_backward|random|nan_to_num|dropout_backward|log_sigmoid"
)
_REDUCTIONS = (
    "sum|mean|prod|max|min|amax|amin|argmax|argmin|all|any|norm|linalg_vector_norm|var|std|var_mean|logsumexp|"
    "cumsum|cumprod|topk|sort|nll_loss|nll_loss_nd|nll_loss_forward|nll_loss_backward|nll_loss2d_forward|"
    "nll_loss2d_backward|cross_entropy_loss|embedding_dense_backward|embedding_backward|sum_to_size|count_nonzero|"
    "mse_loss|mse_loss_backward|index_add_|median|aminmax|_sum_forward|trapezoid"
)
_UPDATES = "_fused_adamw?_?|_fused_sgd_?|_fused_adagrad_?|_foreach_\\w+|_amp_\\w+"
_PRODUCTS = "mm|bmm|addmm|baddbmm|addbmm|matmul|linear|mv|addmv|dot|mkldnn_linear"
_MORE_PRODUCTS = "einsum|_addmm_activation|addr|ger|outer|vdot|_scaled_mm|_?convolution|conv[123]d|mkldnn_\\w+"
_HANDED_ON = "linear|matmul|einsum|mv|addbmm|ger|outer|vdot|_?convolution|conv[123]d"
"""Of both, those that hand their product to an operator which they call (mm, bmm, addmm, ...)."""

# The first that is found in a name counts. Inductor and templates name what they hold, so the outermost comes first.
TABLE: tuple[Line, ...] = (
    Line(KernelKind.COPY, WorkKind.COPY, r"^Mem(cpy|set) "),
    Line(KernelKind.OTHER, WorkKind.COMMUNICATION, r"^nccl|^rccl|\bnccl\w*Kernel|^c10d::|^_c10d_func"),
    Line(KernelKind.OTHER, WorkKind.COMMUNICATION, r"all_reduce|allreduce|multimem_|all_gather|reduce_scatter|nvshmem"),
    Line(KernelKind.FLEX, WorkKind.ATTENTION, r"^triton_tem_.*flex_(attention|decoding)"),
    Line(KernelKind.INDUCTOR, WorkKind.OTHER, r"^## Call CompiledFxGraph"),
    Line(KernelKind.INDUCTOR, WorkKind.MATMUL, r"^triton_tem_"),
    Line(KernelKind.INDUCTOR, WorkKind.OPTIMIZER, r"^triton_for_"),
    Line(KernelKind.INDUCTOR, WorkKind.SOFTMAX, r"^triton_(per|red|mix)_.*softmax"),
    Line(KernelKind.INDUCTOR, WorkKind.NORM, r"^triton_(per|red|mix)_.*(rms_norm|layer_norm|group_norm|rsqrt)"),
    Line(KernelKind.INDUCTOR, WorkKind.REDUCTION, r"^triton_(per|red|mix|split_scan)_"),
    Line(
        KernelKind.INDUCTOR,
        WorkKind.COPY,
        r"^triton_poi_fused_(_?(unsafe_view|to_copy|clone|copy|cat|view|embedding|slice|transpose|expand|permute|t"
        r"|zeros|ones|fill|full|constant_pad_nd))+_\d+",
    ),
    Line(KernelKind.INDUCTOR, WorkKind.ELEMENTWISE, r"^triton_"),
    Line(KernelKind.TRITON, WorkKind.ATTENTION, r"^(flash_)?(forward|delta|dq|dkdv|dk_dv|backward)_kernel$"),
    Line(
        KernelKind.FLASH_ATTN_4,
        WorkKind.ATTENTION,
        r"FlashAttention(Forward|Backward)|flash_attncute|^flash_(fwd|bwd)_sm\d",
    ),
    Line(KernelKind.CUDNN, WorkKind.NORM, r"cudnn.*(?i:norm)"),
    Line(KernelKind.CUDNN, WorkKind.MATMUL, r"cudnn.*(?i:convol|conv_|dgrad|wgrad)"),
    Line(KernelKind.CUDNN, WorkKind.ATTENTION, r"cudnn"),
    Line(
        KernelKind.EFFICIENT,
        WorkKind.ATTENTION,
        r"fmha_cutlass[FB]|PyTorchMemEffAttention|Attention(Backward)?Kernel<",
    ),
    Line(KernelKind.FLASH_ATTN_3, WorkKind.ATTENTION, r"FlashAttn(Fwd|Bwd)|\bflash::prepare_varlen"),
    Line(KernelKind.FLASH, WorkKind.ATTENTION, r"pytorch_flash::|^aten::_(scaled_dot_product_)?flash_attention"),
    Line(KernelKind.FLASH_ATTN, WorkKind.ATTENTION, r"\bflash_(fwd|bwd)_"),
    Line(KernelKind.MATH, WorkKind.BOOKKEEPING, r"^aten::_scaled_dot_product_attention_math"),
    Line(KernelKind.OTHER, WorkKind.ATTENTION, r"^aten::_(scaled_dot_product|efficient|cudnn|flash)_?\w*attention"),
    Line(KernelKind.OTHER, WorkKind.BOOKKEEPING, r"^aten::(scaled_dot_product_attention|_fused_sdp_choice)"),
    Line(KernelKind.OTHER, WorkKind.ATTENTION, r"(?i)fmha|_attn_(fwd|bwd)|attention_kernel|flash_?(fwd|bwd)"),
    Line(KernelKind.GEMM, WorkKind.MATMUL, r"(?i)gemm|gemv|nvjet|cublas|splitk_?reduce|tensorop|^mkl(dnn)?::_.*linear"),
    Line(KernelKind.GEMM, WorkKind.MATMUL, rf"^aten::({_PRODUCTS})$"),
    Line(KernelKind.OTHER, WorkKind.MATMUL, rf"^aten::({_MORE_PRODUCTS})$|^_?(matmul|bmm|addmm)_\w*kernel"),
    Line(KernelKind.SOFTMAX, WorkKind.SOFTMAX, r"(?i)soft_?max"),
    Line(KernelKind.OTHER, WorkKind.SOFTMAX, r"(?i)cross_?entropy_\w*kernel"),
    Line(KernelKind.OTHER, WorkKind.NORM, r"(?i)(layer|rms|group|batch)_?norm|RowwiseMoments|GammaBeta|cuComputeGrad"),
    Line(KernelKind.OTHER, WorkKind.REDUCTION, r"multi_tensor_apply.*LpNorm"),
    Line(KernelKind.OTHER, WorkKind.OPTIMIZER, r"multi_tensor_apply|(?i:fused_?adam)|Adam\w*Functor|OptimizerTensor"),
    Line(KernelKind.OTHER, WorkKind.OPTIMIZER, rf"^aten::({_UPDATES})$"),
    Line(KernelKind.ELEMENTWISE, WorkKind.COPY, r"elementwise_kernel.*(copy_kernel|FillFunctor|index_kernel|flip_)"),
    Line(KernelKind.ELEMENTWISE, WorkKind.ELEMENTWISE, r"elementwise_kernel"),
    Line(
        KernelKind.OTHER,
        WorkKind.REDUCTION,
        r"(?i)embedding_backward|embedding_dense_backward_kernel|compute_grad_weight|sum_and_scatter|krn_partial|"
        r"nll_loss|reduce_\w*kernel|reduce_1Block|DeviceReduce|DeviceScan|DeviceSegmented|scan_|at::native::.*reduce",
    ),
    Line(
        KernelKind.OTHER,
        WorkKind.COPY,
        r"(?i)CatArrayBatchedCopy|indexSelect|gather|scatter|index_elementwise|roll_cuda|copy_kernel|embedding_kernel|"
        r"FillFunctor|arange|transpose_kernel|repeat_interleave|index_put|tensor_kernel_scan|convert_kernel",
    ),
    Line(
        KernelKind.OTHER,
        WorkKind.ELEMENTWISE,
        r"(?i)triu_tril|dropout|distribution_|silu|swiglu|gelu|rope|rotary|activation_kernel|elementwise|^fused_\w*mul",
    ),
    Line(KernelKind.OTHER, WorkKind.NORM, r"^aten::.*(rms|layer|group|batch)_norm"),
    Line(KernelKind.OTHER, WorkKind.COPY, rf"^aten::({_COPIES})$"),
    Line(KernelKind.OTHER, WorkKind.REDUCTION, rf"^aten::({_REDUCTIONS})$"),
    Line(KernelKind.OTHER, WorkKind.ELEMENTWISE, rf"^aten::({_POINTWISE})_?$"),
    Line(KernelKind.OTHER, WorkKind.BOOKKEEPING, rf"^aten::({_VIEWS})$|^profiler::|^(torch_)?prims?::"),
)
"""The table, in the order in which it is read."""

_HANDS_ON = re.compile(rf"^aten::({_HANDED_ON})$")
_COMPILED = tuple((line, re.compile(line.pattern)) for line in TABLE)
_NOTHING = Line(KernelKind.OTHER, WorkKind.OTHER, "")


@cache  # the rows of a sweep run the same kernels
def line_of(name: str) -> Line:
    """Return the line of the table for a kernel, or on a CPU an operator; an empty one where none fits."""
    return next((line for line, pattern in _COMPILED if pattern.search(name)), _NOTHING)


def classify(name: str) -> KernelKind:
    """Return whose the kernel of this name is."""
    return line_of(name).kind


def work_kind(name: str) -> WorkKind:
    """Return what kind of work the kernel of this name does."""
    return line_of(name).work


def is_product(name: str) -> bool:
    """Return whether the kernel or operator multiplies matrices itself, with a softmax in between or without.

    An operator that hands its product on is none, though its work is of that kind: the product would count twice.
    """
    return work_kind(name) in {WorkKind.MATMUL, WorkKind.ATTENTION} and not _HANDS_ON.search(name)
