"""Real workers in other places: a project's own code, another interpreter, and what is said when that is no good."""

import sys
from pathlib import Path

import pytest

from factory import make_task
from windtunnel import __version__
from windtunnel.errors import RunError, SpecError
from windtunnel.records.record import Status
from windtunnel.sweep.launch import PROTOCOL, Place, WorkerProcess

ATTENTION = """
from pathlib import Path
from windtunnel.attention import eager

def attend(q, k, v, *, is_causal):
    Path("was_here").touch()
    return eager.attend(q, k, v, is_causal=is_causal)
"""


def interpreter(folder: Path, body: str) -> Place:
    """Return a place whose interpreter is a script that gets the arguments of a worker."""
    script = folder / "python"
    script.write_text(f"#!{sys.executable}\nimport json, os, sys\n{body}\n")
    script.chmod(0o755)
    return Place(python=str(script))


def ready(**fields: object) -> str:
    return f"os.write(int(sys.argv[3]), json.dumps({ {'event': 'ready', **fields} }).encode() + b'\\n')"


def refused(place: Place) -> str:
    with pytest.raises(RunError) as caught:
        WorkerProcess(place)
    return str(caught.value)


def test_a_worker_imports_from_its_project_and_runs_there(tmp_path: Path):
    (tmp_path / "my_attention_of_a_branch.py").write_text(ATTENTION)
    task = make_task(attention="my_attention_of_a_branch:attend", warmup=1, steps=2)
    worker = WorkerProcess(Place(project=str(tmp_path)))

    try:
        record = worker.measure(task, timeout=60.0, on_stage=lambda stage: None).record
    finally:
        worker.close()

    assert (record.status, record.failure) == (Status.OK, None)
    assert (tmp_path / "was_here").exists()


def test_a_relative_path_of_imports_holds_in_the_project_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    library = Path(__file__).parents[2] / "src"
    monkeypatch.chdir(library.parent)
    monkeypatch.setenv("PYTHONPATH", "src")

    WorkerProcess(Place(project=str(tmp_path))).close()


def test_an_interpreter_without_windtunnel_says_what_to_install(tmp_path: Path):
    place = interpreter(tmp_path, "sys.exit(\"No module named 'windtunnel'\")")

    message = refused(place)

    assert message.startswith(f"{place.python} cannot import windtunnel, which its worker needs; install there")
    assert f"`{place.python} -m pip install -e`" in message


@pytest.mark.parametrize(
    ("fields", "theirs"),
    [
        ({}, "windtunnel of before 0.1.0 with protocol None"),
        ({"windtunnel": "0.0.9", "protocol": PROTOCOL}, f"windtunnel 0.0.9 with protocol {PROTOCOL}"),
        ({"windtunnel": __version__, "protocol": 99}, f"windtunnel {__version__} with protocol 99"),
    ],
)
def test_another_windtunnel_is_refused_with_both_versions(tmp_path: Path, fields: dict[str, object], theirs: str):
    place = interpreter(tmp_path, f"{ready(**fields)}\nsys.stdin.read()")

    message = refused(place)

    assert message.startswith(f"{place.python} has {theirs}, here it is {__version__} with protocol {PROTOCOL}")
    assert message.endswith("install the same windtunnel in both environments")


def test_a_program_that_is_no_python_is_refused(tmp_path: Path):
    message = refused(interpreter(tmp_path, "print('hello')"))

    assert "the worker did not start: the worker ended with exit code 0\nhello" in message


def test_a_program_that_cannot_run_here_is_refused(tmp_path: Path):
    program = tmp_path / "python"
    program.write_bytes(b"\x7fELF of another machine")
    program.chmod(0o755)

    assert refused(Place(python=str(program))).startswith(f"{program} cannot be started: Exec format error")


@pytest.mark.parametrize(
    ("place", "part"),
    [
        (Place(project="/nowhere"), "project '/nowhere' is not a folder"),
        (Place(python="/nowhere/python"), "python '/nowhere/python' is not a program"),
        (Place(python="/etc/passwd"), "python '/etc/passwd' is not a program"),
    ],
)
def test_a_place_that_is_not_there_is_refused_before_anything_starts(place: Place, part: str):
    with pytest.raises(SpecError, match=part):
        place.check()


def test_an_interpreter_may_be_given_by_its_name():
    assert Path(Place(python="sh").interpreter()).name == "sh"
