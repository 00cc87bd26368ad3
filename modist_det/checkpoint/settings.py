"""Settings that change what a network computes and leave no trace in its weights."""

from __future__ import annotations

from ..core import CfgNode
from ..utils.yaml_reading import parse_yaml

__all__ = ["unlike_settings"]

_OF_BACKBONES = {
    "ResNet3D": ("RESNET3D.STEM_STRIDE", "RESNET3D.POOL_AFTER_RES2"),
    "SlowFast": ("SLOWFAST.ALPHA",),
}
_OF_INPUT = ("PIXEL_MEAN", "PIXEL_STD", "INPUT_FORMAT")


def unlike_settings(cfg: CfgNode, config: str) -> list[str]:
    """What to tell somebody who starts from weights that were trained with another config: a line for each setting.

    Dilation is no such setting: detectors have it, and what they start from does not.

    Args:
        cfg: of the run that starts.
        config: that of the weights, as YAML; "" where it is not known.
    """
    of_weights = (parse_yaml(config, "the config of the weights") or {}).get("MODEL", {}) if config else {}
    lines = []
    for key in (*_OF_BACKBONES.get(cfg.MODEL.BACKBONE.NAME, ()), *_OF_INPUT):
        here, there = cfg.MODEL, of_weights
        for part in key.split("."):
            here, there = here[part], there.get(part) if isinstance(there, dict) else None
        if there is not None and there != here:
            lines.append(
                f"MODEL.{key} is {here}, but the weights were trained with {there}: they load, but compute "
                f"something else; set MODEL.{key} to that, unless this is meant"
            )
    return lines
