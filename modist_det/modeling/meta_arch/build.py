"""``build_model``: the model that a config names."""

from __future__ import annotations

from torch import nn

from ...core import NOT_NEGATIVE, POSITIVE, CfgNode, Key, ListOf, add_section
from ..registry import META_ARCH_REGISTRY, lookup

__all__ = ["build_model"]

add_section(
    "MODEL",
    META_ARCHITECTURE="ActionDetector",
    # A checkpoint to start from: a path, zoo://NAME (MODEL_ZOO.md), a URL or torchvision://NAME/WEIGHTS; any of the
    # formats that modist_det.checkpoint reads.
    WEIGHTS="",
    # "auto": CUDA where there is one, otherwise the CPU. Or "cpu", "cuda", "cuda:1".
    DEVICE="auto",
    # Clips arrive as uint8 RGB; the model computes (x / 255 - mean) / std on the device. One entry
    # per channel, in the order of INPUT_FORMAT.
    PIXEL_MEAN=Key([0.45, 0.45, 0.45], ListOf(float, 3)),
    PIXEL_STD=Key([0.225, 0.225, 0.225], ListOf(float, 3, POSITIVE)),
    # "BGR" swaps the channels on the device, for checkpoints of Caffe2's time.
    INPUT_FORMAT="RGB",
    # Classifiers and detectors: differences of successive frames instead of the frames.
    FRAME_DIFFERENCES=False,
    # Width of the last linear layer. 0: the highest class id of the training data's label map.
    NUM_CLASSES=Key(0, NOT_NEGATIVE),
    CHANNELS_LAST=False,  # torch.channels_last_3d memory format
    COMPILE=False,  # torch.compile
    SYNC_BN=False,  # batch statistics over all processes
)


def build_model(cfg: CfgNode) -> nn.Module:
    """The meta architecture ``cfg.MODEL.META_ARCHITECTURE`` on the CPU, with random weights.

    Weights are drawn from torch's global generator. Device, memory format and ``torch.compile`` are up to the caller.

    Raises:
        UserError: an unknown name, ``MODEL.NUM_CLASSES`` is 0, or settings that a part rejects.
    """
    return lookup(META_ARCH_REGISTRY, cfg.MODEL.META_ARCHITECTURE, "MODEL.META_ARCHITECTURE").from_config(cfg)
