"""The sweeps that come with windtunnel, and how the name of one becomes its file."""

from pathlib import Path

from windtunnel.errors import SpecError, unknown_name

_FOLDER = Path(__file__).parent.parent / "presets"

CPU_PRESET = "quick"
CUDA_PRESET = "seed-003"

CPU_ATTENTION_PRESET = "attention-quick"
CUDA_ATTENTION_PRESET = "attention-h200"


def preset_names() -> tuple[str, ...]:
    """Return the names of the sweeps that come with windtunnel."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def default_preset(device: str) -> str:
    """Return the preset that is measured on `device` when none is named."""
    return CPU_PRESET if device == "cpu" else CUDA_PRESET


def default_attention_preset(device: str) -> str:
    """Return the preset of attention alone that is measured on `device` when none is named."""
    return CPU_ATTENTION_PRESET if device == "cpu" else CUDA_ATTENTION_PRESET


def find_sweep(name: str) -> Path:
    """Return the file that `name` means: a TOML file, or else a preset.

    Raises:
        SpecError: It is neither.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return path
    preset = _FOLDER / f"{name}.toml"
    if preset.parent != _FOLDER or not preset.is_file():
        raise SpecError(f"{unknown_name('preset', name, preset_names())}; or name a TOML file")
    return preset
