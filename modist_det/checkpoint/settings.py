"""Settings that change what a network computes and leave no trace in its weights."""

from __future__ import annotations

from typing import Any

from ..core import CfgNode
from ..core.node import flatten
from ..modeling.backbone import Backbone, backbone_classes
from ..utils.yaml_reading import parse_yaml

__all__ = ["unlike", "unlike_settings"]

_OF_INPUT = ("MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD", "MODEL.INPUT_FORMAT", "MODEL.FRAME_DIFFERENCES")


def unlike_settings(cfg: CfgNode, config: str) -> list[str]:
    """What to tell somebody who starts from weights that were trained with another config: a line for each setting.

    Dilation is no such setting: detectors have it, and what they start from does not.

    Args:
        cfg: of the run that starts.
        config: that of the weights, as YAML; "" where it is not known.
    """
    of_weights = flatten((parse_yaml(config, "the config of the weights") or {}) if config else {})
    here = flatten(cfg)
    backbone = dict(backbone_classes()).get(cfg.MODEL.BACKBONE.NAME, Backbone)
    return [
        unlike(key, here[key], of_weights[key])
        for key in (*backbone.untraced_keys, *_OF_INPUT)
        if of_weights.get(key) not in (None, here[key])
    ]


def unlike(key: str, here: Any, of_weights: Any) -> str:
    """The line for one setting."""
    return (
        f"{key} is {here}, but the weights were trained with {of_weights}: they load, but compute "
        f"something else; set {key} to that, unless this is meant"
    )
