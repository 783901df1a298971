"""FLOPs of a user's own model: no formula knows what is inside, so a process of its own counts them."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from windtunnel.bench.failing import printable
from windtunnel.spec.cell import Cell

COUNT_SECONDS = 300.0
"""Longer than any model takes to be made and run once without computing anything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """FLOPs of the matrix products of each phase; with a warning instead where they could not be counted."""

    flops: Mapping[str, int] = field(default_factory=dict[str, int])
    warning: str | None = None


def count_flops(cell: Cell) -> Counted:
    """Have the matrix products of one step of a user's own model counted by `windtunnel.bench.count_flops`.

    In a process of its own, because the user's code is run with tensors without memory: what it keeps of them, as a
    table for positions, would spoil the next cell.

    Cost: some seconds, most of them for importing torch.
    """
    command = [sys.executable, "-m", "windtunnel.bench.count_flops"]
    unknown = f"the FLOPs of model {cell.model.name!r} are not known: "
    try:
        child = subprocess.run(
            command, input=cell.model_dump_json().encode(), capture_output=True, check=False, timeout=COUNT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Counted(warning=f"{unknown}counting them took more than {COUNT_SECONDS:g} s")
    if child.returncode:
        said = printable(child.stderr.decode(errors="replace")).strip().splitlines()
        return Counted(
            warning=f"{unknown}it does not run on torch's fake tensors, where they are counted: "
            f"{said[-1] if said else f'exit code {child.returncode}'}"
        )
    answer = json.loads(child.stdout)
    if answer["strangers"]:
        return Counted(warning=f"{unknown}nobody knows those of {', '.join(answer['strangers'])}")
    return Counted(flops=answer["flops"])
