"""Requests of looks at number formats, and precisions that are not there yet."""

import pytest
from pydantic import ValidationError

from precision_looks import CELL
from windtunnel.errors import SpecError
from windtunnel.spec.precision_request import PrecisionRequest
from windtunnel.spec.sides import match_precisions
from windtunnel.spec.sweep import Sweep, make_sweep

SHAPE = {"d_model": 32, "layers": 1, "heads": 2, "vocab": 11, "context": [8, 16], "batch": 1, "mode": "train_step"}


def sweep_of(*precisions: str) -> Sweep:
    sweep = make_sweep({**SHAPE, "precision": list(precisions)})
    assert isinstance(sweep, Sweep)
    return sweep


def test_what_is_asked_makes_the_key_and_defaults_do_not():
    plain = PrecisionRequest(cell=CELL)

    assert plain.key() == PrecisionRequest(cell=CELL, loss=None, loss_steps=50).key()
    assert plain.key() != PrecisionRequest(cell=CELL, loss="mine:loss").key()


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"loss": "mine"}, "write it as module:function"), ({"loss_steps": -1}, "greater than or equal to 0")],
)
def test_a_wrong_request_is_refused(fields: dict[str, object], message: str):
    with pytest.raises(ValidationError, match=message):
        PrecisionRequest(cell=CELL, **fields)


def test_fp8_is_known_and_says_what_to_use_until_a_later_version():
    with pytest.raises(SpecError, match=r"precision is 'fp8', which is not supported until a later version.*use bf16"):
        sweep_of("bf16", "fp8")


def test_each_precision_is_matched_with_fp32_at_each_point():
    pairs = match_precisions(sweep_of("fp32", "bf16", "fp16"), "cpu")

    assert [(a.cell.precision, b.cell.precision, b.cell.context_length) for a, b in pairs] == [
        ("fp32", "bf16", 8),
        ("fp32", "bf16", 16),
        ("fp32", "fp16", 8),
        ("fp32", "fp16", 16),
    ]
    assert all(a.cell == b.cell.model_copy(update={"precision": "fp32"}) for a, b in pairs)


def test_fp32_alone_has_nothing_to_be_compared_with():
    with pytest.raises(SpecError, match="name another, as --precision bf16"):
        match_precisions(sweep_of("fp32"), "cpu")
