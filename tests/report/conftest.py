"""A small grid with everything that a report has a section for, and golden files to compare with."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from factory import GPU, TINY, make_record, make_results, make_task
from windtunnel.analysis.results import Results, load_results
from windtunnel.records.environment import Environment
from windtunnel.records.record import Failure, Record, Status
from windtunnel.records.store import Run, open_store
from windtunnel.report.build import build_document
from windtunnel.report.document import Document
from windtunnel.spec.model import ModelSpec

GOLDENS = Path(__file__).parents[1] / "data" / "report"

WIDE = ModelSpec(name="wide", d_model=64, d_ff=256, num_layers=3, num_heads=4, vocab_size=101)
DEEP = ModelSpec(name="deep", d_model=64, d_ff=256, num_layers=9, num_heads=4, vocab_size=101)

OUT_OF_MEMORY = Failure(
    stage="backward", message="CUDA out of memory.", requested_bytes=512 * 2**20, free_bytes=3 * 2**20
)


STEPS = 40
FACTORS = [1 + 0.002 * (7 * place % 11 - 5) for place in range(STEPS)]
"""Samples within 1 % of the median, in an order that is none."""


def grid_record(size: ModelSpec, workload: str, warmup: int, milliseconds: float) -> Record:
    """Return a record: a slow first step where there is no warm-up, and two warm cells that are irregular."""
    task = make_task(size=size, workload=workload, warmup=warmup, steps=STEPS, device="cuda:0")
    samples = [milliseconds * factor for factor in FACTORS]
    if not warmup:
        samples[0] += 200
    elif size is WIDE and workload == "train_step":
        samples = [value * (1 + 0.002 * place) for place, value in enumerate(samples)]
    elif size is TINY and workload == "train_step":
        samples = [value * (1.2 if place // 5 % 2 else 1) for place, value in enumerate(samples)]
    if size is DEEP and workload == "train_step":
        return make_record(task, status=Status.OUT_OF_MEMORY, failure=OUT_OF_MEMORY)
    return make_record(task, milliseconds=samples)


@pytest.fixture
def grid(tmp_path: Path) -> Results:
    """Three sizes, three workloads, with and without warm-up; the largest training steps do not fit."""
    times = {"forward": 10.0, "forward_backward": 30.0, "train_step": 36.0}
    with open_store(tmp_path / "grid") as store:
        run = store.begin_run(
            Run(
                started_at="2026-01-02T03:04:05+00:00",
                sweep={"name": "three-sizes", "description": "A small grid."},
                machine=GPU.machine(),
                summary=None,
            )
        )
        for scale, size in enumerate((TINY, WIDE, DEEP), start=1):
            for workload, milliseconds in times.items():
                growth = scale if workload == "forward" else scale**1.2
                for warmup in (0, 5):
                    store.add(grid_record(size, workload, warmup, milliseconds * growth), GPU)
        store.end_run(run, {"seconds": {"start": 4.0, "measure": 2.5}})
    return load_results(tmp_path / "grid")


@pytest.fixture
def document(grid: Results) -> Document:
    return build_document(grid)


@pytest.fixture
def report_of(tmp_path: Path) -> Callable[..., Document]:
    """Return a function that makes the document of some records."""

    def build(*records: Record, environment: Environment = GPU) -> Document:
        return build_document(make_results(tmp_path / "records", [(record, environment) for record in records]))

    return build


@pytest.fixture
def hostile(report_of: Callable[..., Document]) -> Document:
    """A document in which every text of a record tries to be markup."""
    evil = "</script><script>alert(1)</script>|`*x*`[a](javascript:b)\x1b[31m"
    size = TINY.model_copy(update={"name": evil})
    ok = make_record(make_task(size=size, device="cuda:0"), warnings=(evil,), timed={"forward": evil})
    failed = make_record(
        make_task(size=size, device="cuda:0", workload="train_step"),
        status=Status.CRASHED,
        failure=Failure(stage=evil, message=evil),
    )
    return report_of(ok, failed, environment=replace(GPU, device_name=evil, settings={evil: evil}))


@pytest.fixture
def golden(pytestconfig: pytest.Config) -> Callable[[str, str], None]:
    """Return what compares a text with its golden file, or writes the file when --rewrite-goldens is given."""

    def check(name: str, text: str) -> None:
        path = GOLDENS / name
        if pytestconfig.getoption("--rewrite-goldens"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{path} differs; pytest --rewrite-goldens writes it anew"

    return check
