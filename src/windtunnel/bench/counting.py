"""What a user's own model does and holds: no formula knows what is inside, so a process of its own counts it.

No torch here: the process that asks may be the parent.
"""

import json
import subprocess
import sys
from dataclasses import replace

from windtunnel.cost.counted import Counted
from windtunnel.spec.cell import Cell

COUNT_SECONDS = 300.0
"""Longer than any model takes to be made and run once without computing anything."""


def count_step(cell: Cell) -> Counted:
    """Have one step of a user's own model counted by `windtunnel.bench.count_step`.

    In a process of its own, because the user's code is run with tensors without memory: what it keeps of them, as a
    table for positions, would spoil the next cell.

    Cost: some seconds, most of them for importing torch.
    """
    command = [sys.executable, "-m", "windtunnel.bench.count_step"]
    unknown = f"the FLOPs of model {cell.model.name!r} are not known: "
    try:
        child = subprocess.run(
            command, input=cell.model_dump_json().encode(), capture_output=True, check=False, timeout=COUNT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Counted(warning=f"{unknown}counting them took more than {COUNT_SECONDS:g} s")
    if child.returncode or not child.stdout:
        said = child.stderr.decode(errors="backslashreplace").strip().splitlines()
        last = f"; its last words: {said[-1]}" if said else ""
        return Counted(warning=f"{unknown}the process that counts them ended with exit code {child.returncode}{last}")
    counted = Counted(**json.loads(child.stdout))
    reason = counted.fault or counted.warning
    return replace(counted, warning=f"{unknown}{reason}") if reason else counted
