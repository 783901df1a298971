"""Two stores against each other: which cells match, what is refused, and which phase is blamed."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from factory import CPU, GPU, make_attention_record, make_attention_task, make_processes, make_record, make_task
from windtunnel.analysis.gate import MISSING, Gate, judge_stores, worth_confirming
from windtunnel.analysis.selection import choose, names_of, rows_by_run
from windtunnel.errors import SpecError, StoreError
from windtunnel.records.environment import Environment
from windtunnel.records.record import Failure, Kernel, Record, Status
from windtunnel.records.store import Run, open_store
from windtunnel.spec.cell import Task
from windtunnel.statistics.paired import Verdict

OOM = Failure(stage="measure", phase="backward", message="out of memory")
TASKS = [make_task(workload="train_step", context_length=length, steps=20) for length in (8, 16, 32, 64, 128, 256)]


def noisy(task: Task, *, ratio: float = 1.0, seed: int = 0, **fields: object) -> Record:
    draw = np.random.default_rng(task.cell.context_length + 1000 * seed)
    values = [10.0 * ratio * (1 + 0.004 * draw.standard_normal()) for _ in range(task.plan.steps)]
    return make_record(task, milliseconds=values, **fields)


def with_slower_phase(record: Record, phase: str, ratio: float) -> Record:
    """Return the record with one phase, and by as much the whole step, slower."""
    by_phase = {series.phase: series for series in record.samples}
    extra = [round((ratio - 1) * value) for value in by_phase[phase].nanoseconds]
    samples = tuple(
        replace(series, nanoseconds=tuple(a + b for a, b in zip(series.nanoseconds, extra, strict=True)))
        if series.phase in {phase, record.total}
        else series
        for series in record.samples
    )
    return replace(record, samples=samples)


def store_of(folder: Path, records: Iterable[Record], environment: Environment = CPU) -> str:
    with open_store(folder) as store:
        for record in records:
            store.add(record, environment)
    return str(folder)


def gate_of(tmp_path: Path, base: Sequence[Record], new: Sequence[Record], of_new: Environment = CPU) -> Gate:
    a, b = store_of(tmp_path / "base", base), store_of(tmp_path / "new", new, of_new)
    return judge_stores(choose(a), choose(b))


def test_nothing_changed_is_equivalent_everywhere(tmp_path: Path):
    gate = gate_of(tmp_path, [noisy(task) for task in TASKS], [noisy(task, seed=1) for task in TASKS])

    assert {cell.verdict for cell in gate.cells} == {Verdict.EQUIVALENT}
    assert not gate.is_no([Verdict.SLOWER, Verdict.FASTER, Verdict.INCONCLUSIVE])
    assert not worth_confirming(gate, most=5)


@pytest.mark.parametrize("phase", ["forward", "backward", "optimizer"])
def test_a_slow_down_of_one_phase_is_blamed_on_it_alone(tmp_path: Path, phase: str):
    ratio = {"forward": 1.8, "backward": 1.5, "optimizer": 4.0}[phase]
    new = [noisy(task, seed=1) for task in TASKS]
    new[2] = with_slower_phase(new[2], phase, ratio)

    gate = gate_of(tmp_path, [noisy(task) for task in TASKS], new)

    slower = [cell for cell in gate.cells if cell.verdict is Verdict.SLOWER]
    assert [cell.base.cell.context_length for cell in slower] == [32]
    assert [one.phase for one in slower[0].moved] == [phase]
    assert slower[0].moved[0].difference.value == pytest.approx(ratio - 1, rel=0.05)
    assert gate.is_no([Verdict.SLOWER])
    assert [cell.base.key for cell in worth_confirming(gate, most=1)] == [slower[0].base.key]


def test_a_cell_that_is_faster_is_no_reason_to_stop(tmp_path: Path):
    gate = gate_of(
        tmp_path,
        [noisy(task) for task in TASKS],
        [noisy(task, seed=1, ratio=0.6 if task is TASKS[0] else 1.0) for task in TASKS],
    )

    assert gate.cells[0].verdict is Verdict.FASTER
    assert not gate.is_no([Verdict.SLOWER])
    assert gate.is_no([Verdict.FASTER])


def test_several_processes_on_both_sides_are_judged_between_processes(tmp_path: Path):
    draw = np.random.default_rng(5)
    sides = [[list(ms * (1 + 0.003 * draw.standard_normal(10))) for _ in range(4)] for ms in (10.0, 13.0)]

    gate = gate_of(tmp_path, make_processes(*sides[0]), make_processes(*sides[1]))

    (cell,) = gate.cells
    assert cell.whole.difference.is_by_process
    assert cell.verdict is Verdict.SLOWER


def test_a_cell_that_fails_in_new_only_is_a_no(tmp_path: Path):
    base, new = [noisy(task) for task in TASKS], [noisy(task, seed=1) for task in TASKS]
    new[0] = make_record(TASKS[0], status=Status.OUT_OF_MEMORY, failure=OOM)
    base[1] = make_record(TASKS[1], status=Status.OUT_OF_MEMORY, failure=OOM)

    gate = gate_of(tmp_path, base, new)

    assert (len(gate.cells), len(gate.broken), len(gate.mended), len(gate.failing)) == (4, 1, 1, 0)
    assert gate.is_no([])


def test_a_cell_of_one_side_only_says_in_what_the_nearest_differs(tmp_path: Path):
    other = make_task(workload="train_step", context_length=512, steps=20)

    gate = gate_of(tmp_path, [noisy(TASKS[0]), noisy(other)], [noisy(TASKS[0], seed=1)])

    (one,) = gate.unmatched
    assert one.is_of_base
    assert [str(field) for field in one.differs_in] == ["context_length 512 → 8"]


def test_a_cell_that_vanished_is_a_no_only_where_that_was_asked_for(tmp_path: Path):
    both, vanished, added = TASKS[:3]

    gate = gate_of(tmp_path, [noisy(both), noisy(vanished)], [noisy(both, seed=1), noisy(added)])

    assert [row.cell.context_length for row in gate.missing] == [16]
    assert not gate.is_no([Verdict.SLOWER])
    assert gate.is_no([Verdict.SLOWER, MISSING])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"batch_size": 8}, "batch_size 4 → 8"),
        ({"context_length": 32}, "context_length 8 → 32"),
        ({"precision": "bf16"}, "precision fp32 → bf16"),
        ({"workload": "forward"}, "workload train_step → forward"),
        ({"size": "small"}, "model.d_model 32 → 768"),
        ({"warmup": 3}, "warmup 5 → 3"),
    ],
)
def test_cells_that_are_not_the_same_are_refused_and_the_fields_are_listed(
    tmp_path: Path, change: dict[str, object], field: str
):
    asked = {"workload": "train_step", "context_length": 8, **change}

    with pytest.raises(SpecError, match="no cell of BASE is in NEW") as refused:
        gate_of(tmp_path, [noisy(TASKS[0])], [noisy(make_task(**asked))])

    assert field in str(refused.value)


@pytest.mark.parametrize(
    ("environment", "part"),
    [
        (replace(CPU, device_name="Another CPU"), "device_name A CPU → Another CPU"),
        (replace(CPU, host_cores=8), "host_cores 16 → 8"),
        (replace(CPU, settings={"float32_matmul_precision": "high"}), "settings float32_matmul_precision=highest →"),
    ],
)
def test_another_machine_is_refused(tmp_path: Path, environment: Environment, part: str):
    with pytest.raises(SpecError) as refused:
        gate_of(tmp_path, [noisy(TASKS[0])], [noisy(TASKS[0], seed=1)], environment)

    assert part in str(refused.value)
    assert "on one machine" in str(refused.value)


def test_another_machine_is_refused_where_every_cell_failed_there(tmp_path: Path):
    failed = make_record(TASKS[0], status=Status.OUT_OF_MEMORY, failure=OOM)

    with pytest.raises(SpecError, match="device_name A CPU → Another CPU"):
        gate_of(tmp_path, [noisy(TASKS[0])], [failed], replace(CPU, device_name="Another CPU"))


def test_a_cell_that_failed_before_its_work_was_counted_is_not_refused(tmp_path: Path):
    crashed = make_record(TASKS[0], status=Status.CRASHED, failure=OOM, timed={}, flops={})

    assert len(gate_of(tmp_path, [noisy(TASKS[0])], [crashed]).broken) == 1


def test_another_timed_region_or_other_work_is_refused(tmp_path: Path):
    record = noisy(TASKS[0], seed=1)
    changed = replace(
        record,
        timed={**record.timed, "forward": "logits, and the loss"},
        flops={**record.flops, "backward": 17},
    )

    with pytest.raises(SpecError) as refused:
        gate_of(tmp_path, [noisy(TASKS[0])], [changed])

    assert "timed region of forward what is inside forward → logits, and the loss" in str(refused.value)
    assert "FLOPs of backward" in str(refused.value)


def test_another_torch_is_said_and_not_refused(tmp_path: Path):
    gate = gate_of(
        tmp_path, [noisy(TASKS[0])], [noisy(TASKS[0], seed=1)], replace(CPU, torch="2.13.0", git_commit="abc")
    )

    assert [str(field) for field in gate.software] == ["torch 2.11.0 → 2.13.0", "git_commit unknown → abc"]


def test_machines_in_one_store_are_not_merged(tmp_path: Path):
    folder = tmp_path / "both"
    store_of(folder, [noisy(TASKS[0])], CPU)
    newer = replace(CPU, torch="2.13.0")
    store_of(folder, [noisy(TASKS[0], seed=1)], newer)

    with pytest.raises(SpecError, match=r"BASE has .* of several machines.*torch 2.11.0.*@machine=HASH"):
        judge_stores(choose(str(folder)), choose(str(folder)))
    gate = judge_stores(
        choose(f"{folder}@machine={CPU.machine()[:8]}"), choose(f"{folder}@machine={newer.machine()[:8]}")
    )
    assert len(gate.cells) == 1


def test_kernels_that_changed_are_named_where_both_sides_have_them(tmp_path: Path):
    def record(ratio: float, name: str) -> Record:
        kernels = [
            Kernel(phase="forward", name=name, launches=1, nanoseconds=round(1e6 * ratio)),
            Kernel(phase="backward", name="softmax_backward", launches=2, nanoseconds=500),
        ]
        return make_attention_record(make_attention_task(), forward=ratio, kernels=kernels)

    gate = gate_of(tmp_path, [record(1.0, "old_gemm")], [record(9.0, "new_gemm")], CPU)

    (cell,) = gate.cells
    assert [(one.name, one.base_launches, one.new_launches) for one in cell.kernels[:2]] == [
        ("new_gemm", 0, 1),
        ("old_gemm", 1, 0),
    ]
    assert [one.phase for one in cell.moved] == ["forward"]


def run_of(name: str, started_at: str, environment: Environment = CPU) -> Run:
    return Run(started_at=started_at, sweep={"name": name}, machine=environment.machine(), summary=None)


@pytest.fixture
def two_runs(tmp_path: Path) -> Path:
    """A store with one cell measured by two runs, a day apart."""
    with open_store(tmp_path) as store:
        for day, name in enumerate(("main", "branch"), 1):
            store.begin_run(run_of(name, f"2026-03-0{day}T10:00:00+00:00"))
            record = noisy(TASKS[0], ratio=1.0 + 0.5 * (day - 1), seed=day)
            commit = replace(CPU, git_commit=f"{day}" * 12)
            store.add(replace(record, started_at=f"2026-03-0{day}T10:00:05.123+00:00"), commit)
    return tmp_path


@pytest.mark.parametrize(
    ("base", "new"),
    [("run=1", "run=2"), ("run=-2", "run=-1"), ("label=main", "label=branch"), ("commit=1111", "commit=22")],
)
def test_parts_of_one_store_are_chosen_by_run_label_and_commit(two_runs: Path, base: str, new: str):
    gate = judge_stores(choose(f"{two_runs}@{base}"), choose(f"{two_runs}@{new}"))

    assert gate.cells[0].whole.difference.value == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("run=3", "run is '3'; allowed: 1 to 2, or -1 for the last one"),
        ("run=x", "run is 'x'"),
        ("label=mian", "no record has label 'mian'; there are: branch, main"),
        ("comit=1", "unknown part of a store 'comit'.*did you mean 'commit'"),
        ("machine=zz", "no record has machine 'zz'"),
    ],
)
def test_a_part_that_is_not_there_is_explained(two_runs: Path, part: str, message: str):
    with pytest.raises(SpecError, match=message):
        choose(f"{two_runs}@{part}")


def test_a_folder_may_have_an_at_sign_in_its_name(tmp_path: Path):
    store_of(tmp_path / "me@home", [noisy(TASKS[0])])

    assert len(choose(str(tmp_path / "me@home")).rows) == 1
    with pytest.raises(StoreError):
        choose(str(tmp_path / "me@work"))


def test_a_commit_keeps_that_files_differ_from_it(tmp_path: Path):
    changed = replace(CPU, git_commit="0123456789abcdef+changes")

    rows = choose(store_of(tmp_path, [noisy(TASKS[0])], changed)).rows

    assert names_of(rows).endswith("commit 0123456789ab+changes")


def test_each_run_has_its_own_rows(two_runs: Path):
    runs = rows_by_run(two_runs)

    assert [one.run.sweep["name"] if one.run else None for one in runs] == ["main", "branch"]
    assert [len(one.rows) for one in runs] == [1, 1]


def test_probes_of_what_fits_are_no_times(tmp_path: Path):
    probe = make_record(make_task())
    probe = replace(probe, task=Task(cell=probe.task.cell, plan=probe.task.plan.model_copy(update={"purpose": "fit"})))

    with pytest.raises(SpecError, match=r"BASE has no times"):
        gate_of(tmp_path, [probe], [noisy(TASKS[0])])


def test_gpu_results_are_judged_as_those_of_a_cpu(tmp_path: Path):
    task = make_task(workload="forward_backward", device="cuda:0", steps=20)

    a, b = (store_of(tmp_path / str(seed), [noisy(task, seed=seed)], GPU) for seed in (0, 1))

    assert judge_stores(choose(a), choose(b)).cells[0].verdict is Verdict.EQUIVALENT
