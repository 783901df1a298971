"""The reports of which the store is kept say what it gives, in the words of today."""

from pathlib import Path

import pytest

from calling import CallCli
from windtunnel.analysis.results import load_results
from windtunnel.report.write import write_report

ROOT = Path(__file__).parent.parent.parent
STORES = sorted((ROOT / "docs" / "results").rglob("store.sqlite"))


def test_there_are_such_reports() -> None:
    assert len(STORES) >= 6


@pytest.mark.parametrize("store", STORES, ids=lambda path: path.parent.name)
def test_a_kept_report_is_what_its_store_gives(store: Path, cli: CallCli, pytestconfig: pytest.Config) -> None:
    reports = sorted(store.parent.glob("report.*"))
    assert reports
    if pytestconfig.getoption("--rewrite-goldens"):
        write_report(load_results(store.parent), store.parent, [report.suffix[1:] for report in reports])

    checked = [cli("verify", str(report), "--store", str(store.parent)) for report in reports]

    said = "pytest --rewrite-goldens writes it anew, and docs/seeds.md quotes it"
    assert [(one.code, one.err) for one in checked] == [(0, "")] * len(reports), said
    assert [path.name for path in store.parent.iterdir() if path.name.startswith("store.sqlite-")] == []
