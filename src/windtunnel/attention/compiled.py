"""Eager attention under torch.compile: what fusing the passes over the scores gains."""

import torch

from windtunnel.attention import eager
from windtunnel.attention.backend import Backend
from windtunnel.attention.own_code import with_own_code
from windtunnel.spec.abilities import ABILITIES


def make_backend() -> Backend:
    """Return the eager function with compiled code of its own; it is compiled for each shape when it is called.

    Without its pattern matcher, as Inductor would turn some calls into scaled_dot_product_attention: another backend.
    """
    attend = torch.compile(
        with_own_code(eager.attend), dynamic=False, fullgraph=True, options={"pattern_matcher": False}
    )
    return Backend(attend=attend, abilities=ABILITIES["compiled"])
