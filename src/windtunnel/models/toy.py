"""The toy model of a well-known exercise on mixed precision: two linear layers with a ReLU and a LayerNorm between."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

IN_FEATURES = 20
HIDDEN_FEATURES = 10


class ToyModel(nn.Module):
    """Features to logits: fc1, ReLU, ln, fc2. The linear layers have no biases.

    The exercise is about features; tokens become such by a fixed table of random numbers, which is not learned.
    """

    features: Tensor

    def __init__(self, vocab_size: int, in_features: int = IN_FEATURES) -> None:
        """Make the layers and draw the table."""
        super().__init__()
        self.register_buffer("features", torch.randn(vocab_size, in_features))
        self.fc1 = nn.Linear(in_features, HIDDEN_FEATURES, bias=False)
        self.ln = nn.LayerNorm(HIDDEN_FEATURES)
        self.fc2 = nn.Linear(HIDDEN_FEATURES, vocab_size, bias=False)
        self.relu = nn.ReLU()

    def forward(self, tokens: Int[Tensor, "batch seq"]) -> Float[Tensor, "batch seq vocab"]:
        """Return the logits of each token by itself."""
        x = self.relu(self.fc1(self.features[tokens]))  # [batch, seq, hidden]
        return self.fc2(self.ln(x))


def make_toy(vocab_size: int) -> ToyModel:
    """Return the model: `--model windtunnel.models.toy:make_toy`."""
    return ToyModel(vocab_size)
