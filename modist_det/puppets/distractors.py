"""Things that move but are nobody: cars, balls, animals, swinging things, and posts that hide people."""

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
    """A thing that moves: which of its sprites each frame shows, and where.

    ``sprites`` are float32 (h, w, 4) with premultiplied alpha; ``matrices`` (T, 2, 3) take sprite to world pixels;
    ``depth`` orders it among people (metres from the camera).
    """

    kind: str
    sprites: tuple[np.ndarray, ...]
    index: np.ndarray
    matrices: np.ndarray
    depth: float


def make_distractors(
    rng: np.random.Generator, params: PuppetsParams, view: Perspective, depths: tuple[float, float]
) -> list[Distractor]:
    """Up to ``max_distractors`` things between the nearest and the farthest of ``depths`` (metres)."""
    makers = (_car, _ball, _animal, _pendulum, _post)
    count = int(rng.integers(params.max_distractors + 1))
    things = []
    for _ in range(count):
        depth = rng.uniform(*depths)
        things.append(makers[rng.integers(len(makers))](rng, params, float(view.ground(depth)), depth))
    return things


def _sprite(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 4), np.float32)


def _painted(color: np.ndarray) -> tuple[float, float, float, float]:
    r, g, b = (float(c) for c in color)
    return r, g, b, 1.0


def _finish(rng: np.random.Generator, sprite: np.ndarray, contrast: float) -> np.ndarray:
    """Round the light over a flat drawing and roughen it; its alpha is what was drawn."""
    height, width = sprite.shape[:2]
    light = np.linspace(1.15, 0.65, height, dtype=np.float32)[:, None]
    grain = 1 + 0.5 * contrast * (blotches(rng, height, width, 3.0) - 0.5)
    sprite[..., :3] = np.clip(sprite[..., :3] * (light * grain)[..., None], 0, 255)
    soft = cv2.GaussianBlur(sprite, (3, 3), 0.6)
    return np.ascontiguousarray(soft)


def _at(
    x: np.ndarray,
    y: np.ndarray,
    sprite: np.ndarray,
    anchor: tuple[float, float],
    angle: np.ndarray | float = 0.0,
    mirror: bool = False,
) -> np.ndarray:
    """Matrices (T, 2, 3) that put the sprite's ``anchor`` (shares of its size) at world (x, y), turned by ``angle``."""
    cos, sin = np.cos(angle) + 0 * x, np.sin(angle) + 0 * x
    flip = -1.0 if mirror else 1.0
    ax, ay = anchor[0] * sprite.shape[1], anchor[1] * sprite.shape[0]
    matrix = np.empty((len(x), 2, 3))
    matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1] = flip * cos, -sin, flip * sin, cos
    matrix[:, 0, 2] = x - flip * cos * ax + sin * ay
    matrix[:, 1, 2] = y - flip * sin * ax - cos * ay
    return matrix


def _crossing(rng: np.random.Generator, params: PuppetsParams, speed: float) -> tuple[np.ndarray, bool]:
    """World columns (T,) of something that crosses the frame at about ``speed`` widths a second; whether leftward."""
    t = np.arange(params.num_frames) / params.fps - params.seconds / 2
    leftward = bool(rng.random() < 0.5)
    velocity = params.distractor_speed * speed * rng.uniform(0.6, 1.4) * params.frame_width
    start = rng.uniform(0.1, 0.9) * params.frame_width
    return start + (-velocity if leftward else velocity) * t, leftward


def _car(rng: np.random.Generator, params: PuppetsParams, ground: float, depth: float) -> Distractor:
    unit = params.frame_height * rng.uniform(0.2, 0.34)
    height, width = round(unit), round(2.1 * unit)
    color, sprite = random_color(rng), _sprite(height, width)
    roof = np.array(
        [
            [0.22, 0.05],
            [0.7, 0.05],
            [0.85, 0.45],
            [0.98, 0.5],
            [0.98, 0.82],
            [0.02, 0.82],
            [0.02, 0.45],
            [0.12, 0.42],
        ]
    )
    cv2.fillPoly(sprite, [np.round(roof * (width, height)).astype(np.int32)], _painted(color))
    window = np.array([[0.27, 0.13], [0.66, 0.13], [0.77, 0.42], [0.19, 0.42]])
    cv2.fillPoly(sprite, [np.round(window * (width, height)).astype(np.int32)], (150.0, 170.0, 190.0, 1.0))
    for wheel in (0.22, 0.78):
        cv2.circle(
            sprite,
            (round(wheel * width), round(0.82 * height)),
            round(0.16 * height),
            (25.0, 25.0, 28.0, 1.0),
            -1,
        )
    sprite = _finish(rng, sprite, params.texture_contrast)
    x, leftward = _crossing(rng, params, 0.35)
    y = np.full_like(x, ground)
    return Distractor(
        "car", (sprite,), np.zeros(len(x), int), _at(x, y, sprite, (0.5, 1.0), mirror=leftward), depth
    )


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
    return Distractor("ball", (sprite,), np.zeros(len(x), int), _at(x, y, sprite, (0.5, 0.5), angle), depth)


def _animal(rng: np.random.Generator, params: PuppetsParams, ground: float, depth: float) -> Distractor:
    unit = params.frame_height * rng.uniform(0.16, 0.28)
    height, width = round(unit), round(1.5 * unit)
    color = random_color(rng, saturation=(0.1, 0.6))
    grain = int(rng.integers(2**31))
    thick, steps = max(2, round(0.1 * height)), 12
    sprites = []
    for step in range(steps):
        sprite = _sprite(height, width)
        for hip, lag in ((0.24, 0.0), (0.3, 0.5), (0.64, 0.25), (0.7, 0.75)):
            swing = 0.1 * np.sin(2 * np.pi * (step / steps + lag))
            top, foot = (
                (round(hip * width), round(0.55 * height)),
                (round((hip + swing) * width), round(0.97 * height)),
            )
            cv2.line(sprite, top, foot, _painted(0.8 * color), thick)
        cv2.ellipse(
            sprite,
            (round(0.47 * width), round(0.5 * height)),
            (round(0.32 * width), round(0.2 * height)),
            0,
            0,
            360,
            _painted(color),
            -1,
        )
        cv2.circle(
            sprite, (round(0.83 * width), round(0.28 * height)), round(0.17 * height), _painted(color), -1
        )
        tail = round((0.06 + 0.05 * np.sin(4 * np.pi * step / steps)) * width)
        cv2.line(
            sprite,
            (round(0.18 * width), round(0.42 * height)),
            (tail, round(0.15 * height)),
            _painted(color),
            max(1, thick // 2),
        )
        sprites.append(_finish(np.random.default_rng(grain), sprite, params.texture_contrast))
    x, leftward = _crossing(rng, params, 0.2)
    index = np.floor(np.abs(x - x[0]) / (0.5 * width) * steps).astype(int) % steps
    return Distractor(
        "animal",
        tuple(sprites),
        index,
        _at(x, np.full_like(x, ground), sprites[0], (0.5, 1.0), mirror=leftward),
        depth,
    )


def _pendulum(rng: np.random.Generator, params: PuppetsParams, ground: float, depth: float) -> Distractor:
    length, radius = (
        round(params.frame_height * rng.uniform(0.3, 0.6)),
        max(3, round(params.frame_height * rng.uniform(0.04, 0.08))),
    )
    sprite = _sprite(length + radius + 2, 2 * radius + 2)
    cv2.line(sprite, (radius, 0), (radius, length), (60.0, 55.0, 50.0, 1.0), 2)
    if rng.random() < 0.5:
        cv2.circle(sprite, (radius, length), radius, _painted(random_color(rng)), -1)
    else:
        cv2.rectangle(
            sprite, (0, length - radius), (2 * radius, length + radius), _painted(random_color(rng)), -1
        )
    sprite = _finish(rng, sprite, params.texture_contrast)
    t = np.arange(params.num_frames) / params.fps * params.distractor_speed
    angle = rng.uniform(0.3, 0.9) * np.sin(2 * np.pi * (rng.uniform(0.4, 0.9) * t + rng.random()))
    x = np.full(len(t), rng.uniform(0.05, 0.95) * params.frame_width)
    y = np.full(len(t), -rng.uniform(0, 0.15) * params.frame_height)
    return Distractor(
        "pendulum", (sprite,), np.zeros(len(t), int), _at(x, y, sprite, (0.5, 0.0), angle), depth
    )


def _post(rng: np.random.Generator, params: PuppetsParams, ground: float, depth: float) -> Distractor:
    """A pillar or bush that stands still: people pass behind it."""
    height, width = (
        round(params.frame_height * rng.uniform(0.3, 1.2)),
        max(4, round(params.frame_width * rng.uniform(0.03, 0.09))),
    )
    sprite = _sprite(height, width + 2)
    cv2.rectangle(
        sprite, (1, 1), (width, height - 1), _painted(random_color(rng, saturation=(0.05, 0.6))), -1
    )
    sprite = _finish(rng, sprite, params.texture_contrast)
    x = np.full(params.num_frames, rng.uniform(0, 1) * params.frame_width)
    return Distractor(
        "post", (sprite,), np.zeros(len(x), int), _at(x, np.full_like(x, ground), sprite, (0.5, 1.0)), depth
    )
