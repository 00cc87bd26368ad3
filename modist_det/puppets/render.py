"""Draw a script's frames and derive exact boxes from the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .script import Person, Script
from .skeleton import LIMBS

__all__ = ["MIN_VISIBLE", "Rendering", "render"]

# A person has no box if less than this share of them is visible.
MIN_VISIBLE = 0.3
_NOBODY = 0


@dataclass(frozen=True)
class Rendering:
    """Frames uint8 (T, H, W, 3) RGB; boxes float32 (T, 4) in pixels and visible shares float32 (T,) by person id.

    A box is the extent of a person's visible pixels: x1, y1 are those of the first pixel, x2, y2 one beyond the last.
    If the person has no box in a frame, its row is NaN.
    """

    frames: np.ndarray
    boxes: dict[int, np.ndarray]
    visible: dict[int, np.ndarray]


@dataclass(frozen=True)
class _Sprites:
    """A moving sprite: an image per frame, matrices (T, 2, 3) to frame pixels, and its bounds (T, 4) in the frame."""

    images: Sequence[np.ndarray]
    matrices: np.ndarray
    bounds: np.ndarray

    @classmethod
    def moving(cls, images: Sequence[np.ndarray], matrices: np.ndarray) -> _Sprites:
        height, width = np.array([image.shape[:2] for image in images]).T
        zero = np.zeros_like(width)
        corners = np.stack([[zero, width, zero, width], [zero, zero, height, height]]).transpose(2, 0, 1)
        corners = matrices[:, :, :2] @ corners + matrices[:, :, 2:]
        first = np.floor(corners.min(axis=2)).astype(int) - 1
        last = np.ceil(corners.max(axis=2)).astype(int) + 2
        return cls(images, matrices, np.concatenate([first, last], axis=1))

    def draw(self, index: int) -> np.ndarray:
        """The transformed image in frame ``index``, with the size of its bounds."""
        x1, y1, x2, y2 = self.bounds[index]
        local = self.matrices[index] - [[0, 0, x1], [0, 0, y1]]
        return cv2.warpAffine(self.images[index], local, (int(x2 - x1), int(y2 - y1)), flags=cv2.INTER_LINEAR)


@dataclass(frozen=True)
class _Figure:
    """A person or object: sprites, their drawing order (T, sprites), and the depth (T,) in the scene."""

    identity: int
    sprites: tuple[_Sprites, ...]
    order: np.ndarray
    depth: np.ndarray

    def draw(self, index: int) -> tuple[np.ndarray, tuple[int, int]]:
        """The whole figure, including parts outside the frame: premultiplied RGBA and its corner (x, y)."""
        bounds = np.array([sprites.bounds[index] for sprites in self.sprites])
        (left, top), (right, bottom) = bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)
        layer = np.zeros((bottom - top, right - left, 4), np.float32)
        for number in self.order[index]:
            x1, y1, x2, y2 = bounds[number]
            _over(layer[y1 - top : y2 - top, x1 - left : x2 - left], self.sprites[number].draw(index))
        return layer, (int(left), int(top))


def render(script: Script) -> Rendering:
    """Draw every frame of a script."""
    params = script.params
    frames = np.empty((params.num_frames, params.frame_height, params.frame_width, 3), np.uint8)
    boxes = {p.person_id: np.full((params.num_frames, 4), np.nan, np.float32) for p in script.people}
    visible = {p.person_id: np.zeros(params.num_frames, np.float32) for p in script.people}
    figures = [_figure(person, script.camera) for person in script.people]
    for thing in script.distractors:
        images = [thing.sprites[number] for number in thing.index]
        sprites = _Sprites.moving(images, _compose(script.camera, thing.matrices))
        depth = np.full(params.num_frames, thing.depth)
        figures.append(_Figure(_NOBODY, (sprites,), np.zeros((params.num_frames, 1), int), depth))
    for index in range(params.num_frames):
        frame, owner, areas = _draw_frame(script, figures, index)
        frames[index] = np.clip(frame[..., :3] + 0.5, 0, 255)
        for person_id, area in areas.items():
            rows, columns = np.nonzero(owner == person_id)
            visible[person_id][index] = len(rows) / max(area, 1)
            if len(rows) and visible[person_id][index] >= MIN_VISIBLE:
                boxes[person_id][index] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return Rendering(frames, boxes, visible)


def _draw_frame(
    script: Script, figures: list[_Figure], index: int
) -> tuple[np.ndarray, np.ndarray, dict[int, int]]:
    """One frame float32 (H, W, 4), the person id at each pixel, and each person's area if nothing were hidden."""
    camera, place = script.camera[index], script.place
    size = (script.params.frame_width, script.params.frame_height)
    world = _compose(camera, np.array([[1.0, 0, place.corner[0]], [0, 1, place.corner[1]]]))
    frame = cv2.warpAffine(
        place.image, world, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    owner = np.full(size[::-1], _NOBODY, np.int16)
    areas: dict[int, int] = {}
    for person in script.people:
        _cast_shadow(frame, person, index, camera, script.params.shadow)
    for figure in sorted(figures, key=lambda figure: -figure.depth[index]):
        layer, (left, top) = figure.draw(index)
        if figure.identity != _NOBODY:
            areas[figure.identity] = int(np.count_nonzero(layer[..., 3] > 0.5))
        x1, y1 = max(left, 0), max(top, 0)
        x2, y2 = min(left + layer.shape[1], size[0]), min(top + layer.shape[0], size[1])
        if x1 < x2 and y1 < y2:
            part = layer[y1 - top : y2 - top, x1 - left : x2 - left]
            _over(frame[y1:y2, x1:x2], part)
            owner[y1:y2, x1:x2][part[..., 3] > 0.5] = figure.identity
    return frame, owner, areas


def _compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The affine maps (..., 2, 3) ``second`` after ``first``."""
    linear, shift = second[..., :2], second[..., 2:]
    return np.concatenate([linear @ first[..., :2], linear @ first[..., 2:] + shift], axis=-1)


def _over(below: np.ndarray, above: np.ndarray) -> None:
    """Draw ``above`` (h, w, 4), with premultiplied alpha, over ``below`` (h, w, 4) in place."""
    rest = 1 - above[..., 3]
    # Four full channels: numpy is three times slower when it broadcasts the last axis.
    below *= cv2.merge((rest, rest, rest, rest))
    below += above


def _cast_shadow(frame: np.ndarray, person: Person, index: int, camera: np.ndarray, darkness: float) -> None:
    """Darken an ellipse on the ground below a person."""
    zoom = np.hypot(camera[0, 0], camera[1, 0])
    center = camera[:, :2] @ person.foot[index] + camera[:, 2]
    radii = np.array([0.20, 0.05]) * zoom * person.scale[index]
    left, top = np.maximum(np.floor(center - radii).astype(int), 0)
    right, bottom = np.minimum(np.ceil(center + radii).astype(int) + 1, frame.shape[1::-1])
    if left < right and top < bottom:
        x = (np.arange(left, right) - center[0]) / radii[0]
        y = (np.arange(top, bottom) - center[1])[:, None] / radii[1]
        dark = np.clip(1.4 - 1.4 * (x**2 + y**2), 0, 1)
        frame[top:bottom, left:right, :3] *= (1 - darkness * dark)[..., None]


def _figure(person: Person, camera: np.ndarray) -> _Figure:
    """Place a person's sprites on the projected joints."""
    zoom = np.hypot(camera[:, 0, 0], camera[:, 1, 0])
    enlarge = zoom * person.scale / person.body.pixels
    points = person.points @ camera[:, :, :2].transpose(0, 2, 1) + camera[:, None, :, 2]
    sprites = []
    for name, limb in LIMBS.items():
        looks = [person.body.sprite(name, yaw) for yaw in person.yaw[:, int(name == "head")]]
        images = [look.image for look in looks]
        widths = np.array([image.shape[1] for image in images])
        # Sprites of one limb differ only in width.
        matrices = _limb_matrices(
            points[:, limb.start], points[:, limb.end], enlarge, looks[0].length, looks[0].margin, widths
        )
        sprites.append(_Sprites.moving(images, matrices))
    nearness = np.stack([person.nearness[:, a] + person.nearness[:, b] for a, b in LIMBS.values()], axis=1)
    return _Figure(
        person.person_id, tuple(sprites), np.argsort(nearness, axis=1, kind="stable"), person.depth
    )


def _limb_matrices(
    start: np.ndarray, end: np.ndarray, enlarge: np.ndarray, length: float, margin: float, widths: np.ndarray
) -> np.ndarray:
    """Matrices (T, 2, 3) from sprite to frame: the length is foreshortened from joint to joint, the width is not."""
    seen = np.hypot(*(end - start).T)
    down = np.where(seen[:, None] > 1e-6, (end - start) / np.maximum(seen, 1e-6)[:, None], [0.0, 1.0])
    right = np.stack([down[:, 1], -down[:, 0]], axis=1) * enlarge[:, None]
    beyond = margin * enlarge
    along = (seen + 2 * beyond) / (length + 2 * margin)
    # warpAffine has its origin at the center of the first pixel.
    corner = start - down * (beyond - along / 2)[:, None] - right * ((widths - 1) / 2)[:, None]
    return np.stack([right, down * along[:, None], corner], axis=2)
