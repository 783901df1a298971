from pathlib import Path
from typing import Any

import pytest

from sweep_samples import FAULTS_OF_FORM, FAULTS_OF_SENSE, VALID
from windtunnel.errors import SpecError
from windtunnel.spec.sweep import AnySweep, load_sweep, make_sweep


def faults_of(fields: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(SpecError) as caught:
        make_sweep(fields)
    return caught.value.faults


def faults_in(path: Path) -> tuple[str, ...]:
    with pytest.raises(SpecError) as caught:
        load_sweep(path)
    return caught.value.faults


@pytest.mark.parametrize("fields", VALID, ids=str)
def test_a_sound_sweep_is_accepted(fields: dict[str, Any]):
    assert isinstance(make_sweep(fields), AnySweep)


@pytest.mark.parametrize(("fields", "message"), FAULTS_OF_FORM + FAULTS_OF_SENSE, ids=str)
def test_one_fault_gives_one_message_with_its_value_and_what_is_allowed(fields: dict[str, Any], message: str):
    assert faults_of(fields) == (message,)


def test_an_unknown_field_is_named_with_the_nearest_of_those_known():
    (message,) = faults_of({"size": "small", "contxt": 5})

    assert message.startswith("unknown field 'contxt'; known: attention, batch, checkpoint, compile,")
    assert message.endswith("did you mean 'context'?")


def test_every_fault_of_a_sweep_is_named():
    faults = faults_of(
        {
            "size": "smal",
            "context": [-1, "x"],
            "mode": "foward",
            "steps": True,
            "seeds": 1,
            "exclude": [{"reason": "known", "mode": "trane_step"}],
        }
    )

    assert [fault.partition(";")[0] for fault in faults] == [
        "steps is True",
        "unknown size 'smal'",
        "context is -1",
        "context is 'x'",
        "unknown mode 'foward'",
        "unknown mode 'trane_step'",
        "unknown field 'seeds'",
    ]


def test_a_fault_in_the_own_sizes_is_not_repeated_for_each_use_of_them():
    faults = faults_of({"size": ["mine", "small"], "sizes": {"mine": {"d_model": 64}}})

    assert faults == ("sizes.mine.num_layers is missing", "sizes.mine.num_heads is missing")


def test_every_fault_of_a_file_names_the_file(tmp_path: Path):
    path = tmp_path / "two.toml"
    path.write_text('size = "small"\nsteps = 0\nseed = -1\n')

    assert faults_in(path) == (
        f"{path}: steps is 0; allowed: at least 1",
        f"{path}: seed is -1; allowed: at least 0",
    )


def test_a_file_that_is_not_toml_is_refused_with_the_line(tmp_path: Path):
    path = tmp_path / "broken.toml"
    path.write_text('size = "small"\n\ncontext = [128,, 256]\n')

    (message,) = faults_in(path)

    assert message.startswith(f"{path}: not valid TOML: ")
    assert "at line 3, column 16" in message


def test_a_key_that_is_given_twice_is_refused_with_the_line(tmp_path: Path):
    path = tmp_path / "twice.toml"
    path.write_text('size = "small"\nsize = "xl"\n')

    (message,) = faults_in(path)

    assert message == f"{path}: not valid TOML: Cannot overwrite a value (at line 2, column 12)"


def test_a_file_that_does_not_exist_is_named(tmp_path: Path):
    path = tmp_path / "gone.toml"

    assert faults_in(path) == (f"cannot read the sweep file {str(path)!r}: No such file or directory",)


def test_a_folder_is_no_sweep_file(tmp_path: Path):
    assert faults_in(tmp_path) == (f"cannot read the sweep file {str(tmp_path)!r}: Is a directory",)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_file_in_another_encoding_is_refused_with_the_fix(tmp_path: Path, encoding: str):
    path = tmp_path / "old.toml"
    path.write_text('description = "Rückwärts"\nsize = "small"\n', encoding=encoding)

    (message,) = faults_in(path)

    assert message.startswith(f"{path}: not valid UTF-8 at byte ")
    assert message.endswith("; save the file as UTF-8")


def test_an_empty_file_asks_for_a_size(tmp_path: Path):
    path = tmp_path / "empty.toml"
    path.write_text("")

    (message,) = faults_in(path)

    assert message.startswith(f"{path}: no size: name one (small, medium, ")
