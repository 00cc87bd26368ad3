"""Random textures: cloth for people, walls and floors for places. RGB float32 images from 0 to 255."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

__all__ = ["blotches", "cloth", "random_color", "surface"]


def random_color(
    rng: np.random.Generator,
    saturation: tuple[float, float] = (0.2, 0.9),
    value: tuple[float, float] = (0.25, 0.95),
) -> np.ndarray:
    """A color (3,) of any hue."""
    return 255 * np.array(
        colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value)), np.float32
    )


def blotches(rng: np.random.Generator, height: int, width: int, size: float) -> np.ndarray:
    """Smooth noise (height, width) in [0, 1] with blotches of about ``size`` pixels."""
    rows, columns = max(2, round(height / size) + 1), max(2, round(width / size) + 1)
    coarse = rng.random((rows, columns), dtype=np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def _stripes(position: np.ndarray, period: float) -> np.ndarray:
    return ((position / period) % 1.0 < 0.5).astype(np.float32)


def cloth(rng: np.random.Generator, height: int, width: int, contrast: float, period: float) -> np.ndarray:
    """A fabric (height, width, 3): plain, striped, checked, dotted or camouflage, with a period of about ``period``."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    kind = rng.integers(6)
    if kind == 0:
        share = np.zeros((height, width), np.float32)
    elif kind == 1:
        share = _stripes(y, period)
    elif kind == 2:
        share = _stripes(x, period)
    elif kind == 3:
        share = (_stripes(x, period) + _stripes(y, period)) / 2
    elif kind == 4:
        share = (
            (x % period - period / 2) ** 2 + (y % period - period / 2) ** 2 < (0.32 * period) ** 2
        ).astype(np.float32)
    else:
        share = (blotches(rng, height, width, period) > 0.5).astype(np.float32)
    first, second = random_color(rng), random_color(rng)
    fabric = first + (second - first) * (contrast * share)[..., None]
    return fabric * (1 + 0.3 * contrast * (blotches(rng, height, width, 2.0) - 0.5))[..., None]


def surface(rng: np.random.Generator, height: int, width: int, contrast: float) -> np.ndarray:
    """A wall or floor (height, width, 3): noise at several scales, with or without boards, tiles, bricks or bands."""
    texture = sum(blotches(rng, height, width, size) - 0.5 for size in (3.0, 9.0, 30.0))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    period = rng.uniform(10, 34)
    kind = rng.integers(5)
    if kind == 1:  # boards
        texture = texture + 0.8 * (_stripes(x, period) - 0.5)
    elif kind == 2:  # tiles
        texture = texture + 0.8 * (np.abs(_stripes(x, period) - _stripes(y, period)) - 0.5)
    elif kind == 3:  # bricks
        row = np.floor(y / (period / 2))
        joint = ((y % (period / 2)) < 1.5) | (((x + row % 2 * period / 2) % period) < 1.5)
        texture = texture - joint
    elif kind == 4:  # slanted bands
        texture = texture + 0.8 * (_stripes(x + rng.uniform(-1, 1) * y, period) - 0.5)
    first = random_color(rng, saturation=(0.05, 0.6), value=(0.35, 0.85))
    second = random_color(rng, saturation=(0.05, 0.6))
    share = np.clip(0.5 * contrast * (0.5 + np.asarray(texture)), 0, 1)[..., None]
    return np.clip(first + (second - first) * share + 60 * contrast * np.asarray(texture)[..., None], 0, 255)
