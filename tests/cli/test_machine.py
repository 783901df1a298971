"""The commands about the machine: what they print, store and answer, and what reports make of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from calling import CallCli
from factory import CPU, GPU, make_record, make_results, make_task
from reading import column_of, section_of, tables_of, texts_of
from windtunnel.analysis.results import load_results
from windtunnel.errors import SpecError
from windtunnel.records.calibration import Calibration, Ceiling, calibration_from_json
from windtunnel.records.checkup import CheckResult, CheckStatus, checkup_from_json
from windtunnel.records.environment import Environment
from windtunnel.records.store import open_store, read_store
from windtunnel.report.build import build_document
from windtunnel.report.document import Callout, Document

FINE = CheckResult(name="swap", status=CheckStatus.OK, value="there is none", why="no stalls.")
WARNED = CheckResult(name="MIG", status=CheckStatus.WARNING, value="on", why="a slice.", advice="nvidia-smi -mig 0")
BROKEN = CheckResult(name="CPU in use", status=CheckStatus.PROBLEM, value="all [of] it", why="shared.", advice="top")
UNSEEN = CheckResult(name="CPU boost", status=CheckStatus.NOT_KNOWN, value="", why="/sys/boost: Permission denied")

CALIBRATION = Calibration(
    device="cpu",
    started_at="2026-01-02T03:04:05.000+00:00",
    seconds=20.5,
    ceilings=(
        Ceiling(name="matmul fp32 cube 8x8x8", unit="FLOP/s", samples_ns=(1000, 2000, 3000, 4000), work=10**8),
        Ceiling(name="tiny operations", unit="launch/s", samples_ns=(2_000_000,), work=1000),
    ),
    left_out={"matmul tf32 cube": "no tensor cores", "matmul tf32 head": "no tensor cores"},
)


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Make the doctor find the given results, and note the devices it was asked about."""

    def install(*results: CheckResult) -> list[str]:
        asked: list[str] = []

        def examine(device: str) -> tuple[CheckResult, ...]:
            asked.append(device)
            return results

        monkeypatch.setattr("windtunnel.cli.doctor.examine_device", examine)
        return asked

    return install


@pytest.fixture
def calibrated(monkeypatch: pytest.MonkeyPatch) -> None:
    def calibrate(
        device: str, *, seconds: float, on_begin: Callable[[], None], on_stage: Callable[[str], None]
    ) -> tuple[Calibration, Environment]:
        on_begin()
        on_stage("device copy")
        return replace(CALIBRATION, seconds=seconds), CPU

    monkeypatch.setattr("windtunnel.cli.calibrate.calibrate_device", calibrate)


def test_the_doctor_answers_0_when_there_is_no_problem(cli: CallCli, examined: Callable[..., list[str]]) -> None:
    asked = examined(FINE, WARNED, UNSEEN)

    outcome = cli("doctor", "--device", "cuda:1")

    assert outcome.code == 0
    assert asked == ["cuda:1"]
    assert "1 ok, 1 warning, 0 problems, 1 not known" in outcome.out


def test_the_doctor_answers_1_when_there_is_one_and_says_what_to_do(
    cli: CallCli, examined: Callable[..., list[str]]
) -> None:
    asked = examined(FINE, BROKEN)

    outcome = cli("doctor")

    assert outcome.code == 1
    assert asked == ["auto"]
    assert all(part in outcome.out for part in ("CPU in use", "problem", "all [of] it", "shared.", "top"))


def test_what_is_fine_is_not_explained_and_what_is_not_known_says_why(
    cli: CallCli, examined: Callable[..., list[str]]
) -> None:
    examined(FINE, UNSEEN)

    outcome = cli("doctor")

    assert "no stalls" not in outcome.out
    assert "/sys/boost: Permission denied" in outcome.out


def test_the_doctor_writes_json_with_the_same_answer(cli: CallCli, examined: Callable[..., list[str]]) -> None:
    examined(FINE, BROKEN)

    outcome = cli("doctor", "--json")

    assert outcome.code == 1
    assert checkup_from_json(outcome.out) == (FINE, BROKEN)


def test_a_real_worker_is_examined(cli: CallCli) -> None:
    outcome = cli("doctor", "--device", "cpu", "--json")

    assert outcome.code in {0, 1}, outcome.err
    assert {entry["name"] for entry in json.loads(outcome.out)} >= {"load average", "threads", "torch build"}


@pytest.mark.parametrize("command", ["doctor", "calibrate"])
def test_a_device_that_is_not_there_is_refused(cli: CallCli, command: str, tmp_path: Path) -> None:
    more = ("--store", str(tmp_path)) if command == "calibrate" else ()

    outcome = cli(command, "--device", "cuda:99", *more)

    assert outcome.code == 2
    assert "device 'cuda:99' is not there" in outcome.err


@pytest.mark.usefixtures("calibrated")
def test_a_calibration_is_shown_and_stored(cli: CallCli, tmp_path: Path) -> None:
    outcome = cli("calibrate", "--store", str(tmp_path), "--seconds", "7")

    assert outcome.code == 0, outcome.err
    assert "100 TFLOP/s" in outcome.out
    assert "2.00 µs each" in outcome.out
    assert "matmul tf32 cube, matmul tf32 head: no tensor cores" in outcome.out
    with read_store(tmp_path) as store:
        assert store.calibration(CPU.machine()) == replace(CALIBRATION, seconds=7.0)


@pytest.mark.usefixtures("calibrated")
def test_a_calibration_is_json_with_every_sample(cli: CallCli, tmp_path: Path) -> None:
    outcome = cli("calibrate", "--store", str(tmp_path), "--json")

    assert calibration_from_json(outcome.out) == replace(CALIBRATION, seconds=20.0)


@pytest.mark.usefixtures("calibrated")
def test_a_store_that_cannot_be_made_once_the_device_is_there_is_said_too(cli: CallCli, tmp_path: Path) -> None:
    (tmp_path / "store").symlink_to("no/such/folder")

    outcome = cli("calibrate", "--store", str(tmp_path / "store"))

    assert outcome.code == 2
    assert "cannot make the store folder" in outcome.err


def test_a_store_that_cannot_be_made_is_said_before_anything_is_measured(
    cli: CallCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(device: str, **_: object) -> None:
        raise SpecError("it was measured first")

    monkeypatch.setattr("windtunnel.cli.calibrate.calibrate_device", never)
    (tmp_path / "file").write_text("in the way")

    outcome = cli("calibrate", "--store", str(tmp_path / "file"))

    assert outcome.code == 2
    assert "cannot make the store folder" in outcome.err


def test_a_real_worker_calibrates(cli: CallCli, tmp_path: Path) -> None:
    """The whole way, with real products: a second in all leaves out those that take longer."""
    outcome = cli("calibrate", "--device", "cpu", "--seconds", "1", "--store", str(tmp_path), "--json")

    assert outcome.code == 0, outcome.err
    calibration = calibration_from_json(outcome.out)
    assert calibration.flops_per_second("fp32")
    assert any(ceiling.name.startswith("device copy") for ceiling in calibration.ceilings)


def calibrated_document(folder: Path, *, ceiling: int, environment: Environment = GPU) -> Document:
    """Return the report of two cells of 1e13 and 2e13 FLOP/s on a machine of that ceiling in bf16."""
    records = [
        make_record(
            make_task(device="cuda:0", precision="bf16", seed=seed),
            milliseconds=[1000.0],
            flops={"forward": seed * 10**13},
        )
        for seed in (1, 2)
    ]
    other = make_record(make_task(device="cuda:0", precision="fp32"))
    make_results(folder, [(record, GPU) for record in (*records, other)])
    matmul = Ceiling(name="matmul bf16 cube 8x8x8", unit="FLOP/s", samples_ns=(10**9,), work=ceiling)
    with open_store(folder) as store:
        store.add_calibration(replace(CALIBRATION, ceilings=(matmul,)), environment)
    return build_document(load_results(folder))


def callouts_of(document: Document) -> list[str]:
    blocks = section_of(document, "Complete results").blocks
    return [block.text for block in blocks if isinstance(block, Callout)]


def test_a_report_shows_each_rate_as_a_fraction_of_the_ceiling_of_its_precision(tmp_path: Path) -> None:
    document = calibrated_document(tmp_path, ceiling=4 * 10**13)

    _, table = tables_of(document, "Complete results")

    assert column_of(table, "of ceiling (%)") == ["25.0", "50.0", "–"]
    assert [column.name for column in table.columns][-5:-2] == ["of peak", "of ceiling", "peak memory"]
    assert callouts_of(document) == []


def test_the_machine_section_says_what_was_reached_and_when(tmp_path: Path) -> None:
    document = calibrated_document(tmp_path, ceiling=4 * 10**13)

    text = texts_of(section_of(document, "Machine"))

    assert "at 2026-01-02T03:04:05.000+00:00, the fastest matrix product of each precision: bf16 40.0 TFLOP/s." in text


def test_a_cell_above_its_ceiling_is_called_a_fault(tmp_path: Path) -> None:
    (callout,) = callouts_of(calibrated_document(tmp_path, ceiling=16 * 10**12))

    assert callout.startswith("A fault in the measurement or the calibration: ")
    assert "seed 2" in callout
    assert "20.0 TFLOP/s, 125.0 % of the 16.0 TFLOP/s" in callout


def test_several_cells_above_their_ceiling_are_counted(tmp_path: Path) -> None:
    (callout,) = callouts_of(calibrated_document(tmp_path, ceiling=10**12))

    assert ", and 1 other cell above 102 %" in callout


def test_a_cell_at_its_ceiling_is_no_fault(tmp_path: Path) -> None:
    assert callouts_of(calibrated_document(tmp_path, ceiling=198 * 10**11)) == []


def test_the_calibration_of_another_machine_says_nothing_here(tmp_path: Path) -> None:
    document = calibrated_document(tmp_path, ceiling=10**12, environment=replace(GPU, driver="1.0"))

    _, table = tables_of(document, "Complete results")

    assert "of ceiling" not in [column.name for column in table.columns]
    assert "Calibration" not in [getattr(block, "lead", "") for block in section_of(document, "Machine").blocks]
    assert callouts_of(document) == []
