"""The shape of attention alone: heads, their width, and which keys a query sees."""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from windtunnel.spec.model import Count, Frozen

MAX_D_HEAD = 256
"""No backend goes further: a wider head does not fit the registers of one tile."""

HeadWidth = Annotated[int, Field(ge=1, le=MAX_D_HEAD, strict=True)]

_WINDOW = "window:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mask:
    """Which keys a query sees: all; with `is_causal` 0…i for query i; with `window` N the last N of these."""

    is_causal: bool
    window: int | None

    @property
    def kind(self) -> str:
        """The word for it without the number: full, causal or window."""
        return "window" if self.window else "causal" if self.is_causal else "full"

    def pairs(self, *, queries: int, keys: int) -> int:
        """Count the pairs of a query and a key that it sees; both begin at position 0."""
        if not self.is_causal:
            return queries * keys
        window = self.window or queries
        return _rising(queries, keys) - _rising(max(queries - window, 0), keys)


def _rising(queries: int, keys: int) -> int:
    """Add up min(i, keys) for i from 1 to `queries`."""
    short = min(queries, keys)
    return short * (short + 1) // 2 + (queries - short) * keys


def parse_mask(text: str) -> Mask:
    """Return what `full`, `causal` or `window:N` means.

    Raises:
        ValueError: It is none of them, or N is not a whole number from 1.
    """
    if text == "full":
        return Mask(is_causal=False, window=None)
    if text == "causal":
        return Mask(is_causal=True, window=None)
    number = text.removeprefix(_WINDOW)
    if text.startswith(_WINDOW) and number.isascii() and number.isdecimal() and int(number):
        return Mask(is_causal=True, window=int(number))
    raise ValueError(f"unknown mask {text!r}; known: full, causal, window:N with N from 1 (causal, the last N keys)")


def check_mask(text: str) -> str:
    """Return the text of a mask as it is written in keys: window:064 is window:64.

    Raises:
        ValueError: It is no mask.
    """
    mask = parse_mask(text)
    return f"{_WINDOW}{mask.window}" if mask.window else text


MaskName = Annotated[str, AfterValidator(check_mask)]


class AttentionSpec(Frozen):
    """Attention of one layer without its projections, on random Q, K and V."""

    num_heads: Count = Field(description="Query heads.")
    num_kv_heads: Count | None = Field(
        default=None, description="Key and value heads for grouped queries; None: as many as query heads."
    )
    d_head: HeadWidth = Field(description="Width of one head.")
    mask: MaskName = Field(default="causal", description="Which keys a query sees: full, causal or window:N.")

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.num_heads % self.kv_heads:
            raise ValueError(
                f"kv heads {self.num_kv_heads} do not divide heads {self.num_heads}: "
                "each key head serves the same number of query heads"
            )
        return self

    @property
    def name(self) -> str:
        """What tables call it, as h16 d64 causal, or h16/4 d64 causal where key heads are fewer."""
        grouped = f"/{self.kv_heads}" if self.kv_heads != self.num_heads else ""
        return f"h{self.num_heads}{grouped} d{self.d_head} {self.mask}"

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads, grouped or not."""
        return self.num_kv_heads or self.num_heads
