import pytest

from calling import CallCli, make_caller


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CallCli:
    return make_caller(monkeypatch, capsys)
