"""Spatial and photometric transforms of whole clips, together with their boxes.

A clip is a uint8 tensor (3, T, H, W), RGB. Boxes are float arrays (N, 4), x1y1x2y2, in pixels of the clip, measured
between pixel edges: the box of the whole frame is (0, 0, W, H). That is the convention of an aligned
RoIAlign. (PySlowFast mirrors boxes with ``x' = W - x - 1``, which is right for pixel centres, but shifts boxes with
coordinates in [0, 1] times the width by one pixel. Here ``x' = W - x``.)

Every function applies the same change to all frames of a clip. Random parameters are drawn by the functions named
``draw_...`` from a ``numpy.random.Generator``; the transforms themselves are pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..structures.boxes import clip_boxes, scale_boxes

__all__ = [
    "ColorJitter",
    "Window",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "center_window",
    "clip_boxes",
    "color_jitter",
    "crop",
    "crop_boxes",
    "draw_color_jitter",
    "draw_noise",
    "draw_resized_window",
    "draw_short_side",
    "draw_window",
    "erase",
    "flip",
    "flip_boxes",
    "gaussian_blur",
    "grayscale",
    "rand_augment",
    "resize",
    "scale_boxes",
    "visible",
    "window_around",
]

Boxes = NDArray[np.float32]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in Pillow and torchvision


class Window(NamedTuple):
    """A rectangle inside a frame, in whole pixels."""

    top: int
    left: int
    height: int
    width: int


# ---- size and position ------------------------------------------------------------------------


def draw_short_side(rng: np.random.Generator, smallest: int, largest: int) -> int:
    """Draw a short side in pixels whose inverse is uniform in [1/largest, 1/smallest] (PySlowFast).

    It is drawn before decoding, so that the decoder scales directly to it.
    """
    return round(1.0 / rng.uniform(1.0 / largest, 1.0 / smallest))


def draw_window(rng: np.random.Generator, height: int, width: int, size: int) -> Window:
    """Draw a square of side ``size`` uniformly inside a (height, width) frame.

    Raises:
        ValueError: the frame is smaller than the square.
    """
    _check_fits(height, width, size)
    top = int(rng.integers(0, height - size, endpoint=True))
    left = int(rng.integers(0, width - size, endpoint=True))
    return Window(top, left, size, size)


def center_window(height: int, width: int, size: int) -> Window:
    """The central square of side ``size``; an odd margin is larger at the top and left, as in PySlowFast."""
    _check_fits(height, width, size)
    return Window(math.ceil((height - size) / 2), math.ceil((width - size) / 2), size, size)


def window_around(box: Boxes, height: int, width: int, size: int) -> Window:
    """The square of side ``size`` inside the frame with its centre nearest to that of ``box`` (4,)."""
    _check_fits(height, width, size)
    center_x, center_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    top = min(max(round(float(center_y) - size / 2), 0), height - size)
    left = min(max(round(float(center_x) - size / 2), 0), width - size)
    return Window(top, left, size, size)


def draw_resized_window(
    rng: np.random.Generator,
    height: int,
    width: int,
    area: tuple[float, float] = (0.3, 1.0),
    aspect: tuple[float, float] = (0.5, 2.0),
) -> Window:
    """Draw a rectangle for a random resized crop.

    Its share of the frame's area is uniform in ``area``, its width over height log-uniform in ``aspect``. After
    ten draws that do not fit, the largest central rectangle with an allowed aspect ratio is returned.
    """
    for _ in range(10):
        target = rng.uniform(*area) * height * width
        ratio = math.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1])))
        crop_width, crop_height = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            top = int(rng.integers(0, height - crop_height, endpoint=True))
            left = int(rng.integers(0, width - crop_width, endpoint=True))
            return Window(top, left, crop_height, crop_width)
    ratio = min(max(width / height, aspect[0]), aspect[1])
    crop_width = min(width, max(1, round(height * ratio)))
    crop_height = min(height, max(1, round(width / ratio)))
    return Window((height - crop_height) // 2, (width - crop_width) // 2, crop_height, crop_width)


def crop(clip: Tensor, window: Window) -> Tensor:
    """Crop every frame to the window; returns a view."""
    top, left, height, width = window
    return clip[..., top : top + height, left : left + width]


def crop_boxes(boxes: Boxes, window: Window) -> Boxes:
    """Convert boxes to coordinates of the window without clipping them (see :func:`clip_boxes`)."""
    return boxes - np.array([window.left, window.top] * 2, dtype=np.float32)


def flip(clip: Tensor) -> Tensor:
    """Mirror every frame horizontally."""
    return clip.flip(-1)


def jitter_boxes(
    boxes: NDArray[np.float32], draws: NDArray[np.float32], shares: Sequence[float], height: int, width: int
) -> NDArray[np.float32]:
    """Move the edges of boxes (N, 4) by shares of the box, as VideoMAE's detector does in training.

    A box includes its last pixel, so its width is x2 - x1 + 1. The result has at least one pixel, inside the image.

    Args:
        draws: (N, 4) in [0, 1), by edge: 0 moves an edge as far to the left or up as possible, 1 the other way.
        shares: of width and height that edges move out of the box at most, then into it.
    """
    size = boxes[:, 2:] - boxes[:, :2] + 1
    outward, inward = np.asarray(shares, np.float32).reshape(2, 2)
    corner = boxes[:, :2] + size * (draws[:, :2] * (outward + inward) - outward)
    opposite = boxes[:, 2:] + size * (draws[:, 2:] * (outward + inward) - inward)
    last = np.array([width - 1, height - 1], np.float32)
    corner = np.clip(corner, 0, last - 1)
    return np.concatenate([corner, np.maximum(np.minimum(opposite, last), corner + 1)], axis=1)


def flip_boxes(boxes: Boxes, width: int) -> Boxes:
    """Mirror the boxes of a clip of this width, as :func:`flip` does its frames."""
    flipped = boxes.copy()
    flipped[:, 0] = width - boxes[:, 2]
    flipped[:, 2] = width - boxes[:, 0]
    return flipped


def resize(clip: Tensor, height: int, width: int) -> Tensor:
    """Scale every frame to (height, width), bilinear with antialiasing; uint8 in and out."""
    frames = clip.permute(1, 0, 2, 3)
    scaled = torch.nn.functional.interpolate(frames, (height, width), mode="bilinear", antialias=True)
    return scaled.permute(1, 0, 2, 3)


def visible(inside: Boxes, whole: Boxes, size: int, share: float = 0.25) -> NDArray[np.bool_]:
    """Mask (N,) of the persons that are visible in a crop whose shorter side is ``size``.

    At least ``share`` of both their width and height must be inside, or ``share`` of the crop's side for persons larger
    than it. Boxes that are mostly outside the crop are dropped: their labels would be noise. (PySlowFast keeps all
    boxes, even empty ones.)

    Args:
        inside: boxes clipped to the crop.
        whole: boxes before cropping; only their sizes count.
    """
    possible = np.minimum(whole[:, 2:] - whole[:, :2], size)
    return (inside[:, 2:] - inside[:, :2] >= share * possible).all(axis=1)


def _check_fits(height: int, width: int, size: int) -> None:
    if size > min(height, width):
        raise ValueError(f"a crop of {size} pixels does not fit into frames of {width}x{height}")


# ---- colour -----------------------------------------------------------------------------------


class ColorJitter(NamedTuple):
    """Factors of brightness, contrast and saturation (1 changes nothing), a shift of hue in turns of the colour circle
    (0 changes nothing), and the order in which they are applied."""

    factors: tuple[float, ...]
    order: tuple[int, ...]  # positions in ``factors``


def draw_color_jitter(rng: np.random.Generator, ranges: Sequence[float]) -> ColorJitter:
    """Draw factors uniformly from [1 - range, 1 + range] (never negative), a hue shift from [-range, range] and a
    random order, once for a whole clip.

    Args:
        ranges: ranges of brightness, contrast, saturation and, if not 0, hue (at most 0.5, half a turn).
    """
    factors = [float(rng.uniform(max(0.0, 1.0 - r), 1.0 + r)) for r in ranges[:3]]
    factors += [float(rng.uniform(-r, r)) for r in ranges[3:] if r > 0]
    return ColorJitter(tuple(factors), tuple(rng.permutation(len(factors)).tolist()))


def color_jitter(clip: Tensor, jitter: ColorJitter) -> Tensor:
    """Change brightness, contrast, saturation and hue in the drawn order; values stay in [0, 255]."""
    adjust = (adjust_brightness, adjust_contrast, adjust_saturation, adjust_hue)
    for position in jitter.order:
        clip = adjust[position](clip, jitter.factors[position])
    return clip


def adjust_brightness(clip: Tensor, factor: float) -> Tensor:
    """Blend with black; ``factor`` 0 is black, 1 is the clip itself."""
    return _by_table(clip, factor, 0.0)


def adjust_contrast(clip: Tensor, factor: float) -> Tensor:
    """Blend with the mean luma of the whole clip; ``factor`` 0 is a flat gray, 1 the clip itself.

    One mean for all frames, because a mean per frame would flicker when a person walks in.
    """
    channel_means = torch.stack([channel.to(torch.float32).mean() for channel in clip])
    mean = float(channel_means @ torch.tensor(_LUMA))
    return _by_table(clip, factor, mean)


def adjust_saturation(clip: Tensor, factor: float) -> Tensor:
    """Blend with the grayscale clip; ``factor`` 0 is gray, 1 the clip itself."""
    gray = _luma(clip)
    return (clip * factor + gray * (1.0 - factor)).round_().clamp_(0, 255).to(torch.uint8)


def adjust_hue(clip: Tensor, turns: float) -> Tensor:
    """Rotate the hue (HSV, in 256 steps); 0.5 gives complementary colours."""
    frames = np.ascontiguousarray(clip.permute(1, 2, 3, 0).numpy())
    image = frames.reshape(-1, frames.shape[2], 3)  # all frames below each other
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(round(turns * 256) % 256)  # wraps around
    shifted = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL).reshape(frames.shape)
    return torch.from_numpy(shifted).permute(3, 0, 1, 2)


def grayscale(clip: Tensor) -> Tensor:
    """Replace all three channels by the luma."""
    return _luma(clip).round_().to(torch.uint8).expand_as(clip)


def gaussian_blur(clip: Tensor, sigma: float) -> Tensor:
    """Blur every frame with a 3x3 Gaussian kernel; ``sigma`` in pixels."""
    # OpenCV's takes a seventh of the time of torchvision's on small frames.
    planes = np.ascontiguousarray(clip.numpy()).reshape(-1, *clip.shape[-2:])
    blurred = np.empty_like(planes)
    for source, target in zip(planes, blurred, strict=True):
        cv2.GaussianBlur(source, (3, 3), sigma, target)
    return torch.from_numpy(blurred).view(clip.shape)


def erase(clip: Tensor, window: Window, noise: Tensor) -> Tensor:
    """Replace the window in every frame by ``noise``, uint8 (3, height, width)."""
    erased = clip.clone()
    crop(erased, window).copy_(noise.unsqueeze(1))
    return erased


def draw_noise(rng: np.random.Generator, height: int, width: int) -> Tensor:
    """Uniform noise, uint8 (3, height, width)."""
    return torch.from_numpy(rng.integers(0, 256, (3, height, width), dtype=np.uint8))


def rand_augment(clip: Tensor, num_ops: int, magnitude: int, seed: int) -> Tensor:
    """Apply torchvision's RandAugment (Cubuk et al. 2020), with the same operations for all frames.

    Args:
        num_ops: number of operations applied in sequence.
        magnitude: 0 to 30.
        seed: chooses the operations and their directions.
    """
    from torchvision.transforms.v2 import RandAugment

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RandAugment(num_ops, magnitude)(clip.transpose(0, 1)).transpose(0, 1)


def _luma(clip: Tensor) -> Tensor:
    """(3, T, H, W) uint8 -> (1, T, H, W) float32 in [0, 255]."""
    red, green, blue = clip
    return (red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]).unsqueeze(0)


def _by_table(clip: Tensor, factor: float, other: float) -> Tensor:
    """``factor * clip + (1 - factor) * other``, computed for the 256 values and looked up for the pixels."""
    values = np.arange(256, dtype=np.float32) * factor + other * (1.0 - factor)
    table = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    values = np.ascontiguousarray(clip.numpy())
    return torch.from_numpy(cv2.LUT(values.reshape(-1, values.shape[-1]), table).reshape(values.shape))
