"""The door for a model of the user's own: made by their code, checked to be what can be measured."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from windtunnel.attention.loading import load_attribute
from windtunnel.errors import RunError, SpecError
from windtunnel.spec.own_model import OwnModel


def build_own_model(
    spec: OwnModel, *, context_length: int, device: torch.device, dtype: torch.dtype, seed: int
) -> nn.Module:
    """Return the model that the user's factory makes, on `device`, its floating-point tensors in `dtype`.

    Raises:
        SpecError: As `make_own_model` does.
    """
    model = make_own_model(spec, context_length=context_length, device=device, seed=seed)
    return model.to(device=device, dtype=dtype)


def make_own_model(spec: OwnModel, *, context_length: int, device: torch.device, seed: int) -> nn.Module:
    """Return the model as the user's factory makes it.

    It runs with `device` as torch's default device and with torch's random state set to `seed`; that state is given
    back afterwards.

    Raises:
        SpecError: There is no such factory, it cannot be called with what it is given, or it makes no module whose
            forward takes tokens alone.
    """
    what = f"model {spec.factory!r}"
    factory = load_attribute(what, spec.factory)
    if not callable(factory):
        raise SpecError(
            f"{what} is {_article(factory)}, not a function that makes a torch.nn.Module: name one, or a module's class"
        )
    known = {"vocab_size": spec.vocab_size, "context_length": context_length}
    arguments = _arguments_of(what, cast("Callable[..., object]", factory), known)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.device(device):
        torch.manual_seed(seed)
        model = factory(**arguments)
    if not isinstance(model, nn.Module):
        raise SpecError(f"{what} returned {_article(model)}; it must return a torch.nn.Module")
    _check_forward(what, model)
    return model


class OwnTransformer(nn.Module):
    """A user's model as the one thing that is run and compiled: tokens to logits."""

    def __init__(self, model: nn.Module) -> None:
        """Hold the model."""
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Any:
        """Return what should be the logits of the next token at every position, [batch, seq, vocab]."""
        return self.model(tokens)


class CheckedOnce:
    """A model whose first logits are looked at, by their shape alone: no later call takes time for it."""

    def __init__(self, spec: OwnModel, run_model: Callable[[Tensor], Any], *, trains: bool) -> None:
        """Check what `run_model` returns when it is called first."""
        self._spec = spec
        self._trains = trains
        self._run_model = run_model
        self._is_checked = False

    def __call__(self, tokens: Tensor) -> Any:
        """Return the logits.

        Raises:
            RunError: They are not logits of these tokens, or have no gradient although one is needed.
        """
        logits = self._run_model(tokens)
        if not self._is_checked:
            check_logits(self._spec, logits, tokens, trains=self._trains)
            self._is_checked = True
        return logits


def check_logits(spec: OwnModel, logits: object, tokens: Tensor, *, trains: bool) -> None:
    """Check what a model of the user's own made of `tokens`, [batch, seq].

    Raises:
        RunError: It is no tensor of logits for each of them, or without a gradient although `trains`.
    """
    what = f"model {spec.factory!r}"
    if not isinstance(logits, Tensor):
        raise RunError(
            f"{what} returned {_article(logits)}, not a tensor of logits: wrap it in a module whose forward returns "
            "the logits alone"
        )
    wanted = (*tokens.shape, spec.vocab_size)
    if tuple(logits.shape) != wanted:
        raise RunError(
            f"{what} returned logits of shape {tuple(logits.shape)}; allowed: {wanted}, [batch, seq, vocab]"
            + (f": for its own vocabulary give --vocab {logits.shape[-1]}" if logits.shape[:-1] == tokens.shape else "")
        )
    if not logits.is_floating_point():
        raise RunError(f"{what} returned {logits.dtype}; logits are floating-point numbers")
    if trains and not logits.requires_grad:
        raise RunError(
            f"{what} returned logits without a gradient: measure its forward alone (--mode forward), or let its "
            "parameters require gradients"
        )


def _arguments_of(what: str, factory: Callable[..., object], known: Mapping[str, int]) -> dict[str, int]:
    """Return those of the known arguments that the factory names."""
    try:
        signature = inspect.signature(factory)
    except ValueError:  # code that is not Python's may have no signature: it is called without arguments
        return {}
    given = {name: value for name, value in known.items() if name in signature.parameters}
    try:
        signature.bind(**given)
    except TypeError as error:
        raise SpecError(
            f"{what} cannot be called with {', '.join(given) or 'no arguments'}: {error}; a factory may take "
            f"{' and '.join(known)}, and needs a default for anything else"
        ) from None
    return given


def _check_forward(what: str, model: nn.Module) -> None:
    try:
        inspect.signature(model.forward).bind(None)
    except TypeError as error:
        raise SpecError(
            f"{what} made a module whose forward cannot take tokens alone: {error}; wrap it in one whose forward maps "
            "tokens [batch, seq] to logits [batch, seq, vocab]"
        ) from None
    except ValueError:  # no signature: it will say so itself
        return


def _article(thing: object) -> str:
    name = type(thing).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
