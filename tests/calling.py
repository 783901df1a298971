"""The command line called inside this process, as its entry point does, and what came of it."""

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from windtunnel.cli import main


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Exit code and both streams of one call."""

    code: int
    out: str
    err: str


CallCli = Callable[..., Outcome]


def make_caller(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CallCli:
    """Return a function that takes the arguments after `windtunnel`."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["windtunnel", *arguments])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 0
        finally:
            gc.enable()  # `report` leaves it off, as its process ends; this one goes on
        captured = capsys.readouterr()
        return Outcome(code=code, out=captured.out, err=captured.err)

    return call
