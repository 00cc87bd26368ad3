"""``X3DHead``: the classification head of X3D networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from ...core import CfgNode
from ...utils.errors import UserError
from ..backbone import Backbone
from ..backbone.blocks import conv3d, initialize, make_norm
from ..registry import HEAD_REGISTRY
from .classification import ClassificationHead

__all__ = ["X3DHead"]


@runtime_checkable
class _WithInner(Protocol):
    """A backbone that says how wide the first convolution of this head is, as X3D does."""

    inner_channels: int
    out_channels: tuple[int, ...]
    spatial_stride: int


@HEAD_REGISTRY.register()
class X3DHead(ClassificationHead):
    """1x1x1 convolution, BN, ReLU; average; 1x1x1 convolution, ReLU; linear layer (Feichtenhofer 2020).

    The average is that of :class:`ClassificationHead`, over a sliding window at test time.

    Args:
        in_channels: of the single pathway.
        inner_channels: of the first convolution.
        hidden_channels: of the second convolution.
        num_classes, window, dropout, activation, init_std: as in :class:`ClassificationHead`.

    Raises:
        UserError: there is more than one pathway.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        inner_channels: int,
        hidden_channels: int,
        num_classes: int,
        window: int = 0,
        dropout: float = 0.5,
        activation: str = "softmax",
        init_std: float = 0.01,
    ) -> None:
        if len(in_channels) != 1:
            raise UserError(f"X3DHead takes the map of one pathway, not of {len(in_channels)}")
        super().__init__([hidden_channels], num_classes, window, dropout, activation, init_std)
        self.conv_5 = conv3d(in_channels[0], inner_channels, (1, 1, 1))
        self.conv_5_bn = make_norm("BN", inner_channels)
        self.lin_5 = conv3d(inner_channels, hidden_channels, (1, 1, 1))
        self.relu = nn.ReLU(inplace=True)
        initialize(self)

    @classmethod
    def from_config(cls, cfg: CfgNode, backbone: Backbone) -> X3DHead:
        if not isinstance(backbone, _WithInner):
            raise UserError(
                f"MODEL.HEAD.NAME X3DHead needs MODEL.BACKBONE.NAME X3D; use ClassificationHead with "
                f"{cfg.MODEL.BACKBONE.NAME}"
            )
        node = cfg.MODEL.HEAD
        return cls(
            in_channels=backbone.out_channels,
            inner_channels=backbone.inner_channels,
            hidden_channels=cfg.MODEL.X3D.HEAD_CHANNELS,
            num_classes=cfg.MODEL.NUM_CLASSES,
            window=math.ceil(cfg.INPUT.CROP_SIZE / backbone.spatial_stride),
            dropout=node.DROPOUT,
            activation=node.ACTIVATION,
            init_std=node.INIT_STD,
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """[map (B, C, T, H, W)] -> logits (B, P, K) at P positions (one in training)."""
        inner = self.relu(self.conv_5_bn(self.conv_5(features[0])))
        hidden = self.relu(self.lin_5(self.average(inner).unsqueeze(2)))
        return self.classify(hidden.flatten(2).transpose(1, 2))
