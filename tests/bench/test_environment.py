"""What is kept about the machine, and what is not."""

import getpass
import json
import platform
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
import torch

import windtunnel
from windtunnel.bench.environment import describe_environment, resolve_device
from windtunnel.errors import SpecError


@pytest.fixture(autouse=True)
def undescribed() -> Iterator[None]:
    """Describe the machine anew in each test, as each worker does."""
    describe_environment.cache_clear()
    yield
    describe_environment.cache_clear()


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.usefixtures("no_device")
def test_auto_is_the_cpu_where_there_is_no_other_device():
    assert resolve_device("auto") == "cpu"


@pytest.mark.usefixtures("two_devices")
def test_auto_is_the_first_cuda_device():
    assert resolve_device("auto") == "cuda:0"


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize(
    ("name", "device"), [("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:0", "cuda:0"), ("cuda:1", "cuda:1")]
)
def test_a_device_that_is_there_is_used(name: str, device: str):
    assert resolve_device(name) == device


@pytest.mark.usefixtures("two_devices")
def test_a_device_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(SpecError) as refusal:
        resolve_device("cuda:2")

    assert str(refusal.value) == "device 'cuda:2' is not there; on this machine: cpu, cuda:0, cuda:1"


@pytest.mark.usefixtures("no_device")
def test_where_torch_sees_no_cuda_device_the_refusal_says_so():
    with pytest.raises(SpecError) as refusal:
        resolve_device("cuda:7")

    assert str(refusal.value) == (
        f"device 'cuda:7' is not there; on this machine: cpu; torch {torch.__version__} sees no CUDA device"
    )


def test_the_description_names_neither_host_nor_user_nor_home(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(platform, "node", lambda: "secret-host")
    for variable in ("USER", "LOGNAME", "HOSTNAME"):
        monkeypatch.setenv(variable, "secret-name")
    names = {"secret", socket.gethostname(), str(Path.home())} - {"localhost", "/"}

    text = json.dumps(asdict(describe_environment("cpu")))

    assert {name for name in names if name in text} == set()
    assert f'"{getpass.getuser()}"' not in text


def test_a_setting_that_changes_speed_is_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_PROC_BIND", "close")

    environment = describe_environment("cpu")

    assert environment.settings["OMP_PROC_BIND"] == "close"


def test_other_variables_are_not_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_TOKEN", "4711-secret")

    environment = describe_environment("cpu")

    assert "4711-secret" not in json.dumps(asdict(environment))


def test_the_number_of_threads_makes_another_machine():
    one = describe_environment("cpu")
    threads = torch.get_num_threads()
    describe_environment.cache_clear()

    torch.set_num_threads(threads + 1)
    try:
        more = describe_environment("cpu")
    finally:
        torch.set_num_threads(threads)

    assert more.machine() != one.machine()


def test_the_same_process_is_the_same_machine():
    first = describe_environment("cpu")
    describe_environment.cache_clear()

    assert describe_environment("cpu").machine() == first.machine()


def test_a_cpu_has_no_driver_and_is_named_like_its_host():
    environment = describe_environment("cpu")

    assert (environment.driver, environment.cuda, environment.cudnn) == (None, None, None)
    assert environment.device_name == environment.host_cpu != ""
    assert environment.device_memory_bytes == psutil.virtual_memory().total


def test_versions_are_those_that_run():
    environment = describe_environment("cpu")

    assert environment.torch == torch.__version__
    assert environment.python == platform.python_version()
    assert environment.windtunnel == windtunnel.__version__


def repository_with(package: Path) -> str:
    """Make a repository around a copied package that it does not track, and return its commit."""
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    git = ["git", "-C", str(package.parents[1]), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout[:12]


def test_the_commit_of_somebody_elses_repository_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An environment inside a project: the package lies in the project's repository, untracked."""
    package = tmp_path / "site" / "windtunnel"
    repository_with(package)
    monkeypatch.setattr(windtunnel, "__file__", str(package / "__init__.py"))

    assert describe_environment("cpu").git_commit is None


def test_the_commit_of_our_own_checkout_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "src" / "windtunnel"
    commit = repository_with(package)
    subprocess.run(["git", "-C", str(tmp_path), "add", "--all"], check=True)
    monkeypatch.setattr(windtunnel, "__file__", str(package / "__init__.py"))

    assert describe_environment("cpu").git_commit == f"{commit}+changes"
