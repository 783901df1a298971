"""The commands that test what a table cannot tell, for the configuration in question."""

from windtunnel.analysis.observed import Configuration
from windtunnel.analysis.published.precisions import precision_of
from windtunnel.spec.model import NAMED_SIZES

_WORKLOADS = {"forward": "forward", "backward": "forward_backward", "forward_backward": "forward_backward"}


def step_command(config: Configuration, phase: str = "forward_backward", *, warmup: str | None = None) -> str:
    """Return the command that measures this configuration here, with clocks, sensors, kernels and every sample."""
    if config.is_attention:
        return _join("attention", _attention_flags(config))
    flags = [*_flags(config), "--mode", _WORKLOADS.get(phase, "train_step")]
    return _join("step", [*flags, *(["--warmup", warmup] if warmup else [])])


def memory_command(config: Configuration) -> str:
    """Return the command that shows what a step of this configuration holds."""
    if config.is_attention:
        return _join("attention", _attention_flags(config))
    return _join("memory", [*_flags(config), "--mode", "forward_backward"])


def compare_command(config: Configuration, b: str) -> str:
    """Return the command that measures this configuration against itself with `b` changed, in pairs."""
    if config.is_attention:
        backends = ["--backend", "eager,compiled", "--compare", "eager/compiled"]
        return _join("attention", [*_attention_flags(config), *backends])
    return _join("compare", [*_flags(config), "--mode", "forward_backward", "--b", f'"{b}"'])


def _flags(config: Configuration) -> list[str]:
    flags: list[str] = []
    if config.size in NAMED_SIZES:
        flags += ["--size", config.size]
    elif config.d_model and config.num_layers and config.num_heads:
        flags += ["--d-model", str(config.d_model), "--layers", str(config.num_layers)]
        flags += ["--heads", str(config.num_heads)]
        flags += ["--d-ff", str(config.d_ff)] if config.d_ff else []
    else:
        flags += ["--model", "my_package.my_module:make_model", "--vocab", "10000"]  # the table does not say which
    return [*flags, *_shared(config, length="--context")]


def _attention_flags(config: Configuration) -> list[str]:
    shape = ["--d", str(config.d_model), "--heads", "1", "--mask", "full"]
    return [*_shared(config, length="--seq"), *shape]


def _shared(config: Configuration, *, length: str) -> list[str]:
    flags: list[str] = []
    if config.context_length:
        flags += [length, str(config.context_length)]
    if config.batch_size:
        flags += ["--batch", str(config.batch_size)]
    if precision := precision_of(config.precision or ""):
        flags += ["--precision", precision]
    return flags


def _join(command: str, flags: list[str]) -> str:
    return " ".join(["windtunnel", command, *flags])
