"""Grad-CAM on clips, and the share of the maps on people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..modeling.heads.projection import pool
from ..utils.modules import kept_modes
from ..visualization.heat_maps import draw_heat_maps

__all__ = [
    "BoxEnergy",
    "Score",
    "class_score",
    "draw_heat_maps",
    "energy_in_boxes",
    "feature_norm",
    "grad_cam",
    "similarity_to",
]

# Feature maps, one per pathway, (B, C_p, T_p, H', W') -> one number a clip, (B,).
Score = Callable[[list[Tensor]], Tensor]


def grad_cam(backbone: nn.Module, clip: Tensor, score: Score) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017) at a backbone's last maps, in time and space.

    A channel's weight is the gradient of the score summed over the map; the weighted sum of the channels, where it
    is above 0, is scaled up to the clip. (The paper's weight is the mean. The sum makes maps of pathways that
    differ in length comparable: with an average pool and a linear layer behind it, a weighted map's mean is what the
    pathway adds to the score.) The maps of several pathways are added.

    Args:
        backbone: any of ours; called in evaluation mode, may be frozen.
        clip: float (B, C, T, H, W), normalized.
        score: what is explained: :func:`class_score`, :func:`feature_norm`, :func:`similarity_to`, or any function
            in which a clip's number depends on that clip alone.

    Returns:
        float32 (B, T, H, W), 0 or more, not normalized, on the clip's device.

    Example::

        clip = model.normalizer(batch["video"])
        maps = grad_cam(model.backbone, clip, feature_norm)
        energy = energy_in_boxes(maps, batch["boxes"])
        print(energy.share.nanmean() / energy.area.mean())  # 1: no more than chance
    """
    with kept_modes(backbone), torch.no_grad():
        backbone.eval()
        features = [maps.float() for maps in backbone(clip)]
    with torch.enable_grad():
        leaves = [maps.requires_grad_() for maps in features]
        # A pathway that the score leaves out has no gradient.
        gradients = torch.autograd.grad(score(leaves).sum(), leaves, allow_unused=True)
    total = torch.zeros(len(clip), *clip.shape[2:], device=clip.device)
    for maps, gradient in zip(leaves, gradients, strict=True):
        if gradient is not None:
            weights = gradient.sum(dim=(2, 3, 4), keepdim=True)
            map_ = (weights * maps.detach()).sum(dim=1, keepdim=True).relu()
            total += F.interpolate(map_, clip.shape[2:], mode="trilinear", align_corners=False)[:, 0]
    return total


def class_score(head: nn.Module, channel: int, rois: Tensor | None = None) -> Score:
    """The logit of one class.

    Args:
        head: of a classifier, or of a detector if ``rois`` are given. Dropout is off.
        channel: of the class: its id minus 1.
        rois: float32 (N, 5), index of the clip and x1, y1, x2, y2 in pixels, as
            :class:`~modist_det.modeling.RoIActionHead` takes them; a clip's score is the sum over its boxes. The
            weights of the channels come from the boxes, but hold for the whole map: people outside may light up, too.
    """

    def score(features: list[Tensor]) -> Tensor:
        with kept_modes(head):
            head.eval()
            if rois is None:
                return head(features)[..., channel].mean(dim=1)
            logits = head(features, rois)[:, channel]
        return logits.new_zeros(len(features[0])).index_add(0, rois[:, 0].long(), logits)

    return score


def feature_norm(features: list[Tensor]) -> Tensor:
    """Length of the pooled feature (B,), for networks without classes.

    Up to one factor a clip, the map is that of the pooled feature's dot product with itself.
    """
    return pool(features).norm(dim=1)


def similarity_to(targets: Tensor) -> Score:
    """Dot product of the pooled feature with ``targets`` (B, D), to explain the similarity of clips."""

    def score(features: list[Tensor]) -> Tensor:
        return (pool(features) * targets).sum(dim=1)

    return score


class BoxEnergy(NamedTuple):
    """Of each clip (B,): the share of a map's sum inside the boxes, and the share of the pixels that are inside.

    ``share / area`` is 1 for a map that is independent of the boxes. ``share`` is NaN where the map is 0 everywhere.
    """

    share: Tensor
    area: Tensor


def energy_in_boxes(maps: Tensor, boxes: Sequence[Tensor]) -> BoxEnergy:
    """Compute the share of the maps on people.

    Args:
        maps: (B, T, H, W), 0 or more.
        boxes: B tensors of x1, y1, x2, y2 in pixels of the clip: (N, 4), the same on all frames, or (T, N, 4).
            N may be 0. A pixel is inside if its centre is in any of the boxes.

    Returns:
        float64 on the maps' device.
    """
    if len(boxes) != len(maps):
        raise ValueError(f"boxes of {len(boxes)} clips for {len(maps)} maps")
    inside = torch.stack(
        [_inside(tensor.to(maps.device), maps.shape[1:]) for tensor in boxes]
    )  # (B, T, H, W)
    energy = maps.double()
    return BoxEnergy(
        share=(energy * inside).sum(dim=(1, 2, 3)) / energy.sum(dim=(1, 2, 3)),
        area=inside.double().mean(dim=(1, 2, 3)),
    )


def _inside(boxes: Tensor, shape: torch.Size) -> Tensor:
    """bool (T, H, W)."""
    frames, height, width = shape
    if boxes.dim() == 2:
        boxes = boxes.expand(frames, *boxes.shape)
    y = (torch.arange(height, device=boxes.device) + 0.5).view(-1, 1)
    x = (torch.arange(width, device=boxes.device) + 0.5).view(1, -1)
    x1, y1, x2, y2 = boxes.unsqueeze(-1).unsqueeze(-1).unbind(dim=2)  # each (T, N, 1, 1)
    return ((x >= x1) & (x < x2) & (y >= y1) & (y < y2)).any(dim=1)
