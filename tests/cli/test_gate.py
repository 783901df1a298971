"""`windtunnel gate`: what it prints and writes, its exit codes, pairs on demand, and every request that it refuses."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calling import CallCli
from factory import CPU, compared, make_pair, make_record, make_task
from windtunnel.language import current_language
from windtunnel.records.record import Failure, Record, Status
from windtunnel.records.store import StoredComparison, open_store
from windtunnel.report.junit import xml_text
from windtunnel.spec.cell import Task
from windtunnel.sweep.launch import Place

TASKS = [make_task(workload="train_step", context_length=length, steps=20) for length in (8, 16, 32, 64, 128, 256)]
HOSTILE = "<script>alert('&')</script>\x00\x1b[31m ]]> | pipe"


def noisy(task: Task, *, ratio: float = 1.0, seed: int = 0) -> Record:
    draw = np.random.default_rng(task.cell.context_length + 1000 * seed)
    values = [10.0 * ratio * (1 + 0.004 * draw.standard_normal()) for _ in range(task.plan.steps)]
    return make_record(task, milliseconds=values)


MakeStores = Callable[..., tuple[str, str]]


@pytest.fixture
def stores(tmp_path: Path) -> MakeStores:
    def make(*, ratio: float = 1.0, failed: str = "", missing: int = 0) -> tuple[str, str]:
        for name, seed in (("base", 0), ("new", 1)):
            with open_store(tmp_path / name) as store:
                for task in TASKS[: len(TASKS) - missing] if name == "new" else TASKS:
                    is_changed = name == "new" and task is TASKS[0]
                    record = noisy(task, ratio=ratio if is_changed else 1.0, seed=seed)
                    if is_changed and failed:
                        failure = Failure(stage="measure", message=failed)
                        record = make_record(task, status=Status.OUT_OF_MEMORY, failure=failure)
                    store.add(record, CPU)
        return str(tmp_path / "base"), str(tmp_path / "new")

    return make


def test_nothing_slower_ends_with_0_and_says_how_it_was_judged(cli: CallCli, stores: MakeStores):
    outcome = cli("gate", *stores())

    assert outcome.code == 0, outcome.err
    assert "6 cells: 6 equivalent." in outcome.out
    assert "6 cells measured in fewer than 3 processes on a side" in outcome.out
    assert "-5 %, +5 %" in outcome.out
    assert "within ± 5 %" in outcome.out


def test_something_slower_ends_with_1_and_says_which_phase(cli: CallCli, stores: MakeStores):
    outcome = cli("gate", *stores(ratio=1.5))

    assert outcome.code == 1
    assert "6 cells: 1 slower, 5 equivalent." in outcome.out
    assert "more time" in outcome.out
    assert "It lies in: backward +" in outcome.out
    assert "Worth measuring in pairs" in outcome.out


def test_which_verdicts_stop_is_a_flag(cli: CallCli, stores: MakeStores):
    both = stores(ratio=0.5)

    assert cli("gate", *both).code == 0
    assert cli("gate", *both, "--fail-if", "slower,faster").code == 1


def test_cells_that_vanished_are_said_in_the_headline(cli: CallCli, stores: MakeStores):
    both = stores(missing=2)

    outcome = cli("gate", *both)

    assert outcome.code == 0
    assert "4 cells: 4 equivalent; 2 cells of BASE missing from NEW." in outcome.out
    assert "BASE 有 2 个单元在 NEW 中缺失" in cli("gate", *both, "--lang", "zh").out
    assert len(json.loads(cli("gate", *both, "--json").out)["missing_from_new"]) == 2


def test_cells_that_vanished_stop_where_that_was_asked_for(cli: CallCli, stores: MakeStores, tmp_path: Path):
    junit = tmp_path / "gate.xml"
    both = stores(missing=2)

    outcomes = [
        (cli("gate", *both, "--fail-if", unwanted, "--junit", str(junit)).code, *marks_of(junit))
        for unwanted in ("slower", "slower,missing")
    ]

    assert outcomes == [(0, "0", "2"), (1, "2", "0")]


def marks_of(junit: Path) -> tuple[str | None, str | None]:
    """Return how many test cases failed, and how many were skipped."""
    suite = ElementTree.parse(junit).getroot()[0]
    return suite.get("failures"), suite.get("skipped")


def test_the_margin_is_a_flag(cli: CallCli, stores: MakeStores):
    assert "6 cells: 6 equivalent." in cli("gate", *stores(ratio=1.5), "--margin", "70%").out


def test_the_summary_is_markdown_and_junit_is_xml(cli: CallCli, stores: MakeStores, tmp_path: Path):
    markdown, junit = tmp_path / "summary.md", tmp_path / "gate.xml"

    cli("gate", *stores(ratio=1.5), "--markdown", str(markdown), "--junit", str(junit))

    text = markdown.read_text()
    assert text.startswith("# Gate: NEW against BASE")
    assert "| context 8 |" in text
    suite = ElementTree.parse(junit).getroot()[0]
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "6",
        "failures": "1",
        "errors": "0",
        "skipped": "0",
    }
    (failure,) = suite.iter("failure")
    assert "slower: +" in failure.get("message", "")
    assert "backward +" in failure.get("message", "")


def test_a_hostile_failure_is_escaped_everywhere(cli: CallCli, stores: MakeStores, tmp_path: Path):
    markdown, junit = tmp_path / "summary.md", tmp_path / "gate.xml"

    outcome = cli("gate", *stores(failed=HOSTILE), "--markdown", str(markdown), "--junit", str(junit))

    assert outcome.code == 1
    assert "Failed in NEW only" in outcome.out
    assert "\x1b[31m" not in outcome.out
    assert "<script>" not in markdown.read_text()
    (error,) = ElementTree.parse(junit).getroot().iter("error")
    assert "<script>alert('&')</script>\ufffd\ufffd[31m ]]> | pipe" in error.get("message", "")


@given(text=st.text(max_size=60))
def test_any_text_is_text_in_xml(text: str):
    element = ElementTree.Element("a", message=xml_text(text))
    element.text = xml_text(text)

    read = ElementTree.fromstring(ElementTree.tostring(element, encoding="utf-8"))

    assert read.text == xml_text(text) or (not text and read.text is None)


def test_json_has_the_numbers(cli: CallCli, stores: MakeStores):
    found = json.loads(cli("gate", *stores(ratio=1.5), "--json").out)

    assert found["is_no"]
    assert [cell["verdict"] for cell in found["cells"]] == ["slower"] + ["equivalent"] * 5
    first = found["cells"][0]
    assert [phase["phase"] for phase in first["phases"]] == ["step", "forward", "loss", "backward", "optimizer"]
    assert first["phases"][0]["low"] < 0.5 < first["phases"][0]["high"]


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, dict[str, object]]]:
    """What would have been measured in pairs; there it turns out to be no slower."""
    asked: list[tuple[object, dict[str, object]]] = []

    def compare(tasks: list[tuple[Task, Task]], **options: object) -> tuple[StoredComparison, ...]:
        asked.append((tasks, options))
        return compared(*(make_pair(a, b, noise=0.0005) for a, b in tasks), environment=CPU)

    monkeypatch.setattr("windtunnel.cli.confirming.compare_tasks", compare)
    monkeypatch.setattr("windtunnel.cli.confirming.describe_device", lambda _device: CPU)
    return asked


def test_confirm_measures_the_suspicious_cell_in_both_projects_and_believes_the_pairs(
    cli: CallCli, stores: MakeStores, tmp_path: Path, pairs: list[tuple[list[tuple[Task, Task]], dict[str, object]]]
):
    base, new = stores(ratio=1.5)
    places = ("--base-project", str(tmp_path), "--new-project", str(tmp_path / "new"))

    outcome = cli("gate", base, new, "--confirm", *places)

    assert outcome.code == 0, outcome.err
    ((tasks, options),) = pairs
    assert [(a.cell.context_length, a == b) for a, b in tasks] == [(8, True)]
    assert options["places"] == (Place(project=str(tmp_path)), Place(project=str(tmp_path / "new")))
    assert options["store"] == tmp_path / "new"
    assert "6 cells: 6 equivalent." in outcome.out
    assert "Measured again in pairs" in outcome.out
    assert "in pairs" in outcome.out


def test_a_chinese_gate_measures_in_english(
    cli: CallCli, stores: MakeStores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    languages: list[str] = []

    def compare(tasks: list[tuple[Task, Task]], **_: object) -> tuple[StoredComparison, ...]:
        languages.append(current_language())
        return compared(*(make_pair(a, b, noise=0.0005) for a, b in tasks), environment=CPU)

    monkeypatch.setattr("windtunnel.cli.confirming.compare_tasks", compare)
    monkeypatch.setattr("windtunnel.cli.confirming.describe_device", lambda _device: CPU)

    outcome = cli("gate", *stores(ratio=1.5), "--confirm", "--base-project", str(tmp_path), "--lang", "zh")

    assert languages == ["en"]
    assert "1 cell again, in pairs of processes" in outcome.out
    assert "成对" in outcome.out


def test_nothing_suspicious_needs_no_pairs(
    cli: CallCli, stores: MakeStores, tmp_path: Path, pairs: list[tuple[object, object]]
):
    outcome = cli("gate", *stores(), "--confirm", "--base-project", str(tmp_path))

    assert outcome.code == 0
    assert "nothing to confirm" in outcome.out
    assert not pairs


def test_pairs_are_not_taken_on_another_machine(
    cli: CallCli, stores: MakeStores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "windtunnel.cli.confirming.describe_device", lambda _device: replace(CPU, device_name="Another CPU")
    )

    outcome = cli("gate", *stores(ratio=1.5), "--confirm", "--base-project", str(tmp_path))

    assert outcome.code == 2
    assert "on the machine of the stores, and this one differs in device_name A CPU → Another CPU" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--fail-if", "slow"), "unknown verdict 'slow'"),
        (("--margin", "wide"), "margin 'wide' is not a share"),
        (("--false-discoveries", "0"), "false-discoveries '0' is not a share"),
        (("--confirm",), "say where each is, with --base-project and --new-project"),
        (("--base-project", "."), "has no effect without --confirm"),
        (("--confirm", "--base-project", ".", "--max-pairs", "7"), "max_pairs is 7"),
        (("--confirm", "--base-project", ".", "--max-time", "soon"), "max-time 'soon'"),
        (("--confirm", "--base-project", "/nowhere"), "project '/nowhere' is not a folder"),
        (("--markdown", "/nowhere/summary.md"), "cannot write /nowhere/summary.md"),
    ],
)
def test_a_wrong_request_is_explained_and_ends_with_2(
    cli: CallCli, stores: MakeStores, arguments: tuple[str, ...], part: str
):
    outcome = cli("gate", *stores(ratio=1.5), *arguments)

    assert outcome.code == 2, outcome.out
    assert part in outcome.err
    assert "Traceback" not in outcome.err


def test_what_must_not_be_compared_ends_with_2(cli: CallCli, stores: MakeStores, tmp_path: Path):
    base, _ = stores()
    with open_store(tmp_path / "other") as store:
        store.add(noisy(make_task(workload="train_step", context_length=8, batch_size=8, steps=20)), CPU)

    outcome = cli("gate", base, str(tmp_path / "other"))

    assert outcome.code == 2
    assert "batch_size 4 → 8" in outcome.err
