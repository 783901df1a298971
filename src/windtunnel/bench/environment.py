"""Look at the machine, the libraries and the settings that a number depends on."""

import os
import platform
import subprocess
import warnings
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

import windtunnel
from windtunnel.errors import SpecError
from windtunnel.records.environment import Environment
from windtunnel.spec.cell import check_device

_SETTING_VARIABLES = (
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
    "CUDA_VISIBLE_DEVICES",
    "CUBLAS_WORKSPACE_CONFIG",
    "GOMP_SPINCOUNT",
    "KMP_AFFINITY",
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OMP_WAIT_POLICY",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TORCHINDUCTOR_MAX_AUTOTUNE",
    "TORCH_LOGS",
)
"""Environment variables that change speed or memory; those that are set are kept with each record."""


def resolve_device(name: str) -> str:
    """Return the device to use for `name`; `auto` is the first CUDA device, or the CPU where there is none.

    Raises:
        SpecError: The device is not there; the message says which are.
    """
    count = _cuda_count()
    if name == "auto":
        return "cuda:0" if count else "cpu"
    device = check_device(name)
    if device == "cpu" or int(device.removeprefix("cuda:")) < count:
        return device
    there = ", ".join(["cpu", *(f"cuda:{index}" for index in range(count))])
    why = "" if count else f"; torch {torch.__version__} sees no CUDA device"
    raise SpecError(f"device {name!r} is not there; on this machine: {there}{why}")


def _cuda_count() -> int:
    with warnings.catch_warnings():  # a broken driver is said by the count; its warning would repeat for each cell
        warnings.simplefilter("ignore")
        return torch.cuda.device_count() if torch.cuda.is_available() else 0


@cache
def describe_environment(device: str) -> Environment:
    """Describe what the cells on `device` run on; on CUDA this makes the process's context."""
    is_cuda = device.startswith("cuda")
    properties = torch.cuda.get_device_properties(torch.device(device)) if is_cuda else None
    return Environment(
        device=device,
        device_name=properties.name if properties else _host_cpu(),
        device_memory_bytes=properties.total_memory if properties else _host_memory(),
        driver=_driver_version() if is_cuda else None,
        cuda=torch.version.cuda if is_cuda else None,
        cudnn=str(torch.backends.cudnn.version()) if is_cuda else None,
        torch=torch.__version__,
        triton=_package_version("triton"),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        host_cpu=_host_cpu(),
        host_cores=psutil.cpu_count(),
        host_memory_bytes=_host_memory(),
        windtunnel=windtunnel.__version__,
        git_commit=_git_commit(),
        settings=_settings(),
    )


def _settings() -> dict[str, str]:
    settings = {
        "threads": str(torch.get_num_threads()),
        "deterministic_algorithms": str(torch.are_deterministic_algorithms_enabled()),
        "cudnn_benchmark": str(torch.backends.cudnn.benchmark),
    }
    return settings | {name: os.environ[name] for name in _SETTING_VARIABLES if name in os.environ}


def _host_cpu() -> str:
    """Return the CPU's name as the kernel gives it; elsewhere as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _host_memory() -> int:
    return psutil.virtual_memory().total


def _driver_version() -> str | None:
    import pynvml  # here, as a machine without an NVIDIA driver has no use for it

    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return None


def _package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Return the commit of the checkout that windtunnel runs from, with `+changes` when files differ from it.

    None where it is not run from a checkout of its own, such as an environment inside somebody else's repository.
    """
    folder = Path(windtunnel.__file__).parent
    if not _git(folder, "ls-files", "__init__.py"):
        return None
    return _git(folder, "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+changes")


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
