"""Cells with a model of the user's own: what their records hold, and how they fail."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from factory import make_task
from windtunnel.analysis.kernels import expected
from windtunnel.bench import cell as cell_module
from windtunnel.bench.cell import measure_cell
from windtunnel.cost.counted import Counted
from windtunnel.records.record import Record, Status, record_from_json, record_to_json
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.tables import STEP_WORKLOADS


class Lines(nn.Module):
    """A model that looks at one token at a time, and says in which mode it was run."""

    modes: ClassVar[set[bool]] = set()

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, 4)
        self.head = nn.Linear(4, vocab_size)

    def forward(self, tokens: Tensor) -> Tensor:
        Lines.modes.add(self.training)
        return self.head(self.embedding(tokens))


COUNTED = Counted(flops={"forward": 11, "backward": 22}, warning="counted")

Measure = Callable[..., Record]


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Measure a cell with the model that `factory` makes; 7 tokens, 1 warm-up step and 2 samples."""

    def run(factory: object, **fields: Any) -> Record:
        module = ModuleType("own_models")
        module.make = factory
        monkeypatch.setitem(sys.modules, "own_models", module)
        monkeypatch.setattr(cell_module, "count_step", lambda cell: COUNTED)
        size = OwnModel(factory="own_models:make", vocab_size=7)
        task = make_task(**{"size": size, "context_length": 5, "warmup": 1, "steps": 2} | fields)
        record, _ = measure_cell(task, process=1, is_first_in_process=True, on_stage=lambda stage: None)
        return record

    return run


@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16-pure"])
@pytest.mark.parametrize("workload", STEP_WORKLOADS)
def test_its_step_has_the_phases_of_any_step(measure: Measure, workload: str, precision: str):
    record = measure(Lines, workload=workload, precision=precision)

    assert (record.status, record.failure) == (Status.OK, None)
    assert list(dict.fromkeys(series.phase for series in record.samples)) == list(STEP_WORKLOADS[workload].timed)


def test_its_parameters_are_counted_and_its_flops_are_those_of_the_counter(measure: Measure):
    record = measure(Lines, workload="train_step")

    assert record.parameters == 7 * 4 + 4 * 7 + 7
    assert (record.flops_by, record.flops, record.warnings) == ("counter", COUNTED.flops, (COUNTED.warning,))
    assert list(record.stages) == ["build", "warmup", "measure", "probe", "clean"]
    assert record_from_json(record_to_json(record)) == record


def test_a_model_that_was_never_built_has_no_number_of_parameters(measure: Measure):
    record = measure(5)

    assert (record.status, record.parameters, record.flops) == (Status.UNSUPPORTED, None, {})
    assert record.failure.message.startswith("model 'own_models:make' is an int, not a function")


@pytest.mark.parametrize(("workload", "modes"), [("forward", {False}), ("train_step", {True})])
def test_it_trains_where_there_is_a_backward_only(measure: Measure, workload: str, modes: set[bool]):
    Lines.modes.clear()

    measure(Lines, workload=workload)

    assert Lines.modes == modes


def test_wrong_logits_are_a_failure_that_says_what_is_wrong(measure: Measure):
    record = measure(lambda: nn.Embedding(7, 9), warmup=0)

    assert (record.status, record.failure.stage, record.failure.phase) == (Status.FAILED, "measure", "forward")
    assert "logits of shape (4, 5, 9); allowed: (4, 5, 7)" in record.failure.message


def test_the_same_seed_makes_the_same_first_step(measure: Measure):
    seen: list[Tensor] = []

    class Watched(Lines):
        def forward(self, tokens: Tensor) -> Tensor:
            seen.append(super().forward(tokens).detach())
            return self.head(self.embedding(tokens))

    for seed in (1, 1, 2):
        measure(Watched, seed=seed, warmup=0, steps=1)

    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_of_its_kernels_nothing_is_expected():
    cell = make_task(size=OwnModel(factory="a:b")).cell

    assert expected(cell) is None
    assert expected(cell.model_copy(update={"compile": "default"})).is_compiled


@pytest.mark.compile
def test_it_is_compiled_as_one_graph(measure: Measure):
    record = measure(
        lambda vocab_size: nn.Sequential(nn.Embedding(vocab_size, 4), nn.Linear(4, vocab_size)), compile="default"
    )

    assert (record.status, record.failure, record.warnings) == (Status.OK, None, (COUNTED.warning,))
