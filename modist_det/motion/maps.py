"""Motion maps: optical flow converted to uint8, the input of the motion pathway.

Flow is (..., 2, H, W), x to the right and y down, in pixels of the source frame. The functions accept any leading
dimensions and any device, and do not synchronize with it. Values are rounded to the nearest integer, halves to even.

:data:`MOTION_KINDS` maps the names in configs to kinds of maps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..utils.errors import UserError, nearest

__all__ = [
    "EDGE_MAX",
    "FLOW_MAX",
    "MOTION_KINDS",
    "MotionKind",
    "flip_maps",
    "flow_edges",
    "flow_magnitude",
    "flow_xy",
    "frame_difference",
    "motion_kind",
]

EDGE_MAX = 10.0  # pixels per pixel; mapped to 255 (from the motion extraction script of arXiv 2106.09703)
FLOW_MAX = 20.0  # pixels; mapped to 255. Our choice: faster motion is rare in clips of 256 pixels
DIFFERENCE_MAX = 255.0  # grey levels


def flow_edges(flow: Tensor, limit: float = EDGE_MAX) -> Tensor:
    """Edges of the flow magnitude: where something moves differently from its surroundings.

    The length of the gradient (Sobel kernels divided by 8, with repeated borders) of the flow magnitude, limited to
    [0, ``limit``] and scaled to [0, 255]. Smooth camera motion has no edges.

    Args:
        flow: (..., 2, H, W), in pixels of the source frame.
        limit: pixels per pixel that become 255.

    Returns:
        uint8 (..., 1, H, W).
    """
    speed = _speed(flow)
    padded = torch.cat([speed[..., :1, :], speed, speed[..., -1:, :]], dim=-2)
    padded = torch.cat([padded[..., :1], padded, padded[..., -1:]], dim=-1)
    # The kernels are separable: a difference along one axis, (1, 2, 1) along the other.
    above, here, below = padded[..., :-2, :], padded[..., 1:-1, :], padded[..., 2:, :]
    blurred_y = torch.add(above, here, alpha=2).add_(below)
    step_y = below - above
    gradient_x = blurred_y[..., 2:] - blurred_y[..., :-2]
    gradient_y = torch.add(step_y[..., :-2], step_y[..., 1:-1], alpha=2).add_(step_y[..., 2:])
    length = gradient_x.square_().add_(gradient_y.square_()).sqrt_()
    return _to_uint8(length, 8 * limit).unsqueeze(-3)


def flow_magnitude(flow: Tensor, limit: float = FLOW_MAX) -> Tensor:
    """Length of the flow at each pixel, limited to [0, ``limit``] and scaled to [0, 255]: uint8 (..., 1, H, W)."""
    return _to_uint8(_speed(flow), limit).unsqueeze(-3)


def flow_xy(flow: Tensor, limit: float = FLOW_MAX) -> Tensor:
    """The flow itself, limited to [-``limit``, ``limit``] on each axis: ``128 + 127 / limit * pixels``, uint8
    (..., 2, H, W) in [1, 255]."""
    _check_flow(flow)
    scaled = flow.float().clamp(-limit, limit).mul_(127 / limit).add_(128)
    return scaled.round_().to(torch.uint8)


def frame_difference(frames: Tensor, earlier: Tensor, limit: float = DIFFERENCE_MAX) -> Tensor:
    """Absolute difference in brightness (ITU-R BT.601) between frames and earlier frames.

    Args:
        frames, earlier: RGB, uint8 (..., 3, H, W).
        limit: grey levels that become 255.

    Returns:
        uint8 (..., 1, H, W).
    """
    red, green, blue = (frames.float() - earlier.float()).unbind(-3)
    difference = (0.299 * red).add_(green, alpha=0.587).add_(blue, alpha=0.114)
    return _to_uint8(difference.abs_(), limit).unsqueeze(-3)


class MotionKind(NamedTuple):
    """A kind of motion map: number of channels, function of flow and limit, value where nothing moves, and the limit:
    motion from which on the map has its largest value.

    ``from_flow`` is None for :func:`frame_difference`, which needs no flow.
    """

    channels: int
    from_flow: Callable[[Tensor, float], Tensor] | None
    still: int = 0
    limit: float = FLOW_MAX


MOTION_KINDS = {
    "edges": MotionKind(1, flow_edges, limit=EDGE_MAX),
    "magnitude": MotionKind(1, flow_magnitude),
    "flow": MotionKind(2, flow_xy, still=128),
    "difference": MotionKind(1, None, limit=DIFFERENCE_MAX),
}


def motion_kind(name: str) -> MotionKind:
    """The entry ``name`` of :data:`MOTION_KINDS`.

    Raises:
        UserError: there is none.
    """
    if name not in MOTION_KINDS:
        raise UserError(
            f"there is no motion input {name!r}{nearest(name, MOTION_KINDS)} (known: {', '.join(MOTION_KINDS)})"
        )
    return MOTION_KINDS[name]


def flip_maps(maps: Tensor, kind: str) -> Tensor:
    """Maps (..., C, H, W) of the mirrored video: images are flipped and horizontal flow changes its sign."""
    flipped = maps.flip(-1)
    if kind == "flow":
        # Maps from a lossy file may contain 0, which flow_xy never gives.
        flipped[..., 0, :, :] = 0 - flipped[..., 0, :, :].clamp(min=1)
    return flipped


def _check_flow(flow: Tensor) -> None:
    if flow.dim() < 3 or flow.shape[-3] != 2:
        raise ValueError(f"flow has the shape (..., 2, H, W), not {tuple(flow.shape)}")


def _speed(flow: Tensor) -> Tensor:
    """(..., 2, H, W) -> (..., H, W), a new tensor."""
    _check_flow(flow)
    x, y = flow.float().unbind(-3)
    return x.square().addcmul_(y, y).sqrt_()


def _to_uint8(values: Tensor, largest: float) -> Tensor:
    """``values`` (overwritten) scaled from [0, largest] to [0, 255]."""
    return values.mul_(255 / largest).clamp_(0, 255).round_().to(torch.uint8)
