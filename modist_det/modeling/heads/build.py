"""``build_head``: the head that a config names."""

from __future__ import annotations

from ...core import COUNT, NOT_NEGATIVE, SHARE, CfgNode, Key, ListOf, add_section
from ...utils.errors import UserError
from ..backbone import Backbone
from ..registry import HEAD_REGISTRY, Head, lookup

__all__ = ["build_head"]

add_section(
    "MODEL.HEAD",
    NAME="RoIActionHead",  # or "ClassificationHead", "X3DHead"
    DROPOUT=Key(0.5, SHARE),
    # Of scores at test time: "sigmoid" (many labels a person) or "softmax" (one).
    ACTIVATION="sigmoid",
    ROI_RESOLUTION=Key(7, COUNT),
    ROI_SAMPLING_RATIO=Key(0, NOT_NEGATIVE),  # 0: adaptive, as PySlowFast
    ROI_ALIGNED=True,  # False for models of Caffe2's time
    TEMPORAL_POOL="avg",  # or "max"
    GLOBAL_FEATURE=False,  # the whole map's feature beside each box's (mmaction2's with_global)
    # At test time, boxes grow by these shares of width and height: [0.1, 0.05] for VideoMAE's and UMT's detectors.
    BOX_EXTENSION=Key([0.0, 0.0], ListOf(float, 2, NOT_NEGATIVE)),
    INIT_STD=Key(0.01, NOT_NEGATIVE),
    MLP=False,  # of heads for boxes: a hidden layer before the last one (mmaction2's mlp_head)
    # Of heads for boxes: a person has one of the first classes, whose scores are a softmax (ACAR-Net's 13 poses).
    EXCLUSIVE_CLASSES=Key(0, NOT_NEGATIVE),
)


def build_head(cfg: CfgNode, backbone: Backbone) -> Head:
    """The head ``cfg.MODEL.HEAD.NAME`` for the maps of ``backbone``.

    Raises:
        UserError: an unknown name, ``MODEL.NUM_CLASSES`` is 0, or settings that the head rejects.
    """
    head = lookup(HEAD_REGISTRY, cfg.MODEL.HEAD.NAME, "MODEL.HEAD.NAME")
    if cfg.MODEL.NUM_CLASSES < 1:
        raise UserError(
            f"MODEL.NUM_CLASSES is {cfg.MODEL.NUM_CLASSES}: set the number of classes, or let the task take it from "
            "the label map of DATASETS.TRAIN"
        )
    built: Head = head.from_config(cfg, backbone)
    return built
