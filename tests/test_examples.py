"""The example runs as its docstring says, and prints what it promises."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "examples" / "measure_a_step.py"


def run_example(store: Path) -> list[str]:
    """Run the example as a user would and return what it printed."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--store", str(store)],
        capture_output=True,
        text=True,
        cwd=store.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_example_prints_a_row_for_each_cell_and_writes_the_report_and_resumes(tmp_path: Path):
    store = tmp_path / "store"

    first, second = run_example(store), run_example(store)

    assert first[0] == "4 cells measured, 0 were stored before"
    assert first[1].split() == ["workload", "context", "n", "mean", "(ms)", "std", "(ms)", "median", "(ms)"]
    rows = [line.split() for line in first[2:6]]
    assert [row[:3] for row in rows] == [
        ["forward", "32", "5"],
        ["train_step", "32", "5"],
        ["forward", "64", "5"],
        ["train_step", "64", "5"],
    ]
    assert all(float(mean) > 0 and float(std) >= 0 and float(median) > 0 for *_, mean, std, median in rows)
    files = [Path(line.removeprefix("report: ")) for line in first[6:]]
    assert files == [store / "report" / "report.html", store / "report" / "report.md"]
    assert all(path.stat().st_size > 1000 for path in files)
    assert second == ["0 cells measured, 4 were stored before", *first[1:]]
