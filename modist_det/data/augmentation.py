"""The augmentation of training clips: one chain of steps for all tasks.

A step takes a :class:`View` (a clip with its boxes and motion maps) and a random generator, and returns the changed
view. A new augmentation is a function here, or a frozen dataclass if it has settings of its own, and one line where a
mapper builds its chain with :func:`train_augmentation`. Mixing the samples of a batch
(mixup, cutmix) is in ``modeling/mixing.py``.

Example::

    augmentation = Augmentation(Crop(224, 256, 320), (Sometimes(0.5, flip), Sometimes(0.2, grayscale)))
    view = augmentation(View(clip, boxes), np.random.default_rng(0))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..core import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, CfgNode, Key, Limit, ListOf, add_section
from ..motion.maps import flip_maps
from ..utils.errors import UserError
from . import transforms as T

__all__ = [
    "Augmentation",
    "Crop",
    "ResizedCrop",
    "Sometimes",
    "Step",
    "View",
    "blur",
    "box_jitter",
    "color_jitter",
    "erase",
    "flip",
    "grayscale",
    "rand_augment",
    "train_augmentation",
]

add_section(
    "INPUT",
    # The short side is drawn so that its inverse is uniform in [1/max, 1/min] (PySlowFast). Resized crops are taken
    # from frames whose short side is at most the larger one.
    MIN_SIZE_TRAIN=Key([256, 320], ListOf(int, 2, COUNT, range=True)),
    CROP_SIZE=Key(224, COUNT),  # side of the square crop
    # Of resized crops: share of the frame, width over height.
    CROP_AREA=Key([0.3, 1.0], ListOf(float, 2, Limit(0, 1, open_low=True), range=True)),
    CROP_ASPECT=Key([0.5, 2.0], ListOf(float, 2, POSITIVE, range=True)),
    RANDOM_FLIP=Key(0.5, SHARE),  # probability of a horizontal flip
    GRAYSCALE_PROB=Key(0.0, SHARE),
    # Detection: how far edges of boxes move at most, as shares of the box: out of it in x and y, then into it.
    # VideoMAE's and UMT's detectors: [0.2, 0.1, 0.1, 0.05].
    BOX_JITTER=Key([0.0, 0.0, 0.0, 0.0], ListOf(float, 4, NOT_NEGATIVE)),
)
add_section(
    "INPUT.COLOR_JITTER",
    PROB=Key(0.0, SHARE),
    BRIGHTNESS=Key(0.4, NOT_NEGATIVE),
    CONTRAST=Key(0.4, NOT_NEGATIVE),
    SATURATION=Key(0.4, NOT_NEGATIVE),
    # Largest shift, in turns of the colour circle (PySlowFast's pretraining: 0.15).
    HUE=Key(0.0, Limit(0, 0.5)),
)

_CROP_TRIES = 10
# Of random erasing (Zhong et al. 2020): share of the frame, width over height.
_ERASED_AREA = (0.02, 1 / 3)
_ERASED_ASPECT = (0.3, 10 / 3)


@dataclass(frozen=True)
class View:
    """A clip in an augmentation chain, with the boxes and motion maps that must be transformed along with it.

    Attributes:
        clip: uint8 (3, T, H, W), RGB.
        boxes: float32 (N, 4), persons in pixels of the clip and inside it; None for tasks without boxes.
        kept: int (N,), indices of these persons among those before the crop; None before the crop.
        maps: uint8 (C, T', H, W), motion of the same window; None without motion maps.
        motion_kind: kind of the maps (see :func:`modist_det.motion.maps.flip_maps`).
    """

    clip: Tensor
    boxes: NDArray[np.float32] | None = None
    kept: NDArray[np.intp] | None = None
    maps: Tensor | None = None
    motion_kind: str = ""

    def persons_in(self, window: T.Window) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Boxes of the persons visible in the window, in its pixels, and the indices of these persons."""
        assert self.boxes is not None
        inside = T.clip_boxes(T.crop_boxes(self.boxes, window), window.height, window.width)
        seen = np.flatnonzero(T.visible(inside, self.boxes, min(window.height, window.width)))
        return inside[seen], seen

    def cropped(self, window: T.Window) -> View:
        """Crop to the window and drop persons that are mostly outside it."""
        boxes, kept = self.boxes, self.kept
        if boxes is not None:
            boxes, seen = self.persons_in(window)
            kept = seen if kept is None else kept[seen]
        maps = None if self.maps is None else T.crop(self.maps, window)
        return replace(self, clip=T.crop(self.clip, window), boxes=boxes, kept=kept, maps=maps)

    def resized(self, size: int) -> View:
        """Scale to (size, size)."""
        height, width = self.clip.shape[-2:]
        boxes = None if self.boxes is None else T.scale_boxes(self.boxes, size / height, size / width)
        maps = None if self.maps is None else T.resize(self.maps, size, size)
        return replace(self, clip=T.resize(self.clip, size, size), boxes=boxes, maps=maps)


Step = Callable[[View, np.random.Generator], View]


@dataclass(frozen=True)
class Augmentation:
    """A chain of steps: the crop first, then the others in order."""

    crop: Crop | ResizedCrop
    steps: tuple[Step, ...] = ()

    def __call__(self, view: View, rng: np.random.Generator) -> View:
        for step in (self.crop, *self.steps):
            view = step(view, rng)
        return view


def train_augmentation(cfg: CfgNode, *last: Step, resized_crop: bool) -> Augmentation:
    """The crop, flip, colour jitter and grayscale of ``cfg.INPUT``, followed by the task's own steps.

    Raises:
        UserError: a size is invalid.
    """
    node, jitter = cfg.INPUT, cfg.INPUT.COLOR_JITTER
    ranges = (jitter.BRIGHTNESS, jitter.CONTRAST, jitter.SATURATION, jitter.HUE)
    sizes = node.MIN_SIZE_TRAIN
    if len(sizes) != 2 or not 0 < sizes[0] <= sizes[1]:
        raise UserError(f"INPUT.MIN_SIZE_TRAIN is {list(sizes)}; give [smallest, largest] in pixels")
    area, aspect = tuple(node.CROP_AREA), tuple(node.CROP_ASPECT)
    crop = (
        ResizedCrop(node.CROP_SIZE, sizes[1], area, aspect) if resized_crop else Crop(node.CROP_SIZE, *sizes)
    )
    common = (
        Sometimes(node.RANDOM_FLIP, flip),
        Sometimes(jitter.PROB, partial(color_jitter, ranges=ranges)),
        Sometimes(node.GRAYSCALE_PROB, grayscale),
    )
    return Augmentation(crop, (*common, *last))


# ---- crops ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crop:
    """A random square crop of a clip scaled to a random size; it contains at least one person if the view has any.

    Args:
        size: side of the square in pixels.
        smallest, largest: range of the clip's short side in pixels.

    Raises:
        UserError: the square does not fit.
    """

    size: int
    smallest: int
    largest: int

    def __post_init__(self) -> None:
        if self.size > self.smallest:
            raise UserError(
                f"INPUT.CROP_SIZE {self.size} does not fit into clips of short side {self.smallest}; "
                f"raise INPUT.MIN_SIZE_TRAIN to [{self.size}, ...] or lower the crop"
            )

    def short_side(self, rng: np.random.Generator) -> int:
        """The short side, in pixels, at which to decode the clip."""
        return T.draw_short_side(rng, self.smallest, self.largest)

    def __call__(self, view: View, rng: np.random.Generator) -> View:
        height, width = view.clip.shape[-2:]
        if view.boxes is None or not len(view.boxes):
            return view.cropped(T.draw_window(rng, height, width, self.size))
        for _ in range(_CROP_TRIES):
            window = T.draw_window(rng, height, width, self.size)
            if len(view.persons_in(window)[1]):
                return view.cropped(window)
        somebody = view.boxes[rng.integers(len(view.boxes))]
        return view.cropped(T.window_around(somebody, height, width, self.size))


@dataclass(frozen=True)
class ResizedCrop:
    """A random rectangle scaled to a square (random resized crop).

    Args:
        size: side of the square in pixels.
        largest: short side at which clips are decoded; large enough that most crops need no upscaling.
        area: range of the crop's share of the frame's area.
        aspect: range of the crop's width divided by its height.
    """

    size: int
    largest: int = 320
    area: tuple[float, float] = (0.3, 1.0)
    aspect: tuple[float, float] = (0.5, 2.0)

    def short_side(self, rng: np.random.Generator) -> int:
        """The short side, in pixels, at which to decode the clip."""
        return self.largest

    def __call__(self, view: View, rng: np.random.Generator) -> View:
        height, width = view.clip.shape[-2:]
        window = T.draw_resized_window(rng, height, width, self.area, self.aspect)
        return view.cropped(window).resized(self.size)


# ---- steps after the crop ---------------------------------------------------------------------


@dataclass(frozen=True)
class Sometimes:
    """Applies a step with probability ``prob``."""

    prob: float
    step: Step

    def __call__(self, view: View, rng: np.random.Generator) -> View:
        return self.step(view, rng) if rng.random() < self.prob else view


def flip(view: View, rng: np.random.Generator) -> View:
    """Mirror the view horizontally."""
    boxes, maps = view.boxes, view.maps
    if boxes is not None:
        boxes = T.flip_boxes(boxes, view.clip.shape[-1])
    if maps is not None:
        maps = flip_maps(maps.transpose(0, 1), view.motion_kind).transpose(0, 1)
    return replace(view, clip=T.flip(view.clip), boxes=boxes, maps=maps)


def color_jitter(view: View, rng: np.random.Generator, ranges: tuple[float, ...]) -> View:
    """Change brightness, contrast, saturation and hue by random amounts (:func:`.transforms.draw_color_jitter`)."""
    return replace(view, clip=T.color_jitter(view.clip, T.draw_color_jitter(rng, ranges)))


def grayscale(view: View, rng: np.random.Generator) -> View:
    """Convert to grayscale."""
    return replace(view, clip=T.grayscale(view.clip))


def blur(view: View, rng: np.random.Generator, sigma: tuple[float, float] = (0.1, 2.0)) -> View:
    """Blur with a 3x3 Gaussian whose sigma (pixels) is drawn uniformly from the given range."""
    return replace(view, clip=T.gaussian_blur(view.clip, float(rng.uniform(*sigma))))


def rand_augment(view: View, rng: np.random.Generator, num_ops: int, magnitude: int) -> View:
    """Apply RandAugment. Its geometric operations do not move boxes or maps, so use it for views without them."""
    return replace(view, clip=T.rand_augment(view.clip, num_ops, magnitude, seed=int(rng.integers(2**31))))


def box_jitter(view: View, rng: np.random.Generator, shares: Sequence[float]) -> View:
    """Move the edges of boxes (:func:`.transforms.jitter_boxes`); all left edges, then top, right, bottom."""
    assert view.boxes is not None
    draws = np.stack([rng.random(len(view.boxes), dtype=np.float32) for _ in range(4)], axis=1)
    height, width = view.clip.shape[-2:]
    return replace(view, boxes=T.jitter_boxes(view.boxes, draws, shares, height, width))


def erase(view: View, rng: np.random.Generator) -> View:
    """Replace a rectangle of 2 % to a third of the frame with noise."""
    height, width = view.clip.shape[-2:]
    window = T.draw_resized_window(rng, height, width, _ERASED_AREA, _ERASED_ASPECT)
    return replace(view, clip=T.erase(view.clip, window, T.draw_noise(rng, window.height, window.width)))
