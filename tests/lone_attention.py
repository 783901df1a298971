"""Tasks of attention alone, small enough for a CPU."""

from windtunnel.spec.attention import AttentionSpec
from windtunnel.spec.cell import Cell, MeasurePlan, Task


def attention_task(
    *,
    num_heads: int = 4,
    num_kv_heads: int | None = None,
    d_head: int = 8,
    mask: str = "causal",
    workload: str = "attention_forward_backward",
    batch_size: int = 2,
    context_length: int = 33,
    device: str = "cpu",
    plan: MeasurePlan | None = None,
    **cell_fields: object,
) -> Task:
    """Return a task of attention alone; everything not named has a small default, 33 is a tile and a row."""
    cell = Cell(
        model=AttentionSpec(num_heads=num_heads, num_kv_heads=num_kv_heads, d_head=d_head, mask=mask),
        workload=workload,
        batch_size=batch_size,
        context_length=context_length,
        device=device,
        **cell_fields,
    )
    return Task(cell=cell, plan=plan or MeasurePlan(warmup=2, steps=3))
