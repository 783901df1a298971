"""The flash kernels on the GPU that is here, with the tiles that they ship with: what the interpreter cannot show."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from flash_cases import PARTS, Case, draw, error_budget, errors_of, faults_of, make_cases, run, run_plainly, solve
from windtunnel.attention.flash_triton import FlashAttention2Triton, attend
from windtunnel.attention.reference import reference, relative_error

pytestmark = pytest.mark.gpu

CASES = make_cases(64, 64, (1, 24, 32, 64, 80, 128, 256))
CHECKED = [
    *((case, torch.bfloat16) for case in CASES),
    *((case, torch.float32) for case in CASES[::3]),
    *((case, torch.float16) for case in CASES[::5]),
]


def attend_with_lse(q: Tensor, k: Tensor, v: Tensor, *, is_causal: bool, window: int | None) -> tuple[Tensor, Tensor]:
    O = FlashAttention2Triton.apply(q, k, v, is_causal, window)
    return O, O.grad_fn.saved_tensors[4]


def variant_of(argument: object) -> object:
    """Return as much of an argument as Triton compiles for."""
    if isinstance(argument, Tensor):
        return argument.dtype, argument.data_ptr() % 16 == 0
    if isinstance(argument, tuple):
        return tuple(variant_of(item) for item in argument)
    return (argument == 1, argument % 16 == 0) if isinstance(argument, int) else type(argument)


@pytest.fixture(scope="module", autouse=True)
def _compiled_ahead() -> None:
    """Compile all that the cases need in threads; one after the other it takes minutes."""
    from windtunnel.kernels.blocks import Launch

    launches: list[Launch] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Launch, "run", lambda launch: launches.append(launch))
        for case, dtype in CHECKED:
            run(attend_with_lse, case, draw(case, dtype, "cuda"))
    variants = {
        (id(launch.kernel), tuple(launch.constants.items()), variant_of(launch.arguments)): launch
        for launch in launches
    }
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(Launch.compile, variants.values()))


@pytest.fixture
def _nan_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that is NaN until it is written."""
    for name in ("empty", "empty_like"):
        make = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *args, make=make, **kwargs: _poison(make(*args, **kwargs)))


def _poison(tensor: Tensor) -> Tensor:
    return tensor.fill_(float("nan")) if tensor.is_floating_point() else tensor


@pytest.mark.usefixtures("_nan_outputs")
@pytest.mark.timeout(600)  # the first waits for the compiler
@pytest.mark.parametrize(("case", "dtype"), CHECKED, ids=str)
def test_errors_are_within_twice_those_of_the_plain_formula(case: Case, dtype: torch.dtype):
    faults = faults_of(attend_with_lse, case, dtype, "cuda", error_budget(CASES, dtype, "cuda"))

    assert faults == {}


@pytest.fixture
def _tf32() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)


GRADIENTS_AND_O = ("O", "dQ", "dK", "dV")
LONG = Case(queries=515, keys=515, batch_size=2, heads=4, kv_heads=2, d_head=64, is_causal=True)


@pytest.mark.usefixtures("_tf32")
def test_tf32_is_used_where_torch_uses_it_and_errs_at_most_four_times_as_much():
    """Triton hands all bits to tensor cores, which cut: twice the error of rounding in each of two operands."""
    inputs, exact = draw(LONG, torch.float32, "cuda"), solve(LONG, torch.float32, "cuda")
    plain = dict(errors_of(run_plainly(LONG, inputs), exact))

    errors = dict(errors_of(run(attend_with_lse, LONG, inputs), exact))

    assert errors["O"] > 1e-5
    assert {part: errors[part] / plain[part] for part in GRADIENTS_AND_O if errors[part] > 4 * plain[part]} == {}


def test_float32_errs_over_a_long_sequence_as_the_plain_formula_does():
    """An alpha that is not quite 1 where no maximum changes errs seven times as much here, and not on short ones."""
    case = Case(queries=16384, keys=16384, d_head=64)
    inputs = draw(case, torch.float32, "cuda")
    exact = reference(*inputs, is_causal=False)
    expected = {"O": exact.o, "dQ": exact.dq, "dK": exact.dk, "dV": exact.dv}
    plain = run_plainly(case, inputs)

    found = run(attend_with_lse, case, inputs)

    for part, of in expected.items():
        assert relative_error(found[part], of) <= 2 * relative_error(plain[part], of), part


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_the_same_call_gives_the_same_bits(dtype: torch.dtype):
    inputs = draw(LONG, dtype, "cuda")

    first, second = run(attend_with_lse, LONG, inputs), run(attend_with_lse, LONG, inputs)

    assert all(torch.equal(first[part], second[part]) for part in PARTS)


def test_an_output_of_more_than_32_bits_of_elements_is_written_whole():
    """All heads are one and the same, expanded: so must the outputs be, up to the last."""
    heads, seq_len, d_head = 2**17 + 8, 256, 64
    generator = torch.Generator("cuda").manual_seed(0)
    one = [torch.randn(1, 1, seq_len, d_head, device="cuda", generator=generator).to(torch.bfloat16) for _ in range(4)]
    q, k, v = (tensor.expand(1, heads, -1, -1).detach().requires_grad_() for tensor in one[:3])

    O = FlashAttention2Triton.apply(q, k, v, True)
    found = (O.detach(), *torch.autograd.grad(O, (q, k, v), one[3].expand_as(O)))

    assert O.numel() > 2**31
    case = Case(queries=seq_len, keys=seq_len, d_head=d_head, is_causal=True)
    alone = run(attend_with_lse, case, tuple(one))
    for part, tensor in zip(("O", "dQ", "dK", "dV"), found, strict=True):
        assert torch.equal(tensor[:, :1], alone[part]), part
        assert torch.equal(tensor[:, -1:], alone[part]), part


def test_inputs_whose_rows_lie_more_than_32_bits_apart_are_read():
    row_stride, seq_len = 2**23 - 64, 300
    buffer = torch.zeros(row_stride * (seq_len - 1) + 64, dtype=torch.bfloat16, device="cuda")
    far = buffer.as_strided((1, 1, seq_len, 64), (0, 0, row_stride, 1))
    far.normal_(generator=torch.Generator("cuda").manual_seed(0))
    near = far.contiguous()

    assert row_stride * seq_len > 2**31
    assert torch.equal(attend(far, far, far, is_causal=True), attend(near, near, near, is_causal=True))


def test_autocast_decides_on_the_dtype_and_gradients_keep_theirs():
    q = torch.randn(1, 2, 130, 64, device="cuda", requires_grad=True)

    with torch.autocast("cuda", torch.bfloat16):
        O = attend(q, q, q, is_causal=True)
    O.sum().backward()

    assert O.dtype == torch.bfloat16
    assert q.grad.dtype == torch.float32


@pytest.mark.compile
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch.compile does that
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_whole_graph_is_compiled(dtype: torch.dtype):
    inputs = draw(LONG, dtype, "cuda")
    compiled = torch.compile(attend_doubled, fullgraph=True)

    expected, found = (run_doubled(of, inputs) for of in (attend_doubled, compiled))

    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def attend_doubled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return 2 * attend(q, k, v, is_causal=True)


def run_doubled(function, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    q, k, v = (tensor.detach().requires_grad_() for tensor in inputs[:3])
    O = function(q, k, v)
    return (O.detach(), *torch.autograd.grad(O, (q, k, v), inputs[3]))
