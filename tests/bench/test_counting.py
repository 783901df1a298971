"""FLOPs of a user's own model, counted by a child that makes it of tensors without memory."""

from pathlib import Path

import pytest

from factory import make_task
from windtunnel.bench.counting import count_step
from windtunnel.cost.memory import predict_memory
from windtunnel.cost.parameters import parameter_count
from windtunnel.cost.step import cost_of
from windtunnel.spec.cell import Cell
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.own_model import OwnModel

CODE = """
import os

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention


class Lines(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, 4)
        self.head = nn.Linear(4, vocab_size)
        print("what the user's code prints is no answer")

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


class Attending(Lines):
    def forward(self, tokens):
        x = self.embedding(tokens)[:, None]
        return self.head(scaled_dot_product_attention(x, x, x, is_causal=True)[:, 0])


class Looking(Lines):
    def forward(self, tokens):
        return super().forward(tokens) * float(self.head.weight.sum().item() > 0)


@torch.library.custom_op("own_flops::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


twice.register_fake(torch.empty_like)


class Strange(Lines):
    def forward(self, tokens):
        return twice(super().forward(tokens))


class Tuned(Lines):
    def __init__(self, vocab_size):
        super().__init__(vocab_size)
        self.inner = nn.Linear(4, 4).requires_grad_(False)
        self.unused = nn.Linear(30, 30)

    def forward(self, tokens):
        return self.head(self.inner(self.embedding(tokens)))


class Raising(Lines):
    def forward(self, tokens):
        raise ValueError("first line\\nsecond line")


def failing(vocab_size):
    raise RuntimeError("first line\\nsecond line 文字")


def looking(vocab_size):
    model = Lines(vocab_size)
    model.head.weight.sum().item()
    return model


def ending(vocab_size):
    os._exit(7)


def reference(vocab_size, context_length):
    from windtunnel.attention import sdpa
    from windtunnel.models.transformer import Transformer
    from windtunnel.spec.model import ModelSpec

    return Transformer(ModelSpec(vocab_size=vocab_size, **SHAPE), sdpa.SDPA.attend, context_length=context_length)
"""

SHAPE = {
    "name": "tiny", "d_model": 24, "d_ff": 40, "num_layers": 3, "num_heads": 4, "num_kv_heads": 2, "activation": "gelu",
    "is_tied": True,
}  # fmt: skip

HEAD = 2 * (4 * 5) * (4 * 7)
"""Of batch 4, context 5, width 4 and 7 tokens."""
ATTENTION = 4 * 4 * 5 * 5 * 4
"""Two products of a multiply and an add, for each pair of a query and a key, hidden or not, and number of a head."""


@pytest.fixture(autouse=True)
def _own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_flops.py").write_text(f"{CODE}\nSHAPE = {SHAPE}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")


def cell_of(name: str, workload: str) -> Cell:
    model = OwnModel(factory=f"own_flops:{name}", vocab_size=7)
    return make_task(size=model, workload=workload, context_length=5).cell


@pytest.mark.parametrize(
    ("name", "workload", "flops"),
    [
        ("Lines", "forward", {"forward": HEAD}),
        ("Attending", "train_step", {"forward": HEAD + ATTENTION, "backward": 2 * (HEAD + ATTENTION)}),
    ],
)
def test_the_products_of_each_phase_are_counted_as_in_the_closed_forms(name: str, workload: str, flops: dict[str, int]):
    assert count_step(cell_of(name, workload)).flops == flops


def test_of_the_reference_model_the_counter_finds_what_the_closed_form_says():
    own = cell_of("reference", "train_step")
    cell = own.model_copy(update={"model": ModelSpec(vocab_size=7, **SHAPE)})

    assert count_step(own).flops == cost_of(cell).flops


def test_the_memory_of_the_reference_model_is_that_of_the_closed_form_but_for_its_norms():
    own = cell_of("reference", "train_step").model_copy(update={"context_length": 64})
    cell = own.model_copy(update={"model": ModelSpec(vocab_size=7, **SHAPE), "attention": "sdpa"})

    counted, predicted = count_step(own), predict_memory(cell)

    assert counted.parameters == parameter_count(cell.model)
    assert list(counted.held) == list(predicted.phases)
    assert counted.held["backward"] == pytest.approx(predicted.phases["backward"], rel=0.35)
    assert counted.held["optimizer"] == pytest.approx(predicted.phases["optimizer"], rel=0.1)


def test_optimizer_states_are_those_of_the_weights_that_have_a_gradient():
    counted, plain = count_step(cell_of("Tuned", "train_step")), count_step(cell_of("Lines", "train_step"))

    trained = plain.resident["parameters"]
    assert counted.resident["parameters"] == trained + 4 * (4 * 4 + 4) + 4 * (30 * 30 + 30)
    assert counted.resident["optimizer"] == plain.resident["optimizer"] == 2 * trained
    assert counted.held["optimizer"] == plain.held["optimizer"] + counted.resident["parameters"] - trained


def test_weights_that_are_frozen_have_no_products_of_their_gradient():
    counted, plain = count_step(cell_of("Tuned", "train_step")), count_step(cell_of("Lines", "train_step"))

    inner = 2 * (4 * 5) * (4 * 4)
    assert counted.flops["forward"] == plain.flops["forward"] + inner
    assert counted.flops["backward"] == plain.flops["backward"] + inner


def test_a_factory_that_raises_is_a_fault_with_all_that_it_says():
    counted = count_step(cell_of("failing", "forward"))

    assert counted.fault == (
        "model 'own_flops:failing' cannot be made: it must return a torch.nn.Module, and its code raised "
        "RuntimeError: first line\nsecond line 文字"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Looking", "it does not run on torch's fake tensors, where they are counted: DataDependentOutputException: "),
        ("looking", "it does not run on torch's fake tensors, where they are counted: DataDependentOutputException: "),
        (
            "Raising",
            "it does not run on torch's fake tensors, where they are counted: ValueError: first line\nsecond line",
        ),
        ("Strange", "nobody knows those of own_flops.twice.default"),
        ("ending", "the process that counts them ended with exit code 7"),
    ],
)
def test_where_they_cannot_be_counted_a_warning_says_why(name: str, reason: str):
    counted = count_step(cell_of(name, "forward"))

    assert counted.flops == {}
    assert counted.fault is None
    assert counted.warning.startswith(f"the FLOPs of model 'own_flops:{name}' are not known: {reason}")
