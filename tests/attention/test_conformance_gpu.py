"""Every backend of the table that runs on this GPU computes the formula there, forward and backward, in its dtypes."""

from functools import cache

import pytest
import torch

from attending import Case, attend_with_gradients, budgets, draw, faults, with_masks
from windtunnel.attention.backend import load_backend
from windtunnel.attention.reference import reference, relative_error
from windtunnel.errors import UnsupportedError
from windtunnel.spec.tables import ATTENTION_BACKENDS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore::UserWarning"),  # torch says there why a pinned kernel refuses
]

CUDA = torch.device("cuda", 0)
GROUPED = with_masks(Case(queries=257, keys=257, heads=4, kv_heads=2, d_head=64), windows=(100,))
CASES = (
    Case(queries=1, keys=1, d_head=64),
    *GROUPED,
    Case(queries=257, keys=257, d_head=64, is_causal=True),
    Case(queries=129, keys=129, d_head=128, batch=2, is_causal=True),
    Case(queries=65, keys=191, d_head=64),
    Case(queries=65, keys=191, d_head=64, is_causal=True),
)
"""Few sizes of a head: for each, and each mask, some backends compile for seconds."""

budget_of = cache(lambda dtype: budgets(CASES, dtype, "cuda"))


def assert_within_budget(name: str, case: Case, dtype: torch.dtype) -> None:
    """Attend and compare, or skip with the backend's own words where it refuses."""
    backend = load_backend(name)
    inputs = tuple(tensor.to(CUDA) for tensor in draw(case, dtype))
    try:
        case.check(backend, name, CUDA, dtype)
        found = attend_with_gradients(backend.run, case, inputs)
    except UnsupportedError as error:
        pytest.skip(str(error))

    assert faults(found, case, dtype, budget_of(dtype)) == {}


@pytest.mark.parametrize("name", [name for name in ATTENTION_BACKENDS if name not in {"compiled", "flex"}])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_errors_are_within_twice_those_of_the_plain_formula(name: str, case: Case):
    assert_within_budget(name, case, torch.bfloat16)


@pytest.mark.parametrize("name", [name for name in ATTENTION_BACKENDS if name not in {"compiled", "flex"}])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=["fp16", "fp32"])
def test_other_dtypes_keep_the_same_budget(name: str, dtype: torch.dtype):
    assert_within_budget(name, GROUPED[1], dtype)


@pytest.mark.compile
@pytest.mark.parametrize("name", ["compiled", "flex"])
@pytest.mark.parametrize("case", GROUPED, ids=str)
def test_compiled_backends_keep_the_same_budget(name: str, case: Case):
    assert_within_budget(name, case, torch.bfloat16)


@pytest.mark.parametrize("name", ["sdpa", "sdpa-flash", "sdpa-cudnn", "flash-triton", "flash-eager", "flash-attn-4"])
def test_inputs_may_lie_in_memory_as_the_model_leaves_them(name: str):
    """Heads lie beside one another there; and the gradient of a sum has no memory of its own at all."""
    case, backend = GROUPED[1], load_backend(name)
    q, k, v, do = (tensor.to(CUDA) for tensor in draw(case, torch.bfloat16))
    strided = tuple(tensor.transpose(1, 2).contiguous().transpose(1, 2) for tensor in (q, k, v))
    one = torch.ones((), device=CUDA, dtype=torch.bfloat16)
    try:
        case.check(backend, name, CUDA, torch.bfloat16)
    except UnsupportedError as error:
        pytest.skip(str(error))
    straight = attend_with_gradients(backend.run, case, (q, k, v, torch.ones_like(do)))

    found = attend_with_gradients(backend.run, case, (*strided, one.expand_as(do)))

    for part, tensor in found.items():
        assert relative_error(tensor, straight[part]) < 0.01, part


@pytest.mark.parametrize("name", ["flash-triton", "flash-eager"])
@pytest.mark.parametrize("case", GROUPED, ids=str)
def test_every_number_of_the_result_is_written(name: str, case: Case):
    """Memory is NaN until it is written."""
    budget_of(torch.bfloat16)  # made before
    torch.use_deterministic_algorithms(True, warn_only=True)  # cuBLAS would ask for a setting of its own

    try:
        assert_within_budget(name, case, torch.bfloat16)
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_reference_of_a_long_sequence_fits_beside_it():
    """16,384 rows take 2 GiB a head in float64 as a whole, and less than 2 GiB for all heads in blocks."""
    q = torch.randn(1, 4, 16384, 64, device=CUDA, dtype=torch.bfloat16)
    torch.cuda.reset_peak_memory_stats(CUDA)
    before = torch.cuda.memory_allocated(CUDA)

    found = reference(q, q, q, q, is_causal=True)

    assert found.o.isfinite().all()
    assert torch.cuda.max_memory_allocated(CUDA) - before < 2 * 2**30
