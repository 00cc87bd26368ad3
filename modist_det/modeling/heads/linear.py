"""``LinearHead``: dropout, linear layer and scores, shared by the heads."""

from __future__ import annotations

from torch import Tensor, nn

from ...utils.errors import UserError

__all__ = ["ACTIVATIONS", "LinearHead", "projection_layers"]

ACTIVATIONS = ("sigmoid", "softmax")


class LinearHead(nn.Module):
    """Dropout and a linear layer named ``projection`` on the concatenated pathways.

    Args:
        in_channels: of all pathways together.
        num_classes: K.
        dropout: probability in training.
        activation: "sigmoid" (independent classes) or "softmax" (exactly one class).
        init_std: standard deviation of the initial weights (normal, mean 0); biases start at 0.
        mlp: another linear layer and ReLU come before, as in mmaction2's ``mlp_head``: ``projection`` is a sequence.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        dropout: float,
        activation: str,
        init_std: float,
        mlp: bool = False,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise UserError(f"a head needs at least one class, not {num_classes}")
        if activation not in ACTIVATIONS:
            raise UserError(f"a head's activation is {' or '.join(ACTIVATIONS)}, not {activation!r}")
        self.num_classes = num_classes
        self.activation = activation
        self.dropout = nn.Dropout(dropout)
        self.projection = projection_layers(in_channels, num_classes, init_std, mlp)

    def classify(self, features: Tensor) -> Tensor:
        """(..., ``in_channels``) -> logits (..., K)."""
        return self.projection(self.dropout(features))

    def activate(self, logits: Tensor) -> Tensor:
        """Logits (..., K) -> scores in [0, 1], float32."""
        logits = logits.float()
        return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(dim=-1)


def projection_layers(in_channels: int, num_classes: int, init_std: float, mlp: bool = False) -> nn.Module:
    """The layers of :class:`LinearHead` from features to logits."""
    last = nn.Linear(in_channels, num_classes)
    nn.init.normal_(last.weight, std=init_std)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(in_channels, in_channels), nn.ReLU(), last) if mlp else last
