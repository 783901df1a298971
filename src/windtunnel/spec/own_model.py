"""A model of the user's own: which code makes it, and what it must be told."""

from typing import Annotated

from pydantic import AfterValidator, Field

from windtunnel.spec.model import DEFAULT_VOCAB_SIZE, Count, Frozen

ITS_OWN = "its own"
"""What stands in place of an attention backend or a checkpointing that is up to the model."""


def is_path(text: str) -> bool:
    """Whether the text is written as `module:attr`."""
    module, _, attribute = text.partition(":")
    return bool(module and attribute)


def check_factory(text: str) -> str:
    """Return the text if it is a `module:attr`; whether there is such code, only the worker finds out.

    Raises:
        ValueError: It is not.
    """
    if not is_path(text):
        raise ValueError(f"unknown model {text!r}; write it as module:function, as my_package.my_module:make_model")
    return text


FactoryPath = Annotated[str, AfterValidator(check_factory)]


class OwnModel(Frozen):
    """A model that the user's own code makes; nothing is known of it but what it takes and returns.

    `factory` is a callable that returns a `torch.nn.Module`, whose forward maps tokens [batch, seq] to logits
    [batch, seq, vocab]. It is given `vocab_size` and `context_length` where it has parameters of these names. Only the
    worker imports it.
    """

    factory: FactoryPath = Field(description="Code that makes it, as module:attr.")
    vocab_size: Count = Field(default=DEFAULT_VOCAB_SIZE, description="Number of tokens.")

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.factory
