"""``from_file``: the network of a checkpoint of another project, from the names and shapes of its tensors."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ..checkpoint import load_weights
from ..checkpoint.describe import fitting_keys
from ..checkpoint.formats import Weights, convert, detect_format
from ..checkpoint.reading import read_state_dict
from ..checkpoint.video_vit import VIT_FORMATS
from ..config import CfgNode, get_cfg
from ..modeling import build_backbone, build_model
from ..utils.errors import UserError

__all__ = ["config_of_file", "from_file"]

logger = logging.getLogger(__name__)

_HEAD = "head.projection."
_LAST_LAYER = f"{_HEAD}weight"
_IMAGENET = {"MODEL.PIXEL_MEAN": [0.485, 0.456, 0.406], "MODEL.PIXEL_STD": [0.229, 0.224, 0.225]}
# What the projects' detectors have and no file shows; VideoMAE's is UMT's, too.
_DETECTORS: dict[str, dict[str, Any]] = {
    "videomae": {
        "MODEL.HEAD.ROI_ALIGNED": False,
        "MODEL.HEAD.BOX_EXTENSION": [0.1, 0.05],
        "MODEL.PIXEL_MEAN": [0.48146, 0.45469, 0.40384],
        "MODEL.PIXEL_STD": [0.225, 0.225, 0.225],
        "INPUT.SAMPLING": "middles",
    },
    "mmaction2_vit": {"MODEL.HEAD.ROI_RESOLUTION": 8},
}
# The same for all networks of a format.
_FORMATS: dict[str, dict[str, Any]] = {
    "hf_videomae": {
        "MODEL.VIDEO_VIT.EPS": 1e-12,
        "MODEL.VIDEO_VIT.POOLED_EPS": 1e-5,
        "MODEL.VIDEO_MAE.DECODER_EPS": 1e-5,
    },
    "hf_vjepa2": {"MODEL.ATTENTIVE_HEAD.EPS": 1e-6},
    "mae_st": {"MODEL.PIXEL_MEAN": [0.45] * 3, "MODEL.PIXEL_STD": [0.225] * 3},
}


def from_file(path: str | os.PathLike, overrides: Sequence[Any] = ()) -> nn.Module:
    """The network of a video transformer's checkpoint, with its weights, on the CPU, in evaluation mode.

    A detector or classifier where the file has one, a pretraining method where it has a decoder, else a backbone.

    Args:
        path: a file, ``zoo://NAME`` or a URL.
        overrides: ``[KEY, VALUE, ...]``: settings that no file shows, such as ``["MODEL.VIDEO_VIT.HEADS", 12]``; by
            default they are the published ones.

    Raises:
        UserError: the file is none of docs/TRANSFORMERS.md, or a setting contradicts it.
    """
    cfg, weights = _config_and_weights(os.fspath(path), overrides)
    has_more = any(name.startswith((_HEAD, "decoder.")) for name in weights.tensors)
    network = build_model(cfg) if has_more else build_backbone(cfg)
    report = load_weights(network, path)
    report.require_complete()
    logger.info("%s", report)
    return network.eval()


def config_of_file(path: str | os.PathLike, overrides: Sequence[Any] = ()) -> CfgNode:
    """The config of :func:`from_file`'s network; that of a backbone alone has the task "pretraining".

    Raises:
        UserError: as for :func:`from_file`.
    """
    return _config_and_weights(os.fspath(path), overrides)[0]


def _config_and_weights(path: str, overrides: Sequence[Any]) -> tuple[CfgNode, Weights]:
    state = read_state_dict(path)
    format = detect_format(state)
    weights = convert(state, format)
    keys = fitting_keys(weights.tensors) if format in VIT_FORMATS and not weights.head_only else {}
    if not keys or (_LAST_LAYER in weights.tensors and weights.tensors[_LAST_LAYER].dim() != 2):
        raise UserError(
            f"the network of {path} (format {format}) does not follow from the file; give --cfg FILE, or use "
            "load_weights with a model of your own"
        )
    keys |= _keys_of_task(weights, format, keys)
    cfg = get_cfg()
    cfg.merge_from_list([word for pair in keys.items() for word in pair])
    cfg.merge_from_list([str(word) if isinstance(word, os.PathLike) else word for word in overrides])
    node = cfg.MODEL.VIDEO_VIT
    given = set(overrides[::2])
    if "INPUT.NUM_FRAMES" not in given:
        cfg.INPUT.NUM_FRAMES = node.NUM_FRAMES
    if "INPUT.CROP_SIZE" not in given:
        cfg.INPUT.CROP_SIZE = node.IMAGE_SIZE
    return cfg, weights


def _keys_of_task(weights: Weights, format: str, found: Mapping[str, Any]) -> dict[str, Any]:
    tensors = weights.tensors
    keys = _IMAGENET | _FORMATS.get(format, {})
    # Frames of the published networks.
    if "MODEL.VIDEO_VIT.NUM_FRAMES" not in found:
        keys["MODEL.VIDEO_VIT.NUM_FRAMES"] = 8 if found["MODEL.VIDEO_VIT.TUBELET"] == 1 else 16
    hidden = f"{_HEAD}0.weight" in tensors
    last = tensors.get(f"{_HEAD}2.weight" if hidden else _LAST_LAYER)
    if last is None:
        return {"TASK": "pretraining"} | keys | _keys_of_decoder(tensors, format)
    classes = len(last) - weights.background
    keys |= {"MODEL.NUM_CLASSES": classes, "MODEL.HEAD.DROPOUT": 0.0, "MODEL.HEAD.MLP": hidden}
    if "head.query_tokens" in tensors:
        depth = 1 + len({name.split(".")[2] for name in tensors if name.startswith("head.blocks.")})
        head = {"MODEL.HEAD.NAME": "AttentiveHead", "MODEL.ATTENTIVE_HEAD.DEPTH": depth}
    elif found["MODEL.VIDEO_VIT.NORM"] == "tokens" and format != "mae_st":
        both = last.shape[1] == 2 * found["MODEL.VIDEO_VIT.DIM"]
        return {"TASK": "detection", "MODEL.HEAD.GLOBAL_FEATURE": both, **keys, **_DETECTORS.get(format, {})}
    else:
        head = {"MODEL.HEAD.NAME": "ClassificationHead"}
        head |= {"MODEL.VIDEO_VIT.NORM": "pooled", "MODEL.VIDEO_VIT.FEATURES": "mean"}
    classifier = {"MODEL.META_ARCHITECTURE": "VideoClassifier", "MODEL.HEAD.ACTIVATION": "softmax"}
    return {"TASK": "classification", "MODEL.LOSS.NAME": "cross_entropy", **keys, **classifier, **head}


def _keys_of_decoder(tensors: Mapping[str, Tensor], format: str) -> dict[str, Any]:
    token = tensors.get("mask_token")
    if token is None or "decoder.head.weight" not in tensors:
        return {}
    method, section = ("MAEST", "MAE_ST") if format == "mae_st" else ("VideoMAE", "VIDEO_MAE")
    depth = len({name.split(".")[2] for name in tensors if name.startswith("decoder.blocks.")})
    return {
        "MODEL.META_ARCHITECTURE": method,
        f"MODEL.{section}.DECODER_DIM": token.shape[-1],
        f"MODEL.{section}.DECODER_DEPTH": depth,
    }
