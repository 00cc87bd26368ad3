"""``from_file``: the network of a checkpoint of another project, from the names and shapes of its tensors."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ..checkpoint import load_weights
from ..checkpoint.describe import fitting_keys
from ..checkpoint.formats import Weights, convert, detect_format
from ..checkpoint.mvit import keys_of_mvit
from ..checkpoint.reading import pyslowfast_config, read_checkpoint, tensors_of
from ..checkpoint.video_vit import VIT_FORMATS
from ..config import CfgNode, get_cfg
from ..core.node import flatten
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
_CLASSIFIER = {
    "TASK": "classification",
    "MODEL.LOSS.NAME": "cross_entropy",
    "MODEL.META_ARCHITECTURE": "VideoClassifier",
    "MODEL.HEAD.ACTIVATION": "softmax",
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
    """The network of a video transformer's checkpoint, with its weights, on the CPU, in evaluation mode. A file of MViT
    must contain PySlowFast's config, as those that PySlowFast writes do.

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
    content = read_checkpoint(path)
    state = tensors_of(content, path)
    format = detect_format(state)
    weights = convert(state, format)
    theirs = pyslowfast_config(content) if format == "pyslowfast_mvit" else {}
    of_mvit = keys_of_mvit(theirs, path)
    keys = {}
    if of_mvit:
        keys = fitting_keys(weights.tensors) | of_mvit
    elif format in VIT_FORMATS and not weights.head_only:
        keys = fitting_keys(weights.tensors)
    if not keys or (_LAST_LAYER in weights.tensors and weights.tensors[_LAST_LAYER].dim() != 2):
        raise UserError(
            f"the network of {path} (format {format}) does not follow from the file; give --cfg FILE, or use "
            "load_weights with a model of your own"
        )
    keys |= _task_of_mvit(weights, theirs, path) if of_mvit else _keys_of_task(weights, format, keys)
    cfg = get_cfg()
    cfg.merge_from_list([word for pair in keys.items() for word in pair])
    cfg.merge_from_list([str(word) if isinstance(word, os.PathLike) else word for word in overrides])
    vit, mvit = cfg.MODEL.VIDEO_VIT, cfg.MODEL.MVIT
    frames, *_, size = mvit.INPUT_SIZE if of_mvit else (vit.NUM_FRAMES, vit.IMAGE_SIZE)
    given = set(overrides[::2])
    if "INPUT.NUM_FRAMES" not in given:
        cfg.INPUT.NUM_FRAMES = frames
    if "INPUT.CROP_SIZE" not in given:
        cfg.INPUT.CROP_SIZE = size
    return cfg, weights


# PySlowFast's key -> ours.
_PYSLOWFAST = {
    "DATA.MEAN": "MODEL.PIXEL_MEAN",
    "DATA.STD": "MODEL.PIXEL_STD",
    "DATA.SAMPLING_RATE": "INPUT.SAMPLING_RATE",
    "MODEL.HEAD_ACT": "MODEL.HEAD.ACTIVATION",
    "MODEL.DROPOUT_RATE": "MODEL.HEAD.DROPOUT",
}
_PYSLOWFAST_ROI = {
    "DETECTION.ROI_XFORM_RESOLUTION": "MODEL.HEAD.ROI_RESOLUTION",
    "DETECTION.ALIGNED": "MODEL.HEAD.ROI_ALIGNED",
}


def _task_of_mvit(weights: Weights, config: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The keys of its task, from PySlowFast's config in the file."""
    theirs = flatten(dict(config))
    detects = theirs.get("DETECTION.ENABLE", False)
    names = _PYSLOWFAST | _PYSLOWFAST_ROI if detects else _PYSLOWFAST
    keys = {ours: theirs[name] for name, ours in names.items() if name in theirs}
    last = weights.tensors.get(_LAST_LAYER)
    if last is None:
        return {"TASK": "pretraining"} | keys
    keys["MODEL.NUM_CLASSES"] = len(last)
    if detects:
        queries = [stride[-1] for stride in theirs.get("MVIT.POOL_Q_STRIDE", ())]
        stride = math.prod([theirs.get("MVIT.PATCH_STRIDE", [2, 4, 4])[-1], *queries])
        if (used := theirs.get("DETECTION.SPATIAL_SCALE_FACTOR", stride)) != stride:
            logger.warning(
                "%s: its map has a stride of %d pixels, but it was trained with boxes divided by %d "
                "(DETECTION.SPATIAL_SCALE_FACTOR); here they are divided by the stride, so that results differ",
                path,
                stride,
                used,
            )
        return {"TASK": "detection"} | keys
    return _CLASSIFIER | keys | {"MODEL.HEAD.NAME": "ClassificationHead", "MODEL.MVIT.FEATURES": "pooled"}


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
    return keys | _CLASSIFIER | head


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
