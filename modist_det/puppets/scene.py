"""Perspective, backgrounds and camera motion.

World pixels are frame pixels of a camera at rest. A camera is a 2x3 matrix per frame from world to frame pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .params import PuppetsParams
from .textures import blotches, random_color, surface

__all__ = ["Perspective", "Place", "camera_path", "make_perspective", "make_place"]

# The background extends beyond the frame by this share of its size on each side.
_MARGIN = 0.35


@dataclass(frozen=True)
class Perspective:
    """A level camera over flat ground. Gives the size and position of things at a depth (metres)."""

    focal: float  # pixels
    horizon: float  # world row
    eye: float  # height of the camera in metres

    def scale(self, depth: np.ndarray | float) -> np.ndarray:
        """World pixels per metre."""
        return self.focal / np.asarray(depth)

    def ground(self, depth: np.ndarray | float) -> np.ndarray:
        """World row of the ground."""
        return self.horizon + self.eye * self.scale(depth)

    def elevation(self, depth: np.ndarray | float) -> np.ndarray:
        """Angle in radians by which the camera looks down at the middle of a person."""
        return np.arctan2(self.eye - 0.9, np.asarray(depth))


def make_perspective(rng: np.random.Generator, params: PuppetsParams) -> Perspective:
    """A camera at a random height (from belly to above the head) for which the largest people fit into the frame."""
    focal = 1.3 * params.frame_height
    eye = rng.uniform(0.9, 2.0)
    nearest = params.max_figure * params.frame_height / 1.75
    return Perspective(focal, rng.uniform(0.93, 0.97) * params.frame_height - eye * nearest, eye)


@dataclass(frozen=True)
class Place:
    """A background image float32 (h, w, 4), with alpha 1, and its corner in world pixels."""

    image: np.ndarray
    corner: tuple[float, float]


def make_place(rng: np.random.Generator, params: PuppetsParams, floor: float) -> Place:
    """A wall with some objects on it, and a floor that starts at world row ``floor``."""
    margin_x, margin_y = round(_MARGIN * params.frame_width), round(_MARGIN * params.frame_height)
    height, width = params.frame_height + 2 * margin_y, params.frame_width + 2 * margin_x
    image = surface(rng, height, width, params.texture_contrast)
    for _ in range(rng.integers(1, 6)):
        _hang(rng, image, params)
    row = int(np.clip(floor + margin_y, 1, height - 1))
    ground = surface(rng, height - row, width, params.texture_contrast)
    image[row:] = ground * np.linspace(0.75, 1.05, height - row)[:, None, None]
    image *= (0.85 + 0.3 * blotches(rng, height, width, width / 3))[..., None]
    opaque = np.dstack([np.clip(image, 0, 255), np.ones((height, width))]).astype(np.float32)
    return Place(opaque, (-margin_x, -margin_y))


def _hang(rng: np.random.Generator, image: np.ndarray, params: PuppetsParams) -> None:
    """Draw a window, a picture or a round object on the wall."""
    height, width = image.shape[:2]
    x, y = rng.uniform(0, width), rng.uniform(0, 0.6 * height)
    w, h = rng.uniform(0.06, 0.25) * width, rng.uniform(0.08, 0.35) * height
    mean = image.mean((0, 1))
    color = mean + (random_color(rng) - mean) * (0.3 + 0.7 * params.texture_contrast)
    if rng.random() < 0.3:
        cv2.ellipse(image, ((x, y), (w, h), rng.uniform(0, 180)), color.tolist(), -1, cv2.LINE_AA)
        return
    left, top = int(x - w / 2), int(y - h / 2)
    cv2.rectangle(image, (left, top), (int(x + w / 2), int(y + h / 2)), color.tolist(), -1)
    cv2.rectangle(image, (left, top), (int(x + w / 2), int(y + h / 2)), (0.6 * color).tolist(), 2)


def _smooth_noise(rng: np.random.Generator, length: int, width: int) -> np.ndarray:
    """Noise (length,) with standard deviation 1 that changes over about ``width`` frames."""
    kernel = np.hanning(2 * width + 1)
    noise = np.convolve(rng.standard_normal(length + 2 * width), kernel, mode="valid")
    return noise / np.sqrt((kernel**2).sum())


def camera_path(rng: np.random.Generator, params: PuppetsParams) -> np.ndarray:
    """World-to-frame matrices (T, 2, 3) with random pan, zoom, roll and shake."""
    strength, num = params.camera_motion, params.num_frames
    t = np.arange(num) / params.fps

    def drift(amount: float) -> np.ndarray:
        return strength * amount * np.sin(2 * np.pi * (rng.uniform(0.05, 0.25) * t + rng.random()))

    pan_x = drift(rng.uniform(0, 0.16)) * params.frame_width
    pan_y = drift(rng.uniform(0, 0.05)) * params.frame_height
    zoom = 1 + drift(rng.uniform(0, 0.16))
    roll = np.deg2rad(drift(rng.uniform(0, 3)))
    shake = strength * rng.uniform(0, 0.012) * params.frame_height
    pan_x, pan_y = pan_x + shake * _smooth_noise(rng, num, 3), pan_y + shake * _smooth_noise(rng, num, 3)
    cos, sin = zoom * np.cos(roll), zoom * np.sin(roll)
    center_x, center_y = params.frame_width / 2, params.frame_height / 2
    matrix = np.empty((num, 2, 3))
    matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1] = cos, -sin, sin, cos
    matrix[:, 0, 2] = center_x + pan_x - cos * center_x + sin * center_y
    matrix[:, 1, 2] = center_y + pan_y - sin * center_x - cos * center_y
    return matrix
