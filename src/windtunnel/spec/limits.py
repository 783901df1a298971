"""Which cells a device cannot run, said before anything is built: by the worker, and by a prediction."""

from windtunnel.errors import UnsupportedError
from windtunnel.spec.abilities import ABILITIES, Abilities, Call, Place
from windtunnel.spec.attention import AttentionSpec, parse_mask
from windtunnel.spec.cell import Cell
from windtunnel.spec.own_model import OwnModel
from windtunnel.spec.tables import PRECISIONS


def check_cell(cell: Cell, place: Place) -> None:
    """Refuse what is known to be refused when the cell is built; a user's own attention is not known here.

    Raises:
        UnsupportedError: The device, the precision or the attention backend cannot do it.
    """
    check_precision(cell.precision, place)
    if not isinstance(cell.model, OwnModel) and cell.attention in ABILITIES:
        check_attention(cell, ABILITIES[cell.attention], place)


def check_precision(name: str, place: Place) -> None:
    """Refuse what the device would emulate or ignore: that would be another precision than the one asked for.

    Raises:
        UnsupportedError: The device does not have it.
    """
    precision = PRECISIONS[name]
    if precision.tf32 and place.kind != "cuda":
        raise UnsupportedError(f"precision {name!r} is a mode of NVIDIA tensor cores; {place.kind} has none: use fp32")
    place.check_capability(f"precision {name!r}", precision.least_capability)


def check_attention(cell: Cell, abilities: Abilities, place: Place) -> None:
    """Refuse what the attention of a cell, which has these abilities, cannot do.

    Raises:
        UnsupportedError: It cannot do that there, or compiles itself inside of what is compiled.
    """
    abilities.check(cell.attention, call_of(cell), place)
    if abilities.is_compiled and cell.compile != "off":
        what = "compiled again with" if cell.is_attention else "part of a model under"
        raise UnsupportedError(
            f"attention {cell.attention!r} compiles itself, and cannot be {what} compile {cell.compile!r}: "
            "use compile 'off', or another attention"
        )


def call_of(cell: Cell) -> Call:
    """Return what a cell with attention of the tables asks of it."""
    assert not isinstance(cell.model, OwnModel)
    mask = parse_mask(cell.model.mask if isinstance(cell.model, AttentionSpec) else "causal")
    return Call(
        dtype=PRECISIONS[cell.precision].product_dtype,
        d_head=cell.model.d_head,
        is_causal=mask.is_causal,
        window=mask.window,
        is_grouped=cell.model.kv_heads != cell.model.num_heads,
        needs_backward=cell.workload not in {"forward", "attention_forward"},
    )
