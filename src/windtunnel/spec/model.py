"""The shape of a decoder-only Transformer, and the sizes that have a name."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT_VOCAB_SIZE = 10_000
"""The vocabulary of the published tables that windtunnel reproduces."""

RopeTheta = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]

Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
"""A size of a model: no real one comes near the limit, and a typing error does."""


class Frozen(BaseModel):
    """A value that a user may write: immutable, and a field that does not exist is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSpec(Frozen):
    """A pre-norm decoder with RMSNorm, RoPE, SwiGLU, no biases and an untied output head."""

    name: str = Field(description="What tables call it.")
    d_model: Count = Field(description="Width of the residual stream.")
    d_ff: Count = Field(description="Inner width of the feed-forward layer.")
    num_layers: Count = Field(description="Number of blocks.")
    num_heads: Count = Field(description="Query heads; must divide d_model, with an even quotient (RoPE).")
    num_kv_heads: Count | None = Field(
        default=None, description="Key and value heads for grouped queries; None: as many as query heads."
    )
    vocab_size: Count = Field(default=DEFAULT_VOCAB_SIZE, description="Number of tokens.")
    rope_theta: RopeTheta = Field(default=10_000.0, description="Base of the rotary frequencies.")
    is_tied: bool = Field(default=False, description="Whether the head shares the embedding.")
    activation: Literal["swiglu", "gelu", "relu"] = Field(
        default="swiglu", description="swiglu has three matrices; gelu and relu have two."
    )

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.d_model % self.num_heads:
            raise ValueError(
                f"num_heads {self.num_heads} does not divide d_model {self.d_model}; {self._nearest_heads()}"
            )
        if self.d_head % 2:
            raise ValueError(
                f"d_model / num_heads is {self.d_head}; RoPE rotates pairs, so it must be even: {self._nearest_heads()}"
            )
        if self.num_heads % self.kv_heads:
            raise ValueError(
                f"num_kv_heads {self.num_kv_heads} does not divide num_heads {self.num_heads}: "
                "each key head serves the same number of query heads"
            )
        return self

    def _nearest_heads(self) -> str:
        """Name the number of heads nearest to the one asked for that leaves each of them an even width."""
        if self.d_model % 2:
            return "no number of heads fits an odd d_model, so change that"
        fitting = (heads for heads in range(1, self.d_model // 2 + 1) if self.d_model % (2 * heads) == 0)
        return f"the nearest number that fits is {min(fitting, key=lambda heads: abs(heads - self.num_heads))}"

    @property
    def d_head(self) -> int:
        """Width of one head."""
        return self.d_model // self.num_heads

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads, grouped or not."""
        return self.num_kv_heads or self.num_heads


def _size(
    name: str, d_model: int, d_ff: int, num_layers: int, num_heads: int, vocab_size: int = DEFAULT_VOCAB_SIZE
) -> ModelSpec:
    return ModelSpec(
        name=name, d_model=d_model, d_ff=d_ff, num_layers=num_layers, num_heads=num_heads, vocab_size=vocab_size
    )


NAMED_SIZES = {
    size.name: size
    for size in (
        _size("small", 768, 3072, 12, 12),
        _size("medium", 1024, 4096, 24, 16),
        _size("large", 1280, 5120, 36, 20),
        _size("xl", 1600, 6400, 48, 25),
        _size("2.7B", 2560, 10240, 32, 32),
        _size("8B", 4096, 11008, 34, 32, vocab_size=151_936),
        _size("10B", 4608, 12288, 50, 36),
    )
}
"""The sizes of the field's course and of the published tables, smallest first."""
