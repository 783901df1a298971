"""A small grid with everything that a report has a section for, and golden files to compare with."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from factory import (
    GPU,
    TINY,
    make_attention_record,
    make_attention_task,
    make_pair,
    make_record,
    make_results,
    make_task,
)
from ledgers import make_ledger
from measured_grids import clean_records, write_grid
from precision_looks import make_look
from profiles import make_profile
from windtunnel.analysis.results import Results, load_results
from windtunnel.records.calibration import Calibration, Ceiling
from windtunnel.records.environment import Environment
from windtunnel.records.record import Failure, Kernel, Memory, Record, Status
from windtunnel.records.store import Run, open_store
from windtunnel.report.build import build_document
from windtunnel.report.document import Document
from windtunnel.report.write import write_report
from windtunnel.spec.model import ModelSpec
from windtunnel.spec.precision_request import PrecisionRequest

_CLAIMS = re.compile(
    r"(?<=<!-- )windtunnel claims .*(?= -->)"
    r"|(?<=id=\"windtunnel-claims\">).*(?=</script>)"
)
"""The claim ledger of a golden file: the hashes in it follow every field that records gain."""

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


EVIL = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>|`*x*`[a](javascript:b)\" onclick='alert(3)'"
    "\x1b[31m\x00\u202egnp.exe\u2066\u200f\u2028\\input{/etc/passwd}%$&#{{7*7}} javascript:alert(4)"
)
"""A text that tries to be markup of each format, a link, a colour of a terminal, and another text than it is."""


def poisoned(environment: Environment) -> Environment:
    """Return an environment whose every text is hostile, but the device by which records are told apart."""
    texts = {field.name: EVIL for field in fields(environment) if isinstance(getattr(environment, field.name), str)}
    return replace(environment, **{**texts, "device": environment.device, "settings": {EVIL: EVIL}})


@pytest.fixture
def hostile(tmp_path: Path) -> Document:
    """A document in which every free text of records, their environment and their looks tries to be markup."""
    size = TINY.model_copy(update={"name": EVIL})
    task = make_task(size=size, device="cuda:0")
    memory = Memory(built_bytes=1, peak_bytes=2, peak_reserved_bytes=3, capacity_bytes=4, source=EVIL)
    kernels = (Kernel(phase="forward", name=EVIL, launches=1, nanoseconds=1),)
    ok = make_record(task, warnings=(EVIL,), timed={"forward": EVIL}, memory=memory, kernels=kernels)
    failing = make_task(size=size, device="cuda:0", workload="train_step")
    failure = Failure(stage=EVIL, message=EVIL)
    failed = make_record(failing, status=Status.CRASHED, failure=failure)
    environment = poisoned(GPU)
    profile = make_profile(failing.cell)
    ledger = make_ledger(cell=failing.cell)
    look = make_look(request=PrecisionRequest(cell=failing.cell))
    components = tuple(replace(one, name=EVIL) for one in look.formats.components)
    looks = (
        replace(profile, source=EVIL, names=(EVIL,) * len(profile.names), warnings=(EVIL,), trace=EVIL),
        replace(ledger, device=replace(ledger.device, source=EVIL)),
        replace(look, formats=replace(look.formats, components=components)),
    )
    with open_store(tmp_path / "hostile") as store:
        run = store.begin_run(
            Run(
                started_at="2026-01-02T03:04:05+00:00",
                sweep={"name": EVIL, "description": EVIL},
                machine=environment.machine(),
                summary=None,
            )
        )
        for record in (ok, failed):
            store.add(record, environment)
        for look in looks:
            store.add_look(look, environment)
        store.end_run(run, {"seconds": {"start": 4.0, "measure": 2.5}})
    return build_document(load_results(tmp_path / "hostile"))


@pytest.fixture
def golden(pytestconfig: pytest.Config) -> Callable[[str, str], None]:
    """Return what compares a text with its golden file, or writes the file when --rewrite-goldens is given."""

    def check(name: str, text: str) -> None:
        text = _CLAIMS.sub("windtunnel-claims", text)
        path = GOLDENS / name
        if pytestconfig.getoption("--rewrite-goldens"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), f"{path} differs; pytest --rewrite-goldens writes it anew"

    return check


COURSE_MILLISECONDS = {
    (16, 1024): (0.391, 0.771),
    (16, 8192): (6.044, 17.166),
    (128, 1024): (0.701, 1.163),
    (128, 8192): (12.178, 28.37),
}
"""Forward and backward of compiled eager attention, batch 8, one head, by d and seq: as measured by a student."""


def attention_record(backend: str, compile: str, d: int, seq: int, workload: str) -> Record:
    """Return a record of the course's grid: eager holds two matrices for backward, sdpa-efficient none."""
    task = make_attention_task(seq=seq, d=d, backend=backend, compile=compile, workload=workload)
    slow = {"eager": 1.8 if compile == "off" else 1.0, "sdpa-efficient": 0.5}[backend]
    matrix, tensor = 8 * seq * seq * 4, 8 * seq * d * 4
    trains = workload == "attention_forward_backward"
    if backend == "eager" and seq == 16384:
        failure = Failure(
            stage="warmup",
            phase="backward" if trains and d == 16 else "forward",
            message="CUDA out of memory.",
            requested_bytes=matrix,
            free_bytes=3 * 2**30,
        )
        return make_attention_record(task, failure=failure)
    forward, backward = COURSE_MILLISECONDS.get((d, seq), (24.0 * d / 16, 70.0 * d / 16))
    held = (2 if backend == "eager" else 0) * matrix + 5 * tensor + 8 * seq * 4
    return make_attention_record(
        task,
        forward=forward * slow * (1 if trains else 0.9),
        backward=backward * slow,
        allocated=held if trains else 4 * tensor,
        saved=held - 2 * tensor if trains else 0,
        forward_peak=held + matrix if backend == "eager" else held,
        backward_peak=(held + 2 * matrix if backend == "eager" else held + 4 * tensor) if trains else None,
        errors=(3e-7, 4e-7, 5e-7, 3.5e-7) if trains else (3e-7,),
        kernels=kernels_of(backend, compile, d, *(("forward", "backward") if trains else ("forward",))),
        calls_per_sample=8 if seq == 1024 else 1,
    )


def kernels_of(backend: str, compile: str, d: int, *phases: str) -> list[Kernel]:
    """Return what ran: products and a softmax, Triton's where compiled, or one fused kernel; once a wrong one."""
    if backend == "sdpa-efficient":
        names = {
            "forward": "fmha_cutlassF_f32_aligned_64x64_rf_sm80",
            "backward": "fmha_cutlassB_f32_aligned_64x64_sm80",
        }
        return [Kernel(phase=phase, name=names[phase], launches=1, nanoseconds=900_000) for phase in phases]
    softmax = "triton_per_fused__softmax_mul_0" if compile != "off" and d == 16 else "cunn_SoftMaxForward<4, float>"
    return [
        Kernel(phase=phase, name=name, launches=launches, nanoseconds=nanoseconds)
        for phase in phases
        for name, launches, nanoseconds in (("sm80_xmma_gemm_f32f32_tn", 2, 600_000), (softmax, 1, 400_000))
    ]


@pytest.fixture
def attention_results(tmp_path: Path) -> Results:
    """Eager attention, compiled and not, and a fused kernel, of two widths and three lengths; one length is too long.

    Pairs of eager against compiled stand beside them.
    """
    variants = (("eager", "off"), ("eager", "default"), ("sdpa-efficient", "off"))
    with open_store(tmp_path / "attention") as store:
        run = store.begin_run(
            Run(
                started_at="2026-01-02T03:04:05+00:00",
                sweep={"name": "attention-alone", "description": "A course's grid."},
                machine=GPU.machine(),
                summary=None,
            )
        )
        for backend, compile in variants:
            for d in (16, 128):
                for seq in (1024, 8192, 16384):
                    store.add(attention_record(backend, compile, d, seq, "attention_forward_backward"), GPU)
        for seq in (1024, 8192, 16384):
            store.add(attention_record("eager", "off", 16, seq, "attention_forward"), GPU)
        for d in (16, 128):
            for seq in (1024, 8192):
                sides = [make_attention_task(seq=seq, d=d, compile=compile) for compile in ("off", "default")]
                store.add_comparison(make_pair(*sides, ratio=0.55), GPU, GPU)
        store.end_run(run, {"seconds": {"start": 4.0, "measure": 2.5}})
    return load_results(tmp_path / "attention")


@pytest.fixture
def attention_document(attention_results: Results) -> Document:
    return build_document(attention_results)


@pytest.fixture(scope="module")
def full_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with something of everything that a report may have."""
    folder = write_grid(tmp_path_factory.mktemp("store"), clean_records(0, contexts=(256,)))
    with open_store(folder) as store:
        a, b = (make_task(size="small", device="cuda:0", compile=compile) for compile in ("off", "default"))
        store.add_comparison(make_pair(a, b, ratio=0.5), GPU, GPU)
        for look in (make_ledger(), make_look(), make_profile()):
            store.add_look(look, GPU)
        ceiling = Ceiling(name="matmul fp32 4096", unit="FLOP/s", samples_ns=(2_000_000,) * 4, work=10**11)
        store.add_calibration(
            Calibration(
                device="cuda:0", started_at="2026-01-01T00:00:00+00:00", seconds=1.0, ceilings=(ceiling,), left_out={}
            ),
            GPU,
        )
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    assert executable, "the browser tests need chromium on the PATH: make chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def report(grid: Results, tmp_path: Path) -> Path:
    return write_report(grid, tmp_path / "report", ("html",))[0]
