"""Moving objects that are not people (cars, balls, animals, pendulums), and posts that hide people."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .params import PuppetsParams
from .scene import Perspective
from .textures import blotches, random_color

__all__ = ["Distractor", "make_distractors"]


@dataclass(frozen=True)
class Distractor:
    """An object: which of its sprites each frame shows, and where.

    ``sprites`` are float32 (h, w, 4) with premultiplied alpha. ``matrices`` (T, 2, 3) map sprite to world pixels.
    ``depth`` is the distance from the camera in metres.
    """

    kind: str
    sprites: tuple[np.ndarray, ...]
    index: np.ndarray
    matrices: np.ndarray
    depth: float


def make_distractors(
    rng: np.random.Generator, params: PuppetsParams, view: Perspective, depths: tuple[float, float]
) -> list[Distractor]:
    """Up to ``max_distractors`` objects, at distances between the two ``depths`` (metres)."""
    makers = (_car, _ball, _animal, _pendulum, _post)
    count = int(rng.integers(params.max_distractors + 1))
    objects = []
    for _ in range(count):
        depth = rng.uniform(*depths)
        objects.append(makers[rng.integers(len(makers))](rng, params, float(view.ground(depth)), depth))
    return objects


def _single(kind: str, sprite: np.ndarray, matrices: np.ndarray, depth: float) -> Distractor:
    return Distractor(kind, (sprite,), np.zeros(len(matrices), int), matrices, depth)


def _sprite(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 4), np.float32)


def _painted(color: np.ndarray) -> tuple[float, float, float, float]:
    r, g, b = (float(c) for c in color)
    return r, g, b, 1.0


def _finish(rng: np.random.Generator, sprite: np.ndarray, contrast: float) -> np.ndarray:
    """Add light from above and texture to a flat drawing."""
    height, width = sprite.shape[:2]
    light = np.linspace(1.15, 0.65, height, dtype=np.float32)[:, None]
    grain = 1 + 0.5 * contrast * (blotches(rng, height, width, 3.0) - 0.5)
    sprite[..., :3] = np.clip(sprite[..., :3] * (light * grain)[..., None], 0, 255)
    return np.ascontiguousarray(cv2.GaussianBlur(sprite, (3, 3), 0.6))


def _at(
    x: np.ndarray,
    y: np.ndarray,
    sprite: np.ndarray,
    anchor: tuple[float, float],
    angle: np.ndarray | float = 0.0,
    mirror: bool = False,
) -> np.ndarray:
    """Matrices (T, 2, 3) that rotate a sprite by ``angle`` and put its ``anchor`` (relative to its size) at (x, y)."""
    cos, sin = np.cos(angle) + 0 * x, np.sin(angle) + 0 * x
    flip = -1.0 if mirror else 1.0
    ax, ay = anchor[0] * sprite.shape[1], anchor[1] * sprite.shape[0]
    matrix = np.empty((len(x), 2, 3))
    matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1] = flip * cos, -sin, flip * sin, cos
    matrix[:, 0, 2] = x - flip * cos * ax + sin * ay
    matrix[:, 1, 2] = y - flip * sin * ax - cos * ay
    return matrix


def _crossing(rng: np.random.Generator, params: PuppetsParams, speed: float) -> tuple[np.ndarray, bool]:
    """World x (T,) of an object that moves at about ``speed`` frame widths per second; whether it moves left."""
    t = np.arange(params.num_frames) / params.fps - params.seconds / 2
    leftward = bool(rng.random() < 0.5)
    velocity = params.distractor_speed * speed * rng.uniform(0.6, 1.4) * params.frame_width
    start = rng.uniform(0.1, 0.9) * params.frame_width
    return start + (-velocity if leftward else velocity) * t, leftward


def _car(rng: np.random.Generator, params: PuppetsParams, ground: float, depth: float) -> Distractor:
    unit = params.frame_height * rng.uniform(0.2, 0.34)
    height, width = round(unit), round(2.1 * unit)
    color, sprite = random_color(rng), _sprite(height, width)
    roof_x, roof_y = (
        (0.22, 0.7, 0.85, 0.98, 0.98, 0.02, 0.02, 0.12),
        (0.05, 0.05, 0.45, 0.5, 0.82, 0.82, 0.45, 0.42),
    )
    window = np.array([[0.27, 0.66, 0.77, 0.19], [0.13, 0.13, 0.42, 0.42]])
    outlines = ((np.array([roof_x, roof_y]), _painted(color)), (window, (150.0, 170.0, 190.0, 1.0)))
    for outline, paint in outlines:
        cv2.fillPoly(sprite, [np.round(outline.T * (width, height)).astype(np.int32)], paint)
    for wheel in (0.22, 0.78):
        center = (round(wheel * width), round(0.82 * height))
        cv2.circle(sprite, center, round(0.16 * height), (25.0, 25.0, 28.0, 1.0), -1)
    sprite = _finish(rng, sprite, params.texture_contrast)
    x, leftward = _crossing(rng, params, 0.35)
    return _single("car", sprite, _at(x, np.full_like(x, ground), sprite, (0.5, 1.0), mirror=leftward), depth)


def _ball(rng: np.random.Generator, params: PuppetsParams, ground: float, depth: float) -> Distractor:
    radius = max(3, round(params.frame_height * rng.uniform(0.04, 0.09)))
    sprite = _sprite(2 * radius + 2, 2 * radius + 2)
    center = (radius, radius)
    cv2.circle(sprite, center, radius, _painted(random_color(rng)), -1)
    cv2.ellipse(sprite, center, (radius, radius // 2), 0, 0, 180, _painted(random_color(rng)), -1)
    sprite = _finish(rng, sprite, params.texture_contrast)
    x, _ = _crossing(rng, params, 0.25)
    t = np.arange(len(x)) / params.fps * params.distractor_speed
    bounce = (rng.uniform(0.7, 1.3) * t + rng.random()) % 1.0
    y = ground - radius - rng.uniform(0.2, 0.6) * params.frame_height * 4 * bounce * (1 - bounce)
    angle = (x - x[0]) / radius
    return _single("ball", sprite, _at(x, y, sprite, (0.5, 0.5), angle), depth)


def _animal(rng: np.random.Generator, params: PuppetsParams, ground: float, depth: float) -> Distractor:
    unit = params.frame_height * rng.uniform(0.16, 0.28)
    height, width = round(unit), round(1.5 * unit)
    color = random_color(rng, saturation=(0.1, 0.6))
    grain = int(rng.integers(2**31))
    thick, steps = max(2, round(0.1 * height)), 12

    def at(x: float, y: float) -> tuple[int, int]:
        return round(x * width), round(y * height)

    sprites = []
    for step in range(steps):
        sprite = _sprite(height, width)
        for hip, lag in ((0.24, 0.0), (0.3, 0.5), (0.64, 0.25), (0.7, 0.75)):
            swing = 0.1 * np.sin(2 * np.pi * (step / steps + lag))
            cv2.line(sprite, at(hip, 0.55), at(hip + swing, 0.97), _painted(0.8 * color), thick)
        cv2.ellipse(sprite, at(0.47, 0.5), at(0.32, 0.2), 0, 0, 360, _painted(color), -1)
        cv2.circle(sprite, at(0.83, 0.28), round(0.17 * height), _painted(color), -1)
        tail = 0.06 + 0.05 * np.sin(4 * np.pi * step / steps)
        cv2.line(sprite, at(0.18, 0.42), at(tail, 0.15), _painted(color), max(1, thick // 2))
        sprites.append(_finish(np.random.default_rng(grain), sprite, params.texture_contrast))
    x, leftward = _crossing(rng, params, 0.2)
    index = np.floor(np.abs(x - x[0]) / (0.5 * width) * steps).astype(int) % steps
    matrices = _at(x, np.full_like(x, ground), sprites[0], (0.5, 1.0), mirror=leftward)
    return Distractor("animal", tuple(sprites), index, matrices, depth)


def _pendulum(rng: np.random.Generator, params: PuppetsParams, ground: float, depth: float) -> Distractor:
    length = round(params.frame_height * rng.uniform(0.3, 0.6))
    radius = max(3, round(params.frame_height * rng.uniform(0.04, 0.08)))
    sprite = _sprite(length + radius + 2, 2 * radius + 2)
    cv2.line(sprite, (radius, 0), (radius, length), (60.0, 55.0, 50.0, 1.0), 2)
    if rng.random() < 0.5:
        cv2.circle(sprite, (radius, length), radius, _painted(random_color(rng)), -1)
    else:
        corners = (0, length - radius), (2 * radius, length + radius)
        cv2.rectangle(sprite, *corners, _painted(random_color(rng)), -1)
    sprite = _finish(rng, sprite, params.texture_contrast)
    t = np.arange(params.num_frames) / params.fps * params.distractor_speed
    angle = rng.uniform(0.3, 0.9) * np.sin(2 * np.pi * (rng.uniform(0.4, 0.9) * t + rng.random()))
    x = np.full(len(t), rng.uniform(0.05, 0.95) * params.frame_width)
    y = np.full(len(t), -rng.uniform(0, 0.15) * params.frame_height)
    return _single("pendulum", sprite, _at(x, y, sprite, (0.5, 0.0), angle), depth)


def _post(rng: np.random.Generator, params: PuppetsParams, ground: float, depth: float) -> Distractor:
    """A pillar or bush that does not move; people pass behind it."""
    height = round(params.frame_height * rng.uniform(0.3, 1.2))
    width = max(4, round(params.frame_width * rng.uniform(0.03, 0.09)))
    sprite, color = _sprite(height, width + 2), random_color(rng, saturation=(0.05, 0.6))
    cv2.rectangle(sprite, (1, 1), (width, height - 1), _painted(color), -1)
    sprite = _finish(rng, sprite, params.texture_contrast)
    x = np.full(params.num_frames, rng.uniform(0, 1) * params.frame_width)
    return _single("post", sprite, _at(x, np.full_like(x, ground), sprite, (0.5, 1.0)), depth)
