"""Our backbones in detectron2's ``BACKBONE_REGISTRY``: a person detector can start from what a clip network learned.

``build_modist_backbone``: feature maps of stills or clips, averaged over time. ``build_modist_fpn_backbone``: the same
under a feature pyramid, for detectron2's Faster R-CNN.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from detectron2.config import CfgNode as D2CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import FPN
from detectron2.modeling.backbone import Backbone as D2Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from torch import Tensor

from ..checkpoint import load_weights
from ..config import CfgNode, get_cfg
from ..modeling import build_model
from ..modeling.backbone import Backbone, build_backbone
from ..modeling.backbone.base import HasStages
from ..utils.errors import UserError

__all__ = ["StillBackbone", "build_modist_backbone", "build_modist_fpn_backbone", "use_backbone"]


class StillBackbone(D2Backbone):
    """One of our backbones with detectron2's interface: from images to a dict of maps (B, C, H, W).

    An image is repeated as a clip with the smallest number of frames that the network accepts. Clips (B, C, T, H, W)
    are accepted as well.

    Args:
        backbone: one with four stages (:class:`~modist_det.modeling.backbone.base.HasStages`), such as ResNet3D, gives
            ``res2`` ... ``res5``; others give only ``res5``, with concatenated pathways.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self._frames = max(backbone.temporal_strides)
        channels: tuple[int, ...] = (sum(backbone.out_channels),)
        strides: tuple[int, ...] = (backbone.spatial_stride,)
        self._out_features = ["res5"]
        if isinstance(backbone, HasStages):
            channels, strides = backbone.stage_channels, backbone.stage_strides
            self._out_features = ["res2", "res3", "res4", "res5"]
        self._out_feature_channels = dict(zip(self._out_features, channels, strict=True))
        self._out_feature_strides = dict(zip(self._out_features, strides, strict=True))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        clip = image.unsqueeze(2).expand(-1, -1, self._frames, -1, -1) if image.dim() == 4 else image
        if isinstance(self.backbone, HasStages):
            names = self._out_features
            return {n: m.mean(dim=2) for n, m in zip(names, self.backbone.stages(clip), strict=True)}
        return {"res5": torch.cat([maps.mean(dim=2) for maps in self.backbone(clip)], dim=1)}


@BACKBONE_REGISTRY.register()
def build_modist_backbone(cfg: D2CfgNode, input_shape: ShapeSpec) -> StillBackbone:
    """The backbone of ``cfg.MODEL.MODIST.CONFIG`` with the weights of ``cfg.MODEL.MODIST.WEIGHTS``."""
    own = get_cfg(cfg.MODEL.MODIST.CONFIG)
    channels = len(own.MODEL.PIXEL_MEAN)
    if input_shape.channels not in (None, channels):
        raise UserError(
            f"{cfg.MODEL.MODIST.CONFIG} takes {channels} channels, but detectron2's config has "
            f"{input_shape.channels} (MODEL.PIXEL_MEAN); use_backbone sets them"
        )
    return StillBackbone(_backbone(own, cfg.MODEL.MODIST.WEIGHTS))


@BACKBONE_REGISTRY.register()
def build_modist_fpn_backbone(cfg: D2CfgNode, input_shape: ShapeSpec) -> FPN:
    """:func:`build_modist_backbone` with the feature pyramid of ``cfg.MODEL.FPN``, as for detectron2's own ResNets."""
    return FPN(
        bottom_up=build_modist_backbone(cfg, input_shape),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


def use_backbone(
    cfg: D2CfgNode, config: str | os.PathLike, weights: str | os.PathLike = "", fpn: bool = True
) -> None:
    """Make a detectron2 config use the backbone of one of our configs, with its pixel means and channel order.

    Args:
        cfg: the detectron2 config, changed in place. With ``fpn``, it must be one of detectron2's FPN configs.
        config: our YAML file.
        weights: a checkpoint in any format of :func:`~modist_det.checkpoint.load_weights`; "" for random weights.
        fpn: add a feature pyramid on res2 to res5 (only of backbones with stages, such as ResNet3D with stride 32).

    Raises:
        UserError: the backbone does not support a feature pyramid.
    """
    own = get_cfg(config)
    if fpn:
        with torch.device("meta"):  # only its strides are of interest
            network = build_backbone(own)
        if not isinstance(network, HasStages) or network.stage_strides != (4, 8, 16, 32):
            raise UserError(
                f"{config}: a feature pyramid needs MODEL.BACKBONE.NAME ResNet3D with MODEL.RESNET3D.DILATE_RES5 False "
                "(or another backbone with stages of strides 4, 8, 16, 32); change the config or use fpn=False"
            )
    cfg.MODEL.MODIST = D2CfgNode({"CONFIG": os.fspath(config), "WEIGHTS": os.fspath(weights)})
    cfg.MODEL.BACKBONE.NAME = "build_modist_fpn_backbone" if fpn else "build_modist_backbone"
    cfg.MODEL.PIXEL_MEAN = [255 * value for value in own.MODEL.PIXEL_MEAN]
    cfg.MODEL.PIXEL_STD = [255 * value for value in own.MODEL.PIXEL_STD]
    cfg.INPUT.FORMAT = own.MODEL.INPUT_FORMAT
    cfg.MODEL.WEIGHTS = ""


def _backbone(own: CfgNode, weights: str) -> Backbone:
    if not weights:
        return build_backbone(own)
    own.TASK, own.MODEL.META_ARCHITECTURE, own.MODEL.HEAD.NAME = (
        "detection",
        "ActionDetector",
        "RoIActionHead",
    )
    own.MODEL.NUM_CLASSES = own.MODEL.NUM_CLASSES or 1  # the head is not used
    model: Any = build_model(own)
    load_weights(model, weights)
    return model.backbone
