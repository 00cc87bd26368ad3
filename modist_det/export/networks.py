"""Models as plain functions of tensors, for export."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..modeling import ActionDetector, VideoClassifier
from ..modeling.backbone.convolution import Conv3d
from ..modeling.registry import UsesContext
from ..utils.errors import UserError

__all__ = ["ClassifierFunction", "DetectorFunction", "as_function", "fold_norms"]


class ClassifierFunction(nn.Module):
    """A :class:`~modist_det.modeling.VideoClassifier` as a function: clip -> class scores."""

    inputs = ("video",)

    def __init__(self, model: VideoClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, video: Tensor) -> Tensor:
        """uint8 RGB (B, 3, T, H, W) -> float32 (B, K) in [0, 1]."""
        model = self.model
        return model.head.scores(model.head(model.backbone(model.normalizer(video))))


class DetectorFunction(nn.Module):
    """An :class:`~modist_det.modeling.ActionDetector` as a function: clip and person boxes -> action scores."""

    inputs = ("video", "rois")

    def __init__(self, model: ActionDetector) -> None:
        super().__init__()
        self.model = model

    def forward(self, video: Tensor, rois: Tensor) -> Tensor:
        """uint8 RGB (B, 3, T, H, W), float32 (N, 5) -> float32 (N, K) in [0, 1].

        Args:
            rois: index of the clip in the batch, then x1, y1, x2, y2 in pixels of the clip.
        """
        model = self.model
        return model.head.scores(model.logits(model.normalizer(video), rois))


def as_function(model: nn.Module) -> ClassifierFunction | DetectorFunction:
    """``model``, in evaluation mode, as a function of tensors with shared weights.

    Raises:
        UserError: it is neither a classifier nor a detector, or its head needs more than maps and boxes.
    """
    model.eval()
    if isinstance(model, ActionDetector):
        if isinstance(model.head, UsesContext):
            raise UserError(
                f"a model with {type(model.head).__name__} cannot be exported: the head needs more than maps and boxes"
            )
        return DetectorFunction(model).eval()
    if isinstance(model, VideoClassifier):
        return ClassifierFunction(model).eval()
    raise UserError(f"only classifiers and detectors can be exported, not a {type(model).__name__}")


def fold_norms(network: nn.Module) -> nn.Module:
    """A copy in which each batch norm is a part of the convolution before it.

    The convolutions are those that are called together with their norms (``Conv3d`` of the backbones). By their names,
    ``norm_a`` belongs to ``conv_a`` and ``shortcut_norm`` to ``shortcut``.
    """
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, conv in list(module.named_children()):
            norm_name = name.replace("conv", "norm") if "conv" in name else f"{name}_norm"
            norm = getattr(module, norm_name, None)
            if isinstance(conv, Conv3d) and isinstance(norm, _BatchNorm):
                setattr(module, name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return network
