"""Appearance of a person: one sprite per limb, with random clothes, skin, hair and build.

A sprite is float32 (h, w, 4): red, green and blue from 0 to 255, premultiplied by the alpha in channel 3 (0 to 1). Row
``margin`` is the limb's first joint, row ``h - margin`` the second. Appearance does not depend on the action.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .skeleton import LIMB_LENGTHS
from .textures import cloth, random_color

__all__ = ["Body", "LimbSprite", "make_body"]

_YAW_BINS = 32
# Half widths of each limb at its two joints, in body heights.
_LIMB_RADII: dict[str, tuple[float, float]] = {
    "upper_arm": (0.045, 0.037),
    "forearm": (0.034, 0.034),
    "thigh": (0.060, 0.043),
    "shin": (0.043, 0.028),
    "foot": (0.030, 0.026),
}
# Half widths of the trunk to the side and to the front at several distances below the neck, in body heights.
_TRUNK_ROWS = (-0.075, -0.02, 0.0, 0.045, 0.10, 0.20, 0.28, 0.34, 0.375)
_TRUNK_SIDE = (0.038, 0.040, 0.060, 0.120, 0.122, 0.096, 0.108, 0.095, 0.04)
_TRUNK_FRONT = (0.038, 0.040, 0.050, 0.070, 0.082, 0.070, 0.082, 0.075, 0.04)
_BELT = 0.23
_HEAD_SIDE, _HEAD_FRONT = 0.062, 0.070


@dataclass(frozen=True)
class LimbSprite:
    """The image of a limb and the positions of its joints."""

    image: np.ndarray
    margin: float  # pixels beyond each joint
    length: float  # pixels from joint to joint


@dataclass
class Body:
    """The sprites of one person, at ``pixels`` per body height."""

    pixels: float
    limbs: dict[str, LimbSprite]
    trunk_texture: np.ndarray  # unrolled: the first and last columns are the back, the middle is the front
    head_texture: np.ndarray
    stoutness: float
    _turned: dict[tuple[str, int], LimbSprite] = field(default_factory=dict)

    def sprite(self, limb: str, yaw: float = 0.0) -> LimbSprite:
        """The sprite of ``limb``. Trunk and head are seen from ``yaw`` radians to the right of their front."""
        if limb not in ("trunk", "head"):
            return self.limbs[limb.split("_", 1)[1]]
        number = round(yaw / (2 * np.pi) * _YAW_BINS) % _YAW_BINS
        if (limb, number) not in self._turned:
            angle = number / _YAW_BINS * 2 * np.pi
            make = self._turned_trunk if limb == "trunk" else self._turned_head
            self._turned[limb, number] = make(angle)
        return self._turned[limb, number]

    def _turned_trunk(self, angle: float) -> LimbSprite:
        rows = np.arange(self.trunk_texture.shape[0]) / self.pixels + _TRUNK_ROWS[0]
        side = np.interp(rows, _TRUNK_ROWS, _TRUNK_SIDE) * self.stoutness
        front = np.interp(rows, _TRUNK_ROWS, _TRUNK_FRONT) * self.stoutness
        half = self.pixels * np.hypot(side * np.cos(angle), front * np.sin(angle))
        return LimbSprite(
            _wrapped(self.trunk_texture, half, angle),
            margin=-_TRUNK_ROWS[0] * self.pixels,
            length=LIMB_LENGTHS["trunk"] * self.pixels,
        )

    def _turned_head(self, angle: float) -> LimbSprite:
        height = self.head_texture.shape[0]
        across = np.linspace(-1, 1, height)
        radius = np.hypot(_HEAD_SIDE * np.cos(angle), _HEAD_FRONT * np.sin(angle))
        half = self.pixels * radius * np.sqrt(np.clip(1 - across**2, 0, 1)) ** 0.9
        margin = (height - LIMB_LENGTHS["head"] * self.pixels) / 2
        return LimbSprite(
            _wrapped(self.head_texture, half, angle), margin, LIMB_LENGTHS["head"] * self.pixels
        )


def _lit(across: np.ndarray) -> np.ndarray:
    """Brightness of a cylinder lit from the upper left, at ``across`` in [-1, 1] half widths from its axis."""
    across = np.clip(across, -1, 1)
    return 0.5 + 0.55 * np.clip(0.88 * np.sqrt(1 - across**2) - 0.48 * across, 0, 1)


def _cut_out(image: np.ndarray, half_widths: np.ndarray) -> np.ndarray:
    """``image`` (h, w, 3) shaded as a round limb with ``half_widths`` (h,) in pixels, transparent around it."""
    x = np.arange(image.shape[1]) - (image.shape[1] - 1) / 2
    half = half_widths[:, None]
    alpha = np.clip(half - np.abs(x) + 0.5, 0, 1) * (half > 0.3)
    shaded = np.clip(image * _lit(x / np.maximum(half, 0.5))[..., None], 0, 255)
    return np.concatenate([shaded * alpha[..., None], alpha[..., None]], axis=2).astype(np.float32)


def _wrapped(texture: np.ndarray, half_widths: np.ndarray, angle: float) -> np.ndarray:
    """An unrolled ``texture`` wrapped around a body with ``half_widths``, as seen from ``angle``."""
    width = 2 * int(np.ceil(half_widths.max())) + 2
    x = np.arange(width) - (width - 1) / 2
    across = np.clip(x / np.maximum(half_widths, 0.5)[:, None], -1, 1)
    around = (angle - np.arcsin(across)) / (2 * np.pi) + 0.5
    columns = np.floor(around * texture.shape[1]).astype(int) % texture.shape[1]
    return _cut_out(texture[np.arange(len(texture))[:, None], columns], half_widths)


def _limb(name: str, image: np.ndarray, pixels: float, stoutness: float) -> LimbSprite:
    """A tapered limb with round ends, cut out of ``image``."""
    first, second = (radius * pixels * stoutness for radius in _LIMB_RADII[name])
    length, margin = LIMB_LENGTHS[name] * pixels, max(first, second)
    row = np.arange(image.shape[0]) + 0.5 - margin
    half = first + (second - first) * np.clip(row / length, 0, 1)
    half = np.where(row < 0, np.sqrt(np.clip(first**2 - row**2, 0, None)), half)
    half = np.where(row > length, np.sqrt(np.clip(second**2 - (row - length) ** 2, 0, None)), half)
    return LimbSprite(_cut_out(image, half), margin, length)


def _limb_size(name: str, pixels: float, stoutness: float) -> tuple[int, int]:
    widest = max(_LIMB_RADII[name]) * pixels * stoutness
    return round(LIMB_LENGTHS[name] * pixels + 2 * widest), 2 * int(np.ceil(widest)) + 2


def make_body(rng: np.random.Generator, pixels: float, contrast: float) -> Body:
    """A random person with clothes, at ``pixels`` per body height."""
    stoutness = rng.uniform(0.9, 1.2)
    skin = np.array([236, 188, 150], np.float32) * rng.uniform(0.35, 1.02) + rng.uniform(-8, 8, 3)
    hair = random_color(rng, saturation=(0.1, 0.6), value=(0.08, 0.7))
    shoes = random_color(rng, saturation=(0.0, 0.7), value=(0.1, 0.95))
    sleeve = rng.choice([0.0, 0.6, 2.0])  # how far down the arm, in limbs
    trouser = rng.choice([0.8, 2.0], p=[0.35, 0.65])
    period = pixels * rng.uniform(0.05, 0.12)

    def fabric(seed: int, height: int, width: int) -> np.ndarray:
        # The same seed gives the same colors and pattern at every size.
        return cloth(np.random.default_rng(seed), height, width, contrast, period)

    shirt, legwear = (int(seed) for seed in rng.integers(2**31, size=2))
    limbs = {}
    for name, seed, covered in (
        ("upper_arm", shirt, sleeve),
        ("forearm", shirt, min(sleeve - 1, 0.78)),
        ("thigh", legwear, trouser),
        ("shin", legwear, trouser - 1),
    ):
        height, width = _limb_size(name, pixels, stoutness)
        bare = np.arange(height) >= covered * height
        limbs[name] = _limb(
            name, np.where(bare[:, None, None], skin, fabric(seed, height, width)), pixels, stoutness
        )
    height, width = _limb_size("foot", pixels, stoutness)
    limbs["foot"] = _limb("foot", np.broadcast_to(shoes, (height, width, 3)), pixels, stoutness)

    height = round((_TRUNK_ROWS[-1] - _TRUNK_ROWS[0]) * pixels)
    around = round(2 * np.pi * _TRUNK_SIDE[4] * pixels)
    below_neck = np.arange(height) / pixels + _TRUNK_ROWS[0]
    trunk = fabric(shirt, height, around)
    trunk[below_neck > _BELT] = fabric(legwear, height, around)[below_neck > _BELT]
    trunk[below_neck < 0.0] = skin
    _mark_front(trunk, rng, below_neck)
    return Body(pixels, limbs, trunk, _head_texture(rng, pixels, skin, hair), stoutness)


def _mark_front(trunk: np.ndarray, rng: np.random.Generator, below_neck: np.ndarray) -> None:
    """Draw a badge and a belt. The badge distinguishes the front from the back."""
    angle = (np.arange(trunk.shape[1]) + 0.5) / trunk.shape[1] * 2 - 1  # 0 is the front, +-1 the back
    badge = (np.abs(angle) < rng.uniform(0.12, 0.25)) & (
        (below_neck > 0.05) & (below_neck < rng.uniform(0.11, 0.18))
    )[:, None]
    trunk[badge] = random_color(rng)
    belt = (below_neck > _BELT - 0.015) & (below_neck < _BELT + 0.012)
    trunk[belt] *= 0.45


def _head_texture(rng: np.random.Generator, pixels: float, skin: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """An unrolled head with the crown at the top, the face in the middle, and hair above and behind."""
    height, width = round((LIMB_LENGTHS["head"] + 0.035) * pixels), round(2 * np.pi * 0.066 * pixels)
    row = ((np.arange(height) + 0.5) / height)[:, None]
    angle = ((np.arange(width) + 0.5) / width * 2 - 1)[None]
    head = np.broadcast_to(skin, (height, width, 3)).copy()
    fringe, temple, nape = rng.uniform(0.22, 0.34), rng.uniform(0.3, 0.42), rng.uniform(0.7, 0.95)
    head[(row < fringe) | ((np.abs(angle) > temple) & (row < nape))] = hair
    eyes = (np.abs(np.abs(angle) - 0.14) < 0.055) & (np.abs(row - 0.5) < 0.05)
    head[eyes] = (25, 20, 20)
    head[(np.abs(angle) < 0.13) & (np.abs(row - 0.77) < 0.035)] = np.array([0.6, 0.35, 0.35]) * skin
    head[(np.abs(angle) < 0.04) & (np.abs(row - 0.62) < 0.06)] = skin * 0.75
    return head
