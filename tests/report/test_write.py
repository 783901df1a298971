from pathlib import Path

import pytest

from windtunnel.analysis.results import Results
from windtunnel.errors import SpecError, StoreError
from windtunnel.report.write import write_report


def test_both_files_are_written_into_a_new_folder(grid: Results, tmp_path: Path):
    paths = write_report(grid, tmp_path / "new" / "folder")

    assert paths == (tmp_path / "new" / "folder" / "report.html", tmp_path / "new" / "folder" / "report.md")
    assert all(path.stat().st_size > 1000 for path in paths)


def test_only_the_asked_formats_are_written_and_nothing_is_left_behind(grid: Results, tmp_path: Path):
    write_report(grid, tmp_path / "out", ("md",))

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.md"]


def test_an_unknown_format_is_named_and_nothing_is_written(grid: Results, tmp_path: Path):
    with pytest.raises(SpecError, match="unknown report format 'markdwn'; known: html, latex, md"):
        write_report(grid, tmp_path / "out", ("html", "markdwn"))

    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_an_error_with_its_reason(grid: Results, tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match=r"cannot write the report to .*file/x: Not a directory"):
        write_report(grid, tmp_path / "file" / "x")


def test_an_old_report_stays_when_the_new_one_cannot_be_written(
    grid: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (path,) = write_report(grid, tmp_path, ("md",))
    before = path.read_text()

    def fail(self: Path, *_: object, **__: object) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(StoreError, match="No space left on device"):
        write_report(grid, tmp_path, ("md",))

    assert path.read_text() == before
    assert not list(tmp_path.glob(".report*"))
