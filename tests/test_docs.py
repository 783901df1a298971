"""What the pages say is there: commands with their flags, sweep files, links, presets, the picture of the layers."""

import itertools
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import windtunnel
from calling import CallCli, make_caller
from factory import CPU, compared, make_pair, make_record, make_results, make_task
from ledgers import make_ledger
from precision_looks import make_look
from profiles import make_profile
from tunings import Lab
from windtunnel.records.looks import StoredLook
from windtunnel.records.memory_ledger import MemoryLedger
from windtunnel.records.precision_look import PrecisionLook
from windtunnel.records.profile import Profile
from windtunnel.records.record import Status
from windtunnel.records.store import DEFAULT_STORE, StoredComparison
from windtunnel.report.write import write_report
from windtunnel.spec.cell import Cell, Task
from windtunnel.spec.precision_request import PrecisionRequest
from windtunnel.spec.presets import CPU_PRESET, CUDA_PRESET, find_sweep, preset_names
from windtunnel.spec.sides import match_sides
from windtunnel.spec.sweep import AnySweep, load_sweep, make_sweep
from windtunnel.spec.tables import WORKLOADS
from windtunnel.spec.tuning import Tuning
from windtunnel.sweep.engine import ChooseSweep
from windtunnel.sweep.trials import tune
from windtunnel.sweep.tuning import Found

ROOT = Path(__file__).parent.parent
_DOCS = ROOT / "docs"
PAGES = sorted(
    page
    for page in (*ROOT.glob("*.md"), *_DOCS.rglob("*.md"))
    if not page.is_relative_to(_DOCS / "results")  # reports, which are not written by hand
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#[^)\s]*)?\)")


@dataclass(frozen=True, kw_only=True)
class Block:
    """The text between two fences, and the page that it is on."""

    page: Path
    text: str


def name_of(page: Path) -> str:
    """Return how a test calls a page."""
    return str(page.relative_to(ROOT))


def blocks(language: str) -> tuple[Block, ...]:
    """Return all code blocks in a language."""
    return tuple(
        Block(page=page, text=text)
        for page in PAGES
        for found, text in _FENCE.findall(page.read_text(encoding="utf-8"))
        if found == language
    )


def shell_lines() -> Iterator[tuple[Path, str]]:
    """Yield each line of the shell blocks."""
    for block in blocks("sh"):
        for line in block.text.splitlines():
            yield block.page, line.strip()


COMMANDS = list(dict.fromkeys((name_of(page), line) for page, line in shell_lines() if line.startswith("windtunnel ")))
MAKE_TARGETS = sorted({line.split()[1] for _, line in shell_lines() if line.startswith("make ")})
ANSWERS = [
    (name_of(block.page), command, answer)
    for block in blocks("console")
    for command, answer in re.findall(r"^\$ windtunnel (.*)\n((?:(?!\$ ).*\n)+)", block.text, re.MULTILINE)
]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CallCli:
    return make_caller(monkeypatch, capsys)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with the sweep files of the pages and a store under each name that they use."""
    record = make_record(make_task())
    for store in (str(DEFAULT_STORE), "my-results", "walk"):
        results = make_results(tmp_path / store, [(record, CPU)])
        write_report(results, tmp_path / store / "report")
    for block in blocks("toml"):
        file = re.match(r"# (\S+\.toml)\n", block.text)
        assert file, f"the sweep file in {name_of(block.page)} does not begin with its name"
        (tmp_path / file[1]).write_text(block.text, encoding="utf-8")
    for block in blocks("csv"):
        file = re.match(r"# (\S+\.csv)\n", block.text)
        assert file, f"the table in {name_of(block.page)} does not begin with its name"
        (tmp_path / file[1]).write_text(block.text, encoding="utf-8")
    for inside in ("tests", "docs"):  # published tables, which pages audit
        (tmp_path / inside).symlink_to(ROOT / inside)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def sweeps(monkeypatch: pytest.MonkeyPatch) -> list[AnySweep]:
    """The sweeps that would have been measured: here nothing is."""
    asked: list[AnySweep] = []

    def note_both(a: AnySweep, b: AnySweep, **_: object) -> tuple[StoredComparison, ...]:
        pairs = match_sides(a, b, "cpu")
        asked.append(a)
        return compared(*(make_pair(*pair) for pair in pairs))

    def note_ledgers(sweep: AnySweep, **_: object) -> tuple[StoredLook[MemoryLedger], ...]:
        asked.append(sweep)
        return (StoredLook(key="", look=make_ledger(), environment=CPU),)

    def make_looks(requests: Sequence[PrecisionRequest], **_: object) -> tuple[StoredLook[PrecisionLook], ...]:
        looks = [make_look(request=request) for request in requests]
        return tuple(StoredLook(key=look.key(), look=look, environment=CPU) for look in looks)

    def compare_pairs(pairs: Sequence[tuple[Task, Task]], **_: object) -> tuple[StoredComparison, ...]:
        return compared(*(make_pair(*pair) for pair in pairs))

    def note(sweep: AnySweep | ChooseSweep, **_: object) -> None:
        asked.append(sweep if isinstance(sweep, AnySweep) else sweep(CPU))

    def note_profiles(cells: Sequence[Cell], **_: object) -> tuple[StoredLook[Profile], ...]:
        assert cells
        return (StoredLook(key="", look=make_profile(cells[0]), environment=CPU),)

    def search(make: Callable[[str], Tuning], **_: object) -> Found:
        cells = [task.cell for task in make("cpu").tasks("cpu")]
        lab = Lab({str(cell): 10.0 + place for place, cell in enumerate(cells)}, name=str)
        asked.append(make("cpu").tried)
        return tune(make, store="walk", launch=lab.launch, launch_at=lab.launch)

    monkeypatch.setattr("windtunnel.cli.tune.search", search)
    monkeypatch.setattr("windtunnel.cli.tune.describe_device", lambda _device: CPU)
    monkeypatch.setattr("windtunnel.cli.advice.describe_device", lambda _device: CPU)
    monkeypatch.setattr("windtunnel.cli.advice.compare_tasks", compare_pairs)
    monkeypatch.setattr("windtunnel.cli.profile.profile_cells", note_profiles)
    monkeypatch.setattr("windtunnel.cli.measuring.describe_device", lambda _device: CPU)
    monkeypatch.setattr("windtunnel.cli.compare.compare_sweeps", note_both)
    monkeypatch.setattr("windtunnel.cli.memory.look_at_cells", note_ledgers)
    monkeypatch.setattr("windtunnel.cli.precision.look_at_formats", make_looks)
    monkeypatch.setattr("windtunnel.cli.precision.describe_device", lambda _device: CPU)
    monkeypatch.setattr("windtunnel.cli.precision.compare_tasks", compare_pairs)
    monkeypatch.setattr("windtunnel.cli.fit.search_and_report", lambda frontier, **_: asked.append(frontier.sweep))
    monkeypatch.setattr("windtunnel.cli.memory.search_and_report", lambda fields, **_: asked.append(make_sweep(fields)))
    for command in ("windtunnel.cli.run", "windtunnel.cli.step", "windtunnel.cli.attention"):
        monkeypatch.setattr(f"{command}.run_and_report", note)
    return asked


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_each_command_in_a_page_is_one(page: str, line: str, cli: CallCli, folder: Path, sweeps: list[AnySweep]):
    key = make_task().key()
    words = shlex.split(line.replace("KEY", key), comments=True)[1:]
    words = list(itertools.takewhile(lambda word: word not in {">", "|"}, words))
    assert folder.is_dir()

    outcome = cli(*words)

    assert outcome.code == 0, f"{page}: {line}\n{outcome.err}"
    if words[0] in {"run", "step", "attention", "compare", "memory", "fit", "tune"} and "--dry-run" not in words:
        assert all(sweep.expand("cpu") for sweep in sweeps)
        assert len(sweeps) == 1


@pytest.mark.parametrize(("page", "command", "answer"), ANSWERS)
def test_each_answer_in_a_page_is_what_the_command_says(page: str, command: str, answer: str, cli: CallCli):
    outcome = cli(*shlex.split(command))

    assert outcome.out + outcome.err == answer, page


@pytest.mark.parametrize("target", MAKE_TARGETS)
def test_each_make_target_in_a_page_is_in_the_makefile(target: str):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("target", re.findall(r"^\| `make ([\w-]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M))
def test_each_make_target_in_a_table_is_in_the_makefile(target: str):
    test_each_make_target_in_a_page_is_in_the_makefile(target)


@pytest.mark.parametrize("block", [pytest.param(block, id=name_of(block.page)) for block in blocks("toml")])
def test_each_sweep_file_in_a_page_is_valid(block: Block):
    sweep = make_sweep(tomllib.loads(block.text))

    assert sweep.expand("cpu")


def test_the_quickstart_counts_its_sweep_right():
    page = (_DOCS / "quickstart.md").read_text(encoding="utf-8")
    block = next(block for block in blocks("toml") if block.page.name == "quickstart.md")
    fields: dict[str, Any] = tomllib.loads(block.text)

    whole, kept = (len(make_sweep(given).expand("cpu")) for given in (fields | {"exclude": []}, fields))

    assert f"here {whole}, less the excluded ones: {kept} cells" in page


@pytest.mark.parametrize("block", [pytest.param(block, id=name_of(block.page)) for block in blocks("python")])
def test_each_python_example_compiles_and_names_what_is_there(block: Block):
    compile(block.text, name_of(block.page), "exec")

    assert set(re.findall(r"windtunnel\.(\w+)", block.text)) <= set(windtunnel.__all__)


@pytest.mark.parametrize(
    ("page", "target"),
    [(name_of(page), target) for page in PAGES for target in _LINK.findall(page.read_text(encoding="utf-8"))],
)
def test_each_link_leads_to_a_file(page: str, target: str):
    assert ((ROOT / page).parent / target).exists()


def test_the_readme_lists_every_preset_and_no_other():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    listed = re.findall(r"^\| `([^`]+)` \|", readme, re.MULTILINE)

    assert sorted(listed) == sorted(preset_names())


def test_the_readme_counts_the_cells_of_the_demo_right():
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())

    on_cpu, on_cuda = (len(load_sweep(find_sweep(name)).expand("cpu")) for name in (CPU_PRESET, CUDA_PRESET))

    assert f"the {on_cpu} cells of the preset `{CPU_PRESET}`" in readme
    assert f"with a GPU the {on_cuda} cells of `{CUDA_PRESET}`" in readme


def test_the_picture_of_the_layers_is_the_contract():
    page = (_DOCS / "architecture.md").read_text(encoding="utf-8")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (entry for entry in settings["tool"]["importlinter"]["contracts"] if entry["type"] == "layers")

    (picture,) = re.findall(r"<!-- layers -->\n```text\n(.*?)```", page, re.DOTALL)

    assert [re.split(r"\s{2,}", line)[0] for line in picture.splitlines()] == contract["layers"]


def test_the_rooms_on_the_page_are_those_of_the_package():
    page = (_DOCS / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "src" / "windtunnel"

    rooms = re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE)

    assert sorted(rooms) == sorted(file.parent.name for file in package.glob("*/__init__.py"))


def test_the_timed_regions_on_the_page_are_those_of_the_tables():
    page = (_DOCS / "method.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:`(\w+)`)? ?\| `(\w+)` \| (.+?) \|$", page, re.MULTILINE)
    workloads = itertools.accumulate((name for name, _, _ in rows), lambda before, name: name or before)

    listed = {(workload, phase): inside for workload, (_, phase, inside) in zip(workloads, rows, strict=True)}

    assert listed == {(name, phase): text for name, kind in WORKLOADS.items() for phase, text in kind.timed.items()}


def test_the_quickstart_lists_every_status():
    page = (_DOCS / "quickstart.md").read_text(encoding="utf-8")

    assert all(f"`{status.value}`" in page for status in Status)


def test_the_decisions_are_listed_and_numbered_without_a_gap():
    files = sorted((_DOCS / "adr").glob("0*.md"))
    index = (_DOCS / "adr" / "README.md").read_text(encoding="utf-8")

    titles = [file.read_text(encoding="utf-8").splitlines()[0] for file in files]

    assert [int(file.name[:4]) for file in files] == list(range(1, len(files) + 1))
    assert [int(title.split()[1].rstrip(".")) for title in titles] == list(range(1, len(files) + 1))
    assert all(f"({file.name})" in index for file in files)
