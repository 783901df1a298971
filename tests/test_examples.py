"""The examples run as their docstrings say, and print what they promise."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SCRIPT = EXAMPLES / "measure_a_step.py"


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


def test_comparing_example_prints_a_sentence_with_its_verdict_and_one_of_a_function_with_itself(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "compare_two_functions.py"), "--rows", "64"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 3
    assert "built_in" in lines[0]
    assert "by_hand" in lines[0]
    assert lines[1].startswith("verdict: ")
    assert ", because " in lines[1]
    assert " pairs" in lines[2]


def test_own_model_example_prints_the_parameters_counted_in_the_model(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "own_model.py", "--store", str(tmp_path / "store")],
        capture_output=True,
        text=True,
        cwd=EXAMPLES,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    parameters = 500 * 64 + 2 * (3 * 64 * 64 + 3 * 64) + 500 * 64 + 500
    assert [line.rsplit(",", 1)[0] for line in done.stdout.splitlines()] == [
        f"own_model:make_model {mode}: {parameters:,} parameters" for mode in ("forward", "train_step")
    ]
    assert done.stdout.count(" ms\n") == 2
