"""From optical flow to what the motion pathway sees: uint8 maps.

Flow is in pixels of the source frame, (..., 2, H, W), x to the right first, y down second. All functions take numpy
arrays or tensors and work on any leading dimensions at once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "EDGE_MAX",
    "MAGNITUDE_MAX",
    "flow_edges",
    "flow_magnitude",
    "flow_xy",
    "frame_difference",
]

EDGE_MAX = 10.0  # the value that becomes 255 (METHOD of arXiv 2106.09703, motion extraction)
MAGNITUDE_MAX = 20.0

# Derivative across three pixels and smoothing along the other axis; the absolute weights add up to 1.
_SOBEL_X = ((-0.125, 0.0, 0.125), (-0.25, 0.0, 0.25), (-0.125, 0.0, 0.125))


def flow_edges(flow: Tensor) -> Tensor:
    """Edges of the flow's speed: where something moves differently from what is around it.

    The gradient magnitude, by a Sobel kernel divided by 8 (borders repeat), of the flow's length per
    pixel; limited to [0, 10] and scaled to [0, 255]. A camera's smooth motion has no edges.

    Args:
        flow: (..., 2, H, W), in pixels of the source frame.

    Returns:
        uint8 (..., 1, H, W).
    """
    speed = _speed(flow)
    padded = F.pad(speed.reshape(-1, 1, *speed.shape[-2:]), (1, 1, 1, 1), mode="replicate")
    kernel_x = torch.tensor(_SOBEL_X, dtype=speed.dtype, device=speed.device)
    kernels = torch.stack([kernel_x, kernel_x.T]).unsqueeze(1)
    gradient = F.conv2d(padded, kernels)
    edges = torch.linalg.vector_norm(gradient, dim=1)
    return _to_uint8(edges / EDGE_MAX).reshape(speed.shape).unsqueeze(-3)


def flow_magnitude(flow: Tensor) -> Tensor:
    """The flow's length per pixel, limited to [0, 20] and scaled to [0, 255]: uint8 (..., 1, H, W)."""
    return _to_uint8(_speed(flow) / MAGNITUDE_MAX).unsqueeze(-3)


def flow_xy(flow: Tensor) -> Tensor:
    """The flow itself, limited to [-20, 20] per axis; 0 becomes 128, one pixel 6.35: uint8 (..., 2, H, W)."""
    scaled = flow.float().clamp(-MAGNITUDE_MAX, MAGNITUDE_MAX) * (127 / MAGNITUDE_MAX) + 128
    return scaled.round().to(torch.uint8)


def frame_difference(frames: Tensor, earlier: Tensor) -> Tensor:
    """Absolute difference of brightness (ITU-R BT.601) of RGB frames and earlier ones.

    Args:
        frames, earlier: uint8 (..., 3, H, W).

    Returns:
        uint8 (..., 1, H, W).
    """
    weights = torch.tensor((0.299, 0.587, 0.114), device=frames.device).view(3, 1, 1)
    difference = ((frames.float() - earlier.float()) * weights).sum(dim=-3, keepdim=True)
    return difference.abs().round().clamp(max=255).to(torch.uint8)


def _speed(flow: Tensor) -> Tensor:
    if flow.dim() < 3 or flow.shape[-3] != 2:
        raise ValueError(f"flow has the shape (..., 2, H, W), not {tuple(flow.shape)}")
    return torch.linalg.vector_norm(flow.float(), dim=-3)


def _to_uint8(share: Tensor) -> Tensor:
    return (share.clamp(0, 1) * 255).round().to(torch.uint8)
