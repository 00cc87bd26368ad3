"""From a record to a sample: decode the frames wanted, transform, turn labels into tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import CfgNode
from ..utils.errors import UserError
from ..video.frame_cache import OpenVideo, video_opener
from ..video.reader import open_video
from ..video.sampling import clip_around
from . import transforms as T
from .datasets.records import DetectionRecord

__all__ = ["DetectionMapper"]

_CROP_TRIES = 10


class DetectionMapper:
    """Keyframe -> clip around it, person boxes in pixels of the clip, labels.

    ``mapper(record, rng)`` returns a dict:

    - ``video``: uint8 (3, T, H, W), RGB, contiguous;
    - ``boxes``: float32 (N, 4), x1y1x2y2 in pixels of the clip, inside it;
    - ``labels``: float32 (N, K) of 0 and 1; class id ``c`` is column ``c - 1``;
    - ``id``: ``"video,second"``; ``video_id``; ``second``;
    - ``original_boxes``: float32 (N, 4), the same persons as annotated, in [0, 1];
    - ``original_size``: (height, width) of the video in pixels.

    In training the clip is scaled to a random size, cropped to a square, flipped and its colours changed; persons
    outside the crop are left out, and the crop is chosen so that somebody is inside. In evaluation the short side is
    scaled to ``min_size_test`` and the whole frame and every person are kept. Frames are the nearest in
    time to ``t + k * sampling_rate / target_fps``; before the first and after the last
    frame of the video these repeat.

    Args:
        num_classes: K.
        num_frames: T.
        sampling_rate: frames of the clip are this many frames apart at ``target_fps``.
        target_fps: frames per second in which ``sampling_rate`` counts.
        min_size_train: smallest and largest short side in training (pixels).
        min_size_test: short side in evaluation.
        crop_size: side of the training crop.
        flip_prob: of a horizontal flip in training.
        jitter_prob: of a colour jitter in training.
        jitter: ranges of brightness, contrast, saturation and hue (see :func:`.transforms.draw_color_jitter`).
        grayscale_prob: in training.
        is_train: which of the two.
        open_video: how videos are opened.

    Raises:
        UserError: a size is impossible. A call raises ``VideoError`` for a video that cannot be read.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        num_frames: int = 8,
        sampling_rate: int = 8,
        target_fps: float = 30.0,
        min_size_train: tuple[int, int] = (256, 320),
        min_size_test: int = 256,
        crop_size: int = 224,
        flip_prob: float = 0.5,
        jitter_prob: float = 0.0,
        jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.0),
        grayscale_prob: float = 0.0,
        is_train: bool = False,
        open_video: OpenVideo = open_video,
    ) -> None:
        if num_frames < 1 or sampling_rate < 1 or target_fps <= 0:
            raise UserError(
                f"a clip of INPUT.NUM_FRAMES {num_frames}, SAMPLING_RATE {sampling_rate} at TARGET_FPS {target_fps} "
                "is impossible; all three must be positive"
            )
        smallest, largest = min_size_train
        if not 0 < smallest <= largest:
            raise UserError(
                f"INPUT.MIN_SIZE_TRAIN is [{smallest}, {largest}]; give [smallest, largest] in pixels"
            )
        if is_train and crop_size > smallest:
            raise UserError(
                f"INPUT.CROP_SIZE {crop_size} does not fit into clips of short side {smallest}; "
                f"raise INPUT.MIN_SIZE_TRAIN to [{crop_size}, ...] or lower the crop"
            )
        self.num_classes = num_classes
        self.offsets = np.asarray(clip_around(num_frames, sampling_rate)) / target_fps  # seconds
        self.min_size_train = (smallest, largest)
        self.min_size_test = min_size_test
        self.crop_size = crop_size
        self.flip_prob = flip_prob
        self.jitter_prob = jitter_prob
        self.jitter = jitter
        self.grayscale_prob = grayscale_prob
        self.is_train = is_train
        self.open_video = open_video

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool) -> DetectionMapper:
        """Settings from ``cfg.INPUT``, the number of classes from ``cfg.MODEL.NUM_CLASSES``."""
        node, jitter = cfg.INPUT, cfg.INPUT.COLOR_JITTER
        if len(node.MIN_SIZE_TRAIN) != 2:
            raise UserError(
                f"INPUT.MIN_SIZE_TRAIN is {node.MIN_SIZE_TRAIN}; give [smallest, largest] in pixels"
            )
        return cls(
            cfg.MODEL.NUM_CLASSES,
            num_frames=node.NUM_FRAMES,
            sampling_rate=node.SAMPLING_RATE,
            target_fps=node.TARGET_FPS,
            min_size_train=tuple(node.MIN_SIZE_TRAIN),
            min_size_test=node.MIN_SIZE_TEST,
            crop_size=node.CROP_SIZE,
            flip_prob=node.RANDOM_FLIP,
            jitter_prob=jitter.PROB,
            jitter=(jitter.BRIGHTNESS, jitter.CONTRAST, jitter.SATURATION, jitter.HUE),
            grayscale_prob=node.GRAYSCALE_PROB,
            is_train=is_train,
            open_video=video_opener(cfg),
        )

    def __call__(self, record: DetectionRecord, rng: np.random.Generator) -> dict[str, Any]:
        clip, original_size = self.decode(record, rng)
        return self.transform(record, clip, original_size, rng)

    def decode(self, record: DetectionRecord, rng: np.random.Generator) -> tuple[Tensor, tuple[int, int]]:
        """The first half of a call: the frames wanted, scaled, and (height, width) of the video."""
        short_side = T.draw_short_side(rng, *self.min_size_train) if self.is_train else self.min_size_test
        with self.open_video(record.video, fps=record.fps) as video:
            frames = video.frames_at_times(record.time + self.offsets, short_side=short_side)
            original_size = (video.info.height, video.info.width)
        return torch.from_numpy(frames).permute(3, 0, 1, 2), original_size

    def transform(
        self, record: DetectionRecord, clip: Tensor, original_size: tuple[int, int], rng: np.random.Generator
    ) -> dict[str, Any]:
        """The second half of a call: from what :meth:`decode` returned to the sample."""
        height, width = clip.shape[-2:]
        boxes = T.clip_boxes(T.scale_boxes(record.boxes, height, width), height, width)
        kept = np.arange(len(boxes))
        if self.is_train:
            clip, boxes, kept = self._augment(clip, boxes, rng)
        return {
            "video": clip.contiguous(),
            "boxes": torch.from_numpy(boxes),
            "labels": torch.from_numpy(self._labels(record)[kept]),
            "id": record.id,
            "video_id": record.video_id,
            "second": record.second,
            "original_boxes": torch.from_numpy(record.boxes[kept]),
            "original_size": original_size,
        }

    def _augment(
        self, clip: Tensor, boxes: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[Tensor, NDArray[np.float32], NDArray[np.intp]]:
        """Crop, flip and recolour; also returns which persons are left."""
        window = self._draw_window(boxes, clip.shape[-2], clip.shape[-1], rng)
        clip = T.crop(clip, window)
        boxes, kept = self._crop_boxes(boxes, window)
        if rng.random() < self.flip_prob:
            clip, boxes = T.flip(clip), T.flip_boxes(boxes, self.crop_size)
        if rng.random() < self.jitter_prob:
            clip = T.color_jitter(clip, T.draw_color_jitter(rng, self.jitter))
        if rng.random() < self.grayscale_prob:
            clip = T.grayscale(clip)
        return clip, boxes, kept

    def _draw_window(
        self, boxes: NDArray[np.float32], height: int, width: int, rng: np.random.Generator
    ) -> T.Window:
        """A random crop that has a person in it; around a random person when chance does not find one."""
        for _ in range(_CROP_TRIES):
            window = T.draw_window(rng, height, width, self.crop_size)
            if len(self._crop_boxes(boxes, window)[1]):
                return window
        return T.window_around(boxes[rng.integers(len(boxes))], height, width, self.crop_size)

    def _crop_boxes(
        self, boxes: NDArray[np.float32], window: T.Window
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Boxes in the window of those persons that are to be seen there, and which these are."""
        inside = T.clip_boxes(T.crop_boxes(boxes, window), self.crop_size, self.crop_size)
        kept = np.flatnonzero(T.visible(inside, boxes, self.crop_size))
        return inside[kept], kept

    def _labels(self, record: DetectionRecord) -> NDArray[np.float32]:
        labels = np.zeros((len(record.boxes), self.num_classes), dtype=np.float32)
        for row, actions in zip(labels, record.actions, strict=True):
            row[[action - 1 for action in actions]] = 1.0
        return labels
