"""Commands in texts: what they say is what they ask for."""

import pytest

from windtunnel.errors import SpecError
from windtunnel.spec.cell import Cell
from windtunnel.spec.flag_text import compare_command, flags_of, sides_of
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.sides import match_sides
from windtunnel.spec.sweep import make_sweep

SHAPE = {"d_model": 64, "layers": 2, "heads": 4}


def cell_of(**fields: object) -> Cell:
    shape = {} if "model" in fields or "size" in fields else SHAPE
    (task,) = make_sweep({"mode": "train_step", **shape, **fields}).expand("cpu")
    return task.cell


CELLS = (
    cell_of(),
    cell_of(size="small", context=1024, batch=1, precision="bf16", seed=7),
    cell_of(kv_heads=2, d_ff=100, vocab=50, tied=True, activation="relu", checkpoint="every:2"),
    cell_of(model="my.models:make", vocab=50, compile="default"),
    cell_of(attention="my.kernels:flash", mode="forward"),
)


@pytest.mark.parametrize("a", CELLS)
@pytest.mark.parametrize("b", CELLS)
def test_the_command_that_compares_two_cells_asks_for_these_two(a: Cell, b: Cell):
    sides = sides_of(compare_command(a, b))

    assert sides is not None
    assert [task.cell for side in sides for task in make_sweep(side).expand("cpu")] == [a, b]


def test_what_both_share_is_said_once():
    a = cell_of()

    command = compare_command(a, a.model_copy(update={"attention": "sdpa"}))

    assert command.endswith('--a "--attention eager" --b "--attention sdpa"')
    assert command.count("--d-model") == 1


def test_of_an_own_model_the_flags_have_neither_attention_nor_checkpoint():
    flags = flags_of(cell_of(model="a:b", vocab=50))

    assert isinstance(cell_of(model="a:b").model, OwnModel)
    assert not {"attention", "checkpoint"} & flags.keys()


def test_a_command_of_the_rules_with_one_side_is_read():
    sides = sides_of('windtunnel compare --size small,medium --context 256 --mode train_step --b "--compile default"')

    assert sides is not None
    pairs = match_sides(*(make_sweep(side) for side in sides), "cpu")
    assert [(a.cell.compile, b.cell.compile) for a, b in pairs] == [("off", "default")] * 2


def test_how_it_is_compared_is_no_part_of_what_is_compared():
    plain = sides_of('windtunnel compare --size small --b "--compile default"')

    assert sides_of('windtunnel compare --size small --pair process --max-time 9s --b "--compile default"') == plain


def test_another_command_is_none():
    assert sides_of("windtunnel step --size small") is None


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("windtunnel compare --size small", "has no sides"),
        ('windtunnel compare --szie small --b "--compile default"', "unknown flag '--szie'.*did you mean '--size'"),
        ("windtunnel compare --b", "--b has no value"),
    ],
)
def test_a_command_that_nobody_could_run_says_why(command: str, message: str):
    with pytest.raises(SpecError, match=message):
        sides_of(command)
