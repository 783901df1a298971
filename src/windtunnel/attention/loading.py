"""Code by the name `module:attr`, from the tables or a user's own."""

import importlib

from windtunnel.errors import SpecError


def load_attribute(what: str, path: str) -> object:
    """Import the module of `path` and return its attribute; `what` says in messages what was asked for.

    Raises:
        SpecError: There is no such module or attribute. Any other error of the module comes as it is.
    """
    module_name, _, attribute = path.partition(":")
    if module_name.startswith("."):
        raise SpecError(f"{what} cannot be loaded: its module is relative; write it as module:function")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise SpecError(f"{what} cannot be loaded: {error}; write it as module:function") from error
