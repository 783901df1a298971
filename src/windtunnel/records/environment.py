"""The machine, the libraries and the settings under which a record was made."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

_NOT_THE_MACHINE = frozenset({"windtunnel", "git_commit", "host_memory_bytes"})
"""Fields that may change without making another machine: our own version, and memory that grows while it is used."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """Where and with what a record was made; None means not known or not there.

    `settings` holds what changes speed without being asked for in a cell: threads, deterministic mode, and the
    environment variables of CUDA, PyTorch and OpenMP that were set. It names neither user nor host.
    """

    device: str
    device_name: str
    device_memory_bytes: int | None
    driver: str | None
    cuda: str | None
    cudnn: str | None
    torch: str
    triton: str | None
    python: str
    platform: str
    host_cpu: str
    host_cores: int | None
    host_memory_bytes: int | None
    windtunnel: str
    git_commit: str | None
    settings: Mapping[str, str]

    def key(self) -> str:
        """Return the content hash over all fields: 12 hex digits."""
        return _hash(asdict(self))

    def machine(self) -> str:
        """Return the hash that tells machines apart: a cell measured on one is not yet measured on another.

        Another device, driver, torch or setting makes another machine; another version of windtunnel does not.
        """
        return _hash({name: value for name, value in asdict(self).items() if name not in _NOT_THE_MACHINE})


def _hash(fields: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]
