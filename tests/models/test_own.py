"""The door for a model of the user's own: what passes, and what is said of everything else."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from windtunnel.errors import RunError, SpecError
from windtunnel.models.own import CheckedOnce, build_own_model, check_logits
from windtunnel.spec.own_model import OwnModel

CPU = torch.device("cpu")
VOCAB_SIZE = 7
TOKENS = torch.zeros(2, 3, dtype=torch.int64)


class Lines(nn.Module):
    """A model that looks at one token at a time."""

    def __init__(self, vocab_size: int = VOCAB_SIZE, context_length: int = 0) -> None:
        super().__init__()
        self.context_length = context_length
        self.embedding = nn.Embedding(vocab_size, 4)
        self.head = nn.Linear(4, vocab_size)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens))


class Taking(Lines):
    """The same, with more to tell it."""

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return super().forward(tokens) * mask


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Build a model of a factory that is made importable as `own_models:make`."""

    def build(factory: object, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> nn.Module:
        module = ModuleType("own_models")
        module.make = factory
        monkeypatch.setitem(sys.modules, "own_models", module)
        spec = OwnModel(factory="own_models:make", vocab_size=VOCAB_SIZE)
        return build_own_model(spec, context_length=9, device=CPU, dtype=dtype, seed=seed)

    return build


def test_a_class_is_given_what_it_names(make):
    model = make(Lines)

    assert (model.context_length, model.head.out_features) == (9, VOCAB_SIZE)


def test_a_function_without_parameters_is_given_nothing(make):
    assert make(lambda: Lines(3)).head.out_features == 3


def test_the_weights_follow_from_the_seed_and_the_random_state_is_given_back(make):
    before = torch.get_rng_state()

    one, same, other = (make(Lines, seed=seed).head.weight for seed in (1, 1, 2))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_weights_have_the_dtype_of_the_precision(make):
    assert {parameter.dtype for parameter in make(Lines, dtype=torch.bfloat16).parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (5, "is an int, not a function that makes a torch.nn.Module: name one, or a module's class"),
        (lambda: None, "returned a NoneType; it must return a torch.nn.Module"),
        (lambda: SimpleNamespace(), "returned a SimpleNamespace; it must return a torch.nn.Module"),
        (lambda width: Lines(), "cannot be called with no arguments: missing a required argument: 'width'"),
        (lambda vocab_size, width: Lines(), "cannot be called with vocab_size: missing a required argument: 'width'"),
        (lambda: Taking(), "forward cannot take tokens alone: missing a required argument: 'mask'; wrap it in one"),
    ],
)
def test_what_makes_no_model_is_refused(make, factory: object, message: str):
    with pytest.raises(SpecError, match=f"model 'own_models:make' .*{message}"):
        make(factory)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module:make", "cannot be loaded: No module named 'no_such_module'; write it as module:function"),
        ("windtunnel.units:make_model", "cannot be loaded: module 'windtunnel.units' has no attribute 'make_model'"),
        (".models:make", "its module is relative; write it as module:function"),
    ],
)
def test_a_factory_that_is_not_there_is_named(path: str, message: str):
    with pytest.raises(SpecError, match=f"model '{path}' .*{message}"):
        build_own_model(OwnModel(factory=path), context_length=9, device=CPU, dtype=torch.float32, seed=0)


def test_an_error_of_the_users_own_code_comes_as_it_is(make):
    def broken() -> nn.Module:
        raise KeyError("width")

    with pytest.raises(KeyError, match="width"):
        make(broken)


SPEC = OwnModel(factory="a:b", vocab_size=VOCAB_SIZE)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ({"logits": 1}, "returned a dict, not a tensor of logits: wrap it in a module whose forward returns"),
        (
            torch.zeros(2, 3, 9),
            r"returned logits of shape \(2, 3, 9\); allowed: \(2, 3, 7\), .*for its own vocabulary give --vocab 9",
        ),
        (
            torch.zeros(6, VOCAB_SIZE),
            r"returned logits of shape \(6, 7\); allowed: \(2, 3, 7\), \[batch, seq, vocab\]$",
        ),
        (torch.zeros(2, 3, VOCAB_SIZE, dtype=torch.int64), "returned torch.int64; logits are floating-point numbers"),
        (torch.zeros(2, 3, VOCAB_SIZE), "returned logits without a gradient: measure its forward alone"),
    ],
    ids=["type", "vocab", "flat", "dtype", "gradient"],
)
def test_what_is_not_logits_is_an_error_that_says_so(logits: object, message: str):
    with pytest.raises(RunError, match=f"model 'a:b' {message}"):
        check_logits(SPEC, logits, TOKENS, trains=True)


def test_without_a_backward_logits_need_no_gradient():
    check_logits(SPEC, torch.zeros(2, 3, VOCAB_SIZE), TOKENS, trains=False)


def test_only_the_first_logits_are_checked():
    answers = [torch.zeros(2, 3, VOCAB_SIZE), "not looked at"]
    run = CheckedOnce(SPEC, lambda tokens: answers.pop(0), trains=False)

    run(TOKENS)

    assert run(TOKENS) == "not looked at"
